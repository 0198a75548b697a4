"""Lottery tickets in neurashed: what survives of random hierarchies, trained alone."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from experiments.harness.dataset import dataset
from experiments.lottery_ticket.config import Config
from nsh import (
    Geometric,
    Neurashed,
    PerSeed,
    Rules,
    SaveAt,
    TrainingProblem,
    VariableSize,
    WithReplacement,
    ensemble,
)
from nsh.measure import accuracy, brier_score, observe
from nsh.neurashed import Graph, Initializer, Inputs, Prototypes, exact, random_hierarchy
from nsh.neurashed.prepared import Pathways, class_ends, pathways_of
from nsh.neurashed.subgraph import silenced
from nsh.study.progress import Progress
from nsh.training import Snapshot

PARTS = ("whole", "ticket", "ticket, new start", "random part")
SELECTIONS = ("survivors", "largest half")
HIERARCHY: dict[str, Any] = {
    "classes": 4, "subclasses": 4, "shared": (16, 0, 0), "specific": (12, 8, 6), "fan_in": 3,
    "least_firing": 2, "active": 0.5, "noise": 0.05,
}  # fmt: skip
TRAIN, TEST = 256, 256  # inputs
SAME = 1e-3  # log factors that differ by less are the same


class Given(Initializer):
    """Factors that are given, not drawn."""

    logs: Float[Array, " count"]

    def log_sample(self, key: Key[Array, ""], count: int) -> Float[Array, " count"]:  # noqa: ARG002
        """See `Initializer.log_sample`."""
        return self.logs


class Logs(NamedTuple):
    """Log factors of nodes and of edges to class nodes."""

    nodes: Float[Array, "*seeds nodes"]
    edges: Float[Array, "*seeds class_edges"]


class Trial(NamedTuple):
    """A random hierarchy, its inputs, two starts, and a random number for each node."""

    graph: Graph
    inputs: Inputs
    start: Logs
    new_start: Logs
    order: Float[Array, "*seeds nodes"]


class Trained(NamedTuple):
    """A part after training: its factors, how often its nodes fire, and its test results."""

    log_factors: Float[Array, " nodes"]
    firing_fractions: Float[Array, " nodes"]
    accuracy: Float[Array, ""]
    loss: Float[Array, ""]


def trials(keys: Key[Array, " seeds"]) -> Trial:
    """A trial for each key, with leading axis."""
    each = []
    for key in keys:
        task = random_hierarchy(key, **HIERARCHY)
        each.append(_trial(task.graph, task.inputs, key))
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *each)


@eqx.filter_jit
def _trial(graph: Graph, inputs: Prototypes, key: Key[Array, ""]) -> Trial:
    inputs_key, start_key, order_key = jax.random.split(key, 3)
    nodes, edges = graph.nodes, graph.class_edges
    # both starts U(0, 0.01], as in the paper's Figure 4
    logs = jnp.log(0.01 * (1 - jax.random.uniform(start_key, (2 * (nodes + edges),))))
    old, new = (Logs(row[:nodes], row[nodes:]) for row in logs.reshape(2, -1))
    order = jax.random.uniform(order_key, (nodes,))
    return Trial(graph, inputs.sample(inputs_key, TRAIN + TEST), old, new, order)


class Tested(eqx.Module):
    """What is recorded: accuracy and loss on a seed's own test set."""

    test: PyTree
    labels: PyTree

    def __call__(self, now: Snapshot) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Both at one moment."""
        logits = observe(now.system, now.state, self.test).outputs
        return accuracy(logits, self.labels), brier_score(logits, self.labels)


@eqx.filter_jit
def train_parts(
    trial: Trial, key: Key[Array, ""], keep: Bool[Array, "seeds nodes"], start: Logs,
    rules: Rules, steps: int, largest: int, size: Int[Array, ""],
) -> Trained:  # fmt: skip
    """The part `keep` of each seed's graph, trained alone from a start on the seed's batches."""

    def part(trial: Trial, keep: Array, start: Logs) -> tuple[Neurashed, Pathways]:
        graph = silenced(trial.graph, keep)
        system = Neurashed(graph, Given(start.nodes), Given(start.edges), edge_firing="sample")
        x = trial.inputs.x & keep[None, : graph.widths[0]]
        return system, pathways_of(graph, class_ends(graph), x, trial.inputs.y, "sample")

    systems, prepared = eqx.filter_vmap(part)(trial, keep, start)
    examples, test = (Pathways(prepared.words[:, at]) for at in (np.s_[:TRAIN], np.s_[TRAIN:]))
    problem = TrainingProblem(
        PerSeed(systems),
        PerSeed(examples),
        rules,
        steps=steps,
        sampler=VariableSize(WithReplacement(largest), size),
        save=SaveAt(Tested(PerSeed(test), PerSeed(trial.inputs.y[:, TRAIN:])), times=(steps,)),
    )
    run = ensemble(problem, key, seeds=len(keep))
    fractions = jax.vmap(lambda words: exact.firing_fractions(Pathways(words), keep.shape[1]))
    results = (saved[:, 0] for saved in run.saved)
    return Trained(run.state.log_amplification, fractions(examples.words), *results)


@eqx.filter_jit
def _chosen(
    trial: Trial, log_factors: Float[Array, "seeds nodes"]
) -> tuple[Bool[Array, "seeds selections nodes"], Bool[Array, "seeds selections nodes"]]:
    """For each of `SELECTIONS`, the nodes it keeps, and as many of each level at random."""

    def one(member: tuple[Trial, Array]) -> tuple[Array, Array]:
        trial, log_factors = member
        graph, half, order = trial.graph, [], []
        levels = [graph.node_slice(level) for level in range(1, len(graph.widths) + 1)]
        for nodes in levels:
            half.append(_rank(-log_factors[nodes]) < (nodes.stop - nodes.start) // 2)
            order.append(_rank(trial.order[nodes]))
        keep = jnp.stack([log_factors > trial.start.nodes, jnp.concatenate(half)])
        counts = [jnp.sum(keep[:, nodes], axis=1, dtype=jnp.int32) for nodes in levels]
        pairs = zip(order, counts, strict=True)
        others = [rank[None] < count[:, None] for rank, count in pairs]
        return keep, jnp.concatenate(others, axis=1)

    return jax.lax.map(one, (trial, log_factors))


def _rank(values: Float[Array, " n"]) -> Int[Array, " n"]:
    return jnp.argsort(jnp.argsort(values)).astype(jnp.int32)


@eqx.filter_jit
def _law(p: Float[Array, "seeds nodes"], rates: Array, steps: Array, size: Array) -> Array:
    """Every node's chance to survive."""
    return exact.survival_probability(
        exact.batch_firing_probability(p, size), rates[0], rates[1], steps
    )


