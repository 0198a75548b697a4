"""The networks of `experiments.benchmarks.layers`, as a user of neural-tangents 0.6.5 has them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import enable_x64  # pyright: ignore
from neural_tangents import stax  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.kernel_peers import QUADRATURE, compiled, device
from experiments.benchmarks.work import Data, Work

__all__ = ["device", "layers"]

NUMBERS = {"W_std": 1.5**0.5, "b_std": 0.1**0.5}


def layers(data: Data, *, kind: str, depth: int = 0, **_: Any) -> Work:
    """NNGP and NTK of infinitely wide networks."""
    kernel = _network(kind, depth)

    def both(x: Any) -> tuple[Any, Any]:
        found = kernel(x, None, ("nngp", "ntk"))
        return found.nngp, found.ntk

    def check() -> Data:
        with enable_x64():
            few = jnp.asarray(np.moveaxis(data["check_x"], 1, -1), jnp.float64)
            nngp, ntk = jax.jit(both)(few)
            return {"nngp": np.asarray(nngp), "ntk": np.asarray(ntk)}

    return compiled(both, jnp.asarray(np.moveaxis(data["x"], 1, -1)), check)


def _network(kind: str, depth: int) -> Any:
    dense = stax.Dense(64, **NUMBERS)
    last = stax.Dense(1, **NUMBERS)
    norm, pool = stax.LayerNorm(eps=1e-5), stax.GlobalAvgPool()
    if kind == "attention":
        attention = stax.GlobalSelfAttention(
            64, n_chan_key=64, n_chan_val=64, n_heads=1, linear_scaling=True, W_key_std=1.0,
            W_query_std=1.0, W_value_std=1.5**0.5, W_out_std=1.5**0.5, b_std=None,
        )  # fmt: skip
        parts = dense, norm, attention, norm, stax.Relu(), dense, pool, last
        return stax.serial(*parts)[2]
    if kind == "tanh-cnn":
        activation = stax.ElementwiseNumerical(jnp.tanh, deg=QUADRATURE)
    else:
        activation = stax.Relu()
    convolutions = [stax.Conv(64, (3, 3), padding="SAME", **NUMBERS), activation] * depth
    end = pool if kind == "pooled-cnn" else stax.Flatten()
    return stax.serial(*convolutions, end, last)[2]
