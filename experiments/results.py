"""What an experiment leaves behind: data, figures and where they come from."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import xarray as xr
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "nsh")


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place if the block ends well, else vanishes.

    An interruption thus leaves the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_dataset(dataset: xr.Dataset, directory: Path, name: str) -> None:
    """Write `directory`/`name`.nc (netCDF); ``xarray.open_dataset`` reads it."""
    with atomic(directory / f"{name}.nc") as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf")


def save_figure(figure: Figure, directory: Path) -> None:
    """Write figure.png and figure.pdf: the same bytes for the same figure."""
    with atomic(directory / "figure.png") as temporary:
        figure.savefig(temporary, dpi=200)
    with atomic(directory / "figure.pdf") as temporary:
        figure.savefig(temporary, metadata={"CreationDate": None})


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


def versions() -> dict[str, str]:
    """Releases of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit(root: Path) -> str:
    """Commit of the work tree at `root`, "+dirty" if it has changes; "unknown" if it is none."""
    if not (root / ".git").exists():  # root may lie inside somebody else's repository
        return "unknown"
    try:
        commit = _git(root, "rev-parse", "--verify", "HEAD")
        return commit + ("+dirty" if _git(root, "status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def device() -> str:
    """Kind and number of JAX's default devices, and the CPU cores at hand."""
    devices = jax.devices()
    kind = f"{devices[0].platform} ({devices[0].device_kind})"
    return f"{len(devices)} x {kind}, {os.cpu_count()} CPU cores"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
