"""The digits with and without crops: networks, and neurashed on rules found in the digits."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from experiments.written_batches import Written, draws
from nsh import Geometric, Neurashed, Rules, System, TrainingProblem, train
from nsh.correspondence.from_data import from_data
from nsh.measure import elasticity, observe
from nsh.networks import Network, digit_cnn, digit_mlp, digits
from nsh.neurashed import Constant, NeurashedState, unpack

SIDE = 8
HALVES = ("left", "right", "top", "bottom")
CONDITIONS = ("whole images", "crops", "scattered pixels")
# of neurashed, with mini-batches of one: those of `experiments.effective_sample_size.digits`
GROWTH, DECAY, START = 1.003, 0.9997, 0.01
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


class Measured(eqx.Module):
    """One trained system: what `CONDITIONS` are compared by."""

    accuracy: Float[Array, "*n"]
    """On whole test images."""
    half_accuracy: Float[Array, "*n"]
    """On halves of them, mean of the four."""
    dependence: Float[Array, "*n"]
    """How much a unit of the last hidden level depends on one half alone, 0 to 1."""
    elasticity: Float[Array, "*n"] | None
    """Of networks: `between_halves`."""


def measure(
    system: System, state: PyTree, hyper: PyTree, test: PyTree, labels: Any, key: Any
) -> Measured:
    """`test`: whole images, their four halves, one after the other, [5 n, ...]."""
    seen = observe(system, state, test)
    views = 1 + len(HALVES)
    right = jnp.argmax(seen.logits, axis=1).astype(labels.dtype) == jnp.tile(labels, views)
    accuracy = jnp.mean(right.reshape(views, -1), axis=1, dtype=seen.logits.dtype)
    level = seen.features[-1].reshape(views, -1, seen.features[-1].shape[-1])
    moved = None
    if isinstance(system, Network):
        moved = between_halves(system, state, hyper, test, key)
    return Measured(accuracy[0], jnp.mean(accuracy[1:]), half_dependence(level), moved)


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


def run_digits(
    *,
    seed: int,
    networks: tuple[str, ...],
    seeds: int,
    steps: int,
    batch: int,
    hidden: tuple[int, ...],
    channels: tuple[int, ...],
    neurashed_steps: int,
    test: int,
) -> tuple[dict[str, Measured], dict[str, np.ndarray]]:
    """`Measured` [condition, seed] of each system; of neurashed's nodes growth, law and level.

    `growth` [condition, seed, node]: of log lambda; `law` [condition, node]: the exact chance of a
    node to fire in a step.
    """
    data, keys = digits(), jax.random.split(jax.random.key(seed), seeds)
    train_x, test_x = all_views(data.train_x), all_views(data.test_x)[: 1 + len(HALVES), :test]
    x = np.concatenate([part.reshape(-1, SIDE, SIDE) for part in (train_x, test_x)])
    y = np.concatenate(
        [np.tile(data.train_y, len(train_x)), np.tile(data.test_y[:test], len(test_x))]
    )
    split = len(train_x) * len(data.train_y)
    index, labels = chosen(len(data.train_y)), data.test_y[:test]

    def trained(system: System, examples: PyTree, hyper: PyTree, steps: int, batch: int) -> Any:
        own = jax.tree.map(lambda leaf: np.asarray(leaf)[:split], examples)
        tested = jax.tree.map(lambda leaf: np.asarray(leaf)[split:], examples)
        drawn = draws(seed, seeds, steps, batch, index.shape[-1])
        return _trained(system, own, tested, labels, index, hyper, drawn, keys)

    systems = {"MLP": digit_mlp(hidden, "relu"), "CNN": digit_cnn(channels)}
    measured = {}
    for name in networks:
        rate = {"learning_rate": jnp.asarray(LEARNING_RATES[name])}
        examples = systems[name].prepare(x, y)
        measured[name], _ = trained(systems[name], examples, rate, steps, batch)
    found = from_data(data.train_x, data.train_y)
    start = Constant(START)
    neurashed = Neurashed(found.graph, start, start, edge_firing="sample")
    pathways = neurashed.prepare(found.encode(x), y)
    rules = Rules(Geometric(GROWTH), Geometric(DECAY))
    measured["neurashed"], states = trained(neurashed, pathways, rules, neurashed_steps, 1)
    fires = np.asarray(unpack(pathways.words, found.graph.nodes))
    nodes = {
        "growth": np.asarray(states.log_amplification) - np.log(START),
        # of mini-batches of one: the share of samples that fire it
        "law": np.stack([fires[row].mean(axis=0) for row in index]),
        "level": found.graph.node_levels() + 1,
    }
    return measured, nodes


@eqx.filter_jit
def _trained(
    system: System,
    examples: PyTree,
    test: PyTree,
    labels: Int[Array | np.ndarray, " test"],
    index: Int[Array | np.ndarray, "conditions samples"],
    hyper: PyTree,
    drawn: Int[Array, "seeds steps batch"],
    keys: Key[Array, " seeds"],
) -> tuple[Measured, PyTree]:
    """Each seed on the same draws in all conditions; states kept for neurashed alone."""

    def one(member: tuple[Array, Array]) -> tuple[Measured, PyTree]:
        views, seed = member
        problem = TrainingProblem(
            system,
            jax.tree.map(lambda leaf: leaf[views], examples),
            hyper,
            steps=drawn.shape[1],
            sampler=Written(drawn[seed]),
        )
        run = train(problem, keys[seed])
        kept = run.state if isinstance(run.state, NeurashedState) else None
        return measure(system, run.state, hyper, test, labels, keys[seed]), kept

    conditions, seeds = index.shape[0], len(drawn)
    members = jnp.repeat(index, seeds, axis=0), jnp.tile(jnp.arange(seeds), conditions)
    found = jax.lax.map(one, members, batch_size=8)
    return jax.tree.map(lambda leaf: leaf.reshape(conditions, seeds, *leaf.shape[1:]), found)
