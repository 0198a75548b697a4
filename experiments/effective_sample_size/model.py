"""A rare class among common ones in neurashed, its features shared to a degree that is varied.

A zebra has the stripes of one animal, the body of another, the colours of a third: classes 1 to 3
are common, class 0 is rare, and each of its three parts is to be seen in some of the samples of
one common class as well. Only the node that joins the parts is the rare class's own.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, UInt32

from experiments.effective_sample_size.config import Config
from experiments.harness.dataset import dataset
from experiments.rare_features import trained
from nsh import Neurashed
from nsh.neurashed import Graph, Node, Pathways, exact
from nsh.training import Snapshot

CLASSES, PARTS = 4, 3
# part, feature, the node that joins them, class weight: what a path's score is a product of
FACTORS = 4


def zebra() -> Graph:
    """Three parts for each class, a feature on top of each part, a node that joins them.

    That of the rare class joins its own three features (two or more of them); that of common class
    i its own three and the rare class's feature number i.
    """
    ours = [tuple(range(PARTS * c, PARTS * (c + 1))) for c in range(CLASSES)]
    features = [Node((part,), "any") for part in range(CLASSES * PARTS)]
    joined = [Node(ours[0], 2)] + [Node((c - 1, *ours[c]), 2) for c in range(1, CLASSES)]
    return Graph.from_nodes(CLASSES * PARTS, [features, joined], [(c,) for c in range(CLASSES)])


def samples(count: int, own: int, sharing: float) -> tuple[np.ndarray, np.ndarray]:
    """Training inputs: about `own` of the rare class, the rest equally of the common ones.

    A sample fires its class's three parts; in a share `sharing` of common class i's samples the
    rare class's part number i is to be seen too.
    """
    each = (count - own) // (CLASSES - 1)
    y = np.repeat(np.arange(CLASSES), [count - (CLASSES - 1) * each] + [each] * (CLASSES - 1))
    x = np.repeat(np.eye(CLASSES, dtype=bool), PARTS, axis=1)[y]
    for common in range(1, CLASSES):
        x[np.flatnonzero(y == common)[: round(sharing * each)], common - 1] = True
    return x, y


def effective_sample_size(q: Any, batch: Any, count: int) -> Any:
    """n_eff = N (1 - (1 - q)^(1/B)), q the mean chance to fire of a path's factors.

    So many samples of its own, of N in all, give a class that shares nothing the same growth:
    with geometric rules a path's log score grows by T sum_l (q_l log a + (1 - q_l) log b).
    """
    return -count * np.expm1(np.log1p(-np.asarray(q, float)) / batch)


class RareClass(eqx.Module):
    """What is recorded: how the rare class's paths have grown, its logit, and its recall."""

    tested: Pathways
    """An input without noise, then many with."""

    def __call__(self, now: Snapshot) -> dict[str, Array]:
        """Mean log score of the three paths, log logit (no noise), recall (with noise)."""
        system, state = now.system, now.state
        assert isinstance(system, Neurashed)
        graph = system.graph
        parts, features, joined = (
            state.log_amplification[graph.node_slice(level)] for level in (1, 2, 3)
        )
        path = jnp.mean(parts[:PARTS] + features[:PARTS]) + joined[0] + state.log_weight[0]

        def log_logits(example: Pathways) -> Float[Array, " classes"]:
            logits = system.outputs(state, example)
            return jnp.log(logits.value) + logits.log_scale

        first, noisy = jnp.split(jax.vmap(log_logits)(self.tested), [1])
        best_other = jnp.max(noisy[:, 1:], axis=1)
        return {
            "path": path,
            "logit": first[0, 0],
            "recall": jnp.mean(noisy[:, 0] > best_other, dtype=path.dtype),
        }


TABLE = """
    path logit: batch own sharing seed step [nats]
    recall: batch own sharing seed step [1]
    count: [samples]
    law: batch own sharing [1]
    effective: batch own sharing [samples]
    batch: batch [samples]
    own: own [samples]
    sharing: sharing [1]
"""


def run_model(config: Config) -> xr.Dataset:
    """What `RareClass` records, and the law: exact mean chance of a path's factors to fire."""
    count, shape = config.count, (len(config.batch_sizes), len(config.own), len(config.sharing))
    system = Neurashed(zebra(), edge_firing="sample")
    sets = [samples(count, n, s) for n in config.own for s in config.sharing]
    prototype = np.arange(CLASSES * PARTS) < PARTS
    flips = np.random.default_rng(0).random((config.test, CLASSES * PARTS)) < config.noise
    x, y = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    prepared = system.prepare(
        np.concatenate([x, prototype[None], prototype ^ flips]),
        np.concatenate([y, np.zeros(config.test + 1, int)]),
    ).words
    words = prepared[: len(x)].reshape(len(sets), count, -1)
    what = RareClass(Pathways(prepared[len(x) :]))
    sizes = jnp.asarray(config.batch_sizes, jnp.int32)
    recorded = trained(
        system, words, what, config.batch_sizes, seeds=config.seeds, steps=config.steps,
        every=config.every, key=jax.random.key(config.seed),
    )  # fmt: skip
    recorded["law"] = _law(system, words, sizes)
    values = {n: np.asarray(v).reshape(*shape, *v.shape[2:]) for n, v in recorded.items()}
    batch = np.array(config.batch_sizes)[:, None, None]
    values["effective"] = effective_sample_size(values["law"], batch, count)
    return dataset(
        TABLE,
        values | {"count": count},
        batch=list(config.batch_sizes),
        own=list(config.own),
        sharing=list(config.sharing),
        step=list(range(0, config.steps + 1, config.every)),
    )


@eqx.filter_jit
def _law(
    system: Neurashed, points: UInt32[Array, "points n words"], sizes: Int[Array, " sizes"]
) -> Float[Array, "sizes points"]:
    """Mean chance to fire of the factors on a path of the rare class."""

    def chance(size: Array, words: Array) -> Array:
        q = exact.firing_probability(system, Pathways(words), size.astype(float))
        parts, features, joined = (q.nodes[system.graph.node_slice(level)] for level in (1, 2, 3))
        path = jnp.mean(parts[:PARTS] + features[:PARTS]) + joined[0] + q.class_edges[0]
        return path / FACTORS

    return jax.vmap(lambda size: jax.vmap(lambda words: chance(size, words))(points))(sizes)
