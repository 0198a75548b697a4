"""The digits with one class thinned: whose recall falls, in networks and in neurashed.

Sharing is taken from the model's own theory: a class's features are shared as much as the average
other class fires them.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments.batches import FixedBatches, draws
from experiments.effective_sample_size.config import Config
from experiments.harness.dataset import dataset
from nsh import Geometric, Neurashed, Rules, System, TrainingProblem, train
from nsh.correspondence.from_data import from_data
from nsh.measure import observe
from nsh.networks import digit_mlp, digits
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Constant, unpack

# of neurashed, with mini-batches of one: slow ones, as the training accuracy with no class thinned
# falls the faster they are (82% at a fifth of these, 61% at six times these)
GROWTH, DECAY = 1.003, 0.9997


TABLE = """
    network neurashed: digits_seed thinned class [1]
    pixels rules units isolation: class [1]
"""


def run_digits(config: Config) -> xr.Dataset:
    """Recall of both systems with and without thinning, and what may predict its fall."""
    data, seeds = digits(), config.digits_seeds
    keys = jax.random.split(jax.random.key(config.seed), seeds)
    index = thinned(data.train_y, config.digits_kept, seeds)
    from_digits = from_data(data.train_x, data.train_y)
    graph = from_digits.graph
    start = Constant(0.01)
    neurashed = Neurashed(graph, start, start, edge_firing="sample")
    network = digit_mlp(config.digits_hidden, "relu")
    order = [np.flatnonzero(data.test_y == c) for c in range(CLASSES)]
    tested = np.stack([places[: min(map(len, order))] for places in order])
    x = np.concatenate([data.train_x, data.test_x[tested.ravel()]])
    y = np.concatenate([data.train_y, data.test_y[tested.ravel()]])
    pathways = neurashed.prepare(from_digits.encode(x), y)
    count, shape = len(data.train_y), tested.shape
    fires = np.asarray(unpack(pathways.words, graph.nodes))[:count]
    pixels = data.train_x.reshape(count, -1)

    def recalls(system: System, examples: PyTree, hyper: PyTree, steps: int, batch: int) -> Recalls:
        whole = jax.tree.map(np.asarray, examples)
        train = jax.tree.map(lambda leaf: leaf[:count], whole)
        test = jax.tree.map(lambda leaf: leaf[count:].reshape(*shape, *leaf.shape[1:]), whole)
        drawn = draws(config.seed, seeds, steps, batch, index.shape[-1])
        return _recalls(system, train, test, index, hyper, drawn, keys)

    rate = {"optimiser": {"learning_rate": jnp.asarray(config.digits_learning_rate)}}
    examples, steps, batch = network.prepare(x, y), config.digits_steps, config.digits_batch
    networks = recalls(network, examples, rate, steps, batch)
    rules = Rules(Geometric(GROWTH), Geometric(DECAY))
    models = recalls(neurashed, pathways, rules, config.neurashed_steps, 1)
    levels = [fires[:, graph.node_slice(level)] for level in (1, 2, 3)]
    values = {
        "network": networks.recall,
        "neurashed": models.recall,
        "pixels": sharing(by_class(pixels >= 0.5, data.train_y)),
        "rules": np.mean([sharing(by_class(level, data.train_y)) for level in levels], axis=0),
        "units": np.mean([sharing(shares) for shares in np.asarray(networks.fires)[:, 0]], axis=0),
        "isolation": isolation(pixels, data.train_y),
    }
    return dataset(TABLE, values, **{"class": list(range(CLASSES))}, thinned=[False, True])


def thinned(y: np.ndarray, kept: int, seeds: int) -> np.ndarray:
    """Training samples [seed, 1 + class, sample]: first with no class thinned, then each in turn.

    A thinned class keeps `kept` samples, drawn anew for each seed, the others as many each as the
    smallest class has; with none thinned, as many samples in all, equally.
    """
    random = np.random.default_rng(0)
    most = np.bincount(y).min()
    total = (CLASSES - 1) * most + kept
    equal = np.full(CLASSES, total // CLASSES) + (np.arange(CLASSES) < total % CLASSES)
    rows = []
    for _ in range(seeds):
        order = [random.permutation(np.flatnonzero(y == c))[:most] for c in range(CLASSES)]
        for thin in (None, *range(CLASSES)):
            sizes = equal if thin is None else np.where(np.arange(CLASSES) == thin, kept, most)
            rows.append(np.concatenate([o[:n] for o, n in zip(order, sizes, strict=True)]))
    return np.stack(rows).reshape(seeds, 1 + CLASSES, total).astype(np.int32)


def by_class(fires: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How often each feature fires for each class: [class, feature]."""
    return np.stack([fires[y == c].mean(axis=0) for c in range(CLASSES)])


