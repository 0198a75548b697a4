"""What the benchmarks found: tables, one JSON file, one figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.benchmarks.case import Case
from experiments.benchmarks.harness import ratios
from nsh.figures import PALETTE, new_figure, panel_label

GREY = "#8C8C8C"


def entry(case: Case, result: dict[str, Any]) -> dict[str, Any]:
    """A case and all that was measured of it, ready for JSON."""
    targets = []
    for target in case.targets:
        values = ratios(result, target.over, target.under, target.measure)
        median = statistics.median(values) if values else None
        targets.append({
            "over": target.over, "under": target.under, "measure": target.measure,
            "at": target.at, "reach": target.reach, "values": list(values), "median": median,
            "holds": None if median is None else target.holds(median),
        })  # fmt: skip
    return {
        "name": case.name, "title": case.title, **result, "targets": targets,
        "tolerance": case.tolerance,
        "agree": all(
            result["differences"].get(one.name, 0) <= (case.tolerance or 0)
            for one in case.contenders if not one.approximate
        ),
        "approximate": [one.name for one in case.contenders if one.approximate],
    }  # fmt: skip


def print_case(console: Console, found: dict[str, Any]) -> None:
    """What each contender took, and whether their results agree."""
    table = Table(title=f"{found['name']}: {escape(found['title'])}", title_justify="left")
    table.add_column("contender")
    for column in ("median", "min", "max", "compile, first run", "memory"):
        table.add_column(column, justify="right")
    for name, one in found["contenders"].items():
        note = f" (from {one['extrapolated']})" if one["extrapolated"] else ""
        table.add_row(escape(name + note), *_times(one))
    console.print(table)
    for name, gap in found["differences"].items():
        different = "approximate" if name in found["approximate"] else "DIFFERENT RESULTS"
        verdict = "same results" if gap <= found["tolerance"] else different
        console.print(f"  {escape(name)}: {verdict} (largest relative difference {gap:.1e})")


def print_targets(console: Console, entries: Sequence[dict[str, Any]]) -> None:
    """The ratios to reach, all cases together."""
    table = Table(title="Figures to reach", title_justify="left")
    for column in ("case", "ratio"):
        table.add_column(column)
    for column in ("median", "min", "max", "reach", "reached"):
        table.add_column(column, justify="right")
    for found in entries:
        for target in found["targets"]:
            label = escape(ratio_label(target))
            table.add_row(found["name"], label, *_numbers(target), _reach(target), _verdict(target))
    console.print(table)


def ratio_label(target: dict[str, Any]) -> str:
    """Such as ``NumPy / nsh``; memory says so."""
    label = target["over"] + (f" / {target['under']}" if target["under"] else "")
    return label + (", memory" if target["measure"] == "bytes" else "")


def figure(entries: Sequence[dict[str, Any]]) -> Figure:
    """Speed-ups (a tick at what is to be reached), and costs as shares of what is allowed."""
    targets = [
        (found["name"], target)
        for found in entries
        for target in found["targets"]
        if target["median"]
    ]
    gains = [(n, t, 1.0) for n, t in targets if t["at"] == "least"]
    costs = [(n, t, t["reach"]) for n, t in targets if t["at"] == "most" and t["reach"]]
    rows = max(len(gains), len(costs), 1)
    made, [[left, right]] = new_figure(1, 2, width="double", height=0.6 + 0.3 * rows)
    _bars(left, gains, rows, "ratio of times (tick: to reach; orange: not reached)")
    _bars(right, costs, rows, "share of what is allowed")
    for ax, letter in ((left, "a"), (right, "b")):
        panel_label(ax, letter)
    return made


def _bars(
    ax: Axes, bars: Sequence[tuple[str, dict[str, Any], float]], rows: int, xlabel: str
) -> None:
    for row, (_, target, unit) in enumerate(bars):
        values = [value / unit for value in target["values"]]
        median = statistics.median(values)
        colours = {True: PALETTE["blue"], False: PALETTE["vermilion"], None: GREY}
        ax.barh(row, median - 1, left=1, height=0.6, color=colours[target["holds"]])
        ax.plot([min(values), max(values)], [row, row], color="black", linewidth=0.8)
        if target["reach"] is not None:
            reach = target["reach"] / unit
            ax.plot([reach, reach], [row - 0.42, row + 0.42], color="black", linewidth=1.4)
    ax.set_xscale("log")
    ax.set_xlabel(xlabel)
    ax.set_ylim(rows - 0.4, -0.6)
    labels = [f"{name}\n{ratio_label(target)}" for name, target, _ in bars]
    ax.set_yticks(range(len(bars)), labels, fontsize=5)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, 0.5), max(high, 2))
    ax.axvline(1, color="black", linewidth=0.6)


def _times(one: dict[str, Any]) -> list[str]:
    if "seconds" not in one:
        return ["absent", escape(one.get("absent", "")), "", "", ""]
    values = one["seconds"]
    times = [statistics.median(values), min(values), max(values)]
    first = f"{one['compile_seconds'] + one['first_seconds']:.1f} s"
    return [*map(seconds, times), first, _memory(one)]


def _memory(one: dict[str, Any]) -> str:
    if one["temporary_bytes"] is not None:
        return f"{megabytes(one['temporary_bytes'])} planned"
    return "" if one["peak_bytes"] is None else f"{megabytes(one['peak_bytes'])} resident"


def _numbers(target: dict[str, Any]) -> list[str]:
    if target["median"] is None:
        return ["absent", "", ""]
    values = [target["median"], min(target["values"]), max(target["values"])]
    return [_value(target, value) for value in values]


def _reach(target: dict[str, Any]) -> str:
    if target["reach"] is None:
        return ""
    return ("≥ " if target["at"] == "least" else "≤ ") + _value(target, target["reach"])


def _value(target: dict[str, Any], value: float) -> str:
    if target["under"] is not None:
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return seconds(value) if target["measure"] == "seconds" else megabytes(value)


def _verdict(target: dict[str, Any]) -> str:
    return {True: "yes", False: "NO", None: ""}[target["holds"]]


def seconds(value: float) -> str:
    """Such as ``12.3 ms`` or ``5.1 h``."""
    if value >= 7200:
        return f"{value / 3600:.3g} h"
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def megabytes(value: float) -> str:
    """Such as ``0.31 MB``."""
    return f"{value / 1e6:.3g} MB"