def run_model(config: Config, progress: Progress) -> xr.Dataset:
    """Survivors at all batch sizes against their law, and the test results of all parts."""
    keys = jax.random.split(jax.random.key(config.seed), 2 * config.seeds)
    key, trial = keys[config.seeds], trials(keys[: config.seeds])
    parts = []
    with progress("tickets, neurashed", len(config.batch_sizes)) as advance:
        for size in config.batch_sizes:
            parts.append(_at_batch_size(config, trial, key, size))
            advance(1)
    sizes = xr.Variable("batch", list(config.batch_sizes), {"units": "samples"})
    joined = xr.concat(parts, sizes, data_vars="all", coords="minimal", compat="equals")
    return cast(xr.Dataset, joined)


TABLE = """
    accuracy loss: selection part seed [1]
    survivors survivors_by_law: seed [nodes]
    unchanged: seed [1] share of survivors that retraining leaves as it was
    nodes: [nodes]
"""


def _at_batch_size(config: Config, trial: Trial, key: Key[Array, ""], size: int) -> xr.Dataset:
    rules = Rules(Geometric(config.growth), Geometric(config.decay))

    def fit(keep: Any, start: Logs) -> Trained:
        used, most = jnp.asarray(size, jnp.int32), max(config.batch_sizes)
        return train_parts(trial, key, keep, start, rules, config.steps, most, used)

    whole = fit(jnp.ones(trial.order.shape, bool), trial.start)
    kept, others = _chosen(trial, whole.log_factors)
    results = []
    for index in range(len(SELECTIONS)):
        keep, other = kept[:, index], others[:, index]
        parts = [(keep, trial.start), (keep, trial.new_start), (other, trial.new_start)]
        results.append([whole, *(fit(*part) for part in parts)])
    rates = jnp.asarray([config.growth, config.decay])
    steps, at = jnp.asarray(float(config.steps)), jnp.asarray(float(size))
    survive = np.asarray(kept[:, SELECTIONS.index("survivors")])
    change = np.abs(np.asarray(results[0][1].log_factors - whole.log_factors))
    values = {
        "accuracy": [[np.asarray(part.accuracy) for part in row] for row in results],
        "loss": [[np.asarray(part.loss) for part in row] for row in results],
        "survivors": survive.sum(1),
        "survivors_by_law": _law(whole.firing_fractions, rates, steps, at).sum(1),
        "unchanged": (survive & (change < SAME)).sum(1) / survive.sum(1),
        "nodes": survive.shape[1],
    }
    return dataset(TABLE, values, selection=list(SELECTIONS), part=list(PARTS))
