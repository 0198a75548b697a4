"""The covariance of features between positions of two inputs, which every layer changes."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from nsh.theory.effective.infinite_width.errors import Errors


class Side(eqx.Module):
    """What one of the two inputs brings besides its features, None where it brings nothing.

    `present`: which positions are there. `graph`: weights of its nodes, which are its positions.
    """

    present: Bool[Array, "..."] | None = None
    graph: Float[Array, "positions positions"] | None = None


class Covariance(eqx.Module):
    """NNGP and NTK of one layer's features: of one input with itself, or with another.

    `all_pairs` False: of each position with the same position of the other input, [*positions].
    True: of every position with every other, [*positions, *positions].

    `error`: estimates of both, in their own units; None where there is nothing but rounding, and
    of an input with itself. `features`: how many at finite width. `dimensions`: the number of axes
    that positions have, such as 2 in images.

    Example:
        >>> from nsh.theory.effective import layers
        >>> one = jnp.ones(())
        >>> before = layers.Covariance(one, 0 * one, None, 3, 0, False)
        >>> after = layers.Dense(8, C_W=2.0).linear(before)
        >>> float(after.nngp), float(after.ntk)
        (2.0, 2.0)
    """

    nngp: Array
    ntk: Array
    error: Errors | None
    features: int = eqx.field(static=True)
    dimensions: int = eqx.field(static=True)
    all_pairs: bool = eqx.field(static=True)
    sides: tuple[Side, Side] = (Side(), Side())

    def changed(self, nngp: Array, ntk: Array, error: Errors | None) -> Covariance:
        """Other arrays, of the same features and positions."""
        kept = self.features, self.dimensions, self.all_pairs, self.sides
        return Covariance(nngp, ntk, error, *kept)

    def having(self, features: int) -> Covariance:
        """The same of another number of features."""
        given = self.nngp, self.ntk, self.error
        return Covariance(*given, features, self.dimensions, self.all_pairs, self.sides)

    def present_as(self, a: Array | None, b: Array | None) -> Covariance:
        """The same, where other positions of the two inputs are there."""
        sides = tuple(Side(p, side.graph) for p, side in zip((a, b), self.sides, strict=True))
        return eqx.tree_at(lambda one: one.sides, self, sides, is_leaf=lambda part: part is None)

    def with_present(self, change: Callable[[Array], Array | None]) -> Covariance:
        """The same, with which positions are there changed alike in both inputs."""
        a, b = (None if side.present is None else change(side.present) for side in self.sides)
        return self.present_as(a, b)

    def there(self) -> Covariance:
        """0 wherever one of the two positions is not there."""
        a, b = (side.present for side in self.sides)
        if a is None or b is None:
            return self
        both = jnp.logical_and.outer(a, b) if self.all_pairs else a & b
        return self.map(lambda array: jnp.where(both, array, 0.0))

    def map(self, change: Callable[[Array], Array]) -> Covariance:
        """All arrays changed alike, by a map that is linear."""
        nngp, ntk, error = jax.tree.map(change, (self.nngp, self.ntk, self.error))
        return self.changed(nngp, ntk, error)

    def axes(self, dimension: int) -> tuple[int, ...]:
        """The arrays' axes that stand for one dimension of positions."""
        return (dimension, self.dimensions + dimension) if self.all_pairs else (dimension,)

    @property
    def positions(self) -> tuple[int, ...]:
        """How many positions there are along each of their axes."""
        return self.nngp.shape[: self.dimensions]

    def weighted(self, C_b: Array, C_W: Array, lambda_b: Array, lambda_W: Array) -> Covariance:
        """What a matrix of weights makes of the mean over its inputs, which this is.

        ``K' = C_b + C_W K``, ``Theta' = lambda_b + lambda_W K + C_W Theta``.
        """
        nngp = C_b + C_W * self.nngp
        ntk = lambda_b + lambda_W * self.nngp + C_W * self.ntk
        error = self.error
        if error is not None:
            error = Errors(C_W * error.K, lambda_W * error.K + C_W * error.Theta)
        return self.changed(nngp, ntk, error)

    def variances(self) -> Array:
        """The NNGP of each position with itself, [*positions]."""
        return _diagonal(self.nngp, self.positions) if self.all_pairs else self.nngp

    def as_needed(self, all_pairs: bool) -> Covariance:
        """Without the covariances of different positions, unless they are needed."""
        if all_pairs or not self.all_pairs:
            return self
        found = self.map(lambda array: _diagonal(array, self.positions))
        kept = self.features, self.dimensions, False, self.sides
        return Covariance(found.nngp, found.ntk, found.error, *kept)

    def only_same_positions(self, array: Array) -> Array:
        """0 for all pairs of different positions."""
        if not self.all_pairs:
            return array
        same = jnp.eye(int(np.prod(self.positions)), dtype=array.dtype)
        return array * same.reshape(*self.positions, *self.positions)

    def without_positions(self, change: Callable[[Array], Array], features: int) -> Covariance:
        """All arrays changed alike, into one number each."""
        found = self.map(change)
        return Covariance(found.nngp, found.ntk, found.error, features, 0, False)


def _diagonal(array: Array, positions: tuple[int, ...]) -> Array:
    count = int(np.prod(positions))
    return jnp.diagonal(array.reshape(count, count)).reshape(positions)