def sharing(shares: np.ndarray) -> np.ndarray:
    """How often the average other class fires the features of each class.

    ``sum_f P(f | c) mean_{c' != c} P(f | c') / sum_f P(f | c)``, from P(f | c) [class, feature]: in
    a data set with few samples of c it is the share of samples that makes c's features grow.
    """
    others = (shares.sum(axis=0) - shares) / (CLASSES - 1)
    return (shares * others).sum(axis=1) / np.maximum(shares.sum(axis=1), 1e-12)


def isolation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance of a class's mean to the nearest other's, over the root mean square spread in it."""
    means = by_class(x, y)
    apart = np.linalg.norm(means[:, None] - means[None], axis=-1) + np.diag(np.full(CLASSES, 1e9))
    spread = [np.sqrt(((x[y == c] - means[c]) ** 2).sum(axis=1).mean()) for c in range(CLASSES)]
    return apart.min(axis=1) / np.array(spread)


class Recalls(eqx.Module):
    """On test images of each class, first with none thinned, then with it thinned."""

    recall: Float[Array, "seeds 2 classes"]
    fires: Float[Array, "seeds 2 classes units"]
    """How often each unit of the last hidden level is active."""


@eqx.filter_jit
def _recalls(
    system: System,
    examples: PyTree,
    test: PyTree,
    index: Int[Array | np.ndarray, "seeds cases samples"],
    hyper: PyTree,
    drawn: Int[Array, "seeds steps batch"],
    keys: Key[Array, " seeds"],
) -> Recalls:
    """Train on each set of samples (a seed's on the same draws); `test` is [class, n, ...]."""
    seeds, cases, samples = index.shape

    def trained(member: tuple[Array, Array]) -> PyTree:
        chosen, seed = member
        problem = TrainingProblem(
            system,
            jax.tree.map(lambda leaf: leaf[chosen], examples),
            hyper,
            steps=drawn.shape[1],
            sampler=FixedBatches(drawn[seed]),
        )
        return train(problem, keys[seed]).state

    numbers = jnp.repeat(jnp.arange(seeds), cases)
    states = jax.lax.map(trained, (index.reshape(-1, samples), numbers), batch_size=2 * cases)

    def tested(place: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        seed, thinned, label = place
        member = seed * cases + jnp.where(thinned, 1 + label, 0)
        state = jax.tree.map(lambda leaf: leaf[member], states)
        seen = observe(system, state, jax.tree.map(lambda leaf: leaf[label], test))
        right, fires = jnp.argmax(seen.outputs, axis=1) == label, seen.features[-1] > 0
        dtype = seen.outputs.dtype
        return jnp.mean(right, dtype=dtype), jnp.mean(fires, axis=0, dtype=dtype)

    shape = seeds, 2, CLASSES
    places = jnp.indices(shape).reshape(3, -1)
    recall, fires = jax.lax.map(tested, tuple(places), batch_size=2 * CLASSES)
    return Recalls(recall.reshape(shape), fires.reshape(*shape, -1))
