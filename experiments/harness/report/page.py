"""From ``results/`` to ``results/report.html``."""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import plotly.io
import xarray as xr
from markdown_it import MarkdownIt
from plotly.offline import get_plotlyjs

from experiments.harness.claim import Claim
from experiments.harness.command_line import docstring, short_name
from experiments.harness.outcomes import Outcome, adjusted, format_measured, read_outcomes
from nsh._files import atomic


class Section(NamedTuple):
    """One experiment's part of the page."""

    name: str
    title: str
    text: str
    """HTML of what the module's docstring says."""
    error: str | None
    claims: Sequence[Claim]
    adjusted: Sequence[bool | None]
    """Verdicts of the claims after a correction for the number of tests."""
    figure: str | None
    """The picture, as a data URI."""
    captions: Mapping[str, str]
    """What its panels show, by letter."""
    interactive: str | None
    """HTML of the picture that moves."""
    provenance: Mapping[str, str]
    configuration: Mapping[str, Any]


def write_report(results: Path, modules: Sequence[str]) -> Path:
    """Write ``results/report.html`` from ``claims.json``, figures and data found in `results`.

    One file that opens without a network: pictures, style and scripts are in it. `modules`: those
    of the experiments, whose docstrings introduce them.
    """
    of_module = {short_name(module): module for module in modules}
    outcomes = read_outcomes(results / "claims.json")
    sections = [
        _section(results, outcome, verdicts, of_module.get(outcome.experiment))
        for outcome, verdicts in zip(outcomes, adjusted(outcomes), strict=True)
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("experiments.harness.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["measured"] = format_measured
    page = environment.get_template("page.html.jinja").render(
        sections=sections, plotly=get_plotlyjs() if any(s.interactive for s in sections) else ""
    )
    path = results / "report.html"
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _section(
    results: Path, outcome: Outcome, adjusted: Sequence[bool | None], module: str | None
) -> Section:
    name = outcome.experiment
    title, _, text = docstring(module).partition("\n") if module else ("", "", "")
    provenance, configuration = _origin(results / name / f"{name}.nc")
    return Section(
        name=name,
        title=title.rstrip("."),
        text=MarkdownIt("commonmark", {"html": False}).render(text),
        error=outcome.error,
        claims=outcome.claims,
        adjusted=adjusted,
        figure=_data_uri(results / name / "figure.png"),
        captions=_captions(module),
        interactive=_interactive(results / name / "interactive.json"),
        provenance=provenance,
        configuration=configuration,
    )


def _captions(module: str | None) -> Mapping[str, str]:
    """What the figure of an experiment that can be imported declares of its panels."""
    try:
        return importlib.import_module(module).figure.captions if module else {}
    except Exception:  # whoever could not import it, or run it, has said so before
        return {}


def _origin(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Where a data set comes from and what it was configured by; empty if there is none."""
    if not path.exists():
        return {}, {}
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        found = dict(dataset.attrs)
    versions = json.loads(found["versions"])
    provenance = {
        "started": found["started_utc"],
        "took": f"{found['wall_time_seconds']:.0f} s",
        "device": found["device"],
        "commit": found["git_commit"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return provenance, json.loads(found["configuration"])


def _data_uri(path: Path) -> str | None:
    if not path.exists():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _interactive(path: Path) -> str | None:
    if not path.exists():
        return None
    figure = plotly.io.from_json(path.read_text(encoding="utf-8"))
    return figure.to_html(
        full_html=False, include_plotlyjs=False, config={"displayModeBar": False}, auto_play=False,
        div_id=f"{path.parent.name}-interactive",
    )  # fmt: skip
