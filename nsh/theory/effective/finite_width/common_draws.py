"""Points and weights of standard normals in several dimensions, shared by all expectations.

Up to four dimensions a lattice cut to a ball: its error falls faster than any power of the
spacing for smooth functions. Else randomised Sobol' points, each with its opposite, whose
covariance is made exactly 1. Both come in several sets, so that an error can be told.
"""

from __future__ import annotations

import functools
import importlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nsh.activations.gaussian import TAIL, clustered_nodes

SETS = 4  # of randomised points
# spacings of the fine lattice and of the coarse one, and the radius of the ball
LATTICES = {2: (0.2, 0.27, 6.5), 3: (0.3, 0.38, 6.0), 4: (0.45, 0.55, 5.5)}


class Draws(NamedTuple):
    """`u` [sets, points, dimensions] and `weight` [sets, points], of sum 1 for each set.

    `random`: whether sets are independent; else the first is the finest.
    """

    u: Float[np.ndarray, "sets points dimensions"]
    weight: Float[np.ndarray, "sets points"]
    random: bool


@functools.lru_cache(maxsize=16)
def common_draws(dimensions: int, points: int, smooth: bool) -> Draws:
    """The draws: of one input by quadrature broken at 0; `points` in all where they are random."""
    if dimensions == 1:
        return _padded([line(200), line(120)])
    if smooth and dimensions in LATTICES:
        fine, coarse, radius = LATTICES[dimensions]
        return _padded([_ball(dimensions, step, radius) for step in (fine, coarse)])
    u = np.stack([_sobol(dimensions, points // SETS, seed) for seed in range(SETS)])
    return Draws(u, np.full(u.shape[:2], 1 / u.shape[1]), True)


def line(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes [2 count, 1] and weights of one standard normal, in two halves."""
    place, share = clustered_nodes(count)
    u = TAIL * np.concatenate([-place, place])
    weight = np.concatenate([share, share]) * np.exp(-(u**2) / 2)
    return u[:, None], weight / weight.sum()


def _ball(dimensions: int, step: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    count = int(radius / step) + 1
    line = step * (np.arange(-count, count) + 0.5)
    u = np.stack(np.meshgrid(*[line] * dimensions, indexing="ij"), -1).reshape(-1, dimensions)
    square = np.sum(u**2, 1)
    u, square = u[square < radius**2], square[square < radius**2]
    weight = np.exp(-square / 2)
    return u, weight / weight.sum()


def _padded(sets: list[tuple[np.ndarray, np.ndarray]]) -> Draws:
    most = max(len(u) for u, _ in sets)
    u = np.stack([np.pad(u, ((0, most - len(u)), (0, 0))) for u, _ in sets])
    return Draws(u, np.stack([np.pad(w, (0, most - len(w))) for _, w in sets]), False)


def _sobol(dimensions: int, points: int, seed: int) -> np.ndarray:
    qmc = importlib.import_module("scipy.stats.qmc")  # not what `import nsh` needs
    special = importlib.import_module("scipy.special")
    net = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    half = special.ndtri(np.clip(net.random(points // 2), 1e-12, 1 - 1e-12))
    covariance = half.T @ half / len(half)
    half = np.linalg.solve(np.linalg.cholesky(covariance), half.T).T
    return np.stack([half, -half], 1).reshape(-1, dimensions)  # opposites are neighbours
