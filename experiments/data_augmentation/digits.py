"""The digits with and without crops: networks, and neurashed on rules found in the digits."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, PyTree

from experiments.data_augmentation.config import Config
from experiments.harness.dataset import dataset
from nsh import (
    Geometric,
    Neurashed,
    PerPoint,
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
from nsh.measure import elasticity, observe
from nsh.networks import Network, digit_cnn, digit_mlp
from nsh.neurashed import Constant, unpack
from nsh.training import Snapshot

SIDE = 8
HALVES = ("left", "right", "top", "bottom")
CONDITIONS = ("whole images", "crops", "scattered pixels")
# of neurashed, with mini-batches of one: those of `experiments.effective_sample_size.digits`
FACTORS = GROWTH, DECAY = 1.003, 0.9997
START = 0.01
# as in `experiments.local_elasticity`
LEARNING_RATES = {"MLP": 0.1, "CNN": 0.3}
# images whose halves are updated and probed
PROBED = 10


def half_masks() -> np.ndarray:
    """Which pixels each of `HALVES` shows: [4, 8, 8]."""
    low = np.arange(SIDE) < SIDE // 2
    row, column = np.broadcast_arrays(low[:, None], low[None])
    return np.stack([column, ~column, row, ~row])


def all_views(x: np.ndarray) -> np.ndarray:
    """Each image whole, its four halves, then half of its pixels four times: [9, n, 8, 8]."""
    random = np.random.default_rng(0)
    order = random.random((4, len(x), SIDE * SIDE)).argsort(axis=-1)
    scattered = (order < SIDE * SIDE // 2).reshape(4, -1, SIDE, SIDE)
    return np.concatenate([x[None], x * half_masks()[:, None], x * scattered])


def chosen(samples: int) -> np.ndarray:
    """Of `all_views`, flattened, which each of `CONDITIONS` trains on: [3, 5 samples].

    Whole images (as often as there are views), whole images and halves, whole and scattered.
    """
    which = [[0] * 5, [0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    return np.array(
        [np.concatenate([view * samples + np.arange(samples) for view in row]) for row in which],
        np.int32,
    )


class Results(eqx.Module):
    """One trained system: what `CONDITIONS` are compared by."""

    accuracy: Float[Array, "*n"]
    """On whole test images."""
    half_accuracy: Float[Array, "*n"]
    """On halves of them, mean of the four."""
    dependence: Float[Array, "*n"]
    """How much a unit of the last hidden level depends on one half alone, 0 to 1."""
    elasticity: Float[Array, "*n"] | None
    """Of networks: `between_halves`."""


class Measured(eqx.Module):
    """What is recorded. `test`: whole images, then each of their four halves, [5 n, ...]."""

    test: PyTree
    labels: Int[Array | np.ndarray, " n"]

    def __call__(self, now: Snapshot) -> Results:
        """All results of one trained system."""
        system, state, labels = now.system, now.state, jnp.asarray(self.labels)
        observed = observe(system, state, self.test)
        views = 1 + len(HALVES)
        right = jnp.argmax(observed.outputs, axis=1).astype(labels.dtype) == jnp.tile(labels, views)
        accuracy = jnp.mean(right.reshape(views, -1), axis=1, dtype=observed.outputs.dtype)
        level = observed.features[-1].reshape(views, -1, observed.features[-1].shape[-1])
        moved = None
        if isinstance(system, Network):
            no_randomness = jax.random.key(0)  # an update draws none
            moved = between_halves(system, state, now.hyper, self.test, no_randomness)
        return Results(accuracy[0], jnp.mean(accuracy[1:]), half_dependence(level), moved)


def between_halves(
    system: System, state: PyTree, hyper: PyTree, test: PyTree, key: Any
) -> Float[Array, ""]:
    """Mean local elasticity of one half of an image under an update on its other half."""
    examples = jax.tree.map(lambda leaf: leaf.reshape(5, -1, *leaf.shape[1:]), test)
    # left, then top; their other halves
    updated, probe = (
        jax.tree.map(lambda leaf, at=at: _few(leaf[at], leaf[at + 2]), examples) for at in (1, 2)
    )
    moved = jax.vmap(lambda one, other: elasticity(system, state, hyper, one, other, key))
    return jnp.mean(moved(updated, probe))


def _few(*parts: Array) -> Array:
    return jnp.concatenate([part[:PROBED] for part in parts])


def half_dependence(level: Float[Array, "views n units"]) -> Float[Array, ""]:
    """``sum_k |D_k - D'_k| / sum_k (D_k + D'_k)``, over both ways to halve an image.

    D_k = mean |f_k(image) - f_k(half)| is what unit k loses with the other half, D'_k with this
    one. 0: every unit depends on both halves alike; 1: each on one of them alone.
    """
    lost = jnp.mean(jnp.abs(level[1:] - level[:1]), axis=1).reshape(2, 2, -1)
    apart = jnp.abs(lost[:, 0] - lost[:, 1])
    return jnp.sum(apart) / jnp.sum(lost)


TABLE = """
    digits_accuracy digits_half_accuracy digits_dependence: system condition digits_seed [1]
    digits_elasticity: network condition digits_seed [1]
    growth: condition digits_seed node [nats]
    law: condition node [1]
    level: node [1]
    neurashed_steps: [backpropagations]
