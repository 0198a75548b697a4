"""What a NumPy user would write: all seeds at once, a Python loop over steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from experiments.benchmarks.work import Data, Work


def device() -> str:
    """What it runs on."""
    return f"NumPy {np.__version__}"


def neurashed(data: Data, *, seeds: int, steps: int, batch: int, **_: int) -> Work:
    """Train an ensemble on random mini-batches."""
    random = np.random.default_rng(0)
    samples = len(data["fires"])

    def run() -> tuple[np.ndarray, np.ndarray]:
        nodes, edges = data["log_growth"].size, data["class_sources"].size
        starts = [np.log(random.uniform(0, 0.01, (seeds, n))) for n in (nodes, edges)]
        node, edge = (start.astype(np.float32) for start in starts)
        return train(data, node, edge, steps, lambda _: random.integers(0, samples, (seeds, batch)))

    def check() -> Data:
        indices = data["check_indices"]
        node = np.zeros((indices.shape[1], data["log_growth"].size), np.float32)
        edge = np.zeros((indices.shape[1], data["class_sources"].size), np.float32)
        node, edge = train(data, node, edge, len(indices), lambda step: indices[step])
        return {"node": node, "edge": edge}

    return Work(run, check=check)


def train(
    data: Data,
    node: np.ndarray,
    edge: np.ndarray,
    steps: int,
    draw: Callable[[int], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Log amplification [seeds, nodes] and log weights [seeds, edges] after training."""
    fires, is_class = data["fires"], data["is_class"]
    sources, targets = data["class_sources"], data["class_targets"]
    for step in range(steps):
        indices = draw(step)
        fired, classes = union(fires, indices), union(is_class, indices)
        both = fired[:, sources] & classes[:, targets]
        node += np.where(fired, data["log_growth"], data["log_decay"])
        edge += np.where(both, data["log_weight_growth"], data["log_weight_decay"])
    return node, edge


def union(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Which columns are true in any of the rows of each mini-batch."""
    if indices.shape[1] == 1:
        return table[indices[:, 0]]
    return np.any(table[indices], axis=1)
