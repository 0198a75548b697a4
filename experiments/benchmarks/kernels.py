"""Kernels of wide networks, infinitely or not: against neural-tangents and plain recursions."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.case import Case, Contender, Target
from experiments.benchmarks.memory import PeakMemory
from experiments.benchmarks.ours import compiled
from experiments.benchmarks.work import Data, Work
from nsh._fingerprint.surroundings import device
from nsh.networks import MLP
from nsh.theory.effective import empirical_ntk, monte_carlo_ntk
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width.blocks import kernels_on_host
from nsh.theory.effective.infinite_width.kernels import kernels

__all__ = ["cases", "device"]

HERE, PEERS = "experiments.benchmarks.kernels", "experiments.benchmarks.kernel_peers"
REFERENCES = "experiments.benchmarks.kernel_references"
NT, FLOAT64 = "neural-tangents", "NumPy, 64 bits, of few inputs"
LARGEST = 4e9  # bytes besides the result


@dataclasses.dataclass(frozen=True)
class Infinite:
    """Sizes of the cases of infinitely wide networks: inputs, and depths."""

    features: int = 100
    relu: tuple[int, int] = (2000, 10)
    erf: tuple[int, int] = (1000, 4)
    tanh: tuple[int, int] = (500, 3)
    many: tuple[int, int] = (20_000, 3)
    """Of the case in blocks, on inputs of the size of the digits, 64."""


@dataclasses.dataclass(frozen=True)
class Finite:
    """Sizes of the cases of finite networks."""

    widths: tuple[int, ...] = (100, 512, 512, 1)
    inputs: int = 200
    samples: int = 64
    few: int = 8
    """Networks that neural-tangents samples, its time being extrapolated to all."""


QUICK = (
    Infinite(5, (20, 3), (20, 2), (10, 2), (600, 2)),
    Finite((5, 8, 1), inputs=6, samples=4, few=2),
)


def cases(infinite: Infinite, finite: Finite) -> list[Case]:
    """All of them."""
    features = infinite.features
    return [
        _infinite("relu", *infinite.relu, features, {"C_W": 2.0, "C_b": 0.0}, 4, checked=100),
        _infinite("erf", *infinite.erf, features, {"C_W": 1.5, "C_b": 0.1}, None, checked=100),
        _infinite("tanh", *infinite.tanh, features, {"C_W": 1.5, "C_b": 0.1}, 20, checked=10),
        _in_blocks(*infinite.many),
        *_finite(finite),
    ]


def _infinite(
    activation: str,
    inputs: int,
    depth: int,
    features: int,
    numbers: dict[str, float],
    reach: float | None,
    *,
    checked: int,
) -> Case:
    sizes = {
        "activation": activation, "inputs": inputs, "features": features, "depth": depth,
        "checked": checked, **numbers,
    }  # fmt: skip
    expanded = activation == "tanh"
    return Case(
        f"{activation}-ntk",
        f"NNGP and NTK of {activation}, {depth} layers, {inputs:,} inputs",
        (
            Contender("nsh", f"{HERE}:ours", sizes),
            Contender(
                NT, f"{PEERS}:infinite", sizes, peer="kernel_peers", approximate=expanded
            ),
            Contender(FLOAT64, f"{REFERENCES}:recursion", sizes),
        ),
        (Target(NT, "nsh", reach=reach),),
        f"{HERE}:data", 1e-4 if expanded else 1e-6,
    )  # fmt: skip


def _in_blocks(inputs: int, depth: int) -> Case:
    sizes = {"inputs": inputs, "features": 64, "depth": depth, "checked": 1}
    return Case(
        "kernel-of-20000",
        f"NNGP and NTK of relu, {depth} layers, {inputs:,} inputs, in blocks",
        (Contender("nsh", f"{HERE}:in_blocks", sizes),),
        (Target("nsh", at="most", reach=LARGEST, measure="bytes"), Target("nsh", at="most")),
        f"{HERE}:data",
    )


def _finite(finite: Finite) -> list[Case]:
    sizes = dataclasses.asdict(finite)
    net = "-".join(map(str, finite.widths))
    few = {**sizes, "samples": finite.few, "method": "JACOBIAN_CONTRACTION"}
    many = {
        "scale": finite.samples / finite.few,
        "extrapolated": f"{finite.few} of {finite.samples} networks",
    }
    default, products = f"{NT}, default", f"{NT}, NTK-vector products"
    methods = {default: few, products: {**few, "method": "NTK_VECTOR_PRODUCTS"}}
    return [
        Case(
            "empirical-ntk",
            f"NTK of one MLP {net} at {finite.inputs} inputs",
            (
                Contender("nsh", f"{HERE}:empirical", sizes),
                *(Contender(name, f"{PEERS}:empirical", given, peer="kernel_peers")
                  for name, given in methods.items()),
            ),
            (Target(default, "nsh", reach=100), Target(products, "nsh")),
            f"{HERE}:networks", 1e-6,
        ),
        Case(
            "monte-carlo-ntk",
            f"mean NTK of {finite.samples} MLPs {net} at {finite.inputs} inputs",
            (
                Contender("nsh", f"{HERE}:monte_carlo", sizes),
                *(Contender(name, f"{PEERS}:monte_carlo", given, peer="kernel_peers", **many)
                  for name, given in methods.items()),
            ),
            (Target(default, "nsh", reach=50), Target(products, "nsh")),
            f"{HERE}:networks",
        ),
    ]  # fmt: skip


def data(*, inputs: int, features: int, checked: int, **_: Any) -> Data:
    """Normal inputs, a few of them for the check."""
    x = np.random.default_rng(0).normal(size=(inputs, features)).astype(np.float32)
    return {"x": x, "check_x": x[:checked]}


def networks(*, widths: tuple[int, ...], inputs: int, **_: Any) -> Data:
    """Normal inputs and one network's parameters."""
    module = _network(widths, jax.random.key(0))
    found = {}
    for place, layer in enumerate((*module.hidden, module.readout)):
        found |= {f"weight{place}": layer.weight, f"bias{place}": layer.bias}
    arrays = {name: np.asarray(value) for name, value in found.items()}
    return data(inputs=inputs, features=widths[0], checked=inputs) | arrays


