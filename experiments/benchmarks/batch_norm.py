"""Training an ensemble of convolutional networks with BatchNorm on the handwritten digits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
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
from nsh.networks import Convolution, Network
from nsh.training import FixedBatches

__all__ = ["cases", "device"]

HERE, TORCH = "experiments.benchmarks.batch_norm", "experiments.benchmarks.torch_batch_norm"
SIDE, CLASSES, RATE = 8, 10, 0.1
# of the running means: 1 - PyTorch's default
MOMENTUM = 0.9
CHECK, CHECKED_SEEDS, CHECKED_STEPS = "check_", 2, 20


@dataclasses.dataclass(frozen=True)
class BatchNorm:
    """Sizes of the case of CNNs with BatchNorm on the digits."""

    channels: tuple[int, ...] = (8, 16)
    batch: int = 32
    seeds: int = 16
    steps: int = 500
    alone: int = 2
    """Networks that PyTorch trains one after the other, their time being extrapolated to all."""


QUICK = BatchNorm((2, 3), batch=4, seeds=2, steps=5, alone=1)


def cases(sizes: BatchNorm) -> list[Case]:
    """The case."""
    all_of_them = dataclasses.asdict(sizes)
    few = {**all_of_them, "seeds": sizes.alone}
    ours, conv2d = "nsh", "nsh, equinox.nn.Conv2d"
    turns, vmapped = "PyTorch, one after the other", "PyTorch, torch.func.vmap"
    return [
        Case(
            "batch-norm",
            f"CNNs with BatchNorm, channels {sizes.channels}, trained on the digits by SGD",
            (
                Contender(ours, f"{HERE}:ours", {**all_of_them, "own": True}),
                Contender(conv2d, f"{HERE}:ours", {**all_of_them, "own": False}),
                Contender(
                    turns, f"{TORCH}:in_turn", few, peer="peers",
                    scale=sizes.seeds / sizes.alone,
                    extrapolated=f"{sizes.alone} of {sizes.seeds} networks",
                ),
                Contender(vmapped, f"{TORCH}:vmapped", all_of_them, peer="peers"),
            ),
            (
                Target(turns, ours, reach=4),
                Target(vmapped, ours, reach=2),
                Target(turns, conv2d),
                Target(vmapped, conv2d),
            ),
            f"{HERE}:data", 1e-5,
        )
    ]  # fmt: skip


class Net(eqx.Module):
    """Blocks of convolution, BatchNorm, relu and mean over 2x2 pixels; a linear readout.

    `own`: convolutions of nsh, with the channels behind; else Equinox's, with the channels before.
    """

    convolutions: tuple[Any, ...]
    norms: tuple[eqx.nn.BatchNorm, ...]
    readout: eqx.nn.Linear
    own: bool = eqx.field(static=True)

    def __init__(self, key: Any, channels: tuple[int, ...], own: bool):
        *keys, last = jax.random.split(key, len(channels) + 1)
        pairs = zip((1, *channels[:-1]), channels, keys, strict=True)
        self.convolutions = tuple(
            Convolution(before, after, key=k, gain=2.0)
            if own
            else eqx.nn.Conv2d(before, after, 3, padding=1, key=k)
            for before, after, k in pairs
        )
        self.norms = tuple(
            eqx.nn.BatchNorm(width, "batch", momentum=MOMENTUM, mode="batch") for width in channels
        )
        side = SIDE // 2 ** len(channels)
        self.readout = eqx.nn.Linear(channels[-1] * side**2, CLASSES, key=last)
        self.own = own

    def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Logits of one image [height, width]."""
        h = x[None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            if self.own:
                h = jnp.moveaxis(convolution(jnp.moveaxis(h, 0, -1)), -1, 0)
            else:
                h = convolution(h)
            h, state = norm(h, state)
            width, side, _ = h.shape
            blocks = jax.nn.relu(h).reshape(width, side // 2, 2, side // 2, 2)
            h = blocks.mean((2, 4))
        return self.readout(h.reshape(-1)), state


def data(*, channels: tuple[int, ...], batch: int, **_: Any) -> Data:
    """The digits, and for the check networks, as PyTorch's parameters, and mini-batches."""
    random, images = np.random.default_rng(0), digits()
    side = SIDE // 2 ** len(channels)
    parameters: Data = {}
    for level, (before, after) in enumerate(zip((1, *channels[:-1]), channels, strict=True)):
        parameters |= {
            f"convolution{level}.weight": _uniform(random, (after, before, 3, 3), 9 * before),
            f"convolution{level}.bias": _uniform(random, (after,), 9 * before),
            f"norm{level}.weight": np.ones((CHECKED_SEEDS, after), np.float32),
            f"norm{level}.bias": np.zeros((CHECKED_SEEDS, after), np.float32),
        }
    inputs = channels[-1] * side**2
    parameters["readout.weight"] = _uniform(random, (CLASSES, inputs), inputs)
    parameters["readout.bias"] = _uniform(random, (CLASSES,), inputs)
    shape = (CHECKED_STEPS, CHECKED_SEEDS, batch)
    return {
        "x": images.train_x.reshape(-1, SIDE, SIDE),
        "y": images.train_y.astype(np.int64),
        "check_indices": random.integers(0, len(images.train_x), shape),
        **{CHECK + name: value for name, value in parameters.items()},
    }


def _uniform(random: np.random.Generator, shape: tuple[int, ...], inputs: int) -> np.ndarray:
    return random.uniform(-1, 1, (CHECKED_SEEDS, *shape)).astype(np.float32) / inputs**0.5


def ours(
    data: Data, *, channels: Any, batch: int, seeds: int, steps: int, own: bool, **_: Any
) -> Work:
    """nsh's `ensemble`."""
    make = partial(Net, channels=tuple(channels), own=own)
    network = Network(make, optax.sgd)
    examples = network.prepare(data["x"], data["y"])
    hyper, sampler = {"optimiser": {"learning_rate": jnp.asarray(RATE)}}, WithReplacement(batch)

    def run(examples: Any, hyper: Any, key: Any) -> Any:
        problem = TrainingProblem(network, examples, hyper, steps=steps, sampler=sampler)
        return ensemble(problem, key, seeds=seeds).state

    def check() -> Data:
        given = {
            name.removeprefix(CHECK): value
            for name, value in data.items()
            if name.startswith(CHECK)
        }
        indices = jnp.asarray(given.pop("indices"), jnp.int32)
        trained = jax.jit(partial(_checked, make, examples))
        results = [
            trained({name: value[seed] for name, value in given.items()}, indices[:, seed])
            for seed in range(CHECKED_SEEDS)
        ]
        return {name: np.stack([result[name] for result in results]) for name in results[0]}

    return compiled(run, examples, hyper, jax.random.key(0), check=check)


def _checked(
    make: Callable[[Any], Net], examples: Any, parameters: dict[str, Any], indices: Any
) -> dict[str, Any]:
    """A network trained from given parameters on given mini-batches; its running means too."""
    module = make(jax.random.key(0))
    places = _places(module)
    for name, (place, to, _) in places.items():
        module = eqx.tree_at(place, module, to(parameters[name]))
    network = Network(lambda _: module, optax.sgd)
    problem = TrainingProblem(
        network,
        examples,
        {"optimiser": {"learning_rate": RATE}},
        steps=CHECKED_STEPS,
        sampler=FixedBatches(indices),
    )
    final = train(problem, jax.random.key(0)).state
    trained = network.module(final)
    found = {name: back(place(trained)) for name, (place, _, back) in places.items()}
    for level, norm in enumerate(trained.norms):
        found[f"norm{level}.running_mean"], _ = final.module_state.get(norm.batch_state_index)
    return found


def _places(module: Net) -> dict[str, tuple[Callable[..., Any], Any, Any]]:
    """Where PyTorch's parameters are; how their axes become the module's, and back."""

    def same(array: Any) -> Any:
        return jnp.asarray(array)

    kernel, back, bias, flat = same, same, same, same
    if module.own:
        kernel, back = (partial(jnp.transpose, axes=to) for to in ((2, 3, 1, 0), (3, 2, 0, 1)))
    else:
        bias, flat = (lambda array: jnp.reshape(array, (-1, 1, 1))), jnp.ravel
    found: dict[str, tuple[Callable[..., Any], Any, Any]] = {
        "readout.weight": (lambda m: m.readout.weight, same, same),
        "readout.bias": (lambda m: m.readout.bias, same, same),
    }
    for level in range(len(module.norms)):
        found |= {
            f"convolution{level}.weight": (
                lambda m, i=level: m.convolutions[i].weight,
                kernel,
                back,
            ),
            f"convolution{level}.bias": (lambda m, i=level: m.convolutions[i].bias, bias, flat),
            f"norm{level}.weight": (lambda m, i=level: m.norms[i].weight, same, same),
            f"norm{level}.bias": (lambda m, i=level: m.norms[i].bias, same, same),
        }
    return found
