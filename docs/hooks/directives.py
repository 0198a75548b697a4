"""Directives of the reference that mean a function whose module has the same name.

``::: nsh.training.tune`` is the module to Griffe; Python and readers mean what `nsh.training`
imports from it. The function keeps the anchor that the directive names.
"""

from __future__ import annotations

import re
from typing import Any

from public_names import DIRECTIVE, origin


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the function by where it is defined, with an anchor of its public name."""
    return DIRECTIVE.sub(_directive, markdown)


def _directive(match: re.Match[str]) -> str:
    name = match[1]
    place = origin(name)
    if place == f"{name}.{name.rpartition('.')[2]}":
        return f"[](){{ #{name} }}\n\n::: {place}"
    return match[0]
