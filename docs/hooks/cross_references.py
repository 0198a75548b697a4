"""Griffe extension: names in backticks in docstrings become links to what they name."""

from __future__ import annotations

import re
from typing import Any

import griffe
from public_names import REFERENCE, documented_names, origin

NAME = re.compile(r"(?<![`\[\w])`([A-Za-z_]\w*(?:\.\w+)*)`(?![`\]])")
PACKAGE = re.compile(r"^#+ .*\{ #(nsh\.[\w.]+) \}$", re.MULTILINE)


class CrossReferences(griffe.Extension):
    """Links a name where it is certain what it means: never a parameter, never by guessing."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called once the package is loaded."""
        self.documented = documented_names()
        texts = [page.read_text("utf-8") for page in REFERENCE.glob("*.md")]
        self.packages = {name for text in texts for name in PACKAGE.findall(text)}
        self.of_origin = {origin(name): name for name in self.documented}
        for module in _modules(pkg):
            for member in module.members.values():
                if not member.is_alias and not member.is_module:
                    self._link(member)
                    for inner in member.members.values() if member.is_class else ():
                        if not inner.is_alias:
                            self._link(inner)

    def _link(self, thing: Any) -> None:
        if thing.docstring is not None:
            text = thing.docstring.value
            thing.docstring.value = NAME.sub(lambda match: self._linked(match, thing), text)

    def _linked(self, match: re.Match[str], thing: Any) -> str:
        found = self._place(match[1], thing)
        return f"[`{match[1]}`][{found}]" if found else match[0]

    def _place(self, name: str, thing: Any) -> str | None:
        """The anchor of what `name` means in the docstring of `thing`; None for no link."""
        if name in self.documented or name in self.packages:
            return name
        first, _, rest = name.partition(".")
        own = thing if thing.is_class else thing.parent
        if first == thing.name or _is_parameter(first, thing):
            return None
        if own.is_class and first in own.members:
            of_class = self._public(own)
            return f"{of_class}.{first}" if of_class and own.members[first].docstring else None
        place = self._public_of_name(first, thing)
        if place is None or not rest:
            return place
        kind = thing.modules_collection[origin(place)]
        member = kind.members.get(rest) if kind.is_class else None
        return f"{place}.{rest}" if member is not None and member.docstring else None

    def _public_of_name(self, name: str, thing: Any) -> str | None:
        imported = thing.module.members.get(name)
        if imported is not None:
            return self._public(imported)
        candidates = [full for full in self.documented if full.rpartition(".")[2] == name]
        near = [c for c in candidates if thing.path.startswith(f"{c.rpartition('.')[0]}.")]
        if near:
            return max(near, key=len)
        # lower-case names are words that may mean something else in another package
        return candidates[0] if len(candidates) == 1 and name[0].isupper() else None

    def _public(self, thing: Any) -> str | None:
        """The public name of a thing that the reference documents."""
        path = thing.target_path if thing.is_alias else thing.path
        return path if path in self.documented else self.of_origin.get(path)


def _modules(module: Any) -> list[Any]:
    inner = [m for m in module.modules.values() if not m.is_alias]
    return [module, *(below for m in inner for below in _modules(m))]


def _is_parameter(name: str, thing: Any) -> bool:
    return thing.is_function and any(parameter.name == name for parameter in thing.parameters)
