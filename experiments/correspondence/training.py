"""Networks and neurashed trained on the same mini-batches, and what is recorded of both."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from experiments.batches import FirstOf
from nsh import Geometric, Neurashed, Rules, SaveAt, TrainingProblem, WithReplacement
from nsh.correspondence.contributions import level_maps, outgoing_norms
from nsh.measure import Noise, accuracy, effective_features, elasticity_matrix, information, observe
from nsh.networks import Network
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Constant, Graph
from nsh.neurashed.pathway import unpack
from nsh.neurashed.prepared import Pathways, class_ends, pathways_of
from nsh.system import System
from nsh.training import ClosedForm, Run, Sequential, Snapshot, train

START = 0.005
"""All amplification factors and class weights before training."""
AT_ONCE = 8
"""Runs that are vmapped together."""

Runs = tuple[Key[Array, " members"], Int[Array, " members"]]
"""Key and batch size of each run."""


class Setting(eqx.Module):
    """What all runs share: labels, probes of elasticity, neurashed's rules, lengths."""

    labels: Int[Array, " train"]
    test_labels: Int[Array, " test"]
    probes: Int[Array, " probes"]
    growth: float
    most: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    every: int = eqx.field(static=True)

    def rules(self) -> Rules:
        """g+ and g-, as fast up as down: e^growth in all for a node that fires at each step."""
        rate = jnp.asarray(self.growth / self.steps)
        return Rules(Geometric(jnp.exp(rate)), Geometric(jnp.exp(-rate)))

    def train(self, system: System, examples: PyTree, test: PyTree, hyper: PyTree, run: Any) -> Run:
        """One run, `run` = (key, batch size), recorded at equal intervals."""
        key, distinct = run
        probes = jax.tree.map(lambda leaf: leaf[self.probes], examples)
        problem = TrainingProblem(
            system,
            examples,
            hyper,
            steps=self.steps,
            sampler=FirstOf(WithReplacement(self.most), distinct),
            save=SaveAt(Record(probes, test, self.test_labels), every=self.every),
        )
        method = ClosedForm() if isinstance(system, Neurashed) else Sequential()
        return train(problem, key, method=method)


class Record(eqx.Module):
    """Activations or scores of test samples, accuracy, sparsity, elasticity and strengths."""

    probes: PyTree
    test: PyTree
    labels: Int[Array, " test"]

    def __call__(self, now: Snapshot) -> dict[str, Any]:
        """All of it at one moment."""
        system, state = now.system, now.state
        seen = observe(system, state, self.test)
        no_randomness = jax.random.key(0)  # neither system's step draws any
        return {
            "features": seen.features,
            "log_units": jnp.stack(seen.log_units),
            "accuracy": accuracy(seen.outputs, self.labels),
            "effective": effective_features(seen.features[-1]),
            "elasticity": elasticity_matrix(system, state, now.hyper, self.probes, no_randomness),
            "strength": _strength(system, state),
        }


def _strength(system: System, state: PyTree) -> Any:
    """Norm of each unit's outgoing weights, or the nodes' log amplification, level by level."""
    if isinstance(system, Network):
        return outgoing_norms(system.module(state))
    assert isinstance(system, Neurashed)
    levels = range(1, len(system.graph.widths) + 1)
    return tuple(state.log_amplification[system.graph.node_slice(level)] for level in levels)


@eqx.filter_jit
def train_networks(
    setting: Setting, network: Network, examples: PyTree, test: PyTree, hyper: PyTree, runs: Runs
) -> tuple[dict[str, Any], tuple[Array, ...], tuple[Array, ...]]:
    """What is recorded of each run, and of its end: training activations and weights."""

    def one(run: Any) -> Any:
        done = setting.train(network, examples, test, hyper, run)
        features = observe(network, done.state, examples).features
        return done.saved, features, level_maps(network.module(done.state))

    return jax.lax.map(one, runs, batch_size=AT_ONCE)


@eqx.filter_jit
def train_neurashed(
    setting: Setting,
    graphs: Graph,
    bits: tuple[Bool[Array, "seeds train inputs"], Bool[Array, "seeds test inputs"]],
    members: tuple[Int[Array, " members"], Int[Array, " members"]],
    runs: Runs,
) -> tuple[dict[str, Any], Bool[Array, "members test nodes"]]:
    """What is recorded of each run, and the pathways of the test samples.

    `members`: which of the `graphs` (leading axis of its leaves) and of the `bits` each run has.
    """

    def one(member: Any) -> Any:
        (which, seed), run = member
        graph = jax.tree.map(lambda leaf: leaf[which], graphs)
        constant = Constant(START)
        system = Neurashed(graph, constant, constant, edge_firing="sample")
        examples = _pathways(graph, bits[0][seed], setting.labels)
        test = _pathways(graph, bits[1][seed], setting.test_labels)
        done = setting.train(system, examples, test, setting.rules(), run)
        return done.saved, unpack(test.words, graph.nodes)

    return jax.lax.map(one, (members, runs), batch_size=AT_ONCE)


@eqx.filter_jit
def all_information(
    features: Float[Array, "members test units"],
    log_units: Float[Array, " members"],
    labels: Int[Array, " test"],
    noise: Noise,
    samples: int,
) -> tuple[Float[Array, " members"], Float[Array, " members"]]:
    """I(level; input) and I(level; label) in bits, with common draws."""

    def one(level: tuple[Array, Array]) -> tuple[Array, Array]:
        found = information(
            level[0], labels, jax.random.key(0), noise=noise, log_unit=level[1],
            classes=CLASSES, samples=samples,
        )  # fmt: skip
        return found.input, found.label

    return jax.lax.map(one, (features, log_units), batch_size=AT_ONCE)


def _pathways(graph: Graph, bits: Bool[Array, "n inputs"], labels: Int[Array, " n"]) -> Pathways:
    return pathways_of(graph, class_ends(graph), bits, labels, "sample")
