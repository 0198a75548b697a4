"""What `scaling_law` measures on one random hierarchy: all states of a run by one program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from nsh import Graph, Neurashed, Rules, WithReplacement
from nsh.measure import Noise, information
from nsh.neurashed import Constant, unpack
from nsh.neurashed.prepared import pathways_of

CLASSES, TYPES_OF_A_CLASS, TOP = 2, 4, 4
TYPES = CLASSES * TYPES_OF_A_CLASS
LABELS = np.repeat(np.arange(CLASSES), TYPES_OF_A_CLASS)
# two types of each class are learnt once more, and probed
UPDATED = np.array([0, 1, TYPES_OF_A_CLASS, TYPES_OF_A_CLASS + 1])
# of all factors and weights: what differs in the end was made by training
START = 0.005
# nodes from which on running is what takes time, not compiling
MANY = 50_000


class Layout(NamedTuple):
    """Shared nodes and each class's own, level by level, and the fan-in: for `random_hierarchy`."""

    shared: tuple[int, ...]
    specific: tuple[int, ...]
    fan_in: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Nodes of each level."""
        return tuple(s + CLASSES * o for s, o in zip(self.shared, self.specific, strict=True))


def layout(size: int, depth: int, sharing: float) -> Layout:
    """`size` nodes in `depth` levels of widths ``4 r^(levels above)``, fan-in 2 r.

    Each node has two parents on average whatever the size. The top level is small at any size: two
    nodes of each class and none shared. Below it, a share `sharing` of each level is shared.
    """
    low, ratio, high = 0.0, 0.0, size / TOP
    for _ in range(60):  # bisection: the number of nodes rises with r
        ratio = (low + high) / 2
        enough = TOP * sum(ratio**level for level in range(depth)) > size
        low, high = (low, ratio) if enough else (ratio, high)
    middle = [round(TOP * ratio**level) for level in range(1, depth - 1)]
    # even where one node more or less does not matter, so that nothing need be shared
    middle = [width - width % 2 * (width > 10) for width in middle]
    below = [size - TOP - sum(middle), *middle[::-1]]
    shared = [round(sharing * width) for width in below]
    shared = [count + (width - count) % CLASSES for count, width in zip(shared, below, strict=True)]
    own = [(width - count) // CLASSES for count, width in zip(shared, below, strict=True)]
    return Layout((*shared, 0), (*own, TOP // CLASSES), max(2, int(2 * ratio)))


class Batches(NamedTuple):
    """The mini-batches that can be drawn: which types each has, and how likely each is.

    `members`: types, some repeated. `chances`: one row for each batch size.
    """

    members: Int[np.ndarray, "sets most"]
    chances: Float[np.ndarray, "sizes sets"]


def batches(sizes: Sequence[int]) -> Batches:
    """Mini-batches of types drawn with replacement, as distinct sets (`Sampler.distribution`)."""
    laws = [WithReplacement(size).distribution(TYPES) for size in sizes]
    members = max((sets for sets, _ in laws), key=len)
    # sets come in order of their size: those of a small batch are the first of a large one's
    return Batches(members, np.stack([np.pad(p, (0, len(members) - len(p))) for _, p in laws]))


def visits(
    random: np.random.Generator,
    chances: Float[np.ndarray, " sets"],
    times: Sequence[int],
    early: int,
) -> Int[np.ndarray, "visits sets"]:
    """How often each mini-batch has come up, in the states that are looked at.

    A run at `times`; one step more, on each of `UPDATED`, from its states at the time `early` and
    at the last; and the typical run of the same length, in which every mini-batch comes up as
    often as expected (rounded), with the same steps more.

    How often each comes up between two times is multinomial: counts replace steps, and ten
    thousand steps cost as much as ten.
    """
    once = np.eye(len(chances), dtype=np.int64)[UPDATED]  # sets of one type come first
    run = random.multinomial(np.diff([0, *times]), chances / chances.sum()).cumsum(0)
    typical = np.rint(times[-1] * chances).astype(np.int64)[None]
    parts = [run, run[list(times).index(early)] + once, run[-1] + once, typical, typical + once]
    return np.concatenate(parts).astype(np.int32)


class States(NamedTuple):
    """States, and the log scores of the top level for all types of input."""

    log_growth: Float[Array, "visits nodes"]
    log_weight: Float[Array, "visits class_edges"]
    log_top: Float[Array, "visits types top"]


@eqx.filter_jit
def see(
    graph: Graph, x: Array, members: Array, rules: Rules, counts: Array
) -> tuple[Bool[Array, "types nodes"], States]:
    """What fires, and the states these counts lead to; one compilation for a shape of graph."""
    system = Neurashed(graph, Constant(START), Constant(START), edge_firing="sample")
    # as `prepare` does, but within this program
    types = pathways_of(graph, system.ends(), x, jnp.asarray(LABELS, jnp.int32), "sample")
    batch = jax.vmap(lambda chosen: system.events(jax.tree.map(lambda w: w[chosen], types)))
    words = batch(members)
    events = unpack(words, 32 * words.shape[1]).astype(jnp.int32)
    start = system.init(jax.random.key(0), rules)
    top = graph.node_slice(len(graph.widths))

    def one(count: Int[Array, " sets"]) -> States:
        state = system.state_from_counts(
            start, count @ events, jnp.sum(count, dtype=jnp.int32), rules
        )
        scores = jax.vmap(lambda example: system.log_scores(state, example)[top])(types)
        growth = state.log_amplification - start.log_amplification
        return States(growth, state.log_weight, scores)

    # a vmap compiles faster, a loop needs less memory and runs faster
    seen = jax.vmap(one)(counts) if graph.nodes < MANY else jax.lax.map(one, counts)
    return unpack(types.words, graph.nodes), seen


@eqx.filter_jit
def top_information(
    log_top: Float[Array, "n types top"], noise: Noise, key: Key[Array, ""]
) -> Float[Array, "n 2"]:
    """I(top level; input) and I(top level; label) in bits, of many states."""

    def one(row: tuple[Array, Array]) -> Float[Array, " 2"]:
        logs, number = row
        unit = jnp.max(logs)
        unit = jnp.where(jnp.isfinite(unit), unit, 0)
        found = information(
            jnp.exp(logs - unit), jnp.asarray(LABELS, jnp.int32), jax.random.fold_in(key, number),
            noise=noise, log_unit=unit, classes=CLASSES,
        )  # fmt: skip
        return jnp.stack([found.input, found.label])

    return jax.lax.map(one, (log_top, jnp.arange(log_top.shape[0], dtype=jnp.int32)))


def log_elasticity_ratio(
    before: Float[np.ndarray, "types classes"], after: Float[np.ndarray, "updated types classes"]
) -> float:
    """log of the local elasticity within classes over that across, geometric means over pairs.

    From log logits before and after a step on each of `UPDATED`, which are the probes too. The
    usual ratio of arithmetic means has no limit: as classes drift apart, a step on the weaker one
    moves the logits of the other ever more times as far. In the geometric mean over both
    directions of a pair that cancels. NaN if no pair of one of the kinds has logits that move.
    """
    before, after = before[UPDATED], after[:, UPDATED]
    unit = np.maximum(before, after).max(-1, keepdims=True)
    unit = np.where(np.isfinite(unit), unit, 0)
    change = np.exp(after - unit) - np.exp(before - unit)
    with np.errstate(divide="ignore"):
        moved = np.log(np.linalg.norm(change, axis=-1)) + unit[..., 0]
    own = np.diagonal(moved)
    moves = np.isfinite(own)
    elasticity = np.where(moves, moved - np.where(moves, own, 0)[:, None], -np.inf)
    same = LABELS[UPDATED][:, None] == LABELS[UPDATED]
    both = np.isfinite(elasticity) & np.isfinite(elasticity).T & ~np.eye(len(UPDATED), dtype=bool)
    kinds = elasticity[both & same], elasticity[both & ~same]
    return float(kinds[0].mean() - kinds[1].mean()) if all(map(len, kinds)) else np.nan


def log_logits(
    log_top: Float[np.ndarray, "*n types top"], log_weight: Float[np.ndarray, "*n top"]
) -> Float[np.ndarray, "*n types classes"]:
    """log Z_j: each class is wired to its own nodes of the top level, one after the other."""
    terms = log_top + log_weight[..., None, :]
    return np.logaddexp.reduce(terms.reshape(*terms.shape[:-1], CLASSES, -1), axis=-1)
