"""Kernels of convolutional networks and attention: against neural-tangents."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh._fingerprint.surroundings import device
from nsh.theory.effective import kernels
from nsh.theory.effective.layers import (
    Conv,
    Dense,
    Elementwise,
    Flatten,
    GlobalAvgPool,
    Layer,
    LayerNorm,
    SelfAttention,
    Serial,
)

__all__ = ["cases", "device"]

HERE, PEERS = "experiments.benchmarks.layers", "experiments.benchmarks.layer_peers"
NT = "neural-tangents"
CHECKED = 3  # inputs of the small problem on which all agree
NUMBERS: dict[str, Any] = {"C_W": 1.5, "C_b": 0.1, "lambda_W": 1.5, "lambda_b": 0.1}
TERMS = 32  # of tanh


@dataclasses.dataclass(frozen=True)
class Layers:
    """Sizes: pixels on a side, of three colours; inputs of each case."""

    side: int = 32
    depth: int = 4
    flat: int = 64
    pooled: int = 4
    tanh: int = 32
    tokens: int = 32
    sequences: int = 32


QUICK = Layers(4, 2, 3, 2, 2, 3, 2)


def cases(sizes: Layers) -> list[Case]:
    """All of them."""
    image = {"depth": sizes.depth, "side": sizes.side}
    return [
        _case("cnn", "ReLU CNN, no pooling", sizes.flat, image, 4),
        _case("pooled-cnn", "ReLU CNN, global average pooling", sizes.pooled, image, 3),
        _case("tanh-cnn", "tanh CNN, no pooling", sizes.tanh, image, 15, tolerance=1e-4),
        _case("attention", f"attention and LayerNorm, {sizes.tokens} tokens", sizes.sequences,
              {"side": sizes.tokens}, 2),
    ]  # fmt: skip


def _case(
    kind: str, title: str, inputs: int, given: dict[str, int], reach: float, *,
    tolerance: float = 1e-5,
) -> Case:  # fmt: skip
    sizes = {"kind": kind, "inputs": inputs, **given}
    expanded = kind == "tanh-cnn"
    # quadrature is off by more than the expansion: it is compared with a finer one
    finer = (
        Contender("expansion in ramps, of few inputs", f"{HERE}:ours", {**sizes, "terms": None}),
    )
    return Case(
        f"{kind}-ntk",
        f"NNGP and NTK of {title}, {inputs} inputs",
        (
            Contender("nsh", f"{HERE}:ours", sizes),
            Contender(NT, f"{PEERS}:layers", sizes, peer="kernel_peers", approximate=expanded),
            *(finer if expanded else ()),
        ),
        (Target(NT, "nsh", reach=reach),),
        f"{HERE}:data", tolerance,
    )  # fmt: skip


def data(*, kind: str, inputs: int, side: int, **_: Any) -> Data:
    """Normal images of three colours, or sequences of 64 features; few and small for the check."""
    shape, small = (3, side, side), (3, min(side, 8), min(side, 8))
    if kind == "attention":
        shape = small = (64, side)
    random = np.random.default_rng(0)
    x, few = random.normal(size=(inputs, *shape)), random.normal(size=(CHECKED, *small))
    return {"x": x.astype(np.float32), "check_x": few.astype(np.float32)}


def ours(data: Data, *, kind: str, depth: int = 0, terms: int | None = TERMS, **_: Any) -> Work:
    """nsh's `kernels`; with all terms of tanh of the small problem alone."""
    layer = network(kind, depth, terms)

    def check() -> Data:
        found = kernels(layer, data["check_x"])
        return {"nngp": np.asarray(found.nngp), "ntk": np.asarray(found.ntk)}

    if terms is None:
        return Work(check, check=check)
    return compiled(kernels, layer, jnp.asarray(data["x"]), check=check)


def network(kind: str, depth: int, terms: int | None = TERMS) -> Layer:
    """The layers of a case."""
    if kind == "attention":
        values = [Dense(64, **{**NUMBERS, "C_b": 0.0, "lambda_b": 0.0})] * 2
        return Serial(
            Dense(64, **NUMBERS), LayerNorm(), SelfAttention(64), *values, LayerNorm(),
            "relu", Dense(64, **NUMBERS), GlobalAvgPool(), Dense(1, **NUMBERS),
        )  # fmt: skip
    activation: Any = "relu"
    if kind == "tanh-cnn":
        activation = "tanh" if terms is None else Elementwise("tanh", terms, ramps=False)
    convolutions = [Conv(64, 3, padding="SAME", **NUMBERS), activation] * depth
    end = GlobalAvgPool() if kind == "pooled-cnn" else Flatten()
    return Serial(*convolutions, end, Dense(1, **NUMBERS))
