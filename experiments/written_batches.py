"""Mini-batches drawn on the host and written down, for all systems to be trained on the same ones.

For short runs, too: compiling the draws can take XLA longer than compiling the rest.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from nsh.training import Sampler


class Written(Sampler):
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
