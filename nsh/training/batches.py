"""Which examples each mini-batch holds: samplers, as values."""

from __future__ import annotations

import abc
import math
from fractions import Fraction
from functools import partial
from itertools import combinations
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, UInt32

from nsh._checks import (
    is_concrete,
    plain_integer,
    require,
    require_all,
    require_integer,
    require_scalar,
)

Distribution = tuple[Int[np.ndarray, "batches most"], Float[np.ndarray, " batches"]]

# 4,096 examples one at a time, 12 of them in mini-batches of any size
MOST_SETS = 4096

# steps that share a key: hashing a key for each step would double the cost of an index
STEPS_OF_A_KEY = 16


def as_indices(given: PyTree) -> PyTree:
    """Whole numbers as they are to be counted with: of 32 bits; inside `PerSeed` and such, too."""

    def one(leaf: Any) -> Any:
        integral = eqx.is_array_like(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.integer)
        require(integral, "indices and sizes", leaf, "whole numbers of an integer type")
        return leaf.astype(np.int32) if hasattr(leaf, "astype") else jnp.asarray(leaf, jnp.int32)

    return jax.tree.map(one, given)


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

    @property
    def has_repeats(self) -> bool:
        """Whether an index ``~i`` below 0 may stand for example i, repeated to fill the batch.

        A repeat does not count: see `System.masked`. False by default.
        """
        return False

    def distribution(self, num_examples: int) -> Distribution:  # noqa: ARG002
        """Each mini-batch that can be drawn, as indices (some repeated), and its probability.

        For mini-batches that are independent and of the same distribution at each step; order and
        repetition of examples within one are left out of account. Raises `ValueError` if there is
        no such distribution, which is the default, or if too many mini-batches differ.
        """
        raise ValueError(f"mini-batches of {type(self).__name__} are not independent draws")


def batch_size(sampler: Sampler, num_examples: int) -> int:
    """Number of indices that a sampler draws for a step; 0 stands for all examples."""

    def drawn(key: Key[Array, ""]) -> Array:
        state = sampler.init(key, num_examples)
        return sampler.draw(state, jnp.int32(0), 1, key, num_examples)[0]

    return eqx.filter_eval_shape(drawn, jax.random.key(0)).shape[1]


def places(indices: Int[Array, "*n"]) -> Int[Array, "*n"]:
    """The examples that indices stand for, those of repeats too."""
    return jnp.where(indices < 0, ~indices, indices)


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


class FixedBatches(Sampler):
    """Mini-batches that are given: `indices` [steps, batch]. After the last the first follows.

    To train several systems on the same mini-batches, or each seed on those of another program:
    ``PerSeed(FixedBatches(indices))`` with indices [seeds, steps, batch].

    Example:
        >>> sampler = nsh.FixedBatches(jnp.array([[0, 1], [2, 3]]))
        >>> sampler.draw(None, jnp.int32(1), 2, jax.random.key(0), 4)[0].tolist()
        [[2, 3], [0, 1]]
    """

    indices: Int[Array, "steps batch"] = eqx.field(converter=as_indices)

    def check(self, num_examples: int) -> None:
        """See `Sampler.check`."""
        shape = np.shape(self.indices)
        allowed = "[steps, batch], one mini-batch and one example at least"
        require(len(shape) == 2 and min(shape) > 0, "indices.shape", shape, allowed)
        _require_inside(self.indices, num_examples)

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
        return jnp.asarray(self.indices)[steps % len(self.indices)], state


class VariableSize(Sampler):
    """The first `size` examples of each mini-batch of `sampler`: the size is a number, not a shape.

    One compiled program serves all sizes up to that of `sampler`, and the size can be an axis of
    the grid: ``VariableSize(WithReplacement(64), PerPoint(sizes))``. Exact: the places beyond
    `size` are filled with repeats, which do not count. Networks leave them out of their loss, and
    the pathways of neurashed are those of the others anyway (`System.masked`). Raises `ValueError`
    for a system that cannot leave examples out.

    The time of a step is that of the largest size.

    Example:
        >>> sampler = nsh.VariableSize(nsh.FixedBatches(jnp.array([[4, 5, 6, 7]])), 3)
        >>> sampler.draw(None, jnp.int32(0), 1, jax.random.key(0), 8)[0].tolist()  # ~4 == -5
        [[4, 5, 6, -5]]
    """

    sampler: Sampler
    size: Int[Array, ""] = eqx.field(converter=as_indices)

    @property
    def has_repeats(self) -> bool:
        """See `Sampler.has_repeats`."""
        return True

    def check(self, num_examples: int) -> None:
        """See `Sampler.check`."""
        self.sampler.check(num_examples)
        allowed = "one whose batches all count, such as WithReplacement"
        require(not self.sampler.has_repeats, "sampler", self.sampler, allowed)
        most = batch_size(self.sampler, num_examples)
        require(most > 0, "sampler", self.sampler, "one that draws batches, such as Epochs")
        require_scalar("size", self.size)
        if is_concrete(self.size):
            allowed = f"in 1..{most}, at most what `sampler` draws"
            require(1 <= int(self.size) <= most, "size", int(self.size), allowed)

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
        place = jnp.arange(drawn.shape[1], dtype=jnp.int32)
        filled = drawn[:, place % self.size]
        return jnp.where(place < self.size, filled, ~filled), state


