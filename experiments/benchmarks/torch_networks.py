"""What a PyTorch user would write to train many MLPs: one by one, or all by `torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.torch_peers import DEVICE, device, on_device, wait
from experiments.benchmarks.work import Data, Work

__all__ = ["device"]

RATE = 0.1
Parameters = dict[str, torch.Tensor]


def in_turn(data: Data, *, widths: Sequence[int], batch: int, seeds: int, steps: int, **_: int):
    """One network after the other, by `torch.optim.SGD`."""
    make, start = partial(new_network, widths), partial(given, widths=widths)
    return one_after_the_other(data, make, start, as_arrays, batch, seeds, steps)


def one_after_the_other(
    data: Data,
    make: Callable[[], nn.Module],
    start: Callable[[Parameters], Parameters],
    arrays: Callable[[Parameters], Data],
    batch: int,
    seeds: int,
    steps: int,
) -> Work:
    """Training of any networks; `start` gives the check's parameters, stacked over networks."""
    tensors = on_device(data)
    samples = len(data["x"])

    def run() -> None:
        for seed in range(seeds):
            generator = torch.Generator(DEVICE).manual_seed(seed)

            def draw(_: int, generator: torch.Generator = generator) -> torch.Tensor:
                return torch.randint(samples, (batch,), generator=generator, device=DEVICE)

            train_one(make(), tensors, steps, draw)
        wait()

    def check() -> Data:
        indices = tensors["check_indices"]
        trained = []
        for seed in range(indices.shape[1]):
            network = make()
            own = {name: value[seed] for name, value in start(tensors).items()}
            network.load_state_dict(own, strict=False)  # BatchNorm's means are as they are
            train_one(network, tensors, len(indices), lambda step, seed=seed: indices[step, seed])
            trained.append(network.state_dict())
        return arrays({name: torch.stack([t[name] for t in trained]) for name in trained[0]})

    return Work(run, check=check)


def vmapped(data: Data, *, widths: Sequence[int], batch: int, seeds: int, steps: int, **_: int):
    """All networks at once: gradients by `torch.func.vmap` of `torch.func.grad`."""
    tensors = on_device(data)
    samples = len(data["x"])
    generator = torch.Generator(DEVICE).manual_seed(0)

    def draw(_: int) -> torch.Tensor:
        return torch.randint(samples, (seeds, batch), generator=generator, device=DEVICE)

    @torch.no_grad()
    def run() -> None:
        networks = [new_network(widths) for _ in range(seeds)]
        parameters, _ = torch.func.stack_module_state(networks)  # pyright: ignore
        parameters = {name: value.detach() for name, value in parameters.items()}
        train_all(networks[0], parameters, tensors, steps, draw)
        wait()

    @torch.no_grad()
    def check() -> Data:
        indices = tensors["check_indices"]
        parameters = given(tensors, widths)
        return as_arrays(
            train_all(
                new_network(widths), parameters, tensors, len(indices), lambda step: indices[step]
            )
        )

    return Work(run, check=check)


def train_one(
    network: nn.Module, tensors: Parameters, steps: int, draw: Callable[[int], torch.Tensor]
) -> None:
    """Train a network in place."""
    optimiser = torch.optim.SGD(network.parameters(), lr=RATE)
    for step in range(steps):
        indices = draw(step)
        loss = nn.functional.cross_entropy(network(tensors["x"][indices]), tensors["y"][indices])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def train_all(
    network: nn.Module,
    parameters: Parameters,
    tensors: Parameters,
    steps: int,
    draw: Callable[[int], torch.Tensor],
) -> Parameters:
    """Train networks whose parameters are stacked."""

    def loss(parameters: Parameters, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(network, parameters, (x,))
        return nn.functional.cross_entropy(logits, y)

    gradient = torch.func.vmap(torch.func.grad(loss))
    for step in range(steps):
        indices = draw(step)
        slopes = gradient(parameters, tensors["x"][indices], tensors["y"][indices])
        for name, slope in slopes.items():
            parameters[name].sub_(slope, alpha=RATE)
    return parameters


def new_network(widths: Sequence[int]) -> nn.Module:
    """Fully connected, tanh between the layers."""
    layers = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).to(DEVICE)


def given(tensors: Parameters, widths: Sequence[int]) -> Parameters:
    """The check's networks, with PyTorch's names: weights transposed, Tanh between two layers."""
    found = {}
    for level in range(len(widths) - 1):
        found[f"{2 * level}.weight"] = tensors[f"check_weight{level}"].mT.contiguous()
        found[f"{2 * level}.bias"] = tensors[f"check_bias{level}"].clone()
    return found


def as_arrays(parameters: Parameters) -> Data:
    """Back to the names and shapes of the data."""
    found = {}
    for name, value in parameters.items():
        place, part = name.split(".")
        array = (value.mT if part == "weight" else value).detach().cpu().numpy()
        found[f"{part}{int(place) // 2}"] = np.array(array)
    return found
