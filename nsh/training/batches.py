"""Which samples each mini-batch holds: samplers, as values."""

from __future__ import annotations

import abc
import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, UInt32

from nsh._checks import plain_integer, require, require_integer
from nsh.training.distinct import distinct_batches

Law = tuple[Int[np.ndarray, "batches most"], Float[np.ndarray, " batches"]]

# steps that share a key: hashing a key for each step would double the cost of an index
STEPS_OF_A_KEY = 16


class Sampler(eqx.Module):
    """Draws the indices of mini-batches, many steps at once; carried through the training loop."""

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], samples: int) -> PyTree:
        """Return the state that the sampler carries from step to step."""

    @abc.abstractmethod
    def draw(
        self, carried: PyTree, first: Int[Array, ""], count: int, key: Key[Array, ""], samples: int
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """Indices of the mini-batches of steps first .. first + count - 1, and what to carry on.

        The mini-batch of a step depends on `key` and the step alone, not on how many steps are
        drawn at once; `key` is the same for all calls of a run. Size 0 stands for all samples.
        """

    def check(self, samples: int) -> None:
        """Raise `ValueError` if no batch can be drawn from so many samples."""

    def law(self, samples: int) -> Law:  # noqa: ARG002
        """Each mini-batch that can be drawn, as indices (some repeated), and its probability.

        For mini-batches that are independent and of the same law at each step; order and
        repetition of samples within one are left out of account. Raises `ValueError` if there is
        no such law, which is the default, or if too many mini-batches differ.
        """
        raise ValueError(f"mini-batches of {type(self).__name__} are not independent draws")


class WithReplacement(Sampler):
    """Mini-batches of `size` samples, each drawn independently and uniformly. Any size >= 1.

    Sample j has probability 1/n up to 2^-32, which is the resolution of the 32 random bits spent
    on each.
    """

    size: int = eqx.field(static=True, default=1, converter=plain_integer)

    def __check_init__(self):
        require_integer("size", self.size, 1)

    def init(self, key: Key[Array, ""], samples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        carried: Any,
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],
        samples: int,
    ) -> tuple[Int[Array, "count batch"], Any]:
        """See `Sampler.draw`."""

        def one(group: Int[Array, ""]) -> UInt32[Array, "steps batch"]:
            # drawn in one row: the same numbers, many times faster to compile on CPUs
            shape = STEPS_OF_A_KEY, self.size
            bits = jax.random.bits(jax.random.fold_in(key, group), (math.prod(shape),), jnp.uint32)
            return bits.reshape(shape)

        # enough whole groups, wherever in the first of them `first` falls
        groups = 1 + -(-(count - 1) // STEPS_OF_A_KEY)
        group = first // STEPS_OF_A_KEY
        bits = jax.vmap(one)(group + jnp.arange(groups, dtype=jnp.int32)).reshape(-1, self.size)
        bits = jax.lax.dynamic_slice_in_dim(bits, first - group * STEPS_OF_A_KEY, count)
        return _below(bits, samples), carried

    def law(self, samples: int) -> Law:
        """See `Sampler.law`; at most 4,096 distinct mini-batches."""
        return distinct_batches(samples, self.size)


class Epochs(Sampler):
    """Mini-batches of `size` without replacement: a new random order each epoch.

    The ``samples % size`` samples left over at the end of an epoch's order are skipped in that
    epoch.
    """

    size: int = eqx.field(static=True, converter=plain_integer)

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
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],
        samples: int,
    ) -> tuple[Int[Array, "count batch"], Int[Array, " samples"]]:
        """See `Sampler.draw`."""

        def one(
            order: Int[Array, " samples"], step: Int[Array, ""]
        ) -> tuple[Int[Array, " samples"], Int[Array, " batch"]]:
            place = step % (samples // self.size)
            shuffle = partial(jax.random.permutation, jax.random.fold_in(key, step))
            order = jax.lax.cond(place == 0, shuffle, lambda order: order, order)
            return order, jax.lax.dynamic_slice(order, (place * self.size,), (self.size,))

        steps = first + jnp.arange(count, dtype=jnp.int32)
        order, indices = jax.lax.scan(one, carried, steps)
        return indices, order


class FullBatch(Sampler):
    """Every sample at every step."""

    def init(self, key: Key[Array, ""], samples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        carried: Any,
        first: Int[Array, ""],  # noqa: ARG002
        count: int,
        key: Key[Array, ""],  # noqa: ARG002
        samples: int,  # noqa: ARG002
    ) -> tuple[Int[Array, "count batch"], Any]:
        """No indices, which stands for all samples."""
        return jnp.zeros((count, 0), jnp.int32), carried

    def law(self, samples: int) -> Law:  # noqa: ARG002
        """See `Sampler.law`: one mini-batch, without indices."""
        return np.zeros((1, 0), np.int32), np.ones(1)


def _below(bits: UInt32[Array, "*n"], samples: int) -> Int[Array, "*n"]:
    """floor(samples * bits / 2^32): the high word of a product, from halves that fit 32 bits."""
    low, high = (jnp.uint32(part) for part in (samples & 0xFFFF, samples >> 16))
    half, mask = jnp.uint32(16), jnp.uint32(0xFFFF)
    below, above = bits & mask, bits >> half
    middle = above * low + ((below * low) >> half)
    carried = (middle & mask) + below * high
    return (above * high + (middle >> half) + (carried >> half)).astype(jnp.int32)
