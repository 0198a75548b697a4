"""Networks and neurashed trained on the same mini-batches, and what is recorded of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh import (
    Geometric,
    Neurashed,
    PerPoint,
    PerSeed,
    Rules,
    SaveAt,
    TrainingProblem,
    VariableSize,
    WithReplacement,
    ensemble,
    hyper_grid,
)
from nsh.correspondence.contributions import level_maps, outgoing_norms
from nsh.measure import Noise, accuracy, effective_features, elasticity_matrix, information, observe
from nsh.networks import Network
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Constant, Graph
from nsh.neurashed.pathway import unpack
from nsh.neurashed.prepared import Pathways, class_ends, pathways_of
from nsh.system import System
from nsh.training import ClosedForm, Run, Sampler, Sequential, Snapshot

START = 0.005
"""All amplification factors and class weights before training."""
AT_ONCE = 8
"""Runs that are vmapped together."""


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

    def train(
        self, system: Any, examples: Any, probes: Any, test: Any, hyper: PyTree, sampler: Sampler,
        key: Key[Array, ""], seeds: int,
    ) -> Run:  # fmt: skip
        """All runs, recorded at equal intervals; every part may be each seed's or point's own."""
        problem = TrainingProblem(
            system,
            examples,
            hyper,
            steps=self.steps,
            sampler=sampler,
            save=SaveAt(Record(probes, test, self.test_labels), every=self.every),
            grid_ndim=2,
        )
        neurashed = isinstance(problem.first_point.system, Neurashed)
        method = ClosedForm() if neurashed else Sequential()
        return ensemble(problem, key, seeds=seeds, method=method, vmap_size=AT_ONCE)

    def on_grid(self, hyper: PyTree, sizes: Sequence[int], copies: int) -> tuple[PyTree, Sampler]:
        """Hyperparameters and mini-batches of all sizes, so many copies of each."""

        def point(size: Array, copy: Array) -> tuple[PyTree, Array]:  # noqa: ARG001
            return hyper, size.astype(int)

        spread, size = hyper_grid(point, size=sizes, copy=range(copies))
        return spread, VariableSize(WithReplacement(self.most), PerPoint(size))


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
    setting: Setting, network: Network, examples: PyTree, test: PyTree, hyper: PyTree,
    sizes: Sequence[int], key: Key[Array, ""], seeds: int,
) -> tuple[dict[str, Any], tuple[Array, ...], tuple[Array, ...]]:  # fmt: skip
    """What is recorded of each run, and of its end: training activations and weights.

    Leaves [sizes * seeds, ...].
    """
    hyper, sampler = setting.on_grid(hyper, sizes, 1)
    probes = jax.tree.map(lambda leaf: leaf[setting.probes], examples)
    run = setting.train(network, examples, probes, test, hyper, sampler, key, seeds)
    saved, states = jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[3:]), (run.saved, run.state)
    )

    def end(state: PyTree) -> Any:
        return observe(network, state, examples).features, level_maps(network.module(state))

    return saved, *jax.lax.map(end, states, batch_size=AT_ONCE)


@eqx.filter_jit
def train_neurashed(
    setting: Setting,
    graphs: Graph,
    bits: tuple[Bool[Array, "seeds train inputs"], Bool[Array, "seeds test inputs"]],
    which: Int[Array, "seeds copies"],
    sizes: Sequence[int],
    key: Key[Array, ""],
) -> tuple[dict[str, Any], Bool[Array, "members test nodes"]]:
    """What is recorded of each run, and the pathways of the test samples.

    `which`: of the `graphs` (leading axis of its leaves), for each seed and copy. Leaves [sizes *
    seeds * copies, ...].
    """
    seeds, copies = which.shape

    def member(which: Array, seed: Array) -> tuple[Neurashed, Pathways, Pathways]:
        graph = jax.tree.map(lambda leaf: leaf[which], graphs)
        constant = Constant(START)
        system = Neurashed(graph, constant, constant, edge_firing="sample")
        examples = _pathways(graph, bits[0][seed], setting.labels)
        return system, examples, _pathways(graph, bits[1][seed], setting.test_labels)

    def own(tree: PyTree) -> PerPoint:
        """[seeds * copies, ...] as [sizes, copies, seeds, ...]."""

        def spread(leaf: Array) -> Array:
            apart = jnp.swapaxes(leaf.reshape(seeds, copies, *leaf.shape[1:]), 0, 1)
            return jnp.broadcast_to(apart, (len(sizes), *apart.shape))

        return PerPoint(PerSeed(jax.tree.map(spread, tree)))

    each = which.ravel(), jnp.repeat(jnp.arange(seeds, dtype=jnp.int32), copies)
    systems, examples, test = eqx.filter_vmap(member)(*each)
    probes = Pathways(examples.words[:, setting.probes])
    rules, sampler = setting.on_grid(setting.rules(), sizes, copies)
    run = setting.train(
        own(systems), own(examples), own(probes), own(test), rules, sampler, key, seeds
    )
    saved = jax.tree.map(
        lambda leaf: jnp.swapaxes(leaf, 1, 2).reshape(-1, *leaf.shape[3:]), run.saved
    )
    fires = jax.vmap(lambda words: unpack(words, graphs.nodes))(test.words)
    return saved, jnp.tile(fires, (len(sizes), 1, 1))


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
