"""Rewiring: dependents that have faded are replaced at random, and pathways change with them."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh._checks import MOST, is_concrete, require, require_all
from nsh._types import ArrayLike
from nsh.bounds import REALS, Interval
from nsh.neurashed.extensions.extension import (
    Extended,
    Extension,
    ExtensionHyper,
    check_number,
    model,
    model_state,
    number,
    on_graph,
    own_key,
)
from nsh.neurashed.graph import Graph
from nsh.neurashed.model import Neurashed
from nsh.neurashed.prepared import Pathways, recomputed
from nsh.system import Scaled


def _steps(value: ArrayLike) -> Array:
    """Integers as an array; what is none, as it is, to be refused."""
    if is_concrete(value):
        require_all(np.asarray(value) <= MOST, "every", value, f"at most {MOST}")
    array = jnp.asarray(value)
    return array.astype(int) if jnp.issubdtype(array.dtype, jnp.integer) else array


class RewiringHyper(ExtensionHyper):
    """Hyperparameters of `Rewiring`: every so many steps, what has faded; 0 switches it off.

    `every`: an integer >= 1. `faded`: a dependent is replaced if its amplification factor is below
    this share of the largest that any node of the same level has as its dependent; in 0..1.
    Raises `ValueError` otherwise. No derivative by either: wiring jumps.

    Example:
        >>> from nsh.neurashed.extensions import RewiringHyper
        >>> rules = nsh.Rules(nsh.Geometric(1.5), nsh.Geometric(0.5))
        >>> RewiringHyper(rules, every=100, faded=0.25).every.item()
        100
    """

    intervals: ClassVar[dict[str, Interval]] = {"every": REALS, "faded": (0.0, 1.0)}
    inner: PyTree
    every: Int[Array, "..."] = eqx.field(converter=_steps)
    faded: Float[Array, "..."] = eqx.field(converter=number)

    def __check_init__(self):
        kind = self.every.dtype
        require(jnp.issubdtype(kind, jnp.integer), "every.dtype", str(kind), "an integer type")
        if is_concrete(self.every):
            require_all(np.asarray(self.every) >= 1, "every", self.every, "an integer >= 1")
        check_number("faded", self.faded, 0.0, 1.0, "a share in 0..1")


class Rewiring(Extension):
    """Every so many steps, each node replaces its weakest dependent, if that has faded.

    The new dependent is drawn uniformly from the level below; if the node has it already, nothing
    changes this time. Firing rules stay with the places of dependents, and edges to class nodes
    stay. The wiring is part of the state, and pathways are recomputed from level 1 in training and
    in logits. Not in the paper; for systems on `Neurashed`, where dependents have factors of their
    own. `hyper`: `RewiringHyper`. Differentiable as the inner system, not through the wiring.

    Example:
        The wiring is part of the state; at the start it is that of the graph:

        >>> from nsh.neurashed.extensions import Rewiring, RewiringHyper
        >>> system = Rewiring(nsh.Neurashed(nsh.neurashed.figure4().graph))
        >>> rules = nsh.Rules(nsh.Geometric(1.1), nsh.Geometric(0.9))
        >>> state = system.init(jax.random.key(0), RewiringHyper(rules, every=10, faded=0.01))
        >>> bool((system.graph(state).sources == system.inner.graph.sources).all())
        True
    """

    inner: Neurashed | Extension
    place: ClassVar[int] = 2
    kind: ClassVar[type] = RewiringHyper

    def __check_init__(self):
        inside = model(self.inner)
        allowed = "a Neurashed model: dependents need amplification factors of their own"
        name = f"model inside {type(self).__name__}"
        require(isinstance(inside, Neurashed), name, type(inside).__name__, allowed)

    def init(self, key: Key[Array, ""], hyper: RewiringHyper) -> Extended:
        """The inner system's start, wired as the graph is."""
        return Extended(self.inner.init(key, hyper.inner), model(self.inner).graph.sources)

    def graph(self, state: Extended) -> Graph:
        """The graph as it is wired in a state."""
        return eqx.tree_at(lambda graph: graph.sources, model(self.inner).graph, state.own)

    def step(
        self, state: Extended, batch: Pathways, hyper: RewiringHyper, key: Key[Array, ""]
    ) -> Extended:
        """The inner system's step on the graph as it is wired, then rewiring if it is due."""
        graph = self.graph(state)
        words = jax.vmap(lambda words: self._on(graph, Pathways(words)).words)(batch.words)
        inner = on_graph(self.inner, graph)
        after = inner.step(state.inner, Pathways(words), hyper.inner, key)
        now = model_state(after)
        wired = rewired(graph, now.log_amplification, hyper.faded, own_key(key, self))
        due = now.iteration % hyper.every.astype(now.iteration.dtype) == 0
        return Extended(after, jnp.where(due, wired, state.own))

    def outputs(self, state: Extended, example: Pathways) -> Scaled:
        """The inner system's, on the graph as it is wired."""
        graph = self.graph(state)
        return on_graph(self.inner, graph).outputs(state.inner, self._on(graph, example))

    def features(self, state: Extended, example: Pathways) -> tuple[Scaled, ...]:
        """The inner system's, on the graph as it is wired."""
        graph = self.graph(state)
        return on_graph(self.inner, graph).features(state.inner, self._on(graph, example))

    def _on(self, graph: Graph, example: Pathways) -> Pathways:
        inside = on_graph(model(self.inner), graph)
        return Pathways(recomputed(graph, inside.ends(), example.words, inside.edge_firing))


