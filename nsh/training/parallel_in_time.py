"""Many steps at once: composition of the steps' maps, in logarithmic depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import plain_integer, require_integer
from nsh.system import Transition
from nsh.training.problem import Keys, Method, Result, TrainingProblem
from nsh.training.step_loop import Segment, scan_blocks, segments


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

    Example:
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> run = nsh.train(problem, jax.random.key(0), method=nsh.ParallelInTime())
        >>> round(float(jnp.exp(run.state.log_amplification[0])), 3)
        16.0
    """

    memory: int = eqx.field(static=True, default=1 << 20, converter=plain_integer)

    def __check_init__(self):
        require_integer("memory", self.memory, 1)

    def check_supported(self, problem: TrainingProblem) -> None:
        """Raise `ValueError` if the steps do not compose."""
        _map_bytes(problem)

    def run(self, problem: TrainingProblem, key: Key[Array, ""]) -> Result:
        """See `Method.run`."""
        keys = Keys.of(key)
        loop = _Composed(problem, keys, max(self.memory // _map_bytes(problem), 1))
        carry, saved, done = problem.start(keys), [], 0
        for segment in segments(problem.times):
            if segment.from_start:
                start = problem.record(carry[0], jnp.zeros((), jnp.int32))
                saved.append(jax.tree.map(lambda leaf: leaf[None], start))
            if segment.recordings:
                carry, recorded = loop.recorded(carry, segment)
                saved.append(recorded)
            done = segment.end
        carry = loop.advance(carry, jnp.asarray(done, jnp.int32), problem.steps - done)
        together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *saved) if saved else None
        return Result(carry[0], together, problem.status(carry[0]))


@dataclass(frozen=True, eq=False)
class _Composed:
    problem: TrainingProblem
    keys: Keys
    most: int
    """Maps held at once."""

    def maps(
        self, sampler_state: PyTree, first: Int[Array, ""], count: int
    ) -> tuple[Transition, PyTree]:
        indices, sampler_state = self.problem.indices(sampler_state, first, count, self.keys)
        steps = first + jnp.arange(count, dtype=jnp.int32)
        return jax.vmap(partial(_map, self.problem, self.keys))(indices, steps), sampler_state

    def advance(self, carry: PyTree, first: Int[Array, ""], count: int) -> PyTree:
        def block(carry: PyTree, first: Int[Array, ""], size: int) -> tuple[PyTree, None]:
            state, sampler_state = carry
            maps, sampler_state = self.maps(sampler_state, first, size)
            return (_composed(maps, size)(state), sampler_state), None

        if count == 0:
            return carry
        return scan_blocks(block, carry, first, count, self.most, checkpoint=False)[0]

    def recorded(self, carry: PyTree, segment: Segment) -> tuple[PyTree, PyTree]:
        def together(carry: PyTree, first: Int[Array, ""], size: int) -> tuple[PyTree, PyTree]:
            state, sampler_state = carry
            start = segment.first + segment.gap * first
            maps, sampler_state = self.maps(sampler_state, start, size * segment.gap)
            parts = size, segment.gap
            by_gap = jax.tree.map(lambda leaf: leaf.reshape(*parts, *leaf.shape[1:]), maps)
            between = jax.vmap(lambda maps: _composed(maps, segment.gap))(by_gap)
            prefixes = jax.lax.associative_scan(_then, between)
            states = jax.vmap(lambda prefix: prefix(state))(prefixes)
            steps = start + segment.gap * jnp.arange(1, size + 1, dtype=jnp.int32)
            recorded = jax.vmap(self.problem.record)(states, steps)
            return (jax.tree.map(lambda leaf: leaf[-1], states), sampler_state), recorded

        def alone(carry: PyTree, number: Int[Array, ""]) -> tuple[PyTree, PyTree]:
            step = segment.first + segment.gap * number
            carry = self.advance(carry, step, segment.gap)
            return carry, self.problem.record(carry[0], step + segment.gap)

        first, at_once = jnp.zeros((), jnp.int32), self.most // segment.gap
        if at_once == 0:  # one gap alone takes several blocks
            return jax.lax.scan(alone, carry, jnp.arange(segment.recordings, dtype=jnp.int32))
        return scan_blocks(together, carry, first, segment.recordings, at_once, checkpoint=False)


def _map(
    problem: TrainingProblem, keys: Keys, indices: Int[Array, " batch"], step: Int[Array, ""]
) -> Transition:
    key = jax.random.fold_in(keys.steps, step)
    return problem.system.transition(problem.batch(indices), problem.hyper, step, key)


def _then(earlier: PyTree, later: PyTree) -> PyTree:
    return jax.vmap(lambda earlier, later: earlier.then(later))(earlier, later)


def _composed(maps: PyTree, count: int) -> PyTree:
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


def _map_bytes(problem: TrainingProblem) -> int:
    """Size of one step's map; raises `ValueError` if the system has none."""

    def one(key: Key[Array, ""]) -> Transition:
        keys, zero = Keys.of(key), jnp.zeros((), jnp.int32)
        indices, _ = problem.indices(problem.start(keys)[1], zero, 1, keys)
        return _map(problem, keys, indices[0], zero)

    leaves = jax.tree.leaves(eqx.filter_eval_shape(one, jax.random.key(0)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
