"""What is public, and where the reference documents it: names of `__all__`, directives of pages."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
import re
from pathlib import Path
from typing import Any

import nsh

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
# public modules that are no packages: all that they define without an underscore
MODULES = ("nsh.system", "nsh.bounds")
DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def public_names() -> dict[str, Any]:
    """Every public name, such as ``nsh.training.train``, and the thing it names."""
    found = {}
    for module in (importlib.import_module(name) for name in ["nsh", *_packages(), *MODULES]):
        names = getattr(module, "__all__", None) or _defined(module)
        found |= {f"{module.__name__}.{name}": getattr(module, name) for name in names}
    return {name: thing for name, thing in found.items() if not inspect.ismodule(thing)}


def documented_names() -> list[str]:
    """The names that the reference's pages document."""
    pages = sorted(REFERENCE.glob("*.md"))
    return [name for page in pages for name in DIRECTIVE.findall(page.read_text("utf-8"))]


def complaints() -> list[str]:
    """What keeps the reference from having every public thing, documented, exactly once."""
    public, documented = public_names(), documented_names()
    unknown = [name for name in documented if name not in public]
    shown = [_identity(name, public[name]) for name in documented if name in public]
    missing = [name for name, thing in public.items() if _identity(name, thing) not in shown]
    twice = [n for n in documented if n in public and shown.count(_identity(n, public[n])) > 1]
    silent = [name for name, thing in public.items() if not documentation(name, thing)]
    return [
        *(f"{name} is in the reference, but is not public" for name in unknown),
        *(f"{name} is public, but on no page of docs/reference" for name in missing),
        *(f"{name} is in the reference more than once, perhaps by another name" for name in twice),
        *(f"{name} is public, but has no docstring" for name in silent),
    ]


def documentation(name: str, thing: Any) -> str:
    """The docstring of a class or function of ours; else the string after the assignment."""
    if _defined_by_us(thing):
        return thing.__doc__ or ""
    place = origin(name)
    module, _, own = place.rpartition(".")
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for node, after in itertools.pairwise(body):
        if own in _assigned(node) and isinstance(after, ast.Expr):
            return str(ast.literal_eval(after.value))
    return ""


def _packages() -> list[str]:
    """All packages with an `__all__`; those below an underscore are private."""
    walked = pkgutil.walk_packages(nsh.__path__, "nsh.")
    packages = [m.name for m in walked if m.ispkg and "._" not in m.name]
    return [name for name in packages if hasattr(importlib.import_module(name), "__all__")]


def _defined(module: Any) -> list[str]:
    things = {n: t for n, t in vars(module).items() if inspect.isclass(t) or inspect.isroutine(t)}
    return [n for n, t in things.items() if t.__module__ == module.__name__ and n[0] != "_"]


def _defined_by_us(thing: Any) -> bool:
    definition = inspect.isclass(thing) or inspect.isroutine(thing)
    return definition and thing.__module__.startswith("nsh.")


def _identity(name: str, thing: Any) -> str:
    """The same for all names of a thing."""
    if _defined_by_us(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    return origin(name)


def origin(name: str) -> str:
    """Where a constant is assigned, followed through the packages that import it."""
    module, _, own = name.rpartition(".")
    for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
        if isinstance(node, ast.ImportFrom) and own in (alias.name for alias in node.names):
            return origin(f"{node.module}.{own}")
    return name


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    flat = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
    return [target.id for target in flat if isinstance(target, ast.Name)]
