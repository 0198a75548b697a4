"""What a PyTorch user would write for a gradient by the rules: autograd through the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.torch_peers import DEVICE, device, on_device, union, wait
from experiments.benchmarks.work import Data, Work

__all__ = ["device"]


def by_node(data: Data, *, steps: int, batch: int, **_: Any) -> Work:
    """Gradient of the final effective number of features by growth and decay of each node."""
    graph = on_device(data)
    samples, nodes = data["fires"].shape
    generator = torch.Generator(DEVICE).manual_seed(0)

    def draw(_: int) -> torch.Tensor:
        return torch.randint(samples, (1, batch), generator=generator, device=DEVICE)

    def run() -> None:
        start = torch.rand(nodes, generator=generator, device=DEVICE).mul_(0.01).log_()
        gradient(graph["fires"], start, steps, draw)
        wait()

    def check() -> Data:
        indices = graph["check_indices"][:, :1]
        start = torch.zeros(nodes, device=DEVICE)
        slopes = gradient(graph["fires"], start, len(indices), lambda step: indices[step])
        return {name: slope.cpu().numpy() for name, slope in slopes.items()}

    return Work(run, check=check)


def gradient(
    fires: torch.Tensor, start: torch.Tensor, steps: int, draw: Callable[[int], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The slope at growth 1.06 and decay 0.99."""
    nodes = fires.shape[1]
    growth = torch.full((nodes,), 1.06, device=DEVICE, requires_grad=True)
    decay = torch.full((nodes,), 0.99, device=DEVICE, requires_grad=True)
    log_growth, log_decay = growth.log(), decay.log()
    node = start
    for step in range(steps):
        fired = union(fires, draw(step))[0]
        node = node + torch.where(fired, log_growth, log_decay)
    share = torch.softmax(node, dim=0)
    (1 / (share**2).sum()).backward()
    assert growth.grad is not None
    assert decay.grad is not None
    return {"growth": growth.grad, "decay": decay.grad}
