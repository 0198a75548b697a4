"""Bounds on the mutual information of a noisy representation, from pairwise distances alone."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nsh._checks import require
from nsh._shown import Shown
from nsh.measure._tools import checked_labels, checked_rows, same_group, where_labelled


class Bounds(Shown):
    """Bounds, in bits, on I(T; X) (`input_`) and on I(T; Y) (`label_`)."""

    input_lower: Float[Array, ""]
    input_upper: Float[Array, ""]
    label_lower: Float[Array, ""]
    label_upper: Float[Array, ""]


def information_bounds(
    squared_distances: Float[Array, "n n"], labels: Int[Array, " n"], *, classes: int
) -> Bounds:
    """Bounds on I(T; X) and I(T; Y) for ``T = u_X + N(0, 1)``, X one of n equally likely inputs.

    ``-mean_i ln mean_j exp(-r_ij^2 / 8) <= I(T; X) <= -mean_i ln mean_j exp(-r_ij^2 / 2)`` with
    ``r_ij = |u_i - u_j|`` in units of the noise: Kolchinsky and Tracey, "Estimating mixture
    entropy with pairwise distances" (Entropy 2017), with the Bhattacharyya and Kullback-Leibler
    divergences of Gaussians. The label is a function of the input, so
    ``I(T; Y) = I(T; X) - I(T; X | Y)``, bounded by the same bounds within each class, and by
    ``0 <= I(T; Y) <= H(Y)``.

    Raises `ValueError` on bad labels or shapes; NaN on traced labels out of range. Differentiable,
    except where the label's bounds are cut.

    Example:
        Two inputs so far apart that noise does not confuse them, and with one label each:

        >>> from nsh.measure import information_bounds
        >>> distances = jnp.array([[0.0, 1e6], [1e6, 0.0]])
        >>> information_bounds(distances, jnp.array([0, 1]), classes=2)
        Bounds(input_lower=1., input_upper=1., label_lower=1., label_upper=1.)
    """
    squared_distances = checked_rows(squared_distances, "squared_distances")
    n = len(squared_distances)
    shape = squared_distances.shape
    require(shape == (n, n), "squared_distances.shape", shape, f"({n}, {n})")
    labels, inside = checked_labels(labels, n, classes)
    alike = same_group(labels)
    sums = jax.vmap(Overlaps.zero(squared_distances.dtype).add)(squared_distances, alike)
    return where_labelled(sums.bounds(), inside)


class Overlaps(eqx.Module):
    """Sums over inputs j of ``exp(-r_ij^2 / 8)`` and ``exp(-r_ij^2 / 2)``: all, and i's class.

    An input's divergence from itself is 0: each sum is >= 1, and no logsumexp is needed.
    """

    total: Float[Array, "*n 2"]
    within: Float[Array, "*n 2"]
    count: Float[Array, "*n 2"]

    @classmethod
    def zero(cls, dtype: jnp.dtype) -> Overlaps:
        """Those of one input with none."""
        return cls(*(jnp.zeros(2, dtype) for _ in range(3)))

    def add(self, squared: Float[Array, " m"], alike: Bool[Array, " m"]) -> Overlaps:
        """The same with more inputs at these squared distances; `alike`: those of i's class."""
        near = jnp.stack([jnp.exp(-squared / 8), jnp.exp(-squared / 2)])
        of_class = alike[None].astype(near.dtype)
        count = jnp.stack([jnp.asarray(squared.size, near.dtype), jnp.sum(of_class)])
        return Overlaps(
            self.total + jnp.sum(near, axis=1),
            self.within + jnp.sum(jnp.where(alike[None], near, 0), axis=1),
            self.count + count,
        )

    def bounds(self) -> Bounds:
        """The bounds, from the sums [n, 2] of all inputs."""
        everything, of_class = self.count[:, :1], self.count[:, 1:]
        lower, upper = _bits(self.total / everything)
        lower_within, upper_within = _bits(self.within / of_class)
        label_entropy = -jnp.mean(jnp.log2(of_class[:, 0] / everything[:, 0]))
        return Bounds(
            input_lower=lower,
            input_upper=upper,
            label_lower=jnp.maximum(lower - upper_within, 0),
            label_upper=jnp.minimum(upper - lower_within, label_entropy),
        )


def _bits(overlap: Float[Array, "n 2"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Bits that tell an input from those it overlaps with: a lower and an upper bound."""
    lower, upper = -jnp.mean(jnp.log(overlap), axis=0) / math.log(2)
    return lower, upper
