"""Griffe extension: what means something to Markdown, but is plain text in docstrings."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

# what a Python prompt shows, up to a line without text
EXAMPLE = re.compile(r"\n+(?P<lines>[ ]*>>> .*(?:\n.*\S.*)*)")
# blocks and spans of code
CODE = re.compile(r"```.*?```|``.*?``|`[^`]+`|(?<=\n\n)(?: {4}[^\n]*(?:\n|$))+", re.DOTALL)
SPECIAL = {"<": "&lt;", "*": r"\*"}


class PlainText(griffe.Extension):
    """Escapes ``<F>``, which would be a tag, and ``[*grid, *leaf]``, which would be emphasis.

    Lines with ``>>>``, which would be quotations, become blocks of code.
    """

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for everything that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = escaped(obj.docstring.value)


def escaped(text: str) -> str:
    """The same text, to be read as Markdown."""
    text = EXAMPLE.sub(_fenced, text)
    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [_escaped(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, _escaped(text[end:])])


def _fenced(example: re.Match[str]) -> str:
    return f"\n\n```pycon\n{textwrap.dedent(example['lines'])}\n```"


def _escaped(prose: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in prose)
