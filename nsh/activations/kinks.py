"""What is seen of an activation by looking at its values: kinks, slopes, what is refused."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsh._checks import require
from nsh.activations.gaussian import NODES, TAIL, clustered_nodes
from nsh.activations.program import Program, with_derivatives

WIDEST = 20.0  # value and slope must be finite up to here
FARTHEST = 100.0  # kinks are looked for up to here
MOST = 32  # kinks: each adds nodes to every expectation
FINEST = 1e-6  # the grid is linear nearer to 0 than this, logarithmic farther away
POINTS = 2**17  # of the grid on either side of 0
PARTS = 32  # into which an interval is divided to look closer
CLEAR = 1e-3  # of the slopes or values around it: a jump that counts
UNRESOLVED = 0.01  # relative error of <s'^2> by the nodes of `gaussian` that is told


class Seen(NamedTuple):
    """Kinks, (a-, a+) of a scale-invariant function or None, and what to warn of, or None."""

    kinks: tuple[float, ...]
    slopes: tuple[float, float] | None
    warning: str | None


class _Sample(NamedTuple):
    """Places z, ascending along the last axis, with s and s' there."""

    z: np.ndarray
    value: np.ndarray
    slope: np.ndarray


Look = Callable[[np.ndarray], _Sample]
Scales = tuple[float, float]


def look_at(program: Program) -> Seen:
    """The kinks and slopes of a function, found numerically; once for equal functions.

    A kink is a jump of s' in [-100, 100], above a thousandth of the slopes around it, that stays
    down to neighbouring floats. The grid's 262,144 places are closer to each other than 1.5e-4 of
    their distance from 0; intervals are divided wherever slopes jump or do not explain the values.
    Warns where s varies too fast for the theory's quadrature. Raises `ValueError` for functions
    that are not elementwise, that jump, whose value or slope is not finite in [-20, 20], whose
    slope grows without bound, and that have more than 32 kinks.
    """
    with jax.ensure_compile_time_eval(), np.errstate(invalid="ignore", over="ignore"):
        seen = _seen(program)
    if seen.warning is not None:
        warnings.warn(seen.warning, stacklevel=3)
    return seen


@functools.lru_cache(maxsize=256)
def _seen(program: Program) -> Seen:
    name, look = program.name, _looker(program)
    z = FINEST * np.sinh(np.arcsinh(FARTHEST / FINEST) * (np.arange(POINTS) + 0.5) / POINTS)
    grid = look(np.concatenate([-z[::-1], z]))
    near = _Sample(*(part[np.abs(grid.z) <= WIDEST] for part in grid))
    for what, found in (("value", near.value), ("derivative", near.slope)):
        at = near.z[~np.isfinite(found)]
        allowed = f"finite in [-{WIDEST:g}, {WIDEST:g}]"
        _require_nowhere(at, f"{what} of activation {name} at z", allowed)
    _require_elementwise(name, look, grid)
    _require_bounded(name, look, near)
    bell = np.exp(-(near.z**2) / 2) / np.sqrt(2 * np.pi)
    square, slope2 = (float(np.trapezoid(bell * part**2, near.z)) for part in near[1:])
    kinks = _kinks(name, look, grid, (np.sqrt(square), np.sqrt(slope2)))
    return Seen(kinks, _slopes(grid), _warning(name, look, kinks, slope2, near))


