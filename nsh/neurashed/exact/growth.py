"""How amplification factors, scores and logits grow: moments and almost-sure exponents."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from nsh.neurashed.exact.firing import Firing, firing_covariance, firing_probability
from nsh.neurashed.model import Neurashed, Pathways
from nsh.neurashed.pathway import unpack
from nsh.neurashed.rule import Rule
from nsh.neurashed.rules import Rules, constant_log_factor


def growth_exponents(system: Neurashed, rules: Rules, firing: Firing) -> Firing:
    """gamma = q log a + (1-q) log b of every node and class edge, with rates of its own.

    By the law of large numbers (1/T) log lambda_T -> gamma almost surely: a feature survives if
    gamma > 0. `firing`: from `firing_probability`. Raises `ValueError` unless all rules are
    geometric and constant in time. Differentiable in the rates and in q.

    Example:
        With a = 2 and b = 1/2, a node that fires in every step gains log 2 in each, and one
        that half of the samples fire gains nothing:

        >>> from nsh.neurashed.exact import firing_probability, growth_exponents
        >>> graph, inputs = nsh.neurashed.figure3()
        >>> system, rules = nsh.Neurashed(graph), nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> firing = firing_probability(system, system.prepare(inputs.x, inputs.y), jnp.array(1.0))
        >>> exponents = growth_exponents(system, rules, firing)
        >>> abs(exponents.nodes[jnp.array([0, 2])] / jnp.log(2)).round(3).tolist()
        [1.0, 0.0]
    """
    grown, shrunk = _log_rates(system, rules)
    return Firing(*(q * a + (1 - q) * b for q, a, b in zip(firing, grown, shrunk, strict=True)))


class JointLogMoments(NamedTuple):
    """Mean and covariance of log(x_T / x_0), x = lambda of the nodes, then eta of class edges."""

    mean: Float[Array, " events"]
    covariance: Float[Array, "events events"]


def joint_log_moments(
    system: Neurashed,
    rules: Rules,
    pathways: Pathways,
    size: Float[Array, ""],
    steps: Float[Array, ""],
) -> JointLogMoments:
    """Mean T gamma and covariance T (log a_i/b_i) (log a_j/b_j) Cov(firing) after T steps.

    For mini-batches of `size` i.i.d. samples; as T grows the law is the normal one with these
    moments. Raises `ValueError` unless all rules are geometric and constant in time. Memory:
    O(events^2). Differentiable in the rates, `size` and `steps`.

    Example:
        >>> from nsh.neurashed.exact import joint_log_moments
        >>> graph, inputs = nsh.neurashed.figure3()
        >>> system, rules = nsh.Neurashed(graph), nsh.Rules(nsh.Geometric(np.e), nsh.Geometric(1.0))
        >>> pathways = system.prepare(inputs.x, inputs.y)
        >>> moments = joint_log_moments(system, rules, pathways, jnp.array(1.0), jnp.array(100.0))
        >>> moments.mean[:3].round().tolist()
        [100.0, 75.0, 50.0]
    """
    firing = firing_probability(system, pathways, size)
    grown, shrunk = (jnp.concatenate(rates) for rates in _log_rates(system, rules))
    jump = grown - shrunk
    mean = jnp.concatenate(growth_exponents(system, rules, firing))
    covariance = firing_covariance(system, pathways, size) * jump[:, None] * jump[None]
    return JointLogMoments(steps * mean, steps * covariance)


class PathExponents(NamedTuple):
    """Almost-sure growth rates per step, of each sample; -inf where nothing fires.

    `scores`: of S_F. `logits`: of Z_j. `margin`: that of the label's logit less the best other's.
    """

    scores: Float[Array, "samples nodes"]
    logits: Float[Array, "samples classes"]
    margin: Float[Array, " samples"]


def path_exponents(system: Neurashed, exponents: Firing, pathways: Pathways) -> PathExponents:
    """lim (1/T) log of scores and logits: the largest total exponent of a path that fires.

    S_F is a sum over paths of products of lambda (arXiv 2112.09741, Section 2), so its exponent is
    ``gamma_F + max over firing dependents f of that of S_f``; for Z_j the weight's is added. The
    feature whose score has the largest exponent of its level dominates late in training. p(true
    class) -> 1 where the margin is > 0, -> 0 where it is < 0; at 0 the next order decides.

    `exponents`: from `growth_exponents`; starts must be > 0. Differentiable in the exponents
    (where two paths tie, the slopes are shared).

    Example:
        Exponents along a path add up; every node fires in the full batch, so each gains log 2:

        >>> from nsh.neurashed.exact import firing_probability, growth_exponents, path_exponents
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system, rules = nsh.Neurashed(graph), nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> pathways = system.prepare(inputs.x, inputs.y)
        >>> firing = firing_probability(system, pathways, jnp.array(jnp.inf))
        >>> found = path_exponents(system, growth_exponents(system, rules, firing), pathways)
        >>> (found.logits[0] / jnp.log(2)).round(3).tolist()
        [4.0, -inf, -inf]
    """

    def one(words: UInt32[Array, " words"]) -> PathExponents:
        bits = unpack(words, system.graph.nodes + system.graph.classes)
        return _of_sample(system, exponents, bits)

    return jax.vmap(one)(pathways.words)


def _of_sample(system: Neurashed, exponents: Firing, bits: Bool[Array, " bits"]) -> PathExponents:
    graph = system.graph
    fires = bits[: graph.nodes]
    levels = [jnp.where(fires, exponents.nodes, -jnp.inf)[graph.node_slice(1)]]
    for level in range(2, len(graph.widths) + 1):
        edges, nodes = graph.edge_slice(level), graph.node_slice(level)
        terms = levels[-1][graph.sources[edges] - graph.node_slice(level - 1).start]
        targets = graph.targets[edges] - nodes.start
        best = _best(terms, targets, graph.widths[level - 1])
        levels.append(jnp.where(fires[nodes], exponents.nodes[nodes] + best, -jnp.inf))
    scores = jnp.concatenate(levels)
    terms = exponents.class_edges + scores[graph.class_sources]
    logits = _best(terms, graph.class_targets, graph.classes)
    label = bits[graph.nodes :]
    others = jnp.max(jnp.where(label, -jnp.inf, logits))
    return PathExponents(scores, logits, jnp.max(jnp.where(label, logits, -jnp.inf)) - others)


def _best(values: Float[Array, " edges"], targets: Array, count: int) -> Float[Array, " count"]:
    return jax.ops.segment_max(values, targets, num_segments=count, indices_are_sorted=True)


def _log_rates(system: Neurashed, rules: Rules) -> tuple[Firing, Firing]:
    """log a and log b of every node and class edge."""
    graph, top = system.graph, len(system.graph.widths)
    levels = graph.node_levels()
    weight_growth, weight_decay = rules.for_weights()

    def rates(node: Rule, edge: Rule, name: str) -> Firing:
        of_nodes = constant_log_factor(node, name, levels)
        of_edges = constant_log_factor(edge, f"weight_{name}", top)
        return Firing(
            jnp.broadcast_to(of_nodes, (graph.nodes,)),
            jnp.broadcast_to(of_edges, (graph.class_edges,)),
        )

    return (
        rates(rules.growth, weight_growth, "growth"),
        rates(rules.decay, weight_decay, "decay"),
    )
