"""A random matrix known only by its products: exact samples of these without the matrix."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class ConditionedMatrix(eqx.Module):
    """W [rows, columns] with entries ~ N(0, deviation^2), of which some products are known.

    ``W q = image`` for each orthonormal q of `right`, and ``W^T p = image`` for each of `left`.
    Any further product W v has a Gaussian law given these: the part of v along `right` is known,
    and of W times the rest, the part along `left` is; what remains is fresh noise. So a chain of
    products costs O(rows + columns) each and has exactly the law that it has for one matrix W.
    `rows` and `columns`: 1 where the matrix has such a row or column, 0 where it is padded.
    """

    deviation: Float[Array, ""]
    rows: Float[Array, " rows"]
    columns: Float[Array, " columns"]
    right: tuple[tuple[Float[Array, " columns"], Float[Array, " rows"]], ...] = ()
    left: tuple[tuple[Float[Array, " rows"], Float[Array, " columns"]], ...] = ()

    def times(
        self, v: Float[Array, " columns"], noise: Float[Array, " rows"]
    ) -> tuple[Float[Array, " rows"], ConditionedMatrix]:
        """W v, and what is known of W after it; `noise`: of N(0, 1), used in no other product."""
        product, rest = jnp.zeros_like(noise), v
        for q, image in self.right:
            share = jnp.dot(q, rest)
            rest, product = rest - share * q, product + share * image
        length, unit = _normalised(rest, jnp.dot(v, v))
        image = self.deviation * noise * self.rows
        for p, known in self.left:
            image = image + (jnp.dot(known, unit) - jnp.dot(p, image)) * p
        revealed = ConditionedMatrix(
            self.deviation, self.rows, self.columns, (*self.right, (unit, image)), self.left
        )
        return product + length * image, revealed

    def transposed(self) -> ConditionedMatrix:
        """W^T, of which the same is known."""
        return ConditionedMatrix(self.deviation, self.columns, self.rows, self.left, self.right)


def _normalised(
    v: Float[Array, " n"], scale: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    """|v| and v / |v|; both 0 if v is nothing but the rounding of vectors of squared size scale."""
    square = jnp.dot(v, v)
    some = square > 16 * jnp.finfo(v.dtype).eps ** 2 * scale * v.size
    length = jnp.sqrt(jnp.where(some, square, 1.0))
    return jnp.where(some, length, 0.0), jnp.where(some, v / length, 0.0)
