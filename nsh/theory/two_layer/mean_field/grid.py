"""Tensor grids of cells in low dimension, and laws of particles on them."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_numbers, plain_integer, require, require_integer
from nsh._shown import Shown
from nsh.theory.effective.infinite_width.resources import available_bytes
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles

MOST_AXES = 3
COPIES = 6  # arrays of a number per cell and sample that are alive at once, at most


class Grid(eqx.Module):
    """Equal cells on the box low[i]..high[i], cells[i] along axis i; at most three axes.

    Integrals are sums over the cells' centres times the cell's volume: for smooth functions that
    vanish at the box's faces the error falls faster than any power of the spacing. An axis of one
    cell holds its coordinate fixed at the centre. Raises `ValueError` on bad sizes.

    Example:
        >>> from nsh.theory.two_layer import Grid
        >>> grid = Grid(low=(0.0, 0.0), high=(1.0, 2.0), cells=(2, 4))
        >>> grid.size, grid.volume
        (8, 0.25)
    """

    low: tuple[float, ...] = eqx.field(static=True, converter=tuple)
    high: tuple[float, ...] = eqx.field(static=True, converter=tuple)
    cells: tuple[int, ...] = eqx.field(
        static=True, converter=lambda cells: plain_integer(tuple(cells))
    )

    def __check_init__(self):
        axes = len(self.low)
        advice = f"1 to {MOST_AXES}: a grid grows as cells ** axes; beyond, use particles"
        require(1 <= axes <= MOST_AXES, "number of axes", axes, advice)
        for field in ("high", "cells"):
            value = getattr(self, field)
            require(len(value) == axes, field, value, f"{axes} numbers, as low has")
        for low, high, cells in zip(self.low, self.high, self.cells, strict=True):
            require_integer("cells", cells, 1)
            good = math.isfinite(low) and math.isfinite(high) and low < high
            require(good, "low, high", (low, high), "finite with low < high")

    @property
    def size(self) -> int:
        """The number of cells."""
        return math.prod(self.cells)

    @property
    def spacing(self) -> tuple[float, ...]:
        """The length of a cell along each axis."""
        sides = zip(self.low, self.high, self.cells, strict=True)
        return tuple((high - low) / cells for low, high, cells in sides)

    @property
    def volume(self) -> float:
        """The volume of a cell."""
        return math.prod(self.spacing)

    def centres(self, axis: int) -> Float[np.ndarray, " cells"]:
        """The cells' centres along one axis."""
        return self.low[axis] + self.spacing[axis] * (np.arange(self.cells[axis]) + 0.5)

    def nodes(self) -> Float[Array, "size axes"]:
        """The cells' centres, the last axis running fastest."""
        axes = [self.centres(axis) for axis in range(len(self.cells))]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        return jnp.asarray(mesh.reshape(-1, len(axes)), float)

    def at_faces(self) -> np.ndarray:
        """Which nodes lie in the outermost cells of an axis that has more than two."""
        places = np.indices(self.cells).reshape(len(self.cells), -1)
        last = np.asarray(self.cells)[:, None] - 1
        return np.any(((places == 0) | (places == last)) & (last > 1), axis=0)

    def require_axes(self, axes: int, what: str) -> None:
        """Raise `ValueError` unless it has one axis to each of `axes` coordinates."""
        require(len(self.cells) == axes, "axes of the grid", len(self.cells), f"{axes}: {what}")

    def require_memory(self, rows: int) -> None:
        """Raise `ValueError` where `rows` numbers to a cell do not fit into free memory."""
        needed, free = COPIES * self.size * rows * jnp.zeros(()).dtype.itemsize, available_bytes()
        allowed = f"at most the {(free or 0) / 1e9:.3g} GB free: take fewer cells"
        require(free is None or needed <= free, "memory", f"{needed / 1e9:.3g} GB", allowed)


class Density(Shown):
    """A law p on a grid: the mass of each cell, ``p(node) volume``, in all 1.

    The axes are the coordinates of a particle: first u, then theta.

    Example:
        >>> from nsh.theory.two_layer import Density, Grid
        >>> grid = Grid(low=(-8.0,), high=(8.0,), cells=(64,))
        >>> round(float(Density.normal(grid).mean(grid.nodes()[:, 0] ** 2)), 4)
        1.0
    """

    grid: Grid
    mass: Float[Array, " *cells"]

    @classmethod
    def from_log(cls, grid: Grid, log_p: Float[Array, " size"]) -> Density:
        """The law with density proportional to exp(log_p) at the nodes. Differentiable."""
        log_p = as_numbers("log_p", log_p, None)
        require(log_p.size == grid.size, "log_p.shape", log_p.shape, f"({grid.size},), of the grid")
        return cls(grid, jax.nn.softmax(log_p).reshape(grid.cells))

    @classmethod
    def normal(cls, grid: Grid) -> Density:
        """N(0, 1) in every coordinate, as particles start."""
        return cls.from_log(grid, -jnp.sum(grid.nodes() ** 2, axis=1) / 2)

    def require_one(self) -> None:
        """Raise `ValueError` where this is a course of laws, or any other number of them."""
        allowed = f"{self.grid.cells}, one law; for several use jax.vmap"
        require(self.mass.shape == self.grid.cells, "mass.shape", self.mass.shape, allowed)

    def values(self) -> Float[Array, " *cells"]:
        """p at the nodes, per unit of volume."""
        return self.mass / self.grid.volume

    def mean(self, values: Float[Array, " size *shape"]) -> Float[Array, " *shape"]:
        """E_p of a function, of its values at the nodes."""
        return jnp.tensordot(self.mass.reshape(-1), values, axes=1)

    def marginal(self, axis: int) -> Float[Array, " cells"]:
        """The mass of each cell along one axis."""
        return jnp.sum(self.mass, axis=tuple(i for i in range(self.mass.ndim) if i != axis))

    def particles(self, network: TwoLayer, alpha: Float[Array, ""]) -> Particles:
        """The nodes as particles that carry the cells' masses."""
        self.require_one()
        self.grid.require_axes(network.out_size + network.in_size, "outputs + inputs")
        nodes = self.grid.nodes()
        u, theta = nodes[:, : network.out_size], nodes[:, network.out_size :]
        return Particles(u, theta, self.mass.reshape(-1), alpha)
