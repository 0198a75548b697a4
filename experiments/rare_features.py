"""Neurashed on data sets that differ from point to point, by batch size, in one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Key, UInt32

from nsh import (
    Geometric,
    Neurashed,
    PerPoint,
    Rules,
    SaveAt,
    TrainingProblem,
    VariableSize,
    WithReplacement,
    ensemble,
    hyper_grid,
)
from nsh.neurashed import Pathways
from nsh.training import Snapshot

# those of the paper's Figure 4: features fade that fire in less than 1/12 of the steps
FACTORS = GROWTH, DECAY = 1.022 ** (11 / 4), 1.022 ** (-1 / 4)


@eqx.filter_jit
def trained(
    system: Neurashed,
    points: UInt32[Array, "points n words"],
    what: Callable[[Snapshot], dict[str, Array]],
    sizes: Sequence[int],
    *,
    seeds: int,
    steps: int,
    every: int,
    key: Key[Array, ""],
) -> dict[str, Array]:
    """What `what` sees of runs every so many steps: [sizes, points, seeds, times, ...].

    `points`: the examples of each data set; `sizes`: of mini-batches. A seed has the same draws
    everywhere.
    """

    def point(size: Array, place: Array) -> tuple[Rules, Array, Array]:
        return Rules(Geometric(GROWTH), Geometric(DECAY)), size.astype(int), place.astype(int)

    rules, size, place = hyper_grid(point, size=sizes, place=range(len(points)))
    problem = TrainingProblem(
        system,
        PerPoint(Pathways(jnp.asarray(points)[place])),
        rules,
        steps=steps,
        sampler=VariableSize(WithReplacement(max(sizes)), PerPoint(size)),
        save=SaveAt(what, every=every),
        grid_ndim=2,
    )
    return ensemble(problem, key, seeds=seeds).saved
