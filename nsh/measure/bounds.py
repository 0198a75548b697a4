"""Bounds on the mutual information of a noisy representation, from pairwise distances alone."""

from __future__ import annotations

import math

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
    everything = jnp.ones_like(squared_distances, dtype=bool)
    within = same_group(labels)
    lower, upper = (_mixture_information(squared_distances / s, everything) for s in (8, 2))
    lower_within, upper_within = (
        _mixture_information(squared_distances / s, within) for s in (8, 2)
    )
    label_entropy = -jnp.mean(jnp.log2(jnp.mean(within, axis=1, dtype=lower.dtype)))
    bounds = Bounds(
        input_lower=lower,
        input_upper=upper,
        label_lower=jnp.maximum(lower - upper_within, 0),
        label_upper=jnp.minimum(upper - lower_within, label_entropy),
    )
    return where_labelled(bounds, inside)


def _mixture_information(
    divergences: Float[Array, "n n"], mixture: Bool[Array, "n n"]
) -> Float[Array, ""]:
    """Bits that tell an input from the inputs of its own mixture (row of `mixture`)."""
    # An input's divergence from itself is 0: the sum is >= 1, and no logsumexp is needed.
    weights = jnp.where(mixture, jnp.exp(-divergences), 0)
    overlap = jnp.sum(weights, axis=1) / jnp.sum(mixture, axis=1, dtype=weights.dtype)
    return -jnp.mean(jnp.log(overlap)) / math.log(2)