def _looker(program: Program) -> Look:
    """s and s' anywhere, by one compiled program of one shape."""
    dtype, size = jnp.zeros((), float).dtype, 2 * POINTS
    both = jax.jit(with_derivatives(program.function, 2))

    def look(z: np.ndarray) -> _Sample:
        places = np.asarray(z, dtype)
        filled = np.ones(max(-(-places.size // size), 1) * size, dtype)
        filled[: places.size] = places.reshape(-1)
        try:
            parts = [np.asarray(both(jnp.asarray(part))) for part in filled.reshape(-1, size)]
        except jax.errors.TracerArrayConversionError as error:
            allowed = "a function of z alone: a number in it is traced (by jit, grad or vmap)"
            raise ValueError(f"activation {program.name}: must be {allowed}") from error
        value, slope = np.concatenate(parts, -1)[:, : places.size].astype(float)
        return _Sample(
            places.astype(float), value.reshape(places.shape), slope.reshape(places.shape)
        )

    return look


def _eps() -> float:
    return float(jnp.finfo(jnp.zeros((), float).dtype).eps)


def _require_nowhere(z: np.ndarray, field: str, allowed: str) -> None:
    require(z.size == 0, field, float(f"{z[0]:.6g}") if z.size else None, allowed)


def _require_elementwise(name: str, look: Look, grid: _Sample) -> None:
    """Every second entry must keep its value among others, in reversed order."""
    others = grid.z[::-1].copy()
    others[::4], others[2::4] = 3 * FARTHEST, -3 * FARTHEST
    found, expected = look(others).value[::-1][::2], grid.value[::2]
    close = np.isclose(found, expected, rtol=1e-4, atol=1e-4) | ~np.isfinite(expected)
    at = grid.z[::2][~close]
    allowed = "elementwise: its value at one z depends on the other entries, or on their order"
    _require_nowhere(at, f"activation {name} at z", allowed)


def _require_bounded(name: str, look: Look, near: _Sample) -> None:
    """|s'| must stop growing when one looks closer at where it is largest."""
    size = np.abs(near.slope)
    windows = np.lib.stride_tricks.sliding_window_view(size, 17)
    peaks = 8 + np.flatnonzero(
        (windows[:, 8] >= windows.max(1)) & (windows[:, 8] > 1.01 * windows.min(1))
    )
    peaks = peaks[np.argsort(size[peaks])[::-1][:256]]
    low, high, top = near.z[peaks - 1], near.z[peaks + 1], size[peaks]
    ulp = _eps() * np.abs(near.z[peaks])
    growing = np.ones(peaks.size, bool)
    for _ in range(3):
        width = (high - low) / PARTS
        inner = look(low[:, None] + width[:, None] * (np.arange(PARTS) + 0.5))
        slopes = np.where(np.isfinite(inner.slope), np.abs(inner.slope), np.inf)
        best = np.argmax(slopes, 1)[:, None]
        here, highest = (np.take_along_axis(part, best, 1)[:, 0] for part in (inner.z, slopes))
        value = np.take_along_axis(np.abs(inner.value), best, 1)[:, 0]
        rounding = highest * np.abs(here) <= 64 * _eps() * value  # as of sin(z) / z at 0
        growing &= ((highest > 1.05 * top) & ~rounding) | (width < 4 * ulp)
        low, high, top = here - width, here + width, np.maximum(top, highest)
    at = near.z[peaks[growing]]
    allowed = "bounded: it grows without end here, so E s'^2 and the NTK are infinite or not found"
    _require_nowhere(at, f"derivative of activation {name} near z", allowed)


def _kinks(name: str, look: Look, grid: _Sample, scales: Scales) -> tuple[float, ...]:
    """Places where s' jumps, in order; `ValueError` where s does."""
    sudden, hidden = _sudden(grid, scales)
    # of a grid this wide the slopes explain the values only nearly
    kept = sudden | (hidden > 0.05 * scales[1] * np.diff(grid.z))
    low, high = grid.z[:-1][kept], grid.z[1:][kept]
    found = []
    while low.size:
        allowed = f"resolved by at most {MOST} kinks"
        _require_nowhere(low[64 * MOST :], f"activation {name} near z", allowed)
        inner = look(low[:, None] + (high - low)[:, None] * np.arange(PARTS + 1) / PARTS)
        sudden, hidden = _sudden(inner, scales)
        row, part = np.nonzero((sudden | (hidden > 0)) & (np.diff(inner.z) > 0))
        low, high = inner.z[row, part], inner.z[row, part + 1]
        ended = high - low <= 4 * _eps() * np.maximum(np.abs(low), 1e-3 * FINEST)
        found += zip(low[ended].tolist(), high[ended].tolist(), strict=True)
        low, high = low[~ended], high[~ended]
    kinks = _confirmed(name, look, _merged(found), scales)
    require(len(kinks) <= MOST, f"kinks of activation {name}", len(kinks), f"at most {MOST}")
    return kinks


def _sudden(sample: _Sample, scales: Scales) -> tuple[np.ndarray, np.ndarray]:
    """Between neighbours: whether s' changes much more than around, and what it leaves open of s.

    The latter is 0 where it is not more than around, or rounding.
    """
    value, slope = (np.where(np.isfinite(part), part, 0.0) for part in sample[1:])
    bend = np.abs(np.diff(slope))
    miss = np.abs(np.diff(value) - (slope[..., 1:] + slope[..., :-1]) / 2 * np.diff(sample.z))
    value, slope = (np.maximum(abs(x[..., 1:]), abs(x[..., :-1])) for x in (value, slope))
    low, high = sample.z[..., :-1], sample.z[..., 1:]
    away = np.maximum(np.abs(low), np.abs(high))
    # the slope of sin(z) / z beside 0 is rounding over z
    noise = np.where((low <= 0) & (high >= 0), 0.0, 64 * _eps() * value / np.maximum(away, 1e-30))
    sudden = _stands_out(bend, np.maximum(noise, CLEAR * np.maximum(slope, scales[1])))
    least = np.maximum(16 * _eps() * value, 1e-6 * scales[0])
    return sudden, np.where(_stands_out(miss, least), miss, 0.0)


def _stands_out(change: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Above `least` and far above the median of 17 around: neither smooth nor noise."""
    found = change > least
    edges = [(0, 0)] * (change.ndim - 1) + [(8, 8)]
    around = np.lib.stride_tricks.sliding_window_view(np.pad(change, edges, "reflect"), 17, -1)
    found[found] = change[found] > 8 * np.median(around[found], -1)
    return found


def _merged(found: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Intervals that touch, or nearly, as one: at a kink itself s' may be a third number."""
    merged: list[tuple[float, float]] = []
    for low, high in sorted(found):
        if merged and low - merged[-1][1] <= 4 * (high - low):
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged


def _confirmed(
    name: str, look: Look, found: list[tuple[float, float]], scales: Scales
) -> tuple[float, ...]:
    """The places where slopes differ more from one side to the other than on either side."""
    if not found:
        return ()
    low, high = np.asarray(found).T[..., None]
    steps = (high - low) * np.arange(1, 9)
    left, right = look(low - steps), look(high + steps)
    for sides, scale, jumps in (
        ((left.value, right.value), scales[0], True),
        ((left.slope, right.slope), scales[1], False),
    ):
        jump = np.abs(np.subtract(*(np.median(side, 1) for side in sides)))
        spread = np.max([np.ptp(side, 1) for side in sides], 0)
        size = np.max(np.abs(sides), (0, 2))
        clear = (jump > CLEAR * np.maximum(size, scale)) & (jump > 4 * spread)
        if jumps:
            _require_nowhere(low[clear, 0], f"activation {name} jumps at z", "continuous")
    return tuple(_simplest(*ends) for ends, kept in zip(found, clear, strict=True) if kept)


def _simplest(low: float, high: float) -> float:
    """The shortest decimal number that is a float of this interval between neighbouring floats."""
    if low <= 0 <= high:
        return 0.0
    dtype = jnp.zeros((), float).dtype.type
    shortest = (float(f"{(low + high) / 2:.{digits}g}") for digits in range(1, 18))
    return next((x for x in shortest if low <= float(dtype(x)) <= high), (low + high) / 2)


def _slopes(grid: _Sample) -> tuple[float, float] | None:
    """(a-, a+) of a scale-invariant function, else None."""
    below, above = (float(grid.value[end] / grid.z[end]) for end in (0, -1))
    expected = np.where(grid.z < 0, below, above) * grid.z
    allowed = 1e-5 * max(abs(below), abs(above)) * np.abs(grid.z)
    straight = np.all(np.abs(grid.value - expected) <= allowed)
    return (round(below, 7) + 0.0, round(above, 7) + 0.0) if straight else None


def _warning(
    name: str, look: Look, kinks: tuple[float, ...], slope2: float, near: _Sample
) -> str | None:
    """Where <s'^2> at K = 1 by the nodes of `gaussian` is not that of the fine grid."""
    place, share = clustered_nodes(NODES)
    breaks = sorted({-TAIL, 0.0, TAIL, *(kink for kink in kinks if abs(kink) < TAIL)})
    ends = [(low, high - low) for low, high in pairwise(breaks)]
    z = np.concatenate([low + length * place for low, length in ends])
    weight = np.concatenate([length * share for _, length in ends])
    bell = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    by_nodes = float(np.sum(weight * bell * look(z).slope ** 2))
    seen = slope2 > 1e-6 * np.max(near.slope**2)  # else it lies in the tails
    if not seen or abs(by_nodes - slope2) <= UNRESOLVED * slope2:
        return None
    return (
        f"activation {name} varies too fast for the quadrature: <s'^2> at K = 1 is {by_nodes:.4g} "
        f"by its nodes, {slope2:.4g} by a fine grid; kernels and all that follows may be wrong"
    )
