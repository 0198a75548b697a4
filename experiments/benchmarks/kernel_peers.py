"""What a user of neural-tangents 0.6.5 would write, on a JAX that it still runs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import neural_tangents  # pyright: ignore[reportMissingImports]
import numpy as np
from jax.experimental import enable_x64  # pyright: ignore
from neural_tangents import stax  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.work import Data, Work

QUADRATURE = 25  # its default degree


def device() -> str:
    """What it runs on."""
    return f"neural-tangents {neural_tangents.__version__}, JAX {jax.__version__}"


def infinite(data: Data, *, activation: str, depth: int, C_W: float, C_b: float, **_: Any) -> Work:
    """NNGP and NTK of infinitely wide networks."""
    layers: list[Any] = []
    for _layer in range(depth - 1):
        layers += [_dense(1, C_W, C_b), _activation(activation)]
    _, _, kernel = stax.serial(*layers, _dense(1, C_W, C_b))

    def both(x: Any) -> tuple[Any, Any]:
        found = kernel(x, None, ("nngp", "ntk"))
        return found.nngp, found.ntk

    def check() -> Data:
        # in 32 bits its diagonal of relu is off by some 1e-4
        with enable_x64():
            nngp, ntk = jax.jit(both)(jnp.asarray(data["check_x"], jnp.float64))
            return {"nngp": np.asarray(nngp), "ntk": np.asarray(ntk)}

    return compiled(both, jnp.asarray(data["x"]), check)


def empirical(data: Data, *, widths: Sequence[int], method: str, **_: Any) -> Work:
    """NTK of one network, by one of its methods."""
    kernel = neural_tangents.empirical_ntk_fn(
        _apply, trace_axes=(), vmap_axes=0,
        implementation=neural_tangents.NtkImplementation[method],
    )  # fmt: skip

    def ntk(x: Any) -> Any:
        return kernel(x, None, _parameters(data, widths))[..., 0, 0]

    def check() -> Data:
        return {"ntk": np.asarray(jax.jit(ntk)(jnp.asarray(data["check_x"])))}

    return compiled(ntk, jnp.asarray(data["x"]), check)


def monte_carlo(data: Data, *, widths: Sequence[int], samples: int, method: str, **_: Any) -> Work:
    """Mean NTK of random networks, one after the other."""
    layers: list[Any] = []
    for width in widths[1:-1]:
        layers += [_dense(width, 2.0, 0.0), stax.Relu()]
    init, apply, _ = stax.serial(*layers, _dense(widths[-1], 2.0, 0.0))
    kernel = neural_tangents.monte_carlo_kernel_fn(
        init, apply, jax.random.PRNGKey(0), samples, vmap_axes=0,
        implementation=neural_tangents.NtkImplementation[method],
    )  # fmt: skip
    x = jnp.asarray(data["x"])
    return Work(lambda: jax.block_until_ready(kernel(x, None, "ntk")))


def compiled(function: Callable[[Any], Any], x: Any, check: Callable[[], Data]) -> Work:
    """`function(x)`, jitted and compiled ahead of time."""
    programs = []

    def compile() -> None:
        programs.append(jax.jit(function).lower(x).compile())

    def temporary_bytes() -> int | None:
        return getattr(programs[0].memory_analysis(), "temp_size_in_bytes", None)

    return Work(lambda: jax.block_until_ready(programs[0](x)), compile, temporary_bytes, check)


def _dense(width: int, C_W: float, C_b: float) -> Any:
    return stax.Dense(width, W_std=C_W**0.5, b_std=C_b**0.5 or None)


def _activation(name: str) -> Any:
    if name == "tanh":
        return stax.ElementwiseNumerical(jnp.tanh, deg=QUADRATURE)
    return {"relu": stax.Relu, "erf": stax.Erf}[name]()


def _parameters(data: Data, widths: Sequence[int]) -> list[tuple[Any, Any]]:
    layers = range(len(widths) - 1)
    return [(jnp.asarray(data[f"weight{i}"]), jnp.asarray(data[f"bias{i}"])) for i in layers]


def _apply(parameters: Any, x: Any) -> Any:
    *hidden, last = parameters
    for weight, bias in hidden:
        x = jax.nn.relu(x @ weight + bias)
    return x @ last[0] + last[1]
