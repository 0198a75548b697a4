"""The diagram of imports, drawn from the table that `tests/test_imports.py` holds the source to."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import networkx as nx

TABLE = Path(__file__).parents[2] / "tests" / "support" / "architecture.py"
MARKER = "<!-- diagram of imports -->"
PAGES = {
    "nsh.system": "system.html",
    "nsh.bounds": "system.html#nsh.bounds",
    "nsh.neurashed": "neurashed.html",
    "nsh.data": "data.html",
    "nsh.networks": "networks.html",
    "nsh.training": "training.html",
    "nsh.measure": "measure.html",
    "nsh.theory": "effective.html",
    "nsh.correspondence": "correspondence.html",
    "nsh.figures": "figures.html",
    "nsh.study": "study.html",
}
SLOT, ROW, WIDTH, HEIGHT = 164, 84, 138, 38


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the diagram where a page asks for it."""
    return markdown.replace(MARKER, diagram(needed())) if MARKER in markdown else markdown


def needed() -> dict[str, set[str]]:
    """Of each part that users know, the parts it imports, without those that others imply."""
    table = runpy.run_path(str(TABLE))["MAY_IMPORT"]
    shown = [part for part in table if not part.removeprefix("nsh.").startswith("_")]
    graph = nx.DiGraph()
    graph.add_nodes_from(shown)
    for part in shown:
        owners = {".".join(name.split(".")[:2]) for name in table[part]}
        graph.add_edges_from((part, other) for other in owners.intersection(shown) - {part})
    return {part: set(others) for part, others in nx.transitive_reduction(graph).adj.items()}


def rows_of(parts: dict[str, set[str]]) -> list[list[str]]:
    """Parts by how many imports they stand above the ground."""
    graph = nx.DiGraph({part: sorted(others) for part, others in parts.items()})
    order = list(parts)
    return [sorted(row, key=order.index) for row in nx.topological_generations(graph.reverse())]


def places(parts: dict[str, set[str]]) -> dict[str, tuple[float, int]]:
    """Column and row of each part: above what it imports, as far as there is room."""
    rows = rows_of(parts)
    columns = max(map(len, rows))
    found: dict[str, tuple[float, int]] = {}
    for number, row in enumerate(rows):
        if number <= rows.index(max(rows, key=len)):
            first = (columns - len(row)) / 2
            found |= {part: (first + i, number) for i, part in enumerate(row)}
            continue
        free = list(range(columns))
        middle = {p: sum(found[o][0] for o in parts[p]) / len(parts[p]) for p in row}
        for part in sorted(row, key=lambda p, m=middle: (m[p], p)):
            column = min(free, key=lambda c, m=middle[part]: (abs(c - m), c))
            free.remove(column)
            found[part] = (column, number)
    return found


def diagram(parts: dict[str, set[str]]) -> str:
    """The parts as boxes, each joined to those it imports, as SVG in the page's own colours."""
    at = places(parts)
    top = max(row for _, row in at.values())
    centre = {p: ((c + 0.5) * SLOT, (top - row + 0.5) * ROW) for p, (c, row) in at.items()}
    size = ((1 + max(c for c, _ in at.values())) * SLOT, (top + 1) * ROW)
    lines = [_line(centre[part], centre[other]) for part in parts for other in sorted(parts[part])]
    boxes = [_box(part, *centre[part]) for part in parts]
    return (
        f'<div class="nsh-diagram"><svg viewBox="0 0 {size[0]:.0f} {size[1]}" role="img" '
        'aria-label="Parts of nsh; lines lead down to what a part imports">'
        f"{''.join(lines)}{''.join(boxes)}</svg></div>"
    )


def _line(upper: tuple[float, float], lower: tuple[float, float]) -> str:
    (x0, y0), (x1, y1) = upper, lower
    y0, y1 = y0 + HEIGHT / 2, y1 - HEIGHT / 2
    if y1 - y0 > ROW:  # around what stands between
        return (
            f'<path d="M{x0:.0f} {y0:.0f} C{x1:.0f} {y0:.0f} {x1:.0f} {y0:.0f} {x1:.0f} {y1:.0f}"/>'
        )
    return f'<path d="M{x0:.0f} {y0:.0f} L{x1:.0f} {y1:.0f}"/>'


def _box(part: str, x: float, y: float) -> str:
    box = (
        f'<rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" '
        f'height="{HEIGHT}" rx="5"/><text x="{x:.0f}" y="{y + 5:.0f}">{part[4:]}</text>'
    )
    return f'<a href="../reference/{PAGES[part]}">{box}</a>' if part in PAGES else f"<g>{box}</g>"
