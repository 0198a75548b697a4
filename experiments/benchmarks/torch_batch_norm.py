"""What a PyTorch user would write to train many CNNs with BatchNorm: one by one, or by vmap.

Under `torch.func.vmap` the running means are buffers, stacked as the parameters are. BatchNorm
writes into them, and `torch.func.grad` forbids to write into what is captured. So they are
arguments of the loss, and it returns them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.torch_networks import one_after_the_other
from experiments.benchmarks.torch_peers import DEVICE, device, on_device, wait
from experiments.benchmarks.work import Data, Work

__all__ = ["device"]

SIDE, CLASSES, RATE = 8, 10, 0.1
COUNTER = "num_batches_tracked"
Tensors = dict[str, torch.Tensor]
Draw = Callable[[int], torch.Tensor]


def in_turn(data: Data, *, channels: Sequence[int], batch: int, seeds: int, steps: int, **_: int):
    """One network after the other, by `torch.optim.SGD`."""
    make = partial(new_network, channels)
    return one_after_the_other(data, make, given, as_arrays, batch, seeds, steps)


def vmapped(data: Data, *, channels: Sequence[int], batch: int, seeds: int, steps: int, **_: int):
    """All networks at once: gradients by `torch.func.vmap` of `torch.func.grad`."""
    tensors = on_device(data)
    samples = len(data["x"])
    generator = torch.Generator(DEVICE).manual_seed(0)

    def draw(_: int) -> torch.Tensor:
        return torch.randint(samples, (seeds, batch), generator=generator, device=DEVICE)

    def run() -> None:
        networks = [new_network(channels) for _ in range(seeds)]
        train_all(networks[0], *stacked(networks), tensors, steps, draw)
        wait()

    def check() -> Data:
        indices = tensors["check_indices"]
        networks = [new_network(channels) for _ in range(indices.shape[1])]
        parameters, buffers = stacked(networks)
        parameters |= given(tensors)
        train_all(
            networks[0], parameters, buffers, tensors, len(indices), lambda step: indices[step]
        )
        return as_arrays({**parameters, **buffers})

    return Work(run, check=check)


def stacked(networks: Sequence[nn.Module]) -> tuple[Tensors, Tensors]:
    """The parameters and the buffers of all, leading axis = network."""
    parameters, buffers = torch.func.stack_module_state(networks)  # pyright: ignore
    return {name: value.detach() for name, value in parameters.items()}, buffers


@torch.no_grad()
def train_all(
    network: nn.Module, parameters: Tensors, buffers: Tensors, tensors: Tensors, steps: int,
    draw: Draw,
) -> None:  # fmt: skip
    """Train networks whose parameters and buffers are stacked, in place."""

    def loss(
        parameters: Tensors, buffers: Tensors, x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, Tensors]:
        logits = torch.func.functional_call(network, (parameters, buffers), (x,))
        return nn.functional.cross_entropy(logits, y), buffers

    gradient = torch.func.vmap(torch.func.grad(loss, has_aux=True))
    for step in range(steps):
        indices = draw(step)
        x, y = tensors["x"][indices], tensors["y"][indices]
        slopes, after = gradient(parameters, buffers, x, y)
        buffers.update(after)
        for name, slope in slopes.items():
            parameters[name].sub_(slope, alpha=RATE)


def new_network(channels: Sequence[int]) -> nn.Module:
    """Blocks of convolution, BatchNorm, relu and mean over 2x2 pixels; a linear readout."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(image=nn.Unflatten(1, (1, SIDE)))
    for level, (before, after) in enumerate(zip((1, *channels[:-1]), channels, strict=True)):
        layers[f"convolution{level}"] = nn.Conv2d(before, after, 3, padding=1)
        layers[f"norm{level}"] = nn.BatchNorm2d(after)
        layers[f"relu{level}"] = nn.ReLU()
        layers[f"mean{level}"] = nn.AvgPool2d(2)
    layers["flat"] = nn.Flatten()
    inputs = channels[-1] * (SIDE // 2 ** len(channels)) ** 2
    layers["readout"] = nn.Linear(inputs, CLASSES)
    return nn.Sequential(layers).to(DEVICE)


def given(tensors: Tensors) -> Tensors:
    """The check's networks, under the names of `new_network`."""
    prefix = "check_"
    return {
        name.removeprefix(prefix): value.clone()
        for name, value in tensors.items()
        if name.startswith(prefix) and name != "check_indices"
    }


def as_arrays(parameters: Tensors) -> Data:
    """Parameters and running means; PyTorch's variances are the unbiased ones, nsh's are not."""
    return {
        name: np.array(value.detach().cpu().numpy())
        for name, value in parameters.items()
        if not name.endswith((COUNTER, "running_var"))
    }