class OfSomeExamples(Sampler):
    """`sampler` on some of the examples, whose indices are carried with its own state."""

    sampler: eqx.AbstractVar[Sampler]

    @property
    def has_repeats(self) -> bool:
        """See `Sampler.has_repeats`."""
        return self.sampler.has_repeats

    def draw(
        self,
        state: tuple[Int[Array, " own"], PyTree],
        first: Int[Array, ""],
        count: int,
        key: Key[Array, ""],
        num_examples: int,  # noqa: ARG002
    ) -> tuple[Int[Array, "count batch"], PyTree]:
        """See `Sampler.draw`."""
        chosen, inner = state
        drawn, inner = self.sampler.draw(inner, first, count, key, chosen.size)
        if drawn.shape[1] == 0:  # all of them
            return jnp.broadcast_to(chosen, (count, chosen.size)), (chosen, inner)
        found = chosen[places(drawn)]
        return jnp.where(drawn < 0, ~found, found), (chosen, inner)


class Bootstrap(OfSomeExamples):
    """`sampler` on a bootstrap of the examples: each seed draws n of the n with replacement, once.

    Drawn by the seed's own key, so that an ensemble has a bootstrap for each seed (B. Efron, Ann.
    Stat. 7 (1979)). Only indices are kept: the data are not copied.

    Example:
        Full batches hold as many examples as there are, some of them more than once:

        >>> sampler, key = nsh.Bootstrap(nsh.FullBatch()), jax.random.key(0)
        >>> indices, _ = sampler.draw(sampler.init(key, 8), jnp.int32(0), 1, key, 8)
        >>> indices.shape, len(set(indices[0].tolist())) < 8
        ((1, 8), True)
    """

    sampler: Sampler

    def check(self, num_examples: int) -> None:
        """See `Sampler.check`."""
        self.sampler.check(num_examples)

    def init(self, key: Key[Array, ""], num_examples: int) -> tuple[Array, PyTree]:
        """Which examples the seed has, and the inner sampler's state."""
        own, inner = jax.random.split(key)
        chosen = _below(jax.random.bits(own, (num_examples,), jnp.uint32), num_examples)
        return chosen, self.sampler.init(inner, num_examples)


class Subset(OfSomeExamples):
    """`sampler` on the examples of these `indices` [n], which may repeat some.

    For each seed, or each point of a grid, its own: ``Subset(sampler, PerSeed(indices))`` with
    indices [seeds, n]. No data are copied, and subsets of one size see the same draws.

    Example:
        >>> sampler, key = nsh.Subset(nsh.Epochs(2), jnp.array([6, 7])), jax.random.key(0)
        >>> indices, _ = sampler.draw(sampler.init(key, 8), jnp.int32(0), 1, key, 8)
        >>> sorted(indices[0].tolist())
        [6, 7]
    """

    sampler: Sampler
    indices: Int[Array, " n"] = eqx.field(converter=as_indices)

    def check(self, num_examples: int) -> None:
        """See `Sampler.check`."""
        shape = np.shape(self.indices)
        require(len(shape) == 1 and shape[0] > 0, "indices.shape", shape, "[n], one at least")
        _require_inside(self.indices, num_examples)
        self.sampler.check(shape[0])

    def init(self, key: Key[Array, ""], num_examples: int) -> tuple[Array, PyTree]:  # noqa: ARG002
        """The indices, and the inner sampler's state."""
        return jnp.asarray(self.indices), self.sampler.init(key, self.indices.size)


class RandomSubset(OfSomeExamples):
    """`sampler` on `size` of the examples, which each seed draws for itself, without replacement.

    Drawn by the seed's own key. Only indices are kept: the data are not copied.

    Example:
        >>> sampler, key = nsh.RandomSubset(nsh.WithReplacement(), 2), jax.random.key(0)
        >>> indices, _ = sampler.draw(sampler.init(key, 8), jnp.int32(0), 100, key, 8)
        >>> len(set(indices[:, 0].tolist()))
        2
    """

    sampler: Sampler
    size: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        require_integer("size", self.size, 1)

    def check(self, num_examples: int) -> None:
        """See `Sampler.check`."""
        allowed = f"at most {num_examples}, the examples given"
        require(self.size <= num_examples, "size", self.size, allowed)
        self.sampler.check(self.size)

    def init(self, key: Key[Array, ""], num_examples: int) -> tuple[Array, PyTree]:
        """Which examples the seed has, and the inner sampler's state."""
        own, inner = jax.random.split(key)
        chosen = jax.random.permutation(own, jnp.arange(num_examples, dtype=jnp.int32))
        return chosen[: self.size], self.sampler.init(inner, self.size)


def _require_inside(indices: Int[Array | np.ndarray, "..."], num_examples: int) -> None:
    if is_concrete(indices):
        numbers = np.asarray(indices)
        inside = (numbers >= 0) & (numbers < num_examples)
        require_all(inside, "indices", numbers, f"in 0..{num_examples - 1}")


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
