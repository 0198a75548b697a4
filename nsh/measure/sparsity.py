"""How few features carry a representation, and how much the pathways of examples overlap."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nsh._checks import is_concrete, require, require_all
from nsh._shown import Shown
from nsh.measure._tools import (
    checked_labels,
    checked_rows,
    mean_over_pairs,
    nan_with,
    same_group,
    where_labelled,
)
from nsh.measure.recorded import Variable, recorded


def effective_number(log_strength: Float[Array, "*n d"]) -> Float[Array, "*n"]:
    """Count effective features: the participation ratio of d strengths ``w = exp(log_strength)``.

    ``(sum w)^2 / sum w^2``: k if k strengths are equal and the rest 0, between 1 and d. In logs,
    because strengths such as neurashed's amplification factors leave the range of floating point.
    ``-inf`` is strength 0; the result is 0 if all are. Differentiable (slope 0 in a -inf).

    Example:
        Two equal strengths beside one of 0:

        >>> from nsh.measure import effective_number
        >>> float(effective_number(jnp.array([0.0, 0.0, -jnp.inf])))
        2.0
    """
    alive = jnp.any(log_strength != -jnp.inf, axis=-1)
    share = jax.nn.softmax(jnp.where(alive[..., None], log_strength, 0), axis=-1)
    return jnp.where(alive, 1 / jnp.sum(share**2, axis=-1), 0)


@recorded("effective_features", effective_features=Variable("effective features", "units"))
def effective_features(features: Float[Array, "n d"]) -> Float[Array, ""]:
    """Participation ratio of a level's units, each of strength mean |activation|; 0 if all are 0.

    ``(sum_k w_k)^2 / sum_k w_k^2`` with ``w_k = mean_i |f_ik|``: the same in any unit of the
    features. Differentiable (where an activation is 0, with the slope 0 of |f|).

    Example:
        >>> from nsh.measure import effective_features
        >>> float(effective_features(jnp.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0]])))
        2.0
    """
    strength = _strength(features)
    silent = jnp.sum(strength) == 0
    share = strength / jnp.where(silent, 1, jnp.sum(strength))
    return jnp.where(silent, 0, 1 / jnp.where(silent, 1, jnp.sum(share**2)))


@recorded(
    "surviving_fraction",
    surviving_fraction=Variable("surviving fraction", "1", differentiable=False),
)
def surviving_fraction(
    features: Float[Array, "n d"], threshold: float | Float[Array, ""] = 0.01
) -> Float[Array, ""]:
    """Share of units whose mean |activation| is at least `threshold` times the level's largest.

    0 if all activations are 0, NaN if one is. Raises `ValueError` on a threshold outside 0..1. Not
    differentiable.

    Example:
        >>> from nsh.measure import surviving_fraction
        >>> float(surviving_fraction(jnp.array([[1.0, 0.5, 0.001, 0.0]])))
        0.5
    """
    _check_threshold(threshold)
    strength = _strength(features)
    alive = (strength > 0) & (strength >= jnp.asarray(threshold, strength.dtype))
    return nan_with(jnp.mean(alive, dtype=strength.dtype), strength)


def active_units(
    features: Float[Array, "n d"], threshold: float | Float[Array, ""] = 0.01
) -> Bool[Array, "n d"]:
    """Each example's pathway through a level: the units with ``|f| > threshold * max |f|``.

    The maximum is over the units of the same example. A stand-in, for any `System`, for the set of
    firing nodes. Raises `ValueError` on a threshold outside 0..1 and on NaN; where features are
    traced, an example with a NaN has no active unit. Not differentiable.

    Example:
        >>> from nsh.measure import active_units
        >>> active_units(jnp.array([[1.0, -0.5, 0.001]])).tolist()
        [[True, True, False]]
    """
    _check_threshold(threshold)
    size = jnp.abs(checked_rows(features, "features"))
    if is_concrete(size):
        require_all(~np.isnan(size), "features", features, "a number, not NaN")
    return size > jnp.asarray(threshold, size.dtype) * jnp.max(size, axis=1, keepdims=True)


class Overlap(Shown):
    """Mean overlap of pathways `within` and `across` classes; NaN where there is no such pair."""

    within: Float[Array, ""]
    across: Float[Array, ""]


def pathway_overlap(active: Bool[Array, "n d"], labels: Int[Array, " n"]) -> Overlap:
    """Mean Jaccard overlap ``|A & B| / |A | B|`` of active sets, within and across classes.

    Over pairs of different examples; two empty sets overlap fully (1). Raises `ValueError` on bad
    labels and where `active` is not of bools; NaN on traced labels below 0. Not differentiable
    (Boolean input).

    Example:
        >>> from nsh.measure import pathway_overlap
        >>> active = jnp.array([[True, True, False], [True, False, False], [False, False, True]])
        >>> pathway_overlap(active, jnp.array([0, 0, 1]))
        Overlap(within=0.5, across=0.)
    """
    kind = str(jnp.result_type(active))
    require(kind == "bool", "active.dtype", kind, "bool, as active_units(features) gives it")
    members = checked_rows(active, "active")
    labels, inside = checked_labels(labels, len(members))
    shared = jnp.matmul(members, members.T, precision="highest")
    sizes = jnp.sum(members, axis=1)
    union = sizes[:, None] + sizes[None, :] - shared
    jaccard = jnp.where(union > 0, shared / jnp.maximum(union, 1), 1)
    same_class = same_group(labels)
    overlap = Overlap(mean_over_pairs(jaccard, same_class), mean_over_pairs(jaccard, ~same_class))
    return where_labelled(overlap, inside)


def _strength(features: Float[Array, "n d"]) -> Float[Array, " d"]:
    """Mean |activation| of each unit, in units of the level's largest (0 if all are 0)."""
    size = jnp.abs(checked_rows(features, "features"))
    # Twice, before the mean and after: sums must not overflow, and the largest must be 1.
    mean = jnp.mean(_in_units_of_largest(size), axis=0)
    return _in_units_of_largest(mean)


def _in_units_of_largest(size: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    largest = jnp.max(size)
    return size / jnp.where(largest > 0, largest, 1)


def _check_threshold(threshold: float | Float[Array, ""]) -> None:
    if is_concrete(threshold):
        require(0 <= threshold <= 1, "threshold", threshold, "a number in 0..1")
