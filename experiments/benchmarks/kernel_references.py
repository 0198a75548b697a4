"""Kernels of infinitely wide networks in 64 bits, by NumPy: the reference of all comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks.work import Data, Work

Dual = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
NODES, TAIL = 200, 10.0


def device() -> str:
    """What it runs on."""
    return f"NumPy {np.__version__}"


def recursion(data: Data, *, activation: str, depth: int, C_W: float, C_b: float, **_: Any) -> Work:
    """The check's inputs only."""
    dual: Dual = {"relu": relu, "erf": erf, "tanh": tanh}[activation]
    x = data["check_x"].astype(np.float64)

    def check() -> Data:
        K = C_b + C_W * (x @ x.T) / x.shape[1]
        Theta = K
        for _layer in range(depth - 1):
            s, slope = dual(K)
            K = C_b + C_W * s
            Theta = K + C_W * slope * Theta
        return {"nngp": K, "ntk": Theta}

    return Work(check, check=check)


def relu(K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """<s_a s_b> and <s'_a s'_b> of a kernel."""
    norm = np.sqrt(np.outer(np.diag(K), np.diag(K)))
    cosine = np.clip(K / norm, -1, 1)
    theta = np.arccos(cosine)
    return (
        norm * (np.sin(theta) + (np.pi - theta) * cosine) / (2 * np.pi),
        (np.pi - theta) / (2 * np.pi),
    )


def erf(K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """<s_a s_b> and <s'_a s'_b> of a kernel."""
    X = np.outer(1 + 2 * np.diag(K), 1 + 2 * np.diag(K))
    return 2 / np.pi * np.arcsin(2 * K / np.sqrt(X)), 4 / np.pi / np.sqrt(X - 4 * K**2)


def tanh(K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """<s_a s_b> and <s'_a s'_b> of a kernel, by Gauss-Legendre in both preactivations."""
    node, weight = np.polynomial.legendre.leggauss(NODES)
    u = TAIL * node
    weight = TAIL * weight * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    s, slope = np.empty_like(K), np.empty_like(K)
    for a, b in np.ndindex(K.shape):
        z_a = np.sqrt(K[a, a]) * u
        rest = np.sqrt(max(K[b, b] - K[a, b] ** 2 / K[a, a], 0.0))
        t_a, t_b = np.tanh(z_a), np.tanh(K[a, b] / K[a, a] * z_a[:, None] + rest * u)
        s[a, b] = weight * t_a @ (t_b @ weight)
        slope[a, b] = weight * (1 - t_a**2) @ ((1 - t_b**2) @ weight)
    return s, slope
