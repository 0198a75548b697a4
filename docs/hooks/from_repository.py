"""Pages that stand elsewhere in the repository: the changelog and the notebooks."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = {"CHANGELOG.md": "about/changes.md"}
FIRST = {"README.md": "index.md"}  # what stands for it on the site
# where links to source files lead: to the reference of the innermost package
REFERENCE = {
    "nsh/neurashed/exact": "reference/exact.md",
    "nsh/neurashed/extensions": "reference/extensions.md",
    "nsh/neurashed": "reference/neurashed.md",
    "nsh/data": "reference/data.md",
    "nsh/networks": "reference/networks.md",
    "nsh/training": "reference/training.md",
    "nsh/measure": "reference/measure.md",
    "nsh/theory/effective": "reference/effective.md",
    "nsh/theory/two_layer": "reference/two_layer.md",
    "nsh/correspondence": "reference/correspondence.md",
    "nsh/figures": "reference/figures.md",
    "nsh/study": "reference/study.md",
    "nsh/system.py": "reference/system.md",
    "nsh/bounds.py": "reference/system.md",
    "nsh": "reference/index.md",
}
IMAGES = (".png", ".svg", ".gif", ".jpg")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)\s#]+)(#[\w-]*)?\)")


def on_config(config: Any) -> Any:
    """Put the notebooks into the navigation."""
    for entry in config.nav:
        if "Notebooks" in entry:
            entry["Notebooks"] = ["notebooks/index.md", *map(_page_of_notebook, _notebooks())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, and the images that they show."""
    from mkdocs.structure.files import File

    def add(uri: str, content: str | bytes) -> None:
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, content=content))

    for source, uri in PAGES.items():
        text = (ROOT / source).read_text("utf-8")
        add(uri, _relinked(text, ROOT, uri, add))
    for notebook in _notebooks():
        uri = _page_of_notebook(notebook)
        add(uri, _relinked(_page(notebook, uri, add), notebook.parent, uri, add))
    return files


def _notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def _page_of_notebook(path: Path) -> str:
    return f"notebooks/{path.stem}.md"


def _page(path: Path, uri: str, add: Any) -> str:
    """A notebook as Markdown, with the pictures it shows."""
    from nbconvert import MarkdownExporter

    wanted = {"unique_key": path.stem, "output_files_dir": ""}
    text, resources = MarkdownExporter().from_filename(str(path), wanted)
    for name, picture in resources["outputs"].items():
        add(posixpath.join(posixpath.dirname(uri), name), picture)
    return text


def _relinked(text: str, base: Path, uri: str, add: Any) -> str:
    """Markdown with relative links that hold on the site; code is left as it is."""
    codes = CODE.findall(text)
    places = (f"\0{i}\0" for i in range(len(codes)))
    found = _relinked_prose(CODE.sub(lambda _: next(places), text), base, uri, add)
    return re.sub(r"\0(\d+)\0", lambda place: codes[int(place[1])], found)


def _relinked_prose(text: str, base: Path, uri: str, add: Any) -> str:
    def link(match: re.Match[str]) -> str:
        image, label, target, anchor = match.groups()
        path = (base / target).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return match[0]  # own images of notebooks, or broken: the build says so
        place = path.relative_to(ROOT).as_posix()
        page = _page_of(place)
        if page is None and place.endswith(IMAGES):
            page = f"repository/{place}"
            add(page, path.read_bytes())
        if page is None:  # a file that the site does not have
            return label
        there = posixpath.relpath(page, posixpath.dirname(uri))
        return f"{image}[{label}]({there}{anchor or ''})"

    return LINK.sub(link, text)


def _page_of(place: str) -> str | None:
    """The page or file of the site that stands for a file of the repository."""
    if place.endswith(".ipynb"):
        return _page_of_notebook(Path(place))
    if place.startswith("docs/") and not place.startswith("docs/hooks/"):
        return place.removeprefix("docs/")
    if place in PAGES | FIRST:
        return (PAGES | FIRST)[place]
    packages = [p for p in REFERENCE if place == p or place.startswith(f"{p}/")]
    return REFERENCE[max(packages, key=len)] if packages else None
