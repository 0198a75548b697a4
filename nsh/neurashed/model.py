"""Neurashed as a `System`: amplification factors on a graph, grown and shrunk by firing."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt32

from nsh._checks import is_concrete, require, require_all, require_labels, require_numeric
from nsh.neurashed.composition import Maps, NeurashedTransition, affine_step
from nsh.neurashed.graph import Graph
from nsh.neurashed.logspace import segment_logsumexp
from nsh.neurashed.pathway import WORD, union, unpack
from nsh.neurashed.prepared import Pathways, node_words, pathways_of, split
from nsh.neurashed.rules import (
    PerLevel,
    Rule,
    Rules,
    check_rule,
    constant_log_factor,
    parameters,
)
from nsh.neurashed.start import Start, Uniform
from nsh.system import Scaled, System


class NeurashedState(eqx.Module):
    """Log amplification factors of the nodes and log weights of the edges to class nodes."""

    log_amplification: Float[Array, " nodes"]
    log_weight: Float[Array, " class_edges"]
    iteration: Int[Array, ""]


class Neurashed(System):
    """The phenomenological model of W. J. Su (arXiv 2112.09741), as a `System`.

    One backpropagation: lambda <- g+(lambda) for nodes on the pathway of any sample of the
    mini-batch, g-(lambda) for the rest; the weights eta likewise. `hyper` is a `Rules`.

    `start`, `weight_start`: distributions of lambda and eta before training (the paper's Figure 4
    has lambda ~ U(0, 0.01)). `edge_firing`: the paper lets the weight of an edge f -> F grow if
    f and F both fire in the backpropagation; with a mini-batch that is read as anywhere in the
    batch (``"batch"``, the default) or in the same sample (``"sample"``).

    Everything is kept as logarithms and stays finite for millions of steps. Differentiable in
    the rules and the start; not through firing, which does not depend on either.
    """

    graph: Graph
    start: Start = eqx.field(default_factory=lambda: Uniform(0.0, 0.01))
    weight_start: Start = eqx.field(default_factory=lambda: Uniform(0.0, 0.01))
    edge_firing: Literal["batch", "sample"] = eqx.field(static=True, default="batch")

    def __check_init__(self):
        require(isinstance(self.graph, Graph), "graph", self.graph, "an nsh.Graph")
        for name in ("start", "weight_start"):
            start = getattr(self, name)
            require(isinstance(start, Start), name, start, "a Start, such as Constant(value)")
        require(
            self.edge_firing in ("batch", "sample"),
            "edge_firing", self.edge_firing, "'batch' or 'sample'",
        )  # fmt: skip

    def prepare(self, x: Any, y: Any) -> Pathways:
        """Pathways of inputs x[n, inputs] (bools, or numbers 0 and 1) with labels y[n].

        Computed once per data set, a block of samples at a time. Raises `ValueError` on a wrong
        width or dtype, values other than 0 and 1, NaN, and labels out of range.
        """
        x = require_numeric("x", x)
        inputs = self.graph.widths[0]
        allowed = f"(n, {inputs}): level 1 has {inputs} nodes"
        require(x.ndim == 2 and x.shape[1] == inputs and len(x) > 0, "x.shape", x.shape, allowed)
        require_all((x == 0) | (x == 1), "x", x, "0 or 1 (fires or not)")
        y = require_labels(y, len(x), self.graph.classes)
        evaluated = jax.ensure_compile_time_eval if is_concrete(self.graph) else nullcontext
        with evaluated():  # not as constants of a jit around it, which JAX 0.7.2 folds wrongly
            return pathways_of(self.graph, jnp.asarray(x != 0), jnp.asarray(y), self.edge_firing)

    def init(self, key: Key[Array, ""], hyper: Rules) -> NeurashedState:  # noqa: ARG002
        """State before training: lambda and eta drawn from `start` and `weight_start`."""
        node_key, weight_key = jax.random.split(key)
        return NeurashedState(
            self.start.log_sample(node_key, self.graph.nodes),
            self.weight_start.log_sample(weight_key, self.graph.class_edges),
            jnp.zeros((), jnp.int32),
        )

    def step(
        self,
        state: NeurashedState,
        batch: Pathways,
        hyper: Rules,
        key: Key[Array, ""],  # noqa: ARG002
    ) -> NeurashedState:
        """One backpropagation on a mini-batch: union of pathways, then g+ or g- everywhere."""
        nodes, edges = self.fired(union(batch.words))
        weight_growth, weight_decay = hyper.for_weights()
        levels = self.graph.node_levels()
        top = len(self.graph.widths)

        def update(log_x: Any, fired: Any, growth: Rule, decay: Rule, level: Any) -> Any:
            growth, decay = growth.at(state.iteration, level), decay.at(state.iteration, level)
            selected = affine_step(fired, growth, decay)
            if selected is not None:  # half the work: select, then map
                return selected(log_x)
            return jnp.where(fired, growth(log_x), decay(log_x))

        return NeurashedState(
            update(state.log_amplification, nodes, hyper.growth, hyper.decay, levels),
            update(state.log_weight, edges, weight_growth, weight_decay, top),
            state.iteration + 1,
        )

    def transition(
        self,
        batch: Pathways,
        hyper: Rules,
        iteration: Int[Array, ""],
        key: Key[Array, ""],  # noqa: ARG002
    ) -> NeurashedTransition:
        """`step` as a map to be composed: affine rules are closed under composition.

        Raises `ValueError` for other rules.
        """
        nodes, edges = self.fired(union(batch.words))
        weight_growth, weight_decay = hyper.for_weights()
        levels, top = self.graph.node_levels(), len(self.graph.widths)

        def map_of(fired: Any, growth: Rule, decay: Rule, level: Any) -> Maps:
            rules = growth.at(iteration, level), decay.at(iteration, level)
            step = affine_step(fired, *rules)
            if step is None:
                names = " and ".join(type(rule).__name__ for rule in rules)
                raise ValueError(f"steps of {names} do not compose: one of them is not affine")
            return step.composable()

        return NeurashedTransition(
            map_of(nodes, hyper.growth, hyper.decay, levels),
            map_of(edges, weight_growth, weight_decay, top),
            jnp.ones((), jnp.int32),
        )

    def events(self, batch: Pathways) -> UInt32[Array, " words"]:
        """Which nodes fire (and classes), then, from a new word on, which edges to class nodes."""
        return jnp.concatenate(split(self.graph, union(batch.words), self.edge_firing))

    def from_events(
        self,
        start: NeurashedState,
        counts: Int[Array, " events"],
        steps: Int[Array, ""] | int,
        hyper: Rules,
    ) -> NeurashedState:
        """``log lambda_T = log lambda_0 + n log a + (T - n) log b``, n = counts of firing.

        For geometric rules that do not change over time; raises `ValueError` for others. In float
        of unit roundoff u the error is at most ``4 u (|log lambda_0| + n |log a| + (T-n) |log b|)``
        for T < 1/u.
        """
        graph, levels, top = self.graph, self.graph.node_levels(), len(self.graph.widths)
        edges = WORD * node_words(graph)
        weight_growth, weight_decay = hyper.for_weights()

        def after(log_x: Any, fired: Any, growth: Rule, decay: Rule, name: str, level: Any) -> Any:
            grown = constant_log_factor(growth, f"{name}growth", level)
            shrunk = constant_log_factor(decay, f"{name}decay", level)
            dtype = log_x.dtype
            return log_x + (fired.astype(dtype) * grown + (steps - fired).astype(dtype) * shrunk)

        return NeurashedState(
            after(start.log_amplification, counts[: graph.nodes],
                  hyper.growth, hyper.decay, "", levels),
            after(start.log_weight, counts[edges : edges + graph.class_edges],
                  weight_growth, weight_decay, "weight_", top),
            start.iteration + steps,
        )  # fmt: skip

    def fired(
        self, words: UInt32[Array, " words"]
    ) -> tuple[Bool[Array, " nodes"], Bool[Array, " class_edges"]]:
        """Which feature nodes and which edges to class nodes fire, from a batch's packed union."""
        nodes, edges = split(self.graph, words, self.edge_firing)
        return unpack(nodes, self.graph.nodes), unpack(edges, self.graph.class_edges)

    def log_scores(self, state: NeurashedState, example: Pathways) -> Float[Array, " nodes"]:
        """log S_F of every feature node, -inf where it does not fire.

        Level 1: S_F = lambda_F; above: S_F = lambda_F sum of S_f over dependents f
        (arXiv 2112.09741, Section 2). Differentiable in the state.
        """
        graph = self.graph
        fires = unpack(example.words, graph.nodes)
        own = jnp.where(fires, state.log_amplification, -jnp.inf)
        levels = [own[graph.node_slice(1)]]
        for level in range(2, len(graph.widths) + 1):
            edges, nodes = graph.edge_slice(level), graph.node_slice(level)
            below = graph.node_slice(level - 1)
            terms = levels[-1][graph.sources[edges] - below.start]
            targets = graph.targets[edges] - nodes.start
            total = segment_logsumexp(terms, targets, graph.widths[level - 1])
            levels.append(jnp.where(fires[nodes], own[nodes] + total, -jnp.inf))
        return jnp.concatenate(levels)

    def features(self, state: NeurashedState, example: Pathways) -> tuple[Scaled, ...]:
        """Scores S_F of each feature level, lowest first, each level with a scale of its own."""
        scores = self.log_scores(state, example)
        levels = range(1, len(self.graph.widths) + 1)
        return tuple(_scaled(scores[self.graph.node_slice(level)]) for level in levels)

    def logits(self, state: NeurashedState, example: Pathways) -> Scaled:
        """Z_j = sum over edges f -> F_j of eta S_f (arXiv 2112.09741, Section 2)."""
        scores = self.log_scores(state, example)
        terms = state.log_weight + scores[self.graph.class_sources]
        return _scaled(segment_logsumexp(terms, self.graph.class_targets, self.graph.classes))

    def healthy(self, state: NeurashedState) -> Bool[Array, ""]:
        """No NaN and no +inf; an amplification factor of 0 (log -inf) is allowed."""
        logs = jnp.concatenate([state.log_amplification, state.log_weight])
        return jnp.all(logs < jnp.inf)

    def bounds(self, hyper: Rules) -> PyTree:
        """The paper's conditions on each parameter (`Rule.domain`); a schedule has none."""
        return hyper.bounds()

    def check(self, hyper: Rules, steps: int) -> None:
        """Raise for rules that break the paper's conditions or do not fit the graph."""
        require(isinstance(hyper, Rules), "hyper", type(hyper).__name__, "nsh.Rules")
        for name, rule in vars(hyper).items():
            if rule is not None and is_concrete(rule):
                check_rule(rule, name, growing="growth" in name, steps=steps)
                self._check_shapes(rule, name, ours_too=not name.startswith("weight"))
        for name, rule in zip(("growth", "decay"), hyper.for_weights(), strict=True):
            if rule is getattr(hyper, name):
                self._check_shared(rule, name)

    def _check_shapes(self, rule: Rule, name: str, ours_too: bool) -> None:
        count = self.graph.nodes if ours_too else self.graph.class_edges
        levels = len(self.graph.widths) + 1
        for field, value in parameters(rule).items():
            allowed = [(levels,)] if isinstance(rule, PerLevel) else [(), (count,)]
            shape, field = _shape(value), f"{name}.{field}.shape"
            require(shape in allowed, field, shape, " or ".join(map(str, allowed)))

    def _check_shared(self, rule: Rule, name: str) -> None:
        if isinstance(rule, PerLevel):
            return
        for field, value in parameters(rule).items():
            require(
                _shape(value) == (),
                f"weight_{name}", None, f"given, as {name}.{field} has an entry for each node",
            )  # fmt: skip


def _shape(value: Any) -> tuple[int, ...]:
    """Of a rule's parameter; of its value, if it is a schedule."""
    if not callable(value):
        return np.shape(value)
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        now: Any = value(np.int32(0))
        return np.shape(now)


def _scaled(logs: Float[Array, " width"]) -> Scaled:
    """exp(logs) with its largest entry as the scale; if nothing fires, 0 on the least of scales."""
    top = jax.lax.stop_gradient(jnp.max(logs))
    some = jnp.isfinite(top)
    value = jnp.exp(logs - jnp.where(some, top, 0))
    return Scaled(value, jnp.where(some, top, jnp.finfo(logs.dtype).min / 4))
