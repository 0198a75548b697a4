"""Find waves among functions: sin and cos of any frequency, with a straight part."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from nsh._types import DTypeLike
from nsh.activations.closed_duals import Waves
from nsh.activations.program import Program
from nsh.activations.sampled import sampled

WIDEST = 20.0
ROUNDS = 4  # of Gauss and Newton's method for the frequency
STRIDES = 16, 4, 1  # of second differences: 0.8, 0.2 and 0.05


@functools.lru_cache(maxsize=64)
def waves_of(program: Program, dtype: DTypeLike) -> Waves | None:
    """The `Waves` that a function is, up to rounding, or None.

    A wave's second differences are a multiple of it; all numbers follow by least squares.
    """
    eps = float(jnp.finfo(dtype).eps)
    z = np.linspace(-WIDEST, WIDEST, 801).astype(dtype)
    value = sampled(program, z, dtype)
    z, largest = z.astype(float), np.max(np.abs(value))
    if not np.isfinite(largest):
        return None
    for stride in STRIDES:
        w = _frequency(value, stride, z[1] - z[0], 100 * eps * largest)
        found = None if w is None else _fitted(z, value, w, 50 * eps * largest)
        if found is not None:
            return found
    return None


def _frequency(value: np.ndarray, stride: int, step: float, noise: float) -> float | None:
    def differences(of: np.ndarray) -> np.ndarray:
        return of[2 * stride :] - 2 * of[stride:-stride] + of[: -2 * stride]

    once = differences(value)
    twice, once = differences(once), once[stride:-stride]
    size = np.sum(once**2)
    if size <= len(once) * noise**2:
        return None
    square = -np.sum(once * twice) / size  # 2 - 2 cos(w stride step)
    if not 0 < square < 4 or np.sum((twice + square * once) ** 2) > 1e-4 * np.sum(twice**2):
        return None
    return float(np.arccos(1 - square / 2) / (stride * step))


def _fitted(z: np.ndarray, value: np.ndarray, w: float, small: float) -> Waves | None:
    """All numbers by Gauss and Newton's least squares, w starting near; None if more is left."""
    numbers = np.zeros(4)
    for _ in range(ROUNDS):
        sine, cosine = np.sin(w * z), np.cos(w * z)
        moved = z * (numbers[2] * cosine - numbers[3] * sine)
        columns = np.stack([np.ones_like(z), z, sine, cosine, moved], 1)
        *numbers, step = np.linalg.lstsq(columns, value)[0]
        w += float(step)
    left = value - np.stack([np.ones_like(z), z, np.sin(w * z), np.cos(w * z)], 1) @ numbers
    if not np.max(np.abs(left)) < small * (1 + w * WIDEST):
        return None
    numbers = np.where(np.abs(numbers) < small, 0.0, numbers)
    return Waves((*numbers.tolist(), w))
