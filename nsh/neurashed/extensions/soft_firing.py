"""Pathways that adapt to what is learned: the strength of firing depends on scores."""

from __future__ import annotations

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from nsh.bounds import REALS, Interval
from nsh.neurashed.extensions.extension import (
    Extended,
    Extension,
    ExtensionHyper,
    check_number,
    number,
)
from nsh.neurashed.pathway import unpack
from nsh.neurashed.pathway_model import PathwayModel
from nsh.neurashed.prepared import Pathways


class SoftFiringHyper(ExtensionHyper):
    """Hyperparameters of `SoftFiring`, in units of log score; threshold -inf switches it off.

    `threshold`: below the level's largest (so < 0), where a node fires at half strength;
    `temperature` > 0: over which it fades, sharp towards 0. Raises `ValueError` on NaN or a
    temperature <= 0. Differentiable.

    Example:
        >>> from nsh.neurashed.extensions import SoftFiringHyper
        >>> rules = nsh.Rules(nsh.Geometric(1.5), nsh.Geometric(0.5))
        >>> SoftFiringHyper(rules, threshold=-2.0, temperature=0.5).temperature.item()
        0.5
    """

    intervals: ClassVar[dict[str, Interval]] = {
        "threshold": REALS,
        "temperature": (0.0, math.inf),
    }
    inner: PyTree
    threshold: Float[Array, "..."] = eqx.field(converter=number)
    temperature: Float[Array, "..."] = eqx.field(converter=number)

    def __check_init__(self):
        check_number("threshold", self.threshold, -math.inf, math.inf, "a number, not NaN")
        least = float(jnp.finfo(self.temperature.dtype).tiny)
        check_number("temperature", self.temperature, least, math.inf, "above 0")


class SoftFiring(Extension):
    """Nodes of a sample's pathway fire with a strength f between 0 and 1, by their learned scores.

    ``f_F = sigmoid((log S_F - max log S - threshold) / temperature)``, the maximum over the same
    level and sample; 0 off the pathway, 1 for the label's node. An edge fires with the product of
    its ends, a mini-batch with the largest strength of its samples (so that repeating a sample
    changes nothing), and growth follows it: ``log x <- f log g+(x) + (1 - f) log g-(x)``. Scores
    and logits are those of the whole pathway. (arXiv 2112.09741, Section 4, names pathways that
    adapt to lambda; the equations are ours.)

    `hyper`: `SoftFiringHyper`. Firing depends on the state, so derivatives go through it: in the
    state, the rules, threshold (finite) and temperature; one-sided at ties.

    Example:
        The largest score of a level lies a threshold's distance above half strength:

        >>> from nsh.neurashed import Constant, figure2
        >>> from nsh.neurashed.extensions import SoftFiring, SoftFiringHyper
        >>> graph, inputs = figure2()
        >>> system = SoftFiring(nsh.Neurashed(graph, Constant(1.0)))
        >>> rules = nsh.Rules(nsh.Geometric(1.1), nsh.Geometric(0.9))
        >>> hyper = SoftFiringHyper(rules, threshold=-1.0, temperature=1.0)
        >>> state = system.init(jax.random.key(0), hyper)
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> first = jax.tree.map(lambda leaf: leaf[0], examples)
        >>> strengths = system.strengths(state, first, hyper)
        >>> round(float(strengths[0]), 3)  # sigmoid(1)
        0.731
    """

    inner: PathwayModel
    place: ClassVar[int] = 0
    kind: ClassVar[type] = SoftFiringHyper

    def step(
        self,
        state: Extended,
        batch: Pathways,
        hyper: SoftFiringHyper,
        key: Key[Array, ""],  # noqa: ARG002
    ) -> Extended:
        """One backpropagation, in which nodes and edges fire with their strengths."""
        nodes = self.inner.graph.nodes
        fires = jax.vmap(lambda example: self.strengths(state, example, hyper))(batch)
        ends = self.inner.ends()
        sources, targets = fires[:, ends.sources], fires[:, ends.targets]
        if self.inner.edge_firing == "sample":
            edges = jnp.max(sources * targets, axis=0)
        else:
            edges = jnp.max(sources, axis=0) * jnp.max(targets, axis=0)
        factors, weights = self.inner.of_firing(jnp.max(fires, axis=0)[:nodes], edges)
        return Extended(self.inner.grown(state.inner, factors, weights, hyper.inner), None)

    def strengths(
        self, state: Extended, example: Pathways, hyper: SoftFiringHyper
    ) -> Float[Array, " nodes_and_classes"]:
        """Compute how strongly each feature node fires, then each class node. Differentiable."""
        graph = self.inner.graph
        scores = self.inner.log_scores(state.inner, example)
        fires = unpack(example.words, graph.nodes + graph.classes)
        largest = []
        for level, width in enumerate(graph.widths, start=1):
            top = jnp.max(scores[graph.node_slice(level)])
            largest.append(jnp.full(width, jnp.where(jnp.isfinite(top), top, 0)))
        least = jnp.finfo(scores.dtype).min / 4  # a score of 0: finite, so that -inf is off
        relative = jnp.maximum(scores - jnp.concatenate(largest), least)
        strength = jax.nn.sigmoid((relative - hyper.threshold) / hyper.temperature)
        everything = jnp.concatenate([strength, jnp.ones(graph.classes, strength.dtype)])
        return jnp.where(fires, everything, 0)
