"""Sums over blocks of examples from which measures follow: immutable, `add` after `add`.

The idea: what a measure needs of features is often less than the features: a mean of each unit, the
mean of each class. Such sums are made of one block of examples after the other, and all examples at
once are one block: so the formula is there once.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nsh._types import ArrayLike

# features of a block, of which type and shape matter, or these alone
Shaped: TypeAlias = Any


class Unit(eqx.Module):
    """The largest |feature| of all blocks, ``largest * exp(log_unit)``, which sums are in units of.

    So sums neither overflow nor depend on the unit of the features. Held constant in derivatives:
    what is measured does not depend on it.
    """

    largest: Float[Array, ""]
    log_unit: Float[Array, ""]

    @classmethod
    def zero(cls, like: Shaped) -> Unit:
        """That of no block."""
        return cls(jnp.zeros((), like.dtype), jnp.full((), -jnp.inf, like.dtype))

    def joined(
        self, values: Float[Array, "n d"], log_unit: ArrayLike
    ) -> tuple[Unit, Float[Array, ""], Float[Array, "n d"]]:
        """The unit with one more block; what sums so far are multiplied by; the block in it."""
        given = jnp.asarray(log_unit, values.dtype)
        unit = jax.lax.stop_gradient(jnp.maximum(self.log_unit, given))
        values = values * jnp.exp(given - unit)
        before = self.largest * jnp.exp(self.log_unit - unit)
        largest = jax.lax.stop_gradient(jnp.maximum(before, jnp.max(jnp.abs(values))))
        one = jnp.where(largest > 0, largest, 1)
        return Unit(largest, unit), before / one, values / one

    def of(self, values: Float[Array, "n d"], log_unit: ArrayLike) -> Float[Array, "n d"]:
        """Features of a block in this unit."""
        values = values * jnp.exp(jnp.asarray(log_unit, values.dtype) - self.log_unit)
        return values / jnp.where(self.largest > 0, self.largest, 1)


class Strength(eqx.Module):
    """Sum of |activation| of each unit of a level."""

    total: Float[Array, " d"]
    unit: Unit
    count: Float[Array, ""]

    @classmethod
    def zero(cls, like: Shaped) -> Strength:
        """That of no example."""
        unit = Unit.zero(like)
        return cls(jnp.zeros(like.shape[1], like.dtype), unit, jnp.zeros((), like.dtype))

    def add(self, features: Float[Array, "n d"], log_unit: ArrayLike = 0.0) -> Strength:
        """The same with the examples of one more block."""
        unit, factor, values = self.unit.joined(jnp.abs(features), log_unit)
        total = self.total * factor + jnp.sum(values, axis=0)
        return Strength(total, unit, self.count + len(features))

    def result(self) -> Float[Array, " d"]:
        """Mean |activation| of each unit, in units of the level's largest (0 if all are 0)."""
        mean = self.total / self.count
        largest = jnp.max(mean)
        return mean / jnp.where(largest > 0, largest, 1)


class ClassMeans(eqx.Module):
    """Sum of the features of each class."""

    total: Float[Array, "classes d"]
    count: Float[Array, " classes"]
    unit: Unit

    @classmethod
    def zero(cls, classes: int, like: Shaped) -> ClassMeans:
        """That of no example."""
        total = jnp.zeros((classes, like.shape[1]), like.dtype)
        return cls(total, jnp.zeros(classes, like.dtype), Unit.zero(like))

    def add(
        self, features: Float[Array, "n d"], labels: Int[Array, " n"], log_unit: ArrayLike = 0.0
    ) -> ClassMeans:
        """The same with the examples of one more block."""
        unit, factor, values = self.unit.joined(features, log_unit)
        members = jax.nn.one_hot(labels, len(self.count), dtype=features.dtype)
        total = self.total * factor + product(members.T, values)
        return ClassMeans(total, self.count + jnp.sum(members, axis=0), unit)

    def result(self) -> Float[Array, "classes d"]:
        """Mean of each class, in units of `unit`; NaN of one without example."""
        return self.total / self.count[:, None]


class AffineSums(eqx.Module):
    """What the least-squares fit of logits by features needs: R of ``[1, H, Z] = Q R``.

    Without the squares of the normal equations, which would lose half of all digits. `features`:
    how many columns those are.
    """

    triangle: Float[Array, "k k"]
    log_unit: Float[Array, ""]
    count: Float[Array, ""]
    features: int = eqx.field(static=True)

    @classmethod
    def zero(cls, features: Shaped, logits: Shaped) -> AffineSums:
        """That of no example."""
        dtype, size = features.dtype, 1 + features.shape[1] + logits.shape[1]
        unit, count = jnp.full((), -jnp.inf, dtype), jnp.zeros((), dtype)
        return cls(jnp.zeros((size, size), dtype), unit, count, features.shape[1])

    def add(
        self,
        features: Float[Array, "n d"],
        logits: Float[Array, "n classes"],
        log_unit: ArrayLike = 0.0,
    ) -> AffineSums:
        """The same with the examples of one more block."""
        given = jnp.asarray(log_unit, features.dtype)
        unit = jnp.maximum(self.log_unit, given)
        before = self._columns(jnp.exp(self.log_unit - unit))
        ones = jnp.ones((len(features), 1), features.dtype)
        block = jnp.concatenate([ones, features * jnp.exp(given - unit), logits], axis=1)
        rows = jnp.concatenate([self.triangle * before[None], block])
        triangle = jnp.linalg.qr(rows, mode="r")
        return AffineSums(triangle, unit, self.count + len(features), self.features)

    def centred(
        self, log_unit: Float[Array, ""]
    ) -> tuple[
        Float[Array, "k d"], Float[Array, "k classes"], Float[Array, " d"], Float[Array, " classes"]
    ]:
        """Features and logits less their means, but for a rotation of the examples; the means."""
        scaled = self.triangle * self._columns(jnp.exp(self.log_unit - log_unit))[None]
        first, rest = scaled[0, 1:] / scaled[0, 0], scaled[1:, 1:]
        cut = self.features
        return rest[:, :cut], rest[:, cut:], first[:cut], first[cut:]

    def _columns(self, factor: Float[Array, ""]) -> Float[Array, " k"]:
        """Factors on the columns: of features `factor`, of others 1."""
        place = jnp.arange(self.triangle.shape[0])
        return jnp.where((place > 0) & (place <= self.features), factor, 1)


class PairMean(eqx.Module):
    """Sum over chosen pairs of examples."""

    total: Float[Array, ""]
    count: Float[Array, ""]

    @classmethod
    def zero(cls, dtype: jnp.dtype) -> PairMean:
        """That of no pair."""
        return cls(jnp.zeros((), dtype), jnp.zeros((), dtype))

    def add(self, values: Float[Array, "n m"], chosen: Bool[Array, "n m"]) -> PairMean:
        """The same with those of more pairs that are chosen."""
        total = self.total + jnp.sum(jnp.where(chosen, values, 0))
        return PairMean(total, self.count + jnp.sum(chosen, dtype=values.dtype))

    def result(self) -> Float[Array, ""]:
        """The mean; NaN where there is no such pair."""
        return jnp.where(self.count > 0, self.total / jnp.maximum(self.count, 1), jnp.nan)


def product(a: Float[Array, "*left"], b: Float[Array, "*right"]) -> Float[Array, "*result"]:
    """Matrix product at full precision."""
    return jnp.matmul(a, b, precision="highest")
