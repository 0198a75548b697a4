"""Training an ensemble of small networks: MLPs on the handwritten digits."""

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
from nsh import TrainingProblem, WithReplacement, ensemble, train
from nsh._fingerprint.surroundings import device
from nsh.data import digits
from nsh.networks import MLP, Network
from nsh.training import FixedBatches

__all__ = ["cases", "device"]

HERE, TORCH = "experiments.benchmarks.networks", "experiments.benchmarks.torch_networks"
RATE = 0.1
CHECKED_SEEDS, CHECKED_STEPS = 2, 20


@dataclasses.dataclass(frozen=True)
class Networks:
    """Sizes of the case of MLPs on the digits."""

    widths: tuple[int, ...] = (64, 128, 128, 10)
    batch: int = 32
    seeds: int = 64
    steps: int = 1000
    alone: int = 2
    """Networks that PyTorch trains one after the other, their time being extrapolated to all."""


QUICK = Networks((64, 8, 10), batch=4, seeds=4, steps=5, alone=1)


def cases(sizes: Networks) -> list[Case]:
    """The case."""
    all_of_them = dataclasses.asdict(sizes)
    few = {**all_of_them, "seeds": sizes.alone}
    turns, vmapped = "PyTorch, one after the other", "PyTorch, torch.func.vmap"
    return [
        Case(
            "networks",
            "MLPs trained on the digits by SGD",
            (
                Contender("nsh", f"{HERE}:ours", all_of_them),
                Contender(
                    turns, f"{TORCH}:in_turn", few, peer="peers",
                    scale=sizes.seeds / sizes.alone,
                    extrapolated=f"{sizes.alone} of {sizes.seeds} networks",
                ),
                Contender(vmapped, f"{TORCH}:vmapped", all_of_them, peer="peers"),
            ),
            (Target(turns, "nsh", reach=3), Target(vmapped, "nsh", reach=3)),
            f"{HERE}:data", 1e-4,
        )
    ]  # fmt: skip


def data(*, widths: tuple[int, ...], batch: int, **_: int) -> Data:
    """The digits, and for the check networks and mini-batches."""
    images = digits()
    x, y = images.train_x, images.train_y
    layers = [
        (member.weight, member.bias)
        for seed in range(CHECKED_SEEDS)
        for member in _layers(MLP(widths, key=jax.random.key(seed)))
    ]
    depth = len(widths) - 1
    stacked = {
        f"check_{name}{level}": np.stack([layers[seed * depth + level][part]
                                          for seed in range(CHECKED_SEEDS)])
        for level in range(depth) for part, name in enumerate(("weight", "bias"))
    }  # fmt: skip
    shape = (CHECKED_STEPS, CHECKED_SEEDS, batch)
    indices = np.random.default_rng(1).integers(0, len(x), shape)
    return {
        "x": x.reshape(len(x), -1),
        "y": y.astype(np.int64),
        "check_indices": indices,
        **stacked,
    }


def ours(data: Data, *, widths: Any, batch: int, seeds: int, steps: int, **_: int) -> Work:
    """nsh's `ensemble`."""
    widths = tuple(widths)
    system = Network(lambda key: MLP(widths, key=key), optax.sgd)
    examples = system.prepare(data["x"], data["y"])
    hyper, sampler = {"optimiser": {"learning_rate": jnp.asarray(RATE)}}, WithReplacement(batch)

    def run(examples: Any, hyper: Any, key: Any) -> Any:
        problem = TrainingProblem(system, examples, hyper, steps=steps, sampler=sampler)
        return ensemble(problem, key, seeds=seeds).state

    def check() -> Data:
        results = [_checked(data, widths, examples, seed) for seed in range(CHECKED_SEEDS)]
        return {name: np.stack([result[name] for result in results]) for name in results[0]}

    return compiled(run, examples, hyper, jax.random.key(0), check=check)


def _checked(data: Data, widths: tuple[int, ...], examples: Any, seed: int) -> Data:
    depth = len(widths) - 1
    where = [
        place for level in range(depth) for place in
        (lambda m, level=level: _layers(m)[level].weight,
         lambda m, level=level: _layers(m)[level].bias)
    ]  # fmt: skip
    names = [f"{name}{level}" for level in range(depth) for name in ("weight", "bias")]
    module = MLP(widths, key=jax.random.key(0))
    for place, name in zip(where, names, strict=True):
        module = eqx.tree_at(place, module, jnp.asarray(data[f"check_{name}"][seed]))
    indices = jnp.asarray(data["check_indices"][:, seed], jnp.int32)
    system = Network(lambda _: module, optax.sgd)
    problem = TrainingProblem(
        system,
        examples,
        {"optimiser": {"learning_rate": RATE}},
        steps=len(indices),
        sampler=FixedBatches(indices),
    )
    final = train(problem, jax.random.key(0))
    trained = system.module(final.state)
    return {
        name: np.asarray(place(trained)) for place, name in zip(where, names, strict=True)
    }  # fmt: skip


def _layers(module: MLP) -> tuple[Any, ...]:
    return (*module.hidden, module.readout)
