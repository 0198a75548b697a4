"""Neurashed as a `System`: amplification factors on a graph, grown and shrunk by firing."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from nsh.neurashed.graph import Graph
from nsh.neurashed.initializer import Initializer, Uniform
from nsh.neurashed.pathway import unpack
from nsh.neurashed.pathway_model import PathwayModel
from nsh.neurashed.prepared import Ends, Pathways, class_ends
from nsh.neurashed.scores import propagated
from nsh.neurashed.state import NeurashedState

__all__ = ["Neurashed", "NeurashedState", "Pathways"]


class Neurashed(PathwayModel):
    """The phenomenological model of W. J. Su (arXiv 2112.09741), as a `System`.

    One backpropagation: lambda <- g+(lambda) for nodes on the pathway of any sample of the
    mini-batch, g-(lambda) for the rest; the weights eta likewise. `hyper` is a `Rules`.

    `amplification_init`, `weight_init`: distributions of lambda and eta before training (the
    paper's Figure 4 has lambda ~ U(0, 0.01)). `edge_firing`: the paper lets the weight of an edge f
    -> F grow if f and F both fire in the backpropagation; with a mini-batch that is read as
    anywhere in the batch (``"batch"``, the default) or in the same sample (``"sample"``).

    Everything is kept as logarithms and stays finite for millions of steps. Differentiable in
    the rules and the initial factors; not through firing, which does not depend on either.

    Example:
        One step: node 0 and its edge to the class fire and grow, node 1 shrinks.

        >>> graph = nsh.Graph.from_nodes(2, [], classes=[(0, 1)])
        >>> system = nsh.Neurashed(graph, nsh.neurashed.Constant(1.0), nsh.neurashed.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> batch = system.prepare(np.array([[1, 0]]), np.array([0]))
        >>> state = system.init(jax.random.key(0), rules)
        >>> after = system.step(state, batch, rules, jax.random.key(1))
        >>> jnp.exp(after.log_amplification).round(4).tolist()
        [2.0, 0.5]
    """

    graph: Graph
    amplification_init: Initializer = eqx.field(default_factory=lambda: Uniform(0.0, 0.01))
    weight_init: Initializer = eqx.field(default_factory=lambda: Uniform(0.0, 0.01))
    edge_firing: Literal["batch", "sample"] = eqx.field(static=True, default="batch")

    def ends(self) -> Ends:
        """See `PathwayModel.ends`: those to class nodes."""
        return class_ends(self.graph)

    def of_firing(self, nodes: Array, edges: Array) -> tuple[Array, Array]:
        """See `PathwayModel.of_firing`: factors belong to nodes."""
        return nodes, edges

    def factor_levels(self) -> Int[np.ndarray, " nodes"]:
        """See `PathwayModel.factor_levels`."""
        return self.graph.node_levels()

    def log_scores(self, state: NeurashedState, example: Pathways) -> Float[Array, " nodes"]:
        """log S_F of every feature node, -inf where it does not fire.

        Level 1: S_F = lambda_F; above: S_F = lambda_F sum of S_f over dependents f
        (arXiv 2112.09741, Section 2). Differentiable in the state.
        """
        fires = unpack(example.words, self.graph.nodes)
        return propagated(self.graph, fires, state.log_amplification)
