"""What neurashed and its variants share: factors on a graph, grown and shrunk by firing.

The idea: firing depends on the examples alone, never on the factors. So `prepare` computes once
which nodes fire for each sample, as bits in packed words. A step is then short: the bits of a
mini-batch are united, factors that fire grow by g+, and the others shrink by g-.

This has three uses. `step` takes one step. `transition` gives it as a map that composes.
`events` and `state_from_counts` count how often each factor fires: with geometric rules the counts
decide the state. Factors stay logarithms throughout, because scores grow exponentially.

Read next: `model` (the paper's model), `rule` and `rules` (g+ and g-), `scores`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt32

from nsh._checks import is_concrete, require, require_all, require_labels, require_numeric
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.neurashed.composition import NeurashedTransition
from nsh.neurashed.graph import Graph
from nsh.neurashed.initializer import Initializer
from nsh.neurashed.logspace import Compensated, segment_logsumexp
from nsh.neurashed.pathway import WORD, union, unpack
from nsh.neurashed.prepared import (
    Ends,
    Pathways,
    node_words,
    prepared,
    require_prepared_for,
    split,
)
from nsh.neurashed.rule import PerLevel, Rule, parameters
from nsh.neurashed.rules import Rules, check_rule, constant_log_factor
from nsh.neurashed.state import NeurashedState
from nsh.neurashed.update import map_of, stuck, updated
from nsh.system import Scaled, System


class PathwayModel(Shown, System):
    """Factors on a graph of features that grow by g+ where they fire and shrink by g- elsewhere.

    Firing is a matter of the examples alone. A concrete model says which edges' firing it counts
    (`ends`), to what its amplification factors belong (`of_firing`, `factor_levels`), and what
    scores they give (`log_scores`).
    """

    # so many moves are added to a rest: they lose half as many units of roundoff at most, and
    # decimal numbers of steps are multiples of it
    settle_every: ClassVar[int | None] = 100
    graph: eqx.AbstractVar[Graph]
    amplification_init: eqx.AbstractVar[Initializer]
    weight_init: eqx.AbstractVar[Initializer]
    edge_firing: eqx.AbstractVar[Literal["batch", "sample"]]

    def __check_init__(self):
        require(isinstance(self.graph, Graph), "graph", self.graph, "an nsh.Graph")
        for name in ("amplification_init", "weight_init"):
            init = getattr(self, name)
            require(
                isinstance(init, Initializer), name, init, "an Initializer, such as Constant(value)"
            )
        require(
            self.edge_firing in ("batch", "sample"),
            "edge_firing", self.edge_firing, "'batch' or 'sample'",
        )  # fmt: skip

    @abc.abstractmethod
    def ends(self) -> Ends:
        """The edges whose firing the examples hold."""

    @abc.abstractmethod
    def of_firing(self, nodes: Array, edges: Array) -> tuple[Array, Array]:
        """Turn firing of feature nodes and edges into that of amplification factors and weights."""

    @abc.abstractmethod
    def factor_levels(self) -> Int[np.ndarray, " factors"]:
        """Level of every amplification factor, counted from 0."""

    @abc.abstractmethod
    def log_scores(self, state: NeurashedState, example: Pathways) -> Float[Array, " nodes"]:
        """log S_F of every feature node, -inf where it does not fire."""

    def prepare(self, x: object, y: object) -> Pathways:
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
        return prepared(self.graph, self.ends(), x != 0, y, self.edge_firing)

    def check_examples(self, examples: Pathways) -> None:
        """Raise for examples that are known to be prepared for another graph or way of firing."""
        require_prepared_for(examples, self.graph, self.ends(), self.edge_firing)

    def init(self, key: Key[Array, ""], hyper: Rules) -> NeurashedState:  # noqa: ARG002
        """State before training: lambda from `amplification_init`, eta from `weight_init`."""
        factor_key, weight_key = jax.random.split(key)
        return NeurashedState(
            self.amplification_init.log_sample(factor_key, len(self.factor_levels())),
            self.weight_init.log_sample(weight_key, self.graph.class_edges),
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
        return self.grown(state, *self.fired(self._union(batch)), hyper)

    def grown(
        self,
        state: NeurashedState,
        factors: Bool[Array, " factors"] | Float[Array, " factors"],
        weights: Bool[Array, " class_edges"] | Float[Array, " class_edges"],
        hyper: Rules,
    ) -> NeurashedState:
        """The state after a step in which these amplification factors and class weights fire.

        Firing of strength f between 0 and 1: ``log x <- f log g+(x) + (1 - f) log g-(x)``.
        Differentiable in the state, the rules and strengths of firing.
        """
        weight_rules, now = hyper.for_weights(), state.iteration
        rules, top = (hyper.growth, hyper.decay), len(self.graph.widths)
        return NeurashedState(
            updated(state.amplification, factors, rules, now, self.factor_levels()),
            updated(state.weight, weights, weight_rules, now, top),
            now + 1,
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
        factors, weights = self.fired(self._union(batch))
        rules, top = (hyper.growth, hyper.decay), len(self.graph.widths)
        return NeurashedTransition(
            map_of(factors, rules, iteration, self.factor_levels()),
            map_of(weights, hyper.for_weights(), iteration, top),
            jnp.ones((), jnp.int32),
        )

    def events(self, batch: Pathways) -> UInt32[Array, " words"]:
        """Pack which nodes (and classes) fire, then, from a new word on, which edges."""
        return jnp.concatenate(self._split(self._union(batch)))

    def state_from_counts(
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
        first = WORD * node_words(self.graph)
        edges = counts[first : first + self.ends().sources.shape[0]]
        factors, weights = self.of_firing(counts[: self.graph.nodes], edges)
        weight_growth, weight_decay = hyper.for_weights()
        levels, top = self.factor_levels(), len(self.graph.widths)

        def after(
            log_x: Compensated, fired: Array, growth: Rule, decay: Rule, name: str,
            level: np.ndarray | int,
        ) -> Compensated:  # fmt: skip
            grown = constant_log_factor(growth, f"{name}growth", level)
            shrunk = constant_log_factor(decay, f"{name}decay", level)
            dtype = grown.dtype
            change = fired.astype(dtype) * grown + (steps - fired).astype(dtype) * shrunk
            return log_x.moved(change).settled()

        return NeurashedState(
            after(start.amplification, factors, hyper.growth, hyper.decay, "", levels),
            after(start.weight, weights, weight_growth, weight_decay, "weight_", top),
            start.iteration + steps,
        )

    def fired(
        self, words: UInt32[Array, " words"]
    ) -> tuple[Bool[Array, " factors"], Bool[Array, " class_edges"]]:
        """Find amplification factors and class weights that fire, from a batch's packed union."""
        nodes, edges = self._split(words)
        count = self.ends().sources.shape[0]
        return self.of_firing(unpack(nodes, self.graph.nodes), unpack(edges, count))

    def features(self, state: NeurashedState, example: Pathways) -> tuple[Scaled, ...]:
        """Scores S_F of each feature level, lowest first, each level with a scale of its own."""
        scores = self.log_scores(state, example)
        levels = range(1, len(self.graph.widths) + 1)
        return tuple(_scaled(scores[self.graph.node_slice(level)]) for level in levels)

    def outputs(self, state: NeurashedState, example: Pathways) -> Scaled:
        """Z_j = sum over edges f -> F_j of eta S_f (arXiv 2112.09741, Section 2)."""
        scores = self.log_scores(state, example)
        terms = state.log_weight + scores[self.graph.class_sources]
        return _scaled(segment_logsumexp(terms, self.graph.class_targets, self.graph.classes))

    def masked(self, batch: Pathways, present: Bool[Array, " batch"]) -> Pathways:
        """See `System.masked`: absent examples fire nothing."""
        words = jnp.where(present[:, None], batch.words, jnp.uint32(0))
        return replace(batch, words=words)

    def is_finite(self, state: NeurashedState) -> Bool[Array, ""]:
        """No NaN and no +inf; an amplification factor of 0 (log -inf) is allowed."""
        logs = jnp.concatenate([state.log_amplification, state.log_weight])
        return jnp.all(logs < jnp.inf)

    def settled(self, state: NeurashedState) -> NeurashedState:
        """See `System.settled`: sums to which only a rest of rounding is still to be added."""
        return NeurashedState(
            state.amplification.settled(), state.weight.settled(), state.iteration
        )

    def stalled(self, state: NeurashedState, hyper: Rules) -> Bool[Array, ""]:
        """Whether some factor or weight is so large that neither g+ nor g- can move it."""
        last, top = jnp.maximum(state.iteration - 1, 0), len(self.graph.widths)
        rules, weight_rules = (hyper.growth, hyper.decay), hyper.for_weights()
        return jnp.any(stuck(state.amplification, rules, last, self.factor_levels())) | jnp.any(
            stuck(state.weight, weight_rules, last, top)
        )

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

    def check_grid(self, hyper: Rules, steps: int, shape: tuple[int, ...]) -> None:
        """See `System.check_grid`: all points at once, unless parameters are schedules."""
        first = (0,) * len(shape)
        self.check(jax.tree.map(lambda leaf: np.asarray(leaf)[first], hyper), steps)
        rules = {name: rule for name, rule in vars(hyper).items() if rule is not None}
        given = [list(parameters(rule).values()) for rule in rules.values()]
        if any(callable(v) or np.ndim(v) != np.ndim(vs[0]) for vs in given for v in vs):
            super().check_grid(hyper, steps, shape)
            return
        for name, rule in rules.items():
            check_rule(rule, name, growing="growth" in name, steps=steps)

    def _union(self, batch: Pathways) -> UInt32[Array, " words"]:
        """Unite what fires in a mini-batch, which must have been prepared for this."""
        self.check_examples(batch)
        return union(batch.words)

    def _split(self, words: UInt32[Array, " words"]) -> tuple[Array, Array]:
        return split(self.graph, self.ends().sources.shape[0], words, self.edge_firing)

    def _check_shapes(self, rule: Rule, name: str, ours_too: bool) -> None:
        count = len(self.factor_levels()) if ours_too else self.graph.class_edges
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


def _shape(value: ArrayLike | Callable[[Array], ArrayLike]) -> tuple[int, ...]:
    """Of a rule's parameter; of its value, if it is a schedule."""
    if not callable(value):
        return np.shape(value)
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        now: ArrayLike = value(jnp.int32(0))
        return np.shape(now)


def _scaled(logs: Float[Array, " width"]) -> Scaled:
    """exp(logs) with its largest entry as the scale; if nothing fires, 0 on the least of scales.

    Differentiable: the scale, too, with the mean of the slopes where several are the largest.
    """
    top = jnp.max(logs)
    some = jnp.isfinite(top)
    value = jnp.exp(logs - jnp.where(some, top, 0))
    return Scaled(value, jnp.where(some, top, jnp.finfo(logs.dtype).min / 4))
