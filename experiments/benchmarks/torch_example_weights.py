"""What a PyTorch user would write for a gradient by example weights: autograd through the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch  # pyright: ignore[reportMissingImports]
from torch.nn.functional import cross_entropy  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.torch_peers import DEVICE, device, on_device, wait
from experiments.benchmarks.work import Data, Work

__all__ = ["device"]

RATE = 0.1
Tensors = dict[str, torch.Tensor]


def in_turn(data: Data, *, widths: Sequence[int], batch: int, seeds: int, steps: int, **_: int):
    """One seed after the other."""
    tensors, samples = on_device(data), len(data["x"])
    levels = len(widths) - 1

    def run() -> None:
        for seed in range(seeds):
            generator = torch.Generator(DEVICE).manual_seed(seed)

            def draw(_: int, generator: torch.Generator = generator) -> torch.Tensor:
                return torch.randint(samples, (batch,), generator=generator, device=DEVICE)

            slopes(tensors, levels, steps, draw)
        wait()

    def check() -> Data:
        indices = tensors["check_indices"]
        found = slopes(tensors, levels, len(indices), lambda step: indices[step])
        return {"slopes": found.cpu().numpy()}

    return Work(run, check=check)


def slopes(
    tensors: Tensors, levels: int, steps: int, draw: Callable[[int], torch.Tensor]
) -> torch.Tensor:
    """The gradient by all weights, through steps that make new parameters from the old."""
    x, y = tensors["x"], tensors["y"]
    weights = torch.ones(len(x), device=DEVICE, requires_grad=True)
    parameters = [
        tensors[f"start_{part}{level}"].clone().requires_grad_()
        for level in range(levels)
        for part in ("weight", "bias")
    ]
    for step in range(steps):
        indices = draw(step)
        losses = cross_entropy(logits(parameters, x[indices]), y[indices], reduction="none")
        loss = (weights[indices] * losses).mean()
        found = torch.autograd.grad(loss, parameters, create_graph=True)
        parameters = [p - RATE * slope for p, slope in zip(parameters, found, strict=True)]
    loss = cross_entropy(logits(parameters, tensors["held_out_x"]), tensors["held_out_y"])
    (slope,) = torch.autograd.grad(loss, [weights])
    return slope


def logits(parameters: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Fully connected, tanh between the layers."""
    *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
    for weight, bias in hidden:
        x = torch.tanh(x @ weight + bias)
    return x @ last[0] + last[1]