def rewired(
    graph: Graph,
    log_amplification: Float[Array, " nodes"],
    faded: Float[Array, ""],
    key: Key[Array, ""],
) -> Int[Array, " edges"]:
    """The sources of all edges after each node has replaced its weakest dependent, if faded.

    The first of equally weak ones. Not differentiable.
    """
    strength = log_amplification[graph.sources]
    count, edges = graph.nodes, jnp.arange(graph.sources.shape[0], dtype=jnp.int32)
    weakest = jax.ops.segment_min(strength, graph.targets, num_segments=count)
    first = jnp.where(strength == weakest[graph.targets], edges, edges.size)
    chosen = edges == jax.ops.segment_min(first, graph.targets, num_segments=count)[graph.targets]
    drawn = _from_level_below(graph, key)[graph.targets]
    same = (graph.sources == drawn).astype(jnp.int32)
    has_it = jax.ops.segment_max(same, graph.targets, num_segments=count)[graph.targets] > 0
    weak = strength < _largest(graph, strength) + jnp.log(faded)
    return jnp.where(chosen & weak & ~has_it, drawn, graph.sources)


def _largest(graph: Graph, strength: Float[Array, " edges"]) -> Float[Array, " edges"]:
    """For every edge the largest strength of all edges into its target's level."""
    parts = [strength[graph.edge_slice(level)] for level in range(1, len(graph.widths) + 1)]
    tops = [jnp.full(part.size, jnp.max(part, initial=-jnp.inf)) for part in parts]
    return jnp.concatenate(tops)


def _from_level_below(graph: Graph, key: Key[Array, ""]) -> Int[Array, " nodes"]:
    """For every node one of the level below, uniformly (for level 1, node 0)."""
    counts = np.asarray((1, *graph.widths[:-1]), np.int32)
    first = np.cumsum((0, 0, *counts[1:]), dtype=np.int32)[: len(counts)]
    levels = graph.node_levels()
    share = jax.random.uniform(key, (graph.nodes,))
    place = (share * jnp.asarray(counts[levels], share.dtype)).astype(jnp.int32)
    # rounding may take a share just below 1 to the count itself
    return jnp.asarray(first[levels]) + jnp.minimum(place, counts[levels] - 1)
