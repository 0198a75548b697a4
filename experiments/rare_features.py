"""Neurashed on data sets that differ from point to point, by batch size, in one program."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree, UInt32

from experiments.batches import FirstOf, FixedBatches
from nsh import Geometric, Neurashed, Rules, SaveAt, TrainingProblem, train
from nsh.neurashed import NeurashedState, Pathways

# those of the paper's Figure 4: features fade that fire in less than 1/12 of the steps
FACTORS = GROWTH, DECAY = 1.022 ** (11 / 4), 1.022 ** (-1 / 4)


@eqx.filter_jit
def trained(
    system: Neurashed,
    points: UInt32[Array, "points n words"],
    what: Callable[[Neurashed, NeurashedState], dict[str, Array]],
    sizes: Int[Array, " sizes"],
    drawn: Int[Array, "seeds steps most"],
    every: int,
) -> dict[str, Array]:
    """What `what` sees of runs every so many steps: [sizes, points, seeds, times, ...].

    `points`: the examples of each data set; `sizes`: of mini-batches; `drawn`: from `draws`.
    """
    rules = Rules(Geometric(GROWTH), Geometric(DECAY))
    keys = jax.random.split(jax.random.key(0), len(drawn))

    def one(size: Array, words: Array, drawn: Array, key: Array) -> PyTree:
        problem = TrainingProblem(
            system,
            Pathways(words),
            rules,
            steps=len(drawn),
            sampler=FirstOf(FixedBatches(drawn), size),
            save=SaveAt(every=every),
        )
        run = train(problem, key)
        return jax.vmap(lambda state: what(system, state))(run.saved)

    def point(place: tuple[Array, Array]) -> dict[str, Array]:
        return jax.vmap(one, (None, None, 0, 0))(*place, drawn, keys)

    # one point after another: all at once would take gigabytes
    grid = jnp.repeat(sizes, len(points)), jnp.tile(points, (len(sizes), 1, 1))
    found = jax.lax.map(point, grid)
    shape = len(sizes), len(points)
    return {name: values.reshape(*shape, *values.shape[1:]) for name, values in found.items()}
