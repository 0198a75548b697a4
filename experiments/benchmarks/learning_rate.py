"""The slope of a network's loss after training by the logarithm of its learning rate."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh import TrainingProblem
from nsh._fingerprint.surroundings import device
from nsh.networks import MLP, Network, NetworkExamples
from nsh.training import FullBatch, Sequential, hypergradient, train

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.learning_rate"
RUN, PLAIN = "forward run", "plain grad of scan"
FORWARD, REVERSE = "forward mode", "reverse mode"
MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """Sizes of the case: full batch, logistic loss."""

    inputs: int = 20
    hidden: int = 64
    samples: int = 256
    steps: int = 2500


QUICK = LearningRate(inputs=3, hidden=4, samples=8, steps=9)


class Logistic(eqx.Module):
    """A network with one output z: logits (0, z), so that softmax is the logistic function."""

    mlp: MLP

    def __call__(self, x: Any) -> Any:
        """The two logits."""
        z = self.mlp(x)
        return jnp.concatenate([jnp.zeros_like(z), z])


def cases(sizes: LearningRate) -> list[Case]:
    """The case."""
    same = dataclasses.asdict(sizes)
    return [
        Case(
            "learning-rate",
            f"d loss / d log learning rate of an MLP {sizes.inputs}-{sizes.hidden}-1, full batch",
            (
                Contender(RUN, f"{HERE}:ours", {**same, "mode": None}),
                Contender(FORWARD, f"{HERE}:ours", {**same, "mode": "forward"}),
                Contender(REVERSE, f"{HERE}:ours", {**same, "mode": "reverse"}),
                Contender(PLAIN, f"{HERE}:plain", same),
            ),
            (
                Target(FORWARD, RUN, "most", 2.5),
                Target(FORWARD, None, "most", MEGABYTE, "bytes"),
                Target(PLAIN, REVERSE, reach=1),
                Target(REVERSE, None, "most", 20 * MEGABYTE, "bytes"),
                Target(PLAIN, None, "most", None, "bytes"),
            ),
            f"{HERE}:data", 1e-3,
        )
    ]  # fmt: skip


def data(*, inputs: int, hidden: int, samples: int, **_: Any) -> Data:
    """Inputs, labels of a teacher with noise, and the network to start from."""
    random = np.random.default_rng(0)
    x = random.normal(size=(samples, inputs)).astype(np.float32)
    teacher = np.sin(x @ random.normal(size=inputs)) + random.normal(0, 0.5, samples)
    sizes = {"w0": (inputs, hidden), "w1": (hidden, 1)}
    weights = {
        name: (random.normal(size=shape) / shape[0] ** 0.5).astype(np.float32)
        for name, shape in sizes.items()
    }
    biases = {"b0": np.zeros(hidden, np.float32), "b1": np.zeros(1, np.float32)}
    return {"x": x, "y": (teacher > 0).astype(np.int32), **weights, **biases}


def ours(data: Data, *, mode: Any, inputs: int, hidden: int, steps: int, **_: int) -> Work:
    """nsh: `train` alone, or `hypergradient` in a mode."""
    mlp = MLP((inputs, hidden, 1), key=jax.random.key(0))
    mlp = eqx.tree_at(
        lambda m: (m.hidden[0].weight, m.hidden[0].bias, m.readout.weight, m.readout.bias),
        mlp, tuple(jnp.asarray(data[name]) for name in ("w0", "b0", "w1", "b1")),
    )  # fmt: skip
    loss = optax.losses.softmax_cross_entropy_with_integer_labels
    system = Network(lambda _: Logistic(mlp), lambda log_rate: optax.sgd(jnp.exp(log_rate)))
    examples = system.prepare(data["x"], data["y"])
    hyper, key = {"optimiser": {"log_rate": jnp.log(jnp.asarray(0.1))}}, jax.random.key(0)

    def final_loss(examples: NetworkExamples, run: Any) -> Any:
        logits = jax.vmap(system.module(run.state))(examples.x)
        return jnp.mean(loss(logits, examples.y))

    def forward(examples: NetworkExamples, hyper: Any) -> Any:
        problem = TrainingProblem(system, examples, hyper, steps=steps, sampler=FullBatch())
        return final_loss(examples, train(problem, key))

    def gradient(examples: NetworkExamples, hyper: Any) -> Any:
        problem = TrainingProblem(system, examples, hyper, steps=steps, sampler=FullBatch())
        return hypergradient(
            lambda run: final_loss(examples, run),
            problem,
            key,
            seeds=1,
            mode=mode,
            method=Sequential("sqrt") if mode == "reverse" else None,
        ).gradient["optimiser"]["log_rate"][0]

    if mode is None:
        return compiled(forward, examples, hyper)
    work = compiled(gradient, examples, hyper)
    return dataclasses.replace(work, check=lambda: _slope(work))


def plain(data: Data, *, steps: int, **_: int) -> Work:
    """What a JAX user would write."""
    arrays = {name: jnp.asarray(array) for name, array in data.items()}
    start = {name: arrays[name] for name in ("w0", "b0", "w1", "b1")}

    def loss(p: Any, arrays: Any) -> Any:
        z = (jnp.tanh(arrays["x"] @ p["w0"] + p["b0"]) @ p["w1"] + p["b1"])[:, 0]
        return jnp.mean(jax.nn.softplus(z) - arrays["y"] * z)

    def final_loss(log_rate: Any, start: Any, arrays: Any) -> Any:
        def step(p: Any, _: None) -> Any:
            slopes = jax.grad(loss)(p, arrays)
            return jax.tree.map(lambda p, s: p - jnp.exp(log_rate) * s, p, slopes), None

        return loss(jax.lax.scan(step, start, length=steps)[0], arrays)

    work = compiled(jax.grad(final_loss), jnp.log(jnp.asarray(0.1)), start, arrays)
    return dataclasses.replace(work, check=lambda: _slope(work))


def _slope(work: Work) -> Data:
    return {"slope": np.asarray(work.run())}
