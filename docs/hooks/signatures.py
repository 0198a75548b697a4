"""Shapes in signatures as they read best: ``Float[Array, "n"]`` instead of ``Float[Array, " n"]``.

The space keeps tools from taking the shape for a type; readers can do without it.
"""

from __future__ import annotations

import re
from typing import Any

SIGNATURE = re.compile(r'<div class="[^"]*doc-signature.*?</div>', re.DOTALL)
SPACE = re.compile(r'(<span class="s[12]">(?:&quot;|&#39;|"|\')) ')


def on_page_content(html: str, **_: Any) -> str:
    """Mend the signatures of a page."""
    return SIGNATURE.sub(lambda signature: SPACE.sub(r"\1", signature[0]), html)
