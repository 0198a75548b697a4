"""Many steps at once: composition of the steps' maps, in logarithmic depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import plain_integer, require_integer
from nsh.system import Transition
from nsh.training.blocks import Stretch, scan_blocks, stretches
from nsh.training.method import Method
from nsh.training.plan import Keys, Outcome, Plan


class ParallelInTime(Method):
    """Steps composed as maps before they meet a state: depth log T instead of T.

    For a System whose steps compose (`System.transition`), such as neurashed with affine rules.
    ``state_t = (f_t o ... o f_1)(state_0)``: the maps between recordings are reduced as a tree,
    their prefixes come from `jax.lax.associative_scan`, and all recorded states from one `vmap`.
    Same mini-batches as `Sequential`, equal to it up to rounding.

    It takes more work than `Sequential` (clipped affine maps: about ten times as much) to gain
    depth: on two CPU cores it pays for tiny graphs with geometric rules only (page "Benchmarks").

    `memory`: bytes of maps held at once for one member; longer runs are cut into blocks that
    follow one another. Differentiable both ways.
    """

    memory: int = eqx.field(static=True, default=1 << 20, converter=plain_integer)

    def __check_init__(self):
        require_integer("memory", self.memory, 1)

    def require_fit(self, plan: Plan) -> None:
        """Raise `ValueError` if the steps do not compose."""
        _map_bytes(plan)

    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """See `Method.run`."""
        keys = Keys.of(key)
        loop = _Composed(plan, keys, max(self.memory // _map_bytes(plan), 1))
        carry, saved, done = plan.start(keys), [], 0
        for stretch in stretches(plan.times):
            if stretch.from_start:
                start = plan.record(carry[0], jnp.zeros((), jnp.int32))
                saved.append(jax.tree.map(lambda leaf: leaf[None], start))
            if stretch.count:
                carry, recorded = loop.recorded(carry, stretch)
                saved.append(recorded)
            done = stretch.first + stretch.gap * stretch.count
        carry = loop.advance(carry, jnp.asarray(done, jnp.int32), plan.steps - done)
        together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved) if saved else None
        return Outcome(carry[0], together, plan.status(carry[0]))


@dataclass(frozen=True, eq=False)
class _Composed:
    plan: Plan
    keys: Keys
    most: int
    """Maps held at once."""

    def maps(self, carried: Any, first: Int[Array, ""], count: int) -> tuple[Transition, Any]:
        indices, carried = self.plan.indices(carried, first, count, self.keys)
        steps = first + jnp.arange(count, dtype=jnp.int32)
        return jax.vmap(partial(_map, self.plan, self.keys))(indices, steps), carried

    def advance(self, carry: Any, first: Int[Array, ""], count: int) -> Any:
        def block(carry: Any, first: Int[Array, ""], size: int) -> tuple[Any, None]:
            state, carried = carry
            maps, carried = self.maps(carried, first, size)
            return (_composed(maps, size)(state), carried), None

        if count == 0:
            return carry
        return scan_blocks(block, carry, first, count, self.most, checkpoint=False)[0]

    def recorded(self, carry: Any, stretch: Stretch) -> tuple[Any, PyTree]:
        def together(carry: Any, first: Int[Array, ""], size: int) -> tuple[Any, PyTree]:
            state, carried = carry
            start = stretch.first + stretch.gap * first
            maps, carried = self.maps(carried, start, size * stretch.gap)
            parts = size, stretch.gap
            by_gap = jax.tree.map(lambda leaf: leaf.reshape(*parts, *leaf.shape[1:]), maps)
            between = jax.vmap(lambda maps: _composed(maps, stretch.gap))(by_gap)
            prefixes = jax.lax.associative_scan(_then, between)
            states = jax.vmap(lambda prefix: prefix(state))(prefixes)
            steps = start + stretch.gap * jnp.arange(1, size + 1, dtype=jnp.int32)
            recorded = jax.vmap(self.plan.record)(states, steps)
            return (jax.tree.map(lambda leaf: leaf[-1], states), carried), recorded

        def alone(carry: Any, number: Int[Array, ""]) -> tuple[Any, PyTree]:
            step = stretch.first + stretch.gap * number
            carry = self.advance(carry, step, stretch.gap)
            return carry, self.plan.record(carry[0], step + stretch.gap)

        first, at_once = jnp.zeros((), jnp.int32), self.most // stretch.gap
        if at_once == 0:  # one gap alone takes several blocks
            return jax.lax.scan(alone, carry, jnp.arange(stretch.count, dtype=jnp.int32))
        return scan_blocks(together, carry, first, stretch.count, at_once, checkpoint=False)


def _map(plan: Plan, keys: Keys, indices: Int[Array, " batch"], step: Int[Array, ""]) -> Transition:
    key = jax.random.fold_in(keys.steps, step)
    return plan.system.transition(plan.batch(indices), plan.hyper, step, key)


def _then(earlier: Any, later: Any) -> Any:
    return jax.vmap(lambda earlier, later: earlier.then(later))(earlier, later)


def _composed(maps: Any, count: int) -> Any:
    """The maps of the leading axis one after the other, as a tree of pairs."""
    while count > 1:
        even = count - count % 2
        merged = _then(
            *(jax.tree.map(lambda leaf, i=i, even=even: leaf[i:even:2], maps) for i in (0, 1))
        )
        if even < count:
            merged = jax.tree.map(lambda a, b: jnp.concatenate([a, b[-1:]]), merged, maps)
        maps, count = merged, (count + 1) // 2
    return jax.tree.map(lambda leaf: leaf[0], maps)


def _map_bytes(plan: Plan) -> int:
    """Size of one step's map; raises `ValueError` if the system has none."""

    def one(key: Key[Array, ""]) -> Transition:
        keys, zero = Keys.of(key), jnp.zeros((), jnp.int32)
        indices, _ = plan.indices(plan.start(keys)[1], zero, 1, keys)
        return _map(plan, keys, indices[0], zero)

    leaves = jax.tree.leaves(eqx.filter_eval_shape(one, jax.random.key(0)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
