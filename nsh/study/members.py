"""Training one block of a study's members: the one place that calls `ensemble` and `tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from nsh import training
from nsh.study.layout import OBJECTIVE, STATUS, TUNED, TUNING_STATUS, Layout
from nsh.study.study import Study, hyper_names
from nsh.training import Run, SaveAt, ensemble


def train_block(study: Study, plan: Layout, block: tuple[int, ...]) -> dict[str, np.ndarray]:
    """All arrays of a block, the axes of its members first.

    Blocks that are cut short are trained at full size, so that one program serves all.
    """
    region, size = plan.blocks.region(block), plan.blocks.size
    # the last value stands in for those beyond the end of an axis
    axes = [
        [min(part.start + i, part.stop - 1) for i in range(length)]
        for part, length in zip(region[:-1], size[:-1], strict=True)
    ]
    found = train_members(study, axes, first_seed=region[-1].start, seeds=size[-1])
    kept = tuple(slice(part.stop - part.start) for part in region)
    return {
        name: array[kept if "seed" in plan.arrays[name].dims else kept[:-1]]
        for name, array in found.items()
    }


def train_members(
    study: Study, axes: Sequence[Sequence[int]], *, first_seed: int, seeds: int
) -> dict[str, np.ndarray]:
    """All arrays of some places along each axis of the grid, for some seeds in a row."""
    hyper, found = study.points(axes), {}
    if study.tune is not None:
        hyper, found = _tune(study, hyper, first_seed=first_seed, seeds=seeds)
    found |= _train(study, hyper, first_seed=first_seed, seeds=seeds)
    return {name: np.asarray(array) for name, array in jax.device_get(found).items()}


def _train(study: Study, hyper: PyTree, *, first_seed: int, seeds: int) -> dict[str, Any]:
    """Train some seeds at hyperparameters [*grid, ...], or [*grid, seeds, ...] if tuned so."""
    grid = len(study.grid)

    def trained(hyper: PyTree, first: int, count: int, lanes: int | None) -> dict[str, Any]:
        run = ensemble(
            study.system, study.examples, hyper, jax.random.key(study.key),
            seeds=count, first_seed=first, steps=study.steps, sampler=study.sampler,
            save=study.save, method=study.method, grid=grid, lanes=lanes,
        )  # fmt: skip
        return {STATUS: run.status, **(run.saved or {})}

    if study.tune is None or not study.tune.per_seed:
        return trained(hyper, first_seed, seeds, None)
    before = (slice(None),) * grid
    own = [jax.tree.map(lambda leaf, i=i: leaf[(*before, i)], hyper) for i in range(seeds)]
    runs = [trained(hyper, first_seed + i, 1, 1) for i, hyper in enumerate(own)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=grid), *runs)


def _tune(
    study: Study, hyper: PyTree, *, first_seed: int, seeds: int
) -> tuple[PyTree, dict[str, Any]]:
    """The tuned hyperparameters, and how they and the objective went."""
    tune = study.tune
    assert tune is not None
    names, structure = hyper_names(study.hyper), jax.tree.structure(study.hyper)
    objective = _Objective(tune.objective, -1.0 if tune.maximise else 1.0)
    tuned = training.tune(
        objective, study.system, study.examples, hyper, jax.random.key(study.key),
        seeds=seeds, first_seed=first_seed, steps=study.steps, sampler=study.sampler,
        save=SaveAt(study.save.what, steps=(study.steps,)), optimiser=tune.optimiser,
        iterations=tune.iterations, grid=len(study.grid), per_seed=tune.per_seed,
        tuned=jax.tree.unflatten(structure, [name in tune.parameters for name in names]),
        bounds=study.bounds(),
    )  # fmt: skip
    went = dict(zip(names, jax.tree.leaves(tuned.hypers), strict=True))
    parameters = {TUNED + name: went[name] for name in tune.parameters}
    values = objective.sign * tuned.values
    return tuned.hyper, {OBJECTIVE: values, TUNING_STATUS: tuned.status, **parameters}


@dataclasses.dataclass(frozen=True)
class _Objective:
    """Compared by value, so that all blocks share one program."""

    name: str
    sign: float

    def __call__(self, run: Run) -> Float[Array, ""]:
        return self.sign * run.saved[self.name][-1]
