"""Which examples each mini-batch holds: samplers, as values."""

from __future__ import annotations

import abc
import math
from fractions import Fraction
from functools import partial
from itertools import combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, UInt32

from nsh._checks import plain_integer, require, require_integer

Distribution = tuple[Int[np.ndarray, "batches most"], Float[np.ndarray, " batches"]]

# 4,096 examples one at a time, 12 of them in mini-batches of any size
MOST_SETS = 4096

# steps that share a key: hashing a key for each step would double the cost of an index
STEPS_OF_A_KEY = 16


class Sampler(eqx.Module):
    """Draws the indices of mini-batches, many steps at once, and carries a state along."""

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], num_examples: int) -> PyTree:
        """Return the state that the sampler carries from step to step."""

    @abc.abstractmethod
    def draw(
        self,
        state: PyTree,
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],
        num_examples: int,
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """Indices of the mini-batches of steps first .. first + count - 1, and what to carry on.

        The mini-batch of a step depends on `key` and the step alone, not on how many steps are
        drawn at once; `key` is the same for all calls of a run. Size 0 stands for all examples.
        """

    def check(self, num_examples: int) -> None:
        """Raise `ValueError` if no batch can be drawn from so many examples."""

    def distribution(self, num_examples: int) -> Distribution:  # noqa: ARG002
        """Each mini-batch that can be drawn, as indices (some repeated), and its probability.

        For mini-batches that are independent and of the same distribution at each step; order and
        repetition of examples within one are left out of account. Raises `ValueError` if there is
        no such distribution, which is the default, or if too many mini-batches differ.
        """
        raise ValueError(f"mini-batches of {type(self).__name__} are not independent draws")


class WithReplacement(Sampler):
    """Mini-batches of `size` examples, each drawn independently and uniformly. Any size >= 1.

    Sample j has probability 1/n up to 2^-32, which is the resolution of the 32 random bits spent
    on each.

    Example:
        Three mini-batches of two of eight examples:

        >>> indices, _ = nsh.WithReplacement(2).draw(None, jnp.int32(0), 3, jax.random.key(0), 8)
        >>> indices.shape
        (3, 2)
    """

    size: int = eqx.field(static=True, default=1, converter=plain_integer)

    def __check_init__(self):
        require_integer("size", self.size, 1)

    def init(self, key: Key[Array, ""], num_examples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        state: PyTree,
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],
        num_examples: int,
    ) -> tuple[Int[Array, "count batch"], PyTree]:
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
        return _below(bits, num_examples), state

    def distribution(self, num_examples: int) -> Distribution:
        """See `Sampler.distribution`; at most 4,096 distinct mini-batches."""
        return distinct_batches(num_examples, self.size)


class Epochs(Sampler):
    """Mini-batches of `size` without replacement: a new random order each epoch.

    The ``n % size`` examples left over at the end of an epoch's order are skipped in that
    epoch.

    Example:
        Two mini-batches of two are an epoch of four examples:

        >>> sampler, key = nsh.Epochs(2), jax.random.key(0)
        >>> indices, _ = sampler.draw(sampler.init(key, 4), jnp.int32(0), 2, key, 4)
        >>> sorted(indices.ravel().tolist())
        [0, 1, 2, 3]
    """

    size: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        require_integer("size", self.size, 1)

    def check(self, num_examples: int) -> None:
        """See `Sampler.check`."""
        allowed = f"at most {num_examples}, the examples given"
        require(self.size <= num_examples, "size", self.size, allowed)

    def init(self, key: Key[Array, ""], num_examples: int) -> Int[Array, " examples"]:  # noqa: ARG002
        """The current epoch's order; the first is drawn at step 0."""
        return jnp.arange(num_examples, dtype=jnp.int32)

    def draw(
        self,
        state: Int[Array, " examples"],
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],
        num_examples: int,
    ) -> tuple[Int[Array, "count batch"], Int[Array, " examples"]]:
        """See `Sampler.draw`."""

        def one(
            order: Int[Array, " examples"], step: Int[Array, ""]
        ) -> tuple[Int[Array, " examples"], Int[Array, " batch"]]:
            position = step % (num_examples // self.size)
            shuffle = partial(jax.random.permutation, jax.random.fold_in(key, step))
            order = jax.lax.cond(position == 0, shuffle, lambda order: order, order)
            return order, jax.lax.dynamic_slice(order, (position * self.size,), (self.size,))

        steps = first + jnp.arange(count, dtype=jnp.int32)
        order, indices = jax.lax.scan(one, state, steps)
        return indices, order


class FullBatch(Sampler):
    """Every example at every step.

    Example:
        No indices stand for all examples:

        >>> indices, _ = nsh.FullBatch().draw(None, jnp.int32(0), 3, jax.random.key(0), 8)
        >>> indices.shape
        (3, 0)
    """

    def init(self, key: Key[Array, ""], num_examples: int) -> None:
        """Nothing is carried."""

    def draw(
        self,
        state: PyTree,
        first: Int[Array, ""],  # noqa: ARG002
        count: int,
        key: Key[Array, ""],  # noqa: ARG002
        num_examples: int,  # noqa: ARG002
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """No indices, which stands for all examples."""
        return jnp.zeros((count, 0), jnp.int32), state

    def distribution(self, num_examples: int) -> Distribution:  # noqa: ARG002
        """See `Sampler.distribution`: one mini-batch, without indices."""
        return np.zeros((1, 0), np.int32), np.ones(1)


def _below(bits: UInt32[Array, "*n"], num_examples: int) -> Int[Array, "*n"]:
    """floor(n * bits / 2^32), n examples: the high word of a product, from halves of 32 bits."""
    low, high = (jnp.uint32(part) for part in (num_examples & 0xFFFF, num_examples >> 16))
    half, mask = jnp.uint32(16), jnp.uint32(0xFFFF)
    below, above = bits & mask, bits >> half
    middle = above * low + ((below * low) >> half)
    carry = (middle & mask) + below * high
    return (above * high + (middle >> half) + (carry >> half)).astype(jnp.int32)


def distinct_batches(
    num_examples: int, size: int
) -> tuple[Int[np.ndarray, "sets most"], Float[np.ndarray, " sets"]]:
    """Every set of examples that `size` independent uniform draws can give, with its probability.

    A set of s examples has probability (number of ways to map the `size` draws onto all of it) /
    ``n ** size``, by inclusion and exclusion ``sum_j (-1)^(s-j) C(s, j) (j/n)^size``,
    in integers, since the terms cancel. A set is filled up to min(n, size) entries by
    repeating one of its examples. Raises `ValueError` if there are too many sets.
    """
    sizes = range(1, min(num_examples, size) + 1)
    count = sum(math.comb(num_examples, s) for s in sizes)
    field = f"distinct mini-batches of {size} of {num_examples} examples"
    require(count <= MOST_SETS, field, count, f"at most {MOST_SETS}")
    sets, probabilities = [], []
    for s in sizes:
        ways = sum((-1) ** (s - j) * math.comb(s, j) * j**size for j in range(s + 1))
        chosen = np.array(list(combinations(range(num_examples), s)), np.int32)
        sets.append(np.pad(chosen, [(0, 0), (0, sizes[-1] - s)], mode="edge"))
        probabilities.append(np.full(len(chosen), float(Fraction(ways, num_examples**size))))
    return np.concatenate(sets), np.concatenate(probabilities)