"""


def run_digits(config: Config) -> xr.Dataset:
    """`Results` of each system; of neurashed's nodes growth of log lambda, law and level.

    `law`: the exact chance of a node to fire in a step.
    """
    data, seeds, test = digits(), config.digits_seeds, config.digits_test
    key = jax.random.key(config.seed)
    train_x, test_x = all_views(data.train_x), all_views(data.test_x)[: 1 + len(HALVES), :test]
    x = np.concatenate([part.reshape(-1, SIDE, SIDE) for part in (train_x, test_x)])
    labels = data.test_y[:test]
    y = np.concatenate([np.tile(data.train_y, len(train_x)), np.tile(labels, len(test_x))])
    split = len(train_x) * len(data.train_y)
    index = chosen(len(data.train_y))

    def trained(system: System, examples: PyTree, hyper: PyTree, steps: int, batch: int) -> Any:
        """Results and states [conditions, seeds, ...], a seed on the same draws in all of them."""
        own = jax.tree.map(lambda leaf: np.asarray(leaf)[:split], examples)
        tested = jax.tree.map(lambda leaf: np.asarray(leaf)[split:], examples)
        problem = TrainingProblem(
            system,
            own,
            hyper_grid(lambda condition: hyper, condition=range(len(CONDITIONS))),  # noqa: ARG005
            steps=steps,
            sampler=Subset(WithReplacement(batch), PerPoint(index)),
            save=SaveAt(Measured(tested, labels), times=(steps,)),
            grid_ndim=1,
        )
        run = ensemble(problem, key, seeds=seeds)
        return jax.tree.map(lambda leaf: leaf[:, :, 0], run.saved), run.state

    networks = {
        "MLP": digit_mlp(config.digits_hidden, "relu"),
        "CNN": digit_cnn(config.digits_channels),
    }
    results = {}
    for name in config.networks:
        rate = {"optimiser": {"learning_rate": jnp.asarray(LEARNING_RATES[name])}}
        examples, steps = networks[name].prepare(x, y), config.digits_steps
        results[name], _ = trained(networks[name], examples, rate, steps, config.digits_batch)
    from_digits = from_data(data.train_x, data.train_y)
    start, rules = Constant(START), Rules(Geometric(GROWTH), Geometric(DECAY))
    neurashed = Neurashed(from_digits.graph, start, start, edge_firing="sample")
    pathways, steps = neurashed.prepare(from_digits.encode(x), y), config.neurashed_steps
    results["neurashed"], states = trained(neurashed, pathways, rules, steps, 1)
    fires = np.asarray(unpack(pathways.words, from_digits.graph.nodes))
    values = {
        f"digits_{name}": np.stack([getattr(result, name) for result in results.values()])
        for name in ("accuracy", "half_accuracy", "dependence")
    } | {
        "digits_elasticity": np.stack([results[name].elasticity for name in config.networks]),
        "growth": np.asarray(states.log_amplification) - np.log(START),
        # of mini-batches of one: the share of samples that fire it
        "law": np.stack([fires[row].mean(axis=0) for row in index]),
        "level": from_digits.graph.node_levels() + 1,
        "neurashed_steps": steps,
    }
    names = {"system": list(results), "network": list(config.networks)}
    return dataset(TABLE, values, **names, condition=list(CONDITIONS))
