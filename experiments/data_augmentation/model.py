"""Crops in neurashed: classes of two parts that always occur together, unless cropping parts them.

Each class (a cat) has a head and a tail, two level-1 nodes each. Level 2 has a node for the head,
one for the tail, and one for both together; the class is wired to all three. Which of them grow
decides whether the class rests on its parts or on their conjunction.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments.data_augmentation.config import Config
from experiments.harness.dataset import dataset
from experiments.rare_features import trained
from nsh import Neurashed
from nsh.neurashed import Graph, Node, Pathways, exact, unpack
from nsh.training import Snapshot

CLASSES, BITS = 3, 4
VIEWS = ("whole", "head", "tail")
MASKS = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]], bool)


def cats() -> Graph:
    """For each class nodes for both parts (three of four bits), head and tail (any of two)."""
    nodes = []
    for c in range(CLASSES):
        a, b, d, e = range(BITS * c, BITS * (c + 1))
        nodes += [Node((a, b, d, e), 3), Node((a, b), "any"), Node((d, e), "any")]
    return Graph.from_nodes(
        CLASSES * BITS, [nodes], [tuple(range(3 * c, 3 * c + 3)) for c in range(CLASSES)]
    )


def views(y: np.ndarray, view: np.ndarray) -> np.ndarray:
    """What fires at level 1 for samples of classes y of which a `view` (0, 1, 2) is shown."""
    return np.repeat(np.eye(CLASSES, dtype=bool), BITS, axis=1)[y] & np.tile(MASKS[view], CLASSES)


def augmented(each: int, crops: float) -> tuple[np.ndarray, np.ndarray]:
    """`each` samples a class, a share `crops` of them cropped, to head and tail equally often."""
    cropped = round(crops * each / 2)
    view = np.tile(np.repeat([0, 1, 2], [each - 2 * cropped, cropped, cropped]), CLASSES)
    y = np.repeat(np.arange(CLASSES), each)
    return views(y, view), y


class Parts(eqx.Module):
    """What is recorded: the level-2 nodes, how much the parts carry, accuracy by view."""

    tested: Pathways
    """Each class in each view without noise, then many with."""
    labels: Int[Array, " test"]

    def __call__(self, now: Snapshot) -> dict[str, Array]:
        """Log amplification [class, view], share of the logit [class], accuracy [view].

        The share is that of a whole image's logit which its two parts, shown alone, add up to: 1
        where each is learnt by itself.
        """
        system, state = now.system, now.state
        assert isinstance(system, Neurashed)

        def log_logits(example: Pathways) -> Float[Array, " classes"]:
            logits = system.outputs(state, example)
            return jnp.log(logits.value) + logits.log_scale

        own, found = jnp.split(jax.vmap(log_logits)(self.tested), [3 * CLASSES])
        own = own.reshape(CLASSES, 3, CLASSES)
        own = jnp.stack([own[c, :, c] for c in range(CLASSES)])
        member = self.labels[:, None] == jnp.arange(CLASSES)[None]
        # a class is recognised if it has the largest logit by itself: where nothing fires, none is
        best_other = jnp.max(jnp.where(member, -jnp.inf, found), axis=1)
        right = jnp.max(jnp.where(member, found, -jnp.inf), axis=1) > best_other
        nodes = state.log_amplification[system.graph.node_slice(2)]
        return {
            "nodes": nodes.reshape(CLASSES, 3),
            "carried": jnp.sum(jnp.exp(own[:, 1:] - own[:, :1]), axis=1),
            "accuracy": jnp.mean(right.reshape(3, -1), axis=1, dtype=nodes.dtype),
        }


TABLE = """
    nodes: batch crops seed step class view [nats]
    carried: batch crops seed step class [1]
    accuracy: batch crops seed step view [1]
    q: batch crops class view [1]
    correlation: batch crops [1]
    batch: batch [samples]
    crops: crops [1]
"""


def run_model(config: Config) -> xr.Dataset:
    """What `Parts` records, and exact laws.

    `q`: chance of the level-2 nodes to fire in a step; `correlation`: of the growth of a class's
    head and tail.
    """
    system, sizes = Neurashed(cats(), edge_firing="sample"), config.batch_sizes
    sets = [augmented(config.each, share) for share in config.crops]
    labels = np.tile(np.repeat(np.arange(CLASSES), config.test), 3)
    shown = views(labels, np.repeat(np.arange(3), CLASSES * config.test))
    flips = np.random.default_rng(0).random(shown.shape) < config.noise
    owners = np.repeat(np.arange(CLASSES), 3)
    x = np.concatenate([views(owners, np.tile(np.arange(3), CLASSES)), shown ^ flips])
    words = system.prepare(
        np.concatenate([x, *(bits for bits, _ in sets)]),
        np.concatenate([owners, labels, *(y for _, y in sets)]),
    ).words
    what = Parts(Pathways(words[: len(x)]), jnp.asarray(labels))
    count = CLASSES * config.each
    points = words[len(x) :].reshape(len(sets), count, -1)
    recorded = trained(
        system, points, what, sizes, seeds=config.seeds, steps=config.steps,
        every=config.every, key=jax.random.key(config.seed),
    )  # fmt: skip
    fires = np.asarray(unpack(points, system.graph.nodes))[..., system.graph.node_slice(2)]
    return dataset(
        TABLE,
        recorded | _law(fires, sizes),
        batch=list(sizes),
        crops=list(config.crops),
        step=list(range(0, config.steps + 1, config.every)),
        view=list(VIEWS),
    )


def _law(fires: np.ndarray, batches: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Of level-2 nodes that fire for samples [crops, n, node]: see `run_model`."""
    head, tail = fires[..., 1], fires[..., 2]
    shares = np.concatenate([fires.mean(axis=1), (head | tail).mean(axis=1)[:, None]], axis=1)
    sizes = np.array(batches, float)[:, None, None]
    chance = exact.batch_firing_probability(jnp.asarray(shares)[None], jnp.asarray(sizes))
    q, either = np.split(np.asarray(chance), [fires.shape[-1]], axis=-1)
    head, tail = q[..., 1], q[..., 2]
    # that both fire in a batch, less what independent nodes would
    covariance = head + tail - either[..., 0] - head * tail
    spread = np.sqrt(head * (1 - head) * tail * (1 - tail))
    return {"q": q.reshape(*q.shape[:2], CLASSES, 3), "correlation": covariance / spread}
