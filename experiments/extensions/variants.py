"""Plain neurashed and its extensions, as two systems."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from experiments.extensions.config import Config
from nsh import Geometric, Neurashed, Rules, System
from nsh.neurashed import Graph, Uniform
from nsh.neurashed.extensions import (
    EdgeFiring,
    RandomPathways,
    RandomPathwaysHyper,
    RandomRates,
    RandomRatesHyper,
    Rewiring,
    RewiringHyper,
    SoftFiring,
    SoftFiringHyper,
)


class Variants(NamedTuple):
    """Some variants as one system, and a grid of hyperparameters for them."""

    system: System
    hyper: PyTree
    names: tuple[str, ...]


def extensions(config: Config, graph: Graph, rules: Rules, start: Uniform, steps: int) -> Variants:
    """Plain neurashed and all extensions but edges: one system, a point of the grid for each."""
    plain = Neurashed(graph, start, start)
    system = Rewiring(RandomRates(RandomPathways(SoftFiring(plain))))
    every = max(steps // config.rewirings, 1)

    def point(
        spread: float = 0.0, rate: float = 0.0, threshold: float = -math.inf, faded: float = 0.0
    ) -> RewiringHyper:
        inner = RandomPathwaysHyper(SoftFiringHyper(rules, threshold, config.temperature), rate)
        return RewiringHyper(RandomRatesHyper(inner, spread, spread), every, faded)

    switches = {
        "random rates": {"spread": config.spread},
        "random pathways": {"rate": config.dropout},
        "soft firing": {"threshold": config.threshold},
        "rewiring": {"faded": config.faded},
    }
    everything = {name: value for switch in switches.values() for name, value in switch.items()}
    points = {"plain": {}, **switches, "all four": everything}
    grid = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(point(**p) for p in points.values()))
    return Variants(system, grid, tuple(points))


def edges(config: Config, graph: Graph, rules: Rules, start: Uniform, steps: int) -> Variants:  # noqa: ARG001
    """Edges fire: each grows at the rate of its source."""
    growth, weight_growth = rules.growth, rules.for_weights()[0]
    of_edges = Rules(Geometric(growth.factor[graph.sources]), rules.decay, weight_growth)  # pyright: ignore
    grid = jax.tree.map(lambda leaf: leaf[None], of_edges)
    return Variants(EdgeFiring(graph, start, start), grid, ("edges fire",))
