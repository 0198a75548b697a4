"""Errors of kernels, estimated: made in every layer, and carried through the layers after it."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from nsh.theory.effective.infinite_width.arccos import safe_sqrt
from nsh.theory.effective.infinite_width.pairs import Moments, Pairs


class Errors(NamedTuple):
    """Of K_ab relative to sqrt(K_aa K_bb), and of Theta_ab as it is."""

    K: Array
    Theta: Array


def after_layer(
    errors: Errors,
    numbers: tuple[Array, ...],
    sides: tuple[Moments, Moments],
    before: tuple[Array, Array],
    found: Pairs,
) -> Errors:
    """The errors after one more layer.

    With dK the error of K, <s_a s_b> has its own and <s'_a s'_b> dK, and <s'_a s'_b> its own and
    d<s'_a s'_b>/dK_ab dK. That derivative, infinite at kinks between equal inputs, is replaced by
    the mean one between the pair and equal inputs. `numbers`: C_b, C_W, lambda_W, gamma^2;
    `before`: gap and Theta; `found`: of the layer's activation.
    """
    C_b, C_W, lambda_W, skip = numbers
    (gap, Theta), (a, b) = before, sides
    root_a, root_b = safe_sqrt(a.K), safe_sqrt(b.K)
    norm = root_a * root_b
    slope = jnp.abs(found.slope)
    s_error = safe_sqrt(a.square) * safe_sqrt(b.square) * found.error + norm * slope * errors.K
    slopes = safe_sqrt(a.slope) * safe_sqrt(b.slope)
    distance = jnp.minimum(gap, 2 - gap) + (root_a - root_b) ** 2 / floored(2 * norm)
    share = errors.K / floored(distance + errors.K)
    slope_error = slopes * found.slope_error + jnp.maximum(slopes - slope, 0) * share
    total = safe_sqrt(C_b + C_W * a.square + skip * a.K)
    total = total * safe_sqrt(C_b + C_W * b.square + skip * b.K)
    return Errors(
        (C_W * s_error + skip * norm * errors.K) / floored(total),
        lambda_W * s_error
        + (C_W * slope + skip) * errors.Theta
        + C_W * jnp.abs(Theta) * slope_error,
    )


def floored(value: Array) -> Array:
    """At least 1e-30: for denominators."""
    return jnp.maximum(value, 1e-30)
