"""Errors of kernels, estimated: made in every layer, and carried through the layers after it."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from nsh.activations.pairs import InputMoments, PairMoments


class Errors(NamedTuple):
    """Of K_ab relative to sqrt(K_aa K_bb), and of Theta_ab as it is."""

    K: Array
    Theta: Array


def after_layer(
    errors: Errors,
    numbers: tuple[Array, ...],
    sides: tuple[InputMoments, InputMoments],
    before: tuple[Array, Array],
    found: PairMoments,
    total: Array,
) -> Errors:
    """The errors after one more layer.

    `numbers`: C_W, lambda_W, gamma^2; `before`: gap and Theta; `found`: of the layer's
    activation; `total`: sqrt(K_aa K_bb) after it.
    """
    C_W, lambda_W, skip = numbers
    gap, Theta = before
    s_error, slope_error = of_activation(errors.K, sides, gap, found)
    norm = sides[0].root_K * sides[1].root_K
    return Errors(
        (C_W * s_error + skip * norm * errors.K) / floored(total),
        lambda_W * s_error
        + (C_W * jnp.abs(found.slope) + skip) * errors.Theta
        + C_W * jnp.abs(Theta) * slope_error,
    )


def of_activation(
    K_error: Array | float, sides: tuple[InputMoments, InputMoments], gap: Array, found: PairMoments
) -> tuple[Array, Array]:
    """The errors of <s_a s_b> and <s'_a s'_b>, of a kernel that has one.

    With dK the error of K, <s_a s_b> has its own and <s'_a s'_b> dK, and <s'_a s'_b> its own and
    d<s'_a s'_b>/dK_ab dK. That derivative, infinite at kinks between equal inputs, is replaced by
    the mean one between the pair and equal inputs. Where inputs are so far apart that most of the
    slope is gone it is much smaller: the slope over the gap.
    """
    a, b = sides
    norm = a.root_K * b.root_K
    slope = jnp.abs(found.slope)
    s_error = a.root_square * b.root_square * found.error + norm * slope * K_error
    slopes = a.root_slope * b.root_slope
    distance = jnp.minimum(gap, 2 - gap) + (a.root_K - b.root_K) ** 2 / floored(2 * norm)
    share = K_error / floored(distance + K_error)
    moved = jnp.maximum(slopes - slope, 0) * share
    beyond = jnp.where(gap < 1, slope * K_error / floored(distance), moved)
    return s_error, slopes * found.slope_error + jnp.minimum(moved, beyond)


def floored(value: Array) -> Array:
    """At least 1e-30: for denominators."""
    return jnp.maximum(value, 1e-30)