def ours(data: Data, *, activation: str, depth: int, C_W: float, C_b: float, **_: Any) -> Work:
    """nsh's `kernels`."""
    architecture = Architecture(activation, depth, C_W=C_W, C_b=C_b, lambda_W=C_W, lambda_b=C_b)

    def check() -> Data:
        found = kernels(architecture, data["check_x"])
        return {"nngp": np.asarray(found.nngp), "ntk": np.asarray(found.ntk)}

    return compiled(kernels, architecture, jnp.asarray(data["x"]), check=check)


def in_blocks(data: Data, *, depth: int, **_: Any) -> Work:
    """nsh's `kernels_on_host`; memory without the result."""
    architecture = Architecture("relu", depth, C_W=2.0)
    memory, peaks = PeakMemory(), []

    def run() -> None:
        memory.mark()
        found = kernels_on_host(architecture, data["x"])
        peak = memory.increase()
        peaks[:] = [None if peak is None else peak - found.nngp.nbytes - found.ntk.nbytes]

    return Work(run, temporary_bytes=lambda: peaks[0])


def empirical(data: Data, *, widths: Any, **_: Any) -> Work:
    """nsh's `empirical_ntk`."""
    module = _network(tuple(widths), jax.random.key(0))
    for place in range(len(widths) - 1):
        module = eqx.tree_at(
            lambda m, place=place: [
                getattr((*m.hidden, m.readout)[place], part) for part in ("weight", "bias")
            ],
            module,
            [jnp.asarray(data[f"{part}{place}"]) for part in ("weight", "bias")],
        )

    def ntk(module: MLP, x: Any) -> Any:
        return empirical_ntk(module, x)[..., 0, 0]

    def check() -> Data:
        return {"ntk": np.asarray(ntk(module, jnp.asarray(data["check_x"])))}

    return compiled(ntk, module, jnp.asarray(data["x"]), check=check)


def monte_carlo(data: Data, *, widths: Any, samples: int, **_: Any) -> Work:
    """nsh's `monte_carlo_ntk`."""
    widths = tuple(widths)

    def mean(x: Any, key: Any) -> Any:
        return monte_carlo_ntk(lambda key: _network(widths, key), x, key=key, samples=samples).mean

    return compiled(mean, jnp.asarray(data["x"]), jax.random.key(1))


def _network(widths: tuple[int, ...], key: Any) -> MLP:
    return MLP(widths, jax.nn.relu, key=key, gain=2.0)
