"""A preconditioner of kernel matrices: one of low rank, from the columns of some inputs."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh.theory.effective.prediction.kernel_matrix import KernelMatrix
from nsh.theory.effective.prediction.matrices import MATMUL


class Preconditioner(eqx.Module):
    """The inverse of ``U diag(values) U^T + shift I``, U having orthonormal columns.

    It is positive, though U is so only up to rounding.
    """

    basis: Float[Array, "n r"]
    values: Float[Array, " r"]
    shift: Float[Array, ""]

    def __call__(self, v: Float[Array, "n k"]) -> Float[Array, "n k"]:
        """Apply it: what U does not span is projected twice, by a square."""
        inner = jnp.matmul(self.basis.T, v, precision=MATMUL)
        outer = v - jnp.matmul(self.basis, inner, precision=MATMUL)
        again = jnp.matmul(self.basis.T, outer, precision=MATMUL)
        outer -= jnp.matmul(self.basis, again, precision=MATMUL)
        inner /= (self.values + self.shift)[:, None]
        return outer / self.shift + jnp.matmul(self.basis, inner, precision=MATMUL)


def preconditioner_of(
    matrix: KernelMatrix, diagonal: Float[Array, " n"], ridge: Float[Array, ""], rank: int
) -> Preconditioner:
    """Nystrom's approximation from `rank` inputs at random, constant for derivatives.

    The shift is the ridge and the mean of what the approximation leaves out of the diagonal.
    (Frangella, Tropp and Udell, arXiv 2110.02820, with columns instead of a sketch.)
    """
    # which inputs these are changes how fast an iteration converges, and not to what
    chosen = np.random.default_rng(0).permutation(matrix.count)[:rank]
    landmarks = matrix.inputs.reshape(-1, *matrix.inputs.shape[2:])[chosen]
    columns = matrix.columns(landmarks)
    columns, diagonal, ridge = jax.lax.stop_gradient((columns, diagonal, ridge))
    # directions of these columns that cannot be told from null are left out
    values, vectors = jnp.linalg.eigh((columns[chosen] + columns[chosen].T) / 2)
    factor = jnp.matmul(columns, vectors * _inverse_roots(values)[None], precision=MATMUL)
    values, vectors = jnp.linalg.eigh(jnp.matmul(factor.T, factor, precision=MATMUL))
    basis = jnp.matmul(factor, vectors * _inverse_roots(values)[None], precision=MATMUL)
    left = jnp.mean(jnp.maximum(diagonal - jnp.sum(factor**2, axis=1), 0))
    least = 10 * float(jnp.finfo(factor.dtype).eps) * jnp.mean(diagonal)
    shift = jnp.maximum(ridge + left, jnp.where(least > 0, least, 1))
    return Preconditioner(basis, jnp.maximum(values, 0), shift)


def _inverse_roots(values: Float[Array, " r"]) -> Float[Array, " r"]:
    """Of eigenvalues, ascending; 0 for those that cannot be told from 0."""
    told = values > len(values) * float(jnp.finfo(values.dtype).eps) * values[-1]
    return jnp.where(told, 1 / jnp.sqrt(jnp.where(told, values, 1)), 0)
