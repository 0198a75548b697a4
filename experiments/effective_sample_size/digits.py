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
from jaxtyping import Array, Float, PyTree

from experiments.effective_sample_size.config import Config
from experiments.harness.dataset import dataset
from nsh import (
    Geometric,
    Neurashed,
    PerPoint,
    PerSeed,
    Rules,
    SaveAt,
    Subset,
    System,
    TrainingProblem,
    WithReplacement,
    ensemble,
    hyper_grid,
)
from nsh.correspondence.from_data import from_data
from nsh.data import digits
from nsh.measure import observe
from nsh.networks import digit_mlp
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Constant, unpack
from nsh.training import Snapshot

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
        """First with none thinned, then with the class thinned: [seeds, 2, classes, ...]."""
        whole = jax.tree.map(np.asarray, examples)
        train = jax.tree.map(lambda leaf: leaf[:count], whole)
        test = jax.tree.map(lambda leaf: leaf[count:].reshape(*shape, *leaf.shape[1:]), whole)
        problem = TrainingProblem(
            system,
            train,
            hyper_grid(lambda case: hyper, case=range(1 + CLASSES)),  # noqa: ARG005
            steps=steps,
            sampler=Subset(WithReplacement(batch), PerPoint(PerSeed(np.swapaxes(index, 0, 1)))),
            save=SaveAt(Tested(test), times=(steps,)),
            grid_ndim=1,
        )
        saved = ensemble(problem, jax.random.key(config.seed), seeds=seeds).saved
        each = jnp.arange(CLASSES)
        return jax.tree.map(
            lambda leaf: jnp.stack([leaf[0, :, 0], leaf[1 + each, :, 0, each].swapaxes(0, 1)], 1),
            saved,
        )

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
    """On test images of each class."""

    recall: Float[Array, "*n classes"]
    fires: Float[Array, "*n classes units"]
    """How often each unit of the last hidden level is active."""


class Tested(eqx.Module):
    """What is recorded; `test`: images of each class, [class, n, ...]."""

    test: PyTree

    def __call__(self, now: Snapshot) -> Recalls:
        """Recall and activity of one trained system, class by class."""

        def of_class(each: tuple[PyTree, Array]) -> tuple[Array, Array]:
            test, label = each
            seen = observe(now.system, now.state, test)
            right, fires = jnp.argmax(seen.outputs, axis=1) == label, seen.features[-1] > 0
            dtype = seen.outputs.dtype
            return jnp.mean(right, dtype=dtype), jnp.mean(fires, axis=0, dtype=dtype)

        return Recalls(*jax.lax.map(of_class, (self.test, jnp.arange(CLASSES))))
