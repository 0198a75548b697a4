"""Running a study: block after block into the store, and on from wherever it was stopped."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from nsh._checks import require
from nsh.study.files import locked, save_figure
from nsh.study.identity import described
from nsh.study.layout import CHECKSUM, layout
from nsh.study.members import train_block
from nsh.study.progress import Progress, silent
from nsh.study.provenance import device, device_kind, settings, versions
from nsh.study.store import Store
from nsh.study.study import Study
from nsh.study.summary import draw

STORE = "data.zarr"


def run_study(
    study: Study,
    directory: str | Path,
    *,
    progress: Progress = silent,
    report: Callable[[str], Any] = print,
) -> xr.Dataset:
    """Run a study, or go on with it: `directory`/data.zarr, figure.png and figure.pdf.

    Members (grid points x seeds) are trained in chunks; each is on the disk, with a checksum,
    before the next begins. However the run ends, the same call goes on with it, and gives the
    arrays that an uninterrupted run gives, bit for bit: chunks that are not whole are computed
    again. `report`: what to do with messages, of chunks found damaged for example.

    Returns the data, as `open_study`. Raises `StoreRefused` (a `ValueError`) if the store there
    was begun with another configuration, version, JAX setting or kind of device; `BlockingIOError`
    if another process is at work on it; `OSError` on a full disk. Every exception that stops a
    run has a note that says how much is saved.
    """
    require(jax.process_count() == 1, "jax.process_count()", jax.process_count(), "1 for a study")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    plan = layout(study)
    store = Store(directory / STORE, plan)
    with locked(directory):
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        for name in store.prepare(identity(study), {"device": device(), "started_utc": now}):
            report(f"{store.path / name} was damaged and has been restored")
        whole, damaged = store.finished()
        for block in damaged:
            report(f"{_where(plan, block)}: damaged in {store.path}, computed again")
        missing = [block for block in plan.blocks if block not in whole]
        if whole:
            report(f"{len(whole)} of {len(plan.blocks)} chunks are there already")
        done = len(whole)
        try:
            total = sum(map(plan.blocks.members, missing))
            with progress("training members", total) as advance:
                for block in missing:
                    store.write(block, train_block(study, plan, block))
                    done += 1
                    advance(plan.blocks.members(block))
            dataset = open_study(directory)
            save_figure(draw(dataset), directory)
        except BaseException as problem:
            problem.add_note(f"{done} of {len(plan.blocks)} chunks of members are saved")
            raise
    return dataset


def open_study(directory: str | Path) -> xr.Dataset:
    """The data of a study, from the directory that `run_study` was given; loaded when looked at.

    Members that are not computed yet have status -1 and NaN everywhere.
    """
    dataset = xr.open_zarr(Path(directory) / STORE, consolidated=False, chunks=None)
    return dataset[sorted(map(str, dataset.data_vars.keys() - {CHECKSUM}))]


def identity(study: Study) -> dict[str, Any]:
    """What must be the same for two runs to give the same bits and the same store."""
    return {
        "configuration": described(study),
        "versions": versions(),
        "settings": settings(),
        "device_kind": device_kind(),
    }


def _where(plan: Any, block: tuple[int, ...]) -> str:
    """A block's members, in words."""
    parts = zip(plan.member_dims, plan.blocks.region(block), strict=True)
    return ", ".join(f"{dim} {part.start}..{part.stop - 1}" for dim, part in parts)
