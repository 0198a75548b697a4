"""Edges fire instead of nodes: an amplification factor on every edge."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh.neurashed.graph import Graph
from nsh.neurashed.initializer import Initializer, Uniform
from nsh.neurashed.pathway import unpack
from nsh.neurashed.pathway_model import PathwayModel
from nsh.neurashed.prepared import Ends, Pathways, all_ends
from nsh.neurashed.scores import propagated
from nsh.neurashed.state import NeurashedState


class EdgeFiring(PathwayModel):
    """Neurashed with amplification factors lambda_fF on edges f -> F, none on nodes.

    An edge fires if its source and its target do: in the same sample, or anywhere in the
    mini-batch, as `edge_firing` says (see `Neurashed`). It grows by g+, or else shrinks by g-
    (arXiv 2112.09741, Section 4, which names it and gives no equations; these are ours).

    State and hyperparameters as `Neurashed`, an entry for each node being one for each edge in the
    order of ``graph.sources``; an edge's level is its target's. What fires does not depend on the
    state, so every training method of `Neurashed` serves here too.

    Example:
        A factor for each of the 18 edges between features, none for nodes:

        >>> from nsh.neurashed.extensions import EdgeFiring
        >>> rules = nsh.Rules(nsh.Geometric(1.1), nsh.Geometric(0.9))
        >>> system = EdgeFiring(nsh.neurashed.figure4().graph)
        >>> system.init(jax.random.key(0), rules).log_amplification.shape
        (18,)
    """

    graph: Graph
    amplification_init: Initializer = eqx.field(default_factory=lambda: Uniform(0.0, 0.01))
    weight_init: Initializer = eqx.field(default_factory=lambda: Uniform(0.0, 0.01))
    edge_firing: Literal["batch", "sample"] = eqx.field(static=True, default="batch")

    def ends(self) -> Ends:
        """See `PathwayModel.ends`: all edges."""
        return all_ends(self.graph)

    def of_firing(self, nodes: Array, edges: Array) -> tuple[Array, Array]:  # noqa: ARG002
        """See `PathwayModel.of_firing`: factors belong to edges."""
        count = self.graph.sources.shape[0]
        return edges[:count], edges[count:]

    def factor_levels(self) -> Int[np.ndarray, " edges"]:
        """See `PathwayModel.factor_levels`."""
        counts = self.graph.edge_counts
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def log_scores(self, state: NeurashedState, example: Pathways) -> Float[Array, " nodes"]:
        """log S_F: ``S_F = sum_f lambda_fF S_f`` if F fires, S = 1 for firing nodes of level 1.

        Differentiable in the state.
        """
        factors = state.log_amplification
        none = jnp.zeros(self.graph.nodes, factors.dtype)
        fires = unpack(example.words, self.graph.nodes)
        return propagated(self.graph, fires, none, factors)
