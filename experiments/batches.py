"""Mini-batches that are given, and mini-batches of many sizes for one compiled program."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh.training import Sampler


class FixedBatches(Sampler):
    """Mini-batches given beforehand, for all systems to be trained on the same ones.

    For short runs, too: compiling the draws can take XLA longer than compiling the rest. After the
    last mini-batch the first follows.
    """

    indices: Int[Array, "steps batch"]

    def init(self, key: Key[Array, ""], num_examples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        state: PyTree,
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],  # noqa: ARG002
        num_examples: int,  # noqa: ARG002
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """See `Sampler.draw`."""
        steps = first + jnp.arange(count, dtype=jnp.int32)
        return self.indices[steps % len(self.indices)], state


class FirstOf(Sampler):
    """The first `size` samples of each mini-batch of `sampler`, repeated in turn.

    One compiled program serves all sizes. The union of pathways depends on which samples a
    mini-batch holds, not on how often; the mean gradient is that of the `size` samples if their
    number divides the mini-batch.
    """

    sampler: Sampler
    size: Int[Array, ""]

    def init(self, key: Key[Array, ""], num_examples: int) -> PyTree:
        """See `Sampler.init`."""
        return self.sampler.init(key, num_examples)

    def draw(
        self,
        state: PyTree,
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],
        num_examples: int,
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """See `Sampler.draw`."""
        drawn, state = self.sampler.draw(state, first, count, key, num_examples)
        return drawn[:, jnp.arange(drawn.shape[1], dtype=jnp.int32) % self.size], state


def draws(
    seed: int, seeds: int, steps: int, size: int, samples: int
) -> Int[Array, "seeds steps size"]:
    """Draw samples with replacement on the host, for so many runs with numbers of their own."""
    rows = [
        np.random.default_rng((seed, run)).integers(samples, size=(steps, size))
        for run in range(seeds)
    ]
    return jnp.asarray(np.stack(rows), jnp.int32)
