"""Running a study: block after block into the store, and on from wherever it was stopped."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from nsh._checks import require
from nsh._fingerprint.description import Description, canonical
from nsh._fingerprint.surroundings import device
from nsh.study.extension import merged, opened
from nsh.study.files import locked, save_figure
from nsh.study.fingerprint import fingerprint
from nsh.study.layout import CHECKSUM, OBJECTIVE, STATUS, TUNED, TUNING_STATUS, Layout, layout
from nsh.study.progress import Advance, Progress, silent
from nsh.study.store import LEFT, Store, StoreRefused, readable
from nsh.study.study import Study, hyper_names
from nsh.study.summary import draw
from nsh.training import Checkpoints, PerSeed, Run, SaveAt, TrainingProblem, ensemble, tune

STORE = "data.zarr"
UNDER_WAY = "under_way"
"""Directory of the runs that are under way, for a study with checkpoints; gone when it is done."""


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

    With `checkpoint_every`, runs of the chunk that is computed are saved as they go, and resumed
    from their last stretch.

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
        begun_with = fingerprint(study, description)
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
        under_way = directory / UNDER_WAY
        begun = canonical(begun_with)
        try:
            with progress("training members", int((~known).sum())) as advance:
                for block in missing:
                    there = known[plan.blocks.region(block)]
                    what = f"{begun} {block} {there.tolist()}".encode()
                    own = under_way / hashlib.sha256(what).hexdigest()[:16]
                    run = UnderWay(study, own, advance, int((~there).sum()))
                    if there.any():
                        store.write(block, train_missing(run, store, block, there))
                    else:
                        store.write(block, train_block(run, plan, block))
                    done += 1
                    run.end()
            shutil.rmtree(under_way, ignore_errors=True)
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


@dataclasses.dataclass
class UnderWay:
    """Members of a study that are trained now: so many of them, saved in a directory if at all."""

    study: Study
    directory: Path
    advance: Advance
    members: int
    shown: float = 0.0

    @property
    def checkpoints(self) -> Checkpoints | None:
        """Where and how often their runs are saved."""
        every = self.study.checkpoint_every
        return None if every is None else Checkpoints(self.directory, every)

    def told(self, share: float) -> None:
        """Show that this share of their steps is done."""
        self.advance(share * self.members)
        self.shown += share * self.members

    def end(self) -> None:
        """Show that all are done, and in the store: the files go."""
        self.advance(self.members - self.shown)
        shutil.rmtree(self.directory, ignore_errors=True)


def train_block(run: UnderWay, plan: Layout, block: tuple[int, ...]) -> dict[str, np.ndarray]:
    """All arrays of a block, the axes of its members first.

    Blocks that are cut short are trained at full size, so that one program serves all.
    """
    region, size = plan.blocks.region(block), plan.blocks.size
    # the last value stands in for those beyond the end of an axis
    axes = [
        [min(part.start + i, part.stop - 1) for i in range(length)]
        for part, length in zip(region[:-1], size[:-1], strict=True)
    ]
    found = train_members(run, axes, first_seed=region[-1].start, seeds=size[-1])
    kept = tuple(slice(part.stop - part.start) for part in region)
    return {
        name: array[kept if "seed" in plan.arrays[name].dims else kept[:-1]]
        for name, array in found.items()
    }


def train_members(
    run: UnderWay, axes: Sequence[Sequence[int]], *, first_seed: int, seeds: int
) -> dict[str, np.ndarray]:
    """All arrays of some points along each axis of the grid, for some seeds in a row."""
    study = run.study
    problem, found = study.on_grid(axes), {}
    if study.tune is not None:
        problem, found = _tune(study, problem, first_seed=first_seed, seeds=seeds)
    found |= _train(run, problem, first_seed=first_seed, seeds=seeds)
    return {name: np.asarray(array) for name, array in jax.device_get(found).items()}


def _train(
    under_way: UnderWay, problem: TrainingProblem, *, first_seed: int, seeds: int
) -> dict[str, Any]:
    """Train some seeds; hyperparameters [*grid, ...], or [*grid, seeds, ...] if tuned so."""
    study = under_way.study
    key, grid = jax.random.key(study.key), len(study.grid)
    if study.tune is not None and study.tune.per_seed:
        # entries of seeds before the first are never looked at
        entry = np.maximum(np.arange(first_seed + seeds) - first_seed, 0)
        own = jax.tree.map(lambda leaf: jnp.take(leaf, entry, axis=grid), problem.hyper)
        problem = dataclasses.replace(problem, hyper=PerSeed(own), grid_ndim=grid)
    members = math.prod(problem.grid_shape) * seeds
    run = ensemble(
        problem, key, seeds=seeds, first_seed=first_seed, method=study.method,
        checkpoints=under_way.checkpoints,
        callback=None if under_way.checkpoints is None else lambda n: under_way.told(n / members),
    )  # fmt: skip
    return {STATUS: run.status, **(run.saved or {})}


def _tune(
    study: Study, problem: TrainingProblem, *, first_seed: int, seeds: int
) -> tuple[TrainingProblem, dict[str, Any]]:
    """The problem at the tuned hyperparameters, and how they and the objective went."""
    how = study.tune
    assert how is not None
    names, structure = hyper_names(problem.hyper), jax.tree.structure(problem.hyper)
    objective = _Objective(how.objective, -1.0 if how.maximise else 1.0)
    at_end = SaveAt(problem.save.fn, times=(problem.steps,))
    tuned = tune(
        objective,
        dataclasses.replace(problem, save=at_end),
        jax.random.key(study.key),
        seeds=seeds,
        first_seed=first_seed,
        optimiser=how.optimiser,
        iterations=how.iterations,
        per_seed=how.per_seed,
        tuned=jax.tree.unflatten(structure, [name in how.parameters for name in names]),
        bounds=study.bounds(),
    )
    went = dict(zip(names, jax.tree.leaves(tuned.hypers), strict=True))
    parameters = {TUNED + name: went[name] for name in how.parameters}
    values = objective.sign * tuned.values
    arrays = {OBJECTIVE: values, TUNING_STATUS: tuned.status, **parameters}
    grid_ndim = problem.grid_ndim + how.per_seed
    return dataclasses.replace(problem, hyper=tuned.hyper, grid_ndim=grid_ndim), arrays


@dataclasses.dataclass(frozen=True)
class _Objective:
    """Compared by value, so that all blocks share one program."""

    name: str
    sign: float

    def __call__(self, run: Run) -> Float[Array, ""]:
        return self.sign * run.saved[self.name][-1]


def train_missing(
    run: UnderWay, store: Store, block: tuple[int, ...], known: np.ndarray
) -> dict[str, np.ndarray]:
    """A block's arrays, of which the members that are `known` [*block] are kept as they are.

    Those that are missing are trained as the smallest product of grid values and seeds that holds
    them. Raises `StoreRefused` if what is known and computed again comes out as something else.
    """
    plan, region = store.layout, store.layout.blocks.region(block)
    axes = range(known.ndim)
    within = [np.flatnonzero(~known.all(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    within[-1] = np.arange(within[-1][0], within[-1][-1] + 1)
    starts = [part.start for part in region]
    chosen = [(start + positions).tolist() for start, positions in zip(starts, within, strict=True)]
    found = train_members(run, chosen[:-1], first_seed=chosen[-1][0], seeds=len(chosen[-1]))
    there = store.members(dict(zip(plan.member_dims, region, strict=True)))
    arrays, fresh = (
        merged(plan, known.shape, there, found, within, chosen)
        for chosen in (~known, np.ones_like(known))
    )
    if (plan.digest(fresh) != plan.digest(arrays)).any():
        raise StoreRefused(
            f"{store.path}: runs that are there came out otherwise when they were computed again; "
            f"{LEFT}"
        )
    return arrays
