"""What a PyTorch user would write: all seeds at once, a Python loop over steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.work import Data, Work

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device() -> str:
    """What it runs on."""
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    return f"PyTorch {torch.__version__}, {where}, {torch.get_num_threads()} threads"


def neurashed(data: Data, *, seeds: int, steps: int, batch: int, **_: int) -> Work:
    """Train an ensemble on random mini-batches."""
    graph = on_device(data)
    samples = len(data["fires"])
    generator = torch.Generator(DEVICE).manual_seed(0)

    def draw(_: int) -> torch.Tensor:
        return torch.randint(samples, (seeds, batch), generator=generator, device=DEVICE)

    def start(count: int) -> torch.Tensor:
        return torch.rand(seeds, count, generator=generator, device=DEVICE).mul_(0.01).log_()

    @torch.no_grad()
    def run() -> None:
        nodes, edges = data["log_growth"].size, data["class_sources"].size
        train(graph, start(nodes), start(edges), steps, draw)
        wait()

    @torch.no_grad()
    def check() -> Data:
        indices = graph["check_indices"]
        node = torch.zeros(indices.shape[1], data["log_growth"].size, device=DEVICE)
        edge = torch.zeros(indices.shape[1], data["class_sources"].size, device=DEVICE)
        node, edge = train(graph, node, edge, len(indices), lambda step: indices[step])
        return {"node": node.cpu().numpy(), "edge": edge.cpu().numpy()}

    return Work(run, check=check)


def train(
    graph: dict[str, torch.Tensor],
    node: torch.Tensor,
    edge: torch.Tensor,
    steps: int,
    draw: Callable[[int], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log amplification [seeds, nodes] and log weights [seeds, edges] after training."""
    fires, is_class = graph["fires"], graph["is_class"]
    sources, targets = graph["class_sources"], graph["class_targets"]
    for step in range(steps):
        indices = draw(step)
        fired, classes = union(fires, indices), union(is_class, indices)
        both = fired[:, sources] & classes[:, targets]
        node += torch.where(fired, graph["log_growth"], graph["log_decay"])
        edge += torch.where(both, graph["log_weight_growth"], graph["log_weight_decay"])
    return node, edge


def union(table: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Which columns are true in any of the rows of each mini-batch."""
    if indices.shape[1] == 1:
        return table[indices[:, 0]]
    # any(dim=1) on bools says the same, but takes 50 times as long on CPUs
    return table[indices].view(torch.uint8).amax(dim=1).view(torch.bool)


def on_device(data: Data) -> dict[str, torch.Tensor]:
    """All arrays as tensors."""
    return {name: torch.as_tensor(np.array(array), device=DEVICE) for name, array in data.items()}


def wait() -> None:
    """Until the device is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
