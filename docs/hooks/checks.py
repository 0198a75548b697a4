"""What a strict build checks beyond its own: the reference, links, nothing from outside."""

from __future__ import annotations

import logging
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from public_names import complaints

# counted by strict builds, as all that is below "mkdocs"
log = logging.getLogger("mkdocs.hooks.nsh")
ANCHOR = re.compile(r"""\s(?:id|name)=["']?([^"'\s>]+)""")
LINK = re.compile(r"""<(\w+)(?=\s)[^>]*?\s(?:href|src)=["']?([^"'\s>]+)""")


def on_pre_build(config: Any) -> None:  # noqa: ARG001
    """Every public name is documented, and on one page of the reference."""
    for complaint in complaints():
        log.warning(complaint)


def on_post_build(config: Any) -> None:
    """Every link of the built pages leads somewhere, and no page fetches anything from outside."""
    for complaint in broken_links(Path(config.site_dir)):
        log.warning(complaint)


def broken_links(site: Path) -> list[str]:
    """What is wrong with the links of a built site; the page for wrong addresses is left out."""
    pages = {path.resolve(): path.read_text("utf-8") for path in site.rglob("*.html")}
    anchors = {path: set(map(unescape, ANCHOR.findall(text))) for path, text in pages.items()}
    found = set()
    for page, text in pages.items():
        for tag, link in set(LINK.findall(text)) if page.name != "404.html" else ():
            place = f"{page.relative_to(site.resolve())}: {link}"
            address = urlsplit(unescape(link))
            if address.scheme == "data":
                continue
            if address.scheme or address.netloc:
                if tag != "a":
                    found.add(f"{place} is fetched from outside")
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            if not target.exists():
                found.add(f"{place} leads nowhere")
                continue
            known = anchors.get(target, set()) | {"", "__top"}
            if target in anchors and unquote(address.fragment) not in known:
                found.add(f"{place}: there is no such place on the page")
    return sorted(found)
