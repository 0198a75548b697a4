"""Running a study: block after block into the store, and on from wherever it was stopped."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from nsh._checks import require
from nsh.study.description import Description
from nsh.study.extension import opened, train_missing
from nsh.study.files import locked, save_figure
from nsh.study.layout import CHECKSUM, layout
from nsh.study.members import train_block
from nsh.study.progress import Progress, silent
from nsh.study.provenance import device, device_kind, settings, versions
from nsh.study.reading import readable
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
    """Run a study, or resume it: `directory`/data.zarr, figure.png and figure.pdf.

    Members (grid points x seeds) are trained in chunks; each is on the disk, with a checksum,
    before the next begins. However the run ends, the same call resumes it, and gives the
    arrays that an uninterrupted run gives, bit for bit: chunks that are not whole are computed
    again. `report`: what to do with messages, of chunks found damaged for example.

    A store is extended where the study has more seeds, more values on its grid or other chunks:
    what is there is kept, bit for bit. Runs are not made longer: no states are kept.

    Returns the data, as `open_study`. Raises `StoreRefused` (a `ValueError`) if the store there
    has another format, or was begun with another configuration, version (nsh's source included),
    JAX setting, kind of device, or with other code; `BlockingIOError` if another run is at work
    on it; `OSError` on a full disk. Every exception that stops a run has a note that says how
    much is saved.

    The code is all that the study's functions and classes lead to outside Python, nsh and
    installed packages, of which the releases count: what they close over, default arguments,
    methods, and what they read from modules. `report` names what code reads and nobody can see
    into. Files, environment variables and names looked up by text are not seen at all.
    """
    require(jax.process_count() == 1, "jax.process_count()", jax.process_count(), "1 for a study")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    plan = layout(study)
    store = Store(directory / STORE, plan)
    with locked(directory) as alone:
        if not alone:
            report(f"{directory} cannot be locked here: let no other run work on it")
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        description = Description()
        begun_with = identity(study, description)
        for name, kind in description.unseen.items():
            report(f"cannot be checked for changes: {name} ({kind})")
        for message in opened(study, store, begun_with, {"device": device(), "started_utc": now}):
            report(message)
        known, damaged = store.known()
        for block in damaged:
            report(f"{plan.words(block)}: damaged in {store.path}, computed again")
        missing = [b for b in plan.blocks if not known[plan.blocks.region(b)].all()]
        done = len(plan.blocks) - len(missing)
        if done:
            report(f"{done} of {len(plan.blocks)} chunks are there already")
        try:
            with progress("training members", int((~known).sum())) as advance:
                for block in missing:
                    there = known[plan.blocks.region(block)]
                    if there.any():
                        store.write(block, train_missing(study, store, block, there))
                    else:
                        store.write(block, train_block(study, plan, block))
                    done += 1
                    advance(int((~there).sum()))
            dataset = open_study(directory)
            save_figure(draw(dataset), directory)
        except BaseException as problem:
            problem.add_note(f"{done} of {len(plan.blocks)} chunks of members are saved")
            raise
    return dataset


def open_study(directory: str | Path) -> xr.Dataset:
    """The data of a study, from the directory that `run_study` was given; loaded when looked at.

    Members that are not computed yet have status -1 and NaN everywhere. Raises `StoreRefused` when
    it is looked at after the study has been extended: open it again.
    """
    dataset = xr.open_zarr(readable(Path(directory) / STORE), consolidated=False, chunks=None)
    return dataset[sorted(map(str, dataset.data_vars.keys() - {CHECKSUM}))]


def identity(study: Study, description: Description | None = None) -> dict[str, Any]:
    """Describe what must be the same for two runs to give the same bits and the same store."""
    description = Description() if description is None else description
    # the order of the axes is that of the arrays
    configuration = description.of(study) | {"axes": list(study.grid)}
    return {
        "settings": settings(),
        "versions": versions() | description.releases,
        "device_kind": device_kind(),
        "configuration": configuration,
        "code": description.code,
    }
