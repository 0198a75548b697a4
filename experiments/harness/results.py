"""What an experiment leaves behind: data, figures and where they come from."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xarray as xr

from nsh._files import atomic
from nsh._fingerprint.surroundings import device, versions

ROOT = Path(__file__).resolve().parents[2]


def save_dataset(dataset: xr.Dataset, directory: Path, name: str) -> None:
    """Write `directory`/`name`.nc (netCDF); ``xarray.open_dataset`` reads it."""
    with atomic(directory / f"{name}.nc") as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf")


def save_interactive(figure: Any, directory: Path) -> None:
    """Write a Plotly figure as interactive.json, for the report."""
    with atomic(directory / "interactive.json") as temporary:
        temporary.write_text(figure.to_json(), encoding="utf-8")


def provenance(config: Any) -> dict[str, str]:
    """Attributes that say where a result comes from; call it when the run starts."""
    values = dataclasses.asdict(config)
    seeds = {name: value for name, value in values.items() if "seed" in name}
    return {
        "configuration": json.dumps(values, default=str),
        "seeds": json.dumps(seeds, default=str),
        "versions": json.dumps(versions()),
        "git_commit": git_commit(ROOT),
        "device": device(),
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def git_commit(root: Path) -> str:
    """Commit of the work tree at `root`, "+dirty" if it has changes; "unknown" if it is none."""
    if not (root / ".git").exists():  # root may lie inside somebody else's repository
        return "unknown"
    try:
        commit = _git(root, "rev-parse", "--verify", "HEAD")
        return commit + ("+dirty" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
