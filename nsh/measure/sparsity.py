"""How few features carry a representation, and how much the pathways of examples overlap."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from nsh._checks import is_concrete, require, require_all
from nsh._shown import Shown
from nsh.measure._sums import PairMean, Strength
from nsh.measure._tools import (
    checked_labels,
    checked_rows,
    map_rows,
    nan_with,
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
    return effective_units(_strength(features).result())


def effective_units(strength: Float[Array, " d"]) -> Float[Array, ""]:
    """`effective_features` of units of these strengths."""
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
    return surviving_units(_strength(features).result(), threshold)


def surviving_units(
    strength: Float[Array, " d"], threshold: float | Float[Array, ""]
) -> Float[Array, ""]:
    """`surviving_fraction` of units of these strengths."""
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
    checked_rows(active, "active")
    labels, inside = checked_labels(labels, len(active))
    return where_labelled(overlap_of_bits(jnp.packbits(active, axis=1), labels), inside)


def overlap_of_bits(bits: UInt8[Array, "n bytes"], labels: Int[Array, " n"]) -> Overlap:
    """`pathway_overlap` of active sets, 8 units to a byte, and labels that are checked."""

    def row(i: Int[Array, ""]) -> tuple[PairMean, PairMean]:
        shared, union = _size(bits & bits[i][None]), _size(bits | bits[i][None])
        jaccard = jnp.where(union > 0, shared / jnp.maximum(union, 1), 1)[None]
        same, other = (labels == labels[i])[None], (jnp.arange(len(bits)) != i)[None]
        none = PairMean.zero(jaccard.dtype)
        return none.add(jaccard, same & other), none.add(jaccard, ~same)

    rows = map_rows(row, jnp.arange(len(bits)), bits.size)
    within, across = jax.tree.map(lambda sums: jnp.sum(sums, axis=0), rows)
    return Overlap(within.result(), across.result())


def _size(bits: UInt8[Array, "n bytes"]) -> Float[Array, " n"]:
    return jnp.sum(jax.lax.population_count(bits), axis=1, dtype=float)


def _strength(features: Float[Array, "n d"]) -> Strength:
    features = checked_rows(features, "features")
    return Strength.zero(features).add(features)


def _check_threshold(threshold: float | Float[Array, ""]) -> None:
    if is_concrete(threshold):
        require(0 <= threshold <= 1, "threshold", threshold, "a number in 0..1")
