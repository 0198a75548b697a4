"""Neurashed on data sets that differ from point to point, by batch size, in one program.

Mini-batches are drawn on the host: compiling the draws takes XLA longer than compiling the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree, UInt32

from nsh import Geometric, Neurashed, Rules, SaveAt, train
from nsh.neurashed import NeurashedState, Pathways
from nsh.training import Sampler

# those of the paper's Figure 4: features fade that fire in less than 1/12 of the steps
GROWTH, DECAY = 1.022 ** (11 / 4), 1.022 ** (-1 / 4)


class Drawn(Sampler):
    """Mini-batches given beforehand, of which the first `size` samples count.

    The others are replaced by the first, which a union of pathways does not notice: so several
    batch sizes share a program. (After the last mini-batch the first follows.)
    """

    indices: Int[Array, "steps most"]
    size: Int[Array, ""] | None = None

    def init(self, key: Key[Array, ""], samples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        carried: Any,
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],  # noqa: ARG002
        samples: int,  # noqa: ARG002
    ) -> tuple[Int[Array, "count batch"], Any]:
        """See `Sampler.draw`."""
        steps, most = self.indices.shape
        rows = self.indices[(first + jnp.arange(count, dtype=jnp.int32)) % steps]
        if self.size is None:
            return rows, carried
        place = jnp.arange(most, dtype=jnp.int32)
        return rows[:, jnp.where(place < self.size, place, 0)], carried


def draws(
    seed: int, seeds: int, steps: int, size: int, samples: int
) -> Int[Array, "seeds steps size"]:
    """Samples drawn with replacement for so many runs, of which each has numbers of its own."""
    rows = [
        np.random.default_rng((seed, run)).integers(samples, size=(steps, size))
        for run in range(seeds)
    ]
    return jnp.asarray(np.stack(rows), jnp.int32)


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
        run = train(
            system, Pathways(words), rules, key, steps=len(drawn),
            sampler=Drawn(drawn, size), save=SaveAt(every=every),
        )  # fmt: skip
        return jax.vmap(lambda state: what(system, state))(run.saved)

    def point(place: tuple[Array, Array]) -> dict[str, Array]:
        return jax.vmap(one, (None, None, 0, 0))(*place, drawn, keys)

    # one point after another: all at once would take gigabytes
    grid = jnp.repeat(sizes, len(points)), jnp.tile(points, (len(sizes), 1, 1))
    found = jax.lax.map(point, grid)
    shape = len(sizes), len(points)
    return {name: values.reshape(*shape, *values.shape[1:]) for name, values in found.items()}
