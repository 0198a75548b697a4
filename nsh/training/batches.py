"""Which samples each mini-batch holds: samplers, as values."""

from __future__ import annotations

import abc
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require, require_integer


class Sampler(eqx.Module):
    """Draws the indices of one mini-batch after the other; carried through the training loop."""

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], samples: int) -> PyTree:
        """What the sampler carries from step to step."""

    @abc.abstractmethod
    def draw(
        self, carried: PyTree, step: Int[Array, ""], key: Key[Array, ""], samples: int
    ) -> tuple[Int[Array, " batch"], PyTree]:
        """Indices of the mini-batch of a step, and what to carry on."""

    def check(self, samples: int) -> None:
        """Raise `ValueError` if no batch can be drawn from so many samples."""


class WithReplacement(Sampler):
    """Mini-batches of `size` samples, each drawn independently and uniformly. Any size >= 1."""

    size: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        require_integer("size", self.size, 1)

    def init(self, key: Key[Array, ""], samples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        carried: Any,
        step: Int[Array, ""],  # noqa: ARG002
        key: Key[Array, ""],
        samples: int,
    ) -> tuple[Int[Array, " batch"], Any]:
        """See `Sampler.draw`."""
        return jax.random.randint(key, (self.size,), 0, samples, jnp.int32), carried


class Epochs(Sampler):
    """Mini-batches of `size` without replacement: a new random order each epoch.

    The ``samples % size`` samples left over at the end of an epoch's order are skipped in that
    epoch.
    """

    size: int = eqx.field(static=True)

    def __check_init__(self):
        require_integer("size", self.size, 1)

    def check(self, samples: int) -> None:
        """See `Sampler.check`."""
        require(self.size <= samples, "size", self.size, f"at most {samples}, the samples given")

    def init(self, key: Key[Array, ""], samples: int) -> Int[Array, " samples"]:  # noqa: ARG002
        """The current epoch's order; the first is drawn at step 0."""
        return jnp.arange(samples, dtype=jnp.int32)

    def draw(
        self,
        carried: Int[Array, " samples"],
        step: Int[Array, ""],
        key: Key[Array, ""],
        samples: int,
    ) -> tuple[Int[Array, " batch"], Int[Array, " samples"]]:
        """See `Sampler.draw`."""
        place = step % (samples // self.size)
        shuffle = partial(jax.random.permutation, key)
        order = jax.lax.cond(place == 0, shuffle, lambda order: order, carried)
        return jax.lax.dynamic_slice(order, (place * self.size,), (self.size,)), order


class FullBatch(Sampler):
    """Every sample at every step."""

    def init(self, key: Key[Array, ""], samples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        carried: Any,
        step: Int[Array, ""],  # noqa: ARG002
        key: Key[Array, ""],  # noqa: ARG002
        samples: int,
    ) -> tuple[Int[Array, " batch"], Any]:
        """See `Sampler.draw`."""
        return jnp.arange(samples, dtype=jnp.int32), carried
