"""Ways to train in `experiments.extensions`: plain neurashed and its extensions, as two systems."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh import Geometric, Neurashed, Rules, System, WithReplacement
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
from nsh.training import Sampler


class Way(NamedTuple):
    """Some ways to train as one system, and a grid of hyperparameters for them."""

    system: System
    hyper: PyTree
    names: tuple[str, ...]


class UpTo(Sampler):
    """Mini-batches of the first `size` of `most` draws, the last sample taking the others' place.

    With nothing firing in the last sample, batches of all sizes share one compiled program.
    """

    size: Int[Array, ""]
    most: int = eqx.field(static=True)

    def init(self, key: Key[Array, ""], samples: int) -> None:
        """Nothing is carried."""

    def draw(
        self, carried: Any, first: Int[Array, ""], count: int, key: Key[Array, ""], samples: int
    ) -> tuple[Int[Array, "count batch"], Any]:
        """See `Sampler.draw`."""
        drawn, carried = WithReplacement(self.most).draw(carried, first, count, key, samples - 1)
        kept = jnp.arange(self.most)[None] < self.size
        return jnp.where(kept, drawn, samples - 1), carried


def extensions(config: Any, graph: Graph, rules: Rules, start: Uniform, steps: int) -> Way:
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
    return Way(system, grid, tuple(points))


def edges(config: Any, graph: Graph, rules: Rules, start: Uniform, steps: int) -> Way:  # noqa: ARG001
    """Edges fire: each grows at the rate of its source."""
    growth, weight_growth = rules.growth, rules.for_weights()[0]
    of_edges = Rules(Geometric(growth.factor[graph.sources]), rules.decay, weight_growth)  # pyright: ignore
    grid = jax.tree.map(lambda leaf: leaf[None], of_edges)
    return Way(EdgeFiring(graph, start, start), grid, ("edges fire",))
