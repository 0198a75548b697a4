"""What `experiments.digit_rules` tunes: a graph of the digits, its rules, and their losses."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh import Geometric, Neurashed, PerLevel, Rules
from nsh.correspondence.from_data import FromData, from_data
from nsh.data import digits
from nsh.measure import accuracy, cross_entropy
from nsh.neurashed import Constant, Graph, NeurashedState, Pathways, feature_pathway
from nsh.neurashed.rule import parameters
from nsh.training import Run

FACTOR = 0.4
"""Where all amplification factors and weights start: logits are of order one then."""

LEVEL_RATES = 8
"""Rates per level: of g+ and g-, for three levels of features and the weights to classes."""


class Loss(eqx.Module):
    """Cross-entropy of ``softmax(logits)`` over labelled examples, as a function of a `Run`.

    The logits are those of `Neurashed.outputs`, as products of dense matrices over all examples at
    once, which suits small graphs: 0.2 ms here for 450 digits.
    """

    fires: tuple[Float[Array, "n _"], ...]
    wiring: tuple[Float[Array, "_ _"], ...]
    class_edges: tuple[Int[Array, " edges"], Int[Array, " edges"]]
    labels: Int[Array, " n"]
    classes: int = eqx.field(static=True)

    @classmethod
    def of(cls, graph: Graph, fires: np.ndarray, y: np.ndarray) -> Loss:
        """Of examples with labels y for which the nodes `fires` [n, nodes] fire."""
        levels = range(1, len(graph.widths) + 1)
        wiring = []
        for below, level in pairwise(levels):
            edges = graph.edge_slice(level)
            wired = np.zeros((graph.nodes, graph.nodes))
            wired[np.asarray(graph.sources)[edges], np.asarray(graph.targets)[edges]] = 1
            wiring.append(wired[graph.node_slice(below), graph.node_slice(level)])
        top = np.asarray(graph.class_sources) - graph.node_slice(levels[-1]).start
        return cls(
            tuple(jnp.asarray(fires[:, graph.node_slice(level)], float) for level in levels),
            tuple(jnp.asarray(wired, float) for wired in wiring),
            (jnp.asarray(top), graph.class_targets),
            jnp.asarray(y, jnp.int32),
            graph.classes,
        )

    def logits(self, state: NeurashedState) -> Float[Array, "n classes"]:
        """Logits of all examples."""
        ends = np.cumsum([fires.shape[1] for fires in self.fires])
        first, *others = jnp.split(jnp.exp(state.log_amplification), ends[:-1])
        scores = self.fires[0] * first[None]
        for fires, own, wired in zip(self.fires[1:], others, self.wiring, strict=True):
            scores = fires * own[None] * (scores @ wired)
        weights = jnp.zeros((scores.shape[1], self.classes))
        return scores @ weights.at[self.class_edges].set(jnp.exp(state.log_weight))

    def __call__(self, run: Run) -> Float[Array, ""]:
        """Of a run's final state."""
        return cross_entropy(self.logits(run.state), self.labels)

    def judged(self, run: Run) -> tuple[Array, Array, Array]:
        """The loss, the accuracy, and which examples are classified right."""
        logits = self.logits(run.state)
        right = jnp.argmax(logits, axis=1) == self.labels
        return cross_entropy(logits, self.labels), accuracy(logits, self.labels), right


class Task(eqx.Module):
    """Neurashed on digits: what it is trained on, and the losses on what it is not trained on."""

    system: Neurashed
    examples: Pathways
    validation: Loss
    test: Loss

    @property
    def numbers(self) -> int:
        """How many numbers `per_node` takes."""
        return 2 * (self.system.graph.nodes + self.system.graph.class_edges)

    def spread(self, exponents: Any) -> np.ndarray:
        """What `per_node` takes, from what `per_level` takes, along the last axis."""
        return np.asarray(exponents)[..., self._levels()]

    def per_level_of(self, exponents: np.ndarray) -> np.ndarray:
        """What `spread` was given."""
        _, first = np.unique(self._levels(), return_index=True)
        return exponents[..., first]

    def _levels(self) -> np.ndarray:
        graph = self.system.graph
        levels = len(graph.widths)
        places = np.concatenate([graph.node_levels(), np.full(graph.class_edges, levels)])
        return np.concatenate([places, places + levels + 1])

    def per_node(self, exponents: Float[Array, " numbers"], steps: int) -> Rules:
        """Rules for each node and edge from the logarithms of their exponents: g+, then g-."""
        rates = jnp.exp(exponents) / steps
        graph = self.system.graph
        growth, decay = jnp.split(rates, 2)
        nodes, edges = slice(None, graph.nodes), slice(graph.nodes, None)
        return Rules(
            Geometric(jnp.exp(growth[nodes])), Geometric(jnp.exp(-decay[nodes])),
            Geometric(jnp.exp(growth[edges])), Geometric(jnp.exp(-decay[edges])),
        )  # fmt: skip


def per_level(exponents: Any, steps: int) -> Rules:
    """Rules for each level, from 2 L numbers: log exponents of g+ of levels 1..L, then of g-.

    The exponent e of a rule is what it comes to over a run: ``g+(x) = exp(e / steps) x``, and
    ``g-(x) = exp(-e / steps) x``.
    """
    growth, decay = np.split(np.exp(np.asarray(exponents, float)) / steps, 2)
    return Rules(PerLevel(Geometric(np.exp(growth))), PerLevel(Geometric(np.exp(-decay))))


def exponents_of(rules: Rules, steps: int) -> np.ndarray:
    """Log exponents, along the last axis, of rules made by `per_level` or `Task.per_node`."""
    growth, decay = [], []
    for found, rule in zip((growth, decay) * 2, vars(rules).values(), strict=True):
        if rule is not None:
            factor = np.asarray(parameters(rule)["factor"], np.float64)
            found.append(np.log(steps * np.abs(np.log(factor))))
    return np.concatenate([*growth, *decay], axis=-1)


class Parts(NamedTuple):
    """The digits in three parts: which nodes fire for them, labels; and the graph of the first."""

    found: FromData
    fires: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def split(conjunctions: int) -> Parts:
    """Training, validation and test digits; the last held out, as in `nsh.data.digits`.

    The validation set is as large as the test set.
    """
    data = digits()
    order = np.random.default_rng(0).permutation(len(data.train_y))
    validation, train = np.split(order, [len(data.test_y)])
    x = {"train": data.train_x[train], "validation": data.train_x[validation], "test": data.test_x}
    y = {"train": data.train_y[train], "validation": data.train_y[validation], "test": data.test_y}
    found = from_data(x["train"], y["train"], conjunctions=conjunctions)
    bits = found.encode(np.concatenate([*x.values()]))
    fires = np.asarray(jax.jit(jax.vmap(feature_pathway, (None, 0)))(found.graph, bits))
    ends = np.cumsum([len(part) for part in x.values()])[:-1]
    return Parts(found, dict(zip(x, np.split(fires, ends), strict=True)), y)


def make_task(parts: Parts) -> Task:
    """Neurashed on the graph, its training set and the two losses."""
    graph = parts.found.graph
    system = Neurashed(graph, Constant(FACTOR), Constant(FACTOR), edge_firing="sample")
    bits = parts.fires["train"][:, graph.node_slice(1)]
    return Task(
        system,
        system.prepare(bits, parts.labels["train"]),
        Loss.of(graph, parts.fires["validation"], parts.labels["validation"]),
        Loss.of(graph, parts.fires["test"], parts.labels["test"]),
    )
