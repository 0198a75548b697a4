"""The gradient of the loss on held-out data by a weight of each example, through training."""

from __future__ import annotations

import dataclasses
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh import TrainingProblem, WithReplacement, ensemble
from nsh._fingerprint.surroundings import device
from nsh.networks import MLP, Network, NetworkExamples
from nsh.training import FixedBatches, hypergradient

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.example_weights"
TORCH = "experiments.benchmarks.torch_example_weights"
RATE = 0.1
CHECKED_STEPS = 20


@dataclasses.dataclass(frozen=True)
class ExampleWeights:
    """Sizes of the case: an MLP, mini-batches, a weight of each example."""

    widths: tuple[int, ...] = (64, 128, 128, 10)
    examples: int = 10_000
    held_out: int = 1000
    batch: int = 32
    seeds: int = 16
    steps: int = 300
    alone: int = 1
    """Seeds that PyTorch differentiates one after the other, extrapolated to all."""


QUICK = ExampleWeights((3, 4, 2), 20, 6, batch=4, seeds=2, steps=5)


def cases(sizes: ExampleWeights) -> list[Case]:
    """The case."""
    same = dataclasses.asdict(sizes)
    run, gradient, torch = "forward run", "hypergradient", "PyTorch autograd"
    return [
        Case(
            "example-weights",
            f"d validation loss / d {sizes.examples:,} weights of examples, MLP, {sizes.steps} "
            f"steps, {sizes.seeds} seeds",
            (
                Contender(run, f"{HERE}:forward", same),
                Contender(gradient, f"{HERE}:gradient", same),
                Contender(
                    torch, f"{TORCH}:in_turn", {**same, "seeds": sizes.alone}, peer="peers",
                    scale=sizes.seeds / sizes.alone,
                    extrapolated=f"{sizes.alone} of {sizes.seeds} seeds",
                ),
            ),
            (
                Target(gradient, run, "most", 5),
                Target(torch, gradient, reach=8),
                Target(gradient, None, "most", None, "bytes"),
            ),
            f"{HERE}:data", 1e-5,
        )
    ]  # fmt: skip


def data(*, widths: tuple[int, ...], examples: int, held_out: int, batch: int, **_: int) -> Data:
    """Inputs, labels of a teacher, some wrong, a network to start from, and mini-batches."""
    random = np.random.default_rng(0)
    inputs, classes = widths[0], widths[-1]
    x = random.normal(size=(examples + held_out, inputs)).astype(np.float32)
    y = np.argmax(x @ random.normal(size=(inputs, classes)), axis=1)
    wrong = random.integers(0, classes, examples)
    y[:examples] = np.where(random.random(examples) < 0.3, wrong, y[:examples])
    start = {}
    for level, (before, after) in enumerate(pairwise(widths)):
        weight = random.normal(size=(before, after)) / before**0.5
        start[f"start_weight{level}"] = weight.astype(np.float32)
        start[f"start_bias{level}"] = np.zeros(after, np.float32)
    return {
        "x": x[:examples],
        "y": y[:examples],
        "held_out_x": x[examples:],
        "held_out_y": y[examples:],
        "check_indices": random.integers(0, examples, (CHECKED_STEPS, batch)),
        **start,
    }


def started(data: Data, widths: tuple[int, ...]) -> tuple[Network, NetworkExamples]:
    """The network that starts as given, and the examples to train on."""
    arrays = [
        jnp.asarray(data[f"start_{part}{level}"])
        for level in range(len(widths) - 1) for part in ("weight", "bias")
    ]  # fmt: skip
    like = jax.eval_shape(lambda: MLP(widths, key=jax.random.key(0)))
    module = jax.tree.unflatten(jax.tree.structure(like), arrays)
    network = Network(lambda _: module, partial(optax.sgd, RATE))
    return network, network.prepare(data["x"], data["y"])


def held_out_loss(network: Network, held_out: NetworkExamples, state: Any) -> Any:
    """The mean cross-entropy on the held-out data after training."""
    logits = jax.vmap(network.module(state))(held_out.x)
    loss = optax.losses.softmax_cross_entropy_with_integer_labels
    return jnp.mean(loss(logits, held_out.y))


def forward(
    data: Data, *, widths: Any, examples: int, batch: int, seeds: int, steps: int, **_: int
) -> Work:
    """nsh's `ensemble`, and the loss of every seed."""
    network, made = started(data, tuple(widths))
    held_out = network.prepare(data["held_out_x"], data["held_out_y"])
    sampler = WithReplacement(batch)

    def run(made: Any, held_out: Any, weights: Any, key: Any) -> Any:
        hyper = {"data": {"weights": weights}}
        problem = TrainingProblem(network, made, hyper, steps=steps, sampler=sampler)
        states = ensemble(problem, key, seeds=seeds).state
        return jax.vmap(partial(held_out_loss, network, held_out))(states)

    return compiled(run, made, held_out, jnp.ones(examples), jax.random.key(0))


def gradient(
    data: Data, *, widths: Any, examples: int, batch: int, seeds: int, steps: int, **_: int
) -> Work:
    """nsh's `hypergradient`, of every seed."""
    network, made = started(data, tuple(widths))
    held_out = network.prepare(data["held_out_x"], data["held_out_y"])
    key = jax.random.key(0)

    def slopes(sampler: Any, seeds: int, steps: int, made: Any, held_out: Any, weights: Any) -> Any:
        hyper = {"data": {"weights": weights}}
        problem = TrainingProblem(network, made, hyper, steps=steps, sampler=sampler)

        def objective(run: Any) -> Any:
            return held_out_loss(network, held_out, run.state)

        return hypergradient(objective, problem, key, seeds=seeds).gradient["data"]["weights"]

    def check() -> Data:
        sampler = FixedBatches(jnp.asarray(data["check_indices"], jnp.int32))
        found = slopes(sampler, 1, CHECKED_STEPS, made, held_out, jnp.ones(examples))
        return {"slopes": np.asarray(found[0])}

    of_all = partial(slopes, WithReplacement(batch), seeds, steps)
    return compiled(of_all, made, held_out, jnp.ones(examples), check=check)
