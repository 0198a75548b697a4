"""Regression with a tangent kernel, on blocks: against making all blocks of the kernel once."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.memory import PeakMemory
from experiments.benchmarks.work import Data, Work
from nsh._fingerprint.surroundings import device
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width.kernels import kernels
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.iterative import IterativePrediction, cg_predict
from nsh.theory.effective.prediction.kernel_store import iterate_blocks

__all__ = ["cases", "device"]

HERE = "experiments.benchmarks.regression"
OURS, BUILD = "conjugate gradients", "all blocks once"
CHECKED = 300
NETWORK = Architecture("relu", 3, C_W=2.0)


@dataclasses.dataclass(frozen=True)
class Regression:
    """Sizes of the case; the figure to reach is of 50,000 inputs."""

    inputs: int = 10_000
    features: int = 784
    outputs: int = 10
    largest: float = 6e9
    """Bytes."""


QUICK = Regression(600, 20, 3)


def cases(regression: Regression) -> list[Case]:
    """The one case."""
    sizes = dataclasses.asdict(regression)
    return [
        Case(
            "cg",
            f"ReLU NTK regression, 3 layers, {regression.inputs:,} inputs, "
            f"{regression.outputs} outputs, residual 1e-4",
            (Contender(OURS, f"{HERE}:ours", sizes), Contender(BUILD, f"{HERE}:build", sizes)),
            (
                Target(OURS, BUILD),
                Target(OURS),
                Target(OURS, at="most", reach=regression.largest, measure="bytes"),
            ),
            f"{HERE}:data", 1e-3,
        )
    ]  # fmt: skip


def data(*, inputs: int, features: int, outputs: int, **_: Any) -> Data:
    """Normal inputs, and targets that a noisy network of one layer makes of them."""
    random = np.random.default_rng(0)
    x = random.normal(size=(inputs, features))
    weights = random.normal(size=(features, outputs)) / features**0.5
    y = np.tanh(x @ weights) + 0.1 * random.normal(size=(inputs, outputs))
    return {"x": x.astype(np.float32), "y": y.astype(np.float32)}


def ntk(x: Array, z: Array) -> Array:
    """Of the network that all contenders have."""
    return kernels(NETWORK, x, z).ntk


def ours(data: Data, **_: Any) -> Work:
    """nsh's `cg_predict`; all memory beside the inputs."""
    memory, peaks = PeakMemory(), []

    def predicted(count: int | None = None) -> IterativePrediction:
        x, y = data["x"][:count], data["y"][:count]
        found = jax.block_until_ready(cg_predict(ntk, x, y, x[:100] + 0.1))
        assert found.status == Status.SOLVED
        return found

    def run() -> None:
        memory.mark()
        predicted()
        peaks[:] = [memory.increase()]

    def check() -> Data:
        return {"mean": np.asarray(predicted(CHECKED).mean)}

    return Work(run, predicted, lambda: peaks[0], check)


def build(data: Data, **_: Any) -> Work:
    """Every block on and above the diagonal, let go of at once; checked by a dense solve."""

    def run() -> None:
        for _ in iterate_blocks(ntk, data["x"], block=512, devices=jax.devices()[:1]):
            pass

    def check() -> Data:
        x, y = data["x"][:CHECKED], data["y"][:CHECKED]
        train, cross = (
            np.asarray(kernels(NETWORK, one, x).ntk, np.float64) for one in (x, x[:100] + 0.1)
        )
        return {"mean": cross @ np.linalg.solve(train, y)}

    return Work(run, run, check=check)
