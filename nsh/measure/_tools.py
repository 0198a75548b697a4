"""What several measurements share: checks, pair means, a safe norm, rows in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from nsh._checks import (
    MOST_CLASSES,
    checked_levels,
    is_concrete,
    require,
    require_integer,
    require_label_type,
    require_labels,
)
from nsh.measure._sums import PairMean
from nsh.system import Scaled, System

# Numbers held at once by one chunk of `map_rows`: 4 MB in float32.
_CHUNK = 2**20

# whether all labels are in range: known of concrete ones
Inside: TypeAlias = Bool[Array, ""] | np.bool_ | bool
ONE_SEED = "and one seed (for an ensemble's state use jax.vmap)"


def checked_labels(
    labels: Any, count: int, classes: int = MOST_CLASSES, field: str = "labels"
) -> tuple[Int[Array, " n"], Inside]:
    """`count` labels as int32, and whether all are in 0..classes-1.

    Raises `ValueError` on bad labels; of traced ones the second result tells, see `where_labelled`.
    """
    require_integer("classes", classes, 1)
    if is_concrete(labels):
        return jnp.asarray(require_labels(labels, count, classes, field)), np.True_
    require_label_type(labels, count, field)
    checked = labels.astype(jnp.int32)
    same = checked.astype(labels.dtype) == labels  # not if it was too large for 32 bits
    return checked, jnp.all(same & (checked >= 0) & (checked < classes))


def where_labelled(result: PyTree, inside: Inside) -> PyTree:
    """`result`, but NaN (False for flags) where labels are outside the classes; slopes too."""
    if is_concrete(inside):
        return result
    factor = jnp.where(inside, 1.0, jnp.nan)

    def checked(leaf: Array) -> Array:
        return leaf & inside if leaf.dtype == bool else leaf * factor.astype(leaf.dtype)

    return jax.tree.map(checked, result)


def checked_rows(numbers: Any, field: str) -> Float[Array, "n d"]:
    """Numbers [n, d] as floats, else `ValueError`: of integers, means would be cut to integers."""
    array = jnp.asarray(numbers)
    allowed = "two axes, (n, ...) with n >= 1; for an ensemble use jax.vmap"
    require(array.ndim == 2 and array.size > 0, f"{field}.shape", array.shape, allowed)
    real = not jnp.issubdtype(array.dtype, jnp.complexfloating)
    require(real, f"{field}.dtype", str(array.dtype), "bool, int or float")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def nan_with(result: Float[Array, "*k"], numbers: Float[Array, "..."]) -> Float[Array, "*k"]:
    """`result`, but NaN where one of `numbers` is: a comparison with NaN passes for an answer."""
    return jnp.where(jnp.any(jnp.isnan(numbers)), jnp.nan, result)


def checked_predictions(
    logits: Any, labels: Any
) -> tuple[Float[Array, "n classes"], Int[Array, " n"], Inside]:
    """Logits [n, classes], and n labels of these classes, as `checked_labels` gives them."""
    logits = checked_rows(logits, "logits")
    allowed = "(n, classes), 2 classes at least; of one real output measure r_squared, for instance"
    require(logits.shape[1] > 1, "logits.shape", logits.shape, allowed)
    return logits, *checked_labels(labels, *logits.shape)


def outputs_of(system: System, state: PyTree, example: PyTree) -> PyTree:
    """The system's outputs for one example; raises `ValueError` unless they are arrays.

    Those of a classifier must be one vector of logits.
    """
    outputs = system.outputs(state, example)
    if system.classifies:
        allowed = f"(classes,), one vector for one example {ONE_SEED}"
        _require_axes(outputs, 1, 1, "outputs(...)", allowed)
    for leaf in jax.tree.leaves(outputs):
        allowed = f"a pytree of arrays, for one example {ONE_SEED}"
        require(hasattr(leaf, "shape"), "outputs(...)", type(leaf).__name__, allowed)
    return outputs


def levels_of(
    system: System, state: PyTree, example: PyTree
) -> Sequence[Float[Array, "..."] | Scaled]:
    """The system's features of one example; raises `ValueError` unless they are vectors."""
    levels = checked_levels(system.features(state, example))
    for number, level in enumerate(levels):
        allowed = f"(width,), one vector per level for one example {ONE_SEED}"
        _require_axes(level, 1, None, f"features(...)[{number}]", allowed)
    return levels


def require_classes(system: System) -> None:
    """Raise `ValueError` unless the system predicts classes."""
    allowed = "'classes', for measures of classes; of numbers measure r_squared, for instance"
    require(system.classifies, "system.predicts", system.predicts, allowed)


def require_levels(features: Sequence[object]) -> None:
    """Raise `ValueError` if the system has no levels, such as a `Network` without `features`."""
    allowed = "at least one level; for a Network give Network(..., features=(module, x) -> levels)"
    require(len(features) > 0, "features(...)", features, allowed)


def _require_axes(numbers: Any, least: int, most: int | None, field: str, allowed: str) -> None:
    value = numbers.value if isinstance(numbers, Scaled) else numbers
    require(hasattr(value, "shape"), field, type(value).__name__, f"an array {allowed}")
    axes = len(value.shape)
    fits = axes >= least and (most is None or axes <= most)
    require(fits, f"{field}.shape", value.shape, allowed)


def same_group(groups: Int[Array, " n"]) -> Bool[Array, "n n"]:
    """Whether two examples belong to the same group, for all pairs."""
    return groups[:, None] == groups[None, :]


def mean_over_pairs(values: Float[Array, "n n"], pairs: Bool[Array, "n n"]) -> Float[Array, ""]:
    """Mean over the chosen pairs of different examples; NaN where there is none."""
    chosen = pairs & ~jnp.eye(values.shape[0], dtype=bool)
    return PairMean.zero(values.dtype).add(values, chosen).result()


def safe_norm(vector: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Euclidean norm without overflow or underflow, with derivative 0 (not NaN) at 0."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vector)))
    nonzero = largest != 0  # true for NaN, which must not pass for 0
    scaled = vector / jnp.where(nonzero, largest, 1)
    squared = jnp.where(nonzero, jnp.sum(scaled**2), 1)
    return jnp.where(nonzero, largest * jnp.sqrt(squared), 0)


def map_rows(function: Callable[[Any], PyTree], rows: PyTree, numbers_per_row: int) -> PyTree:
    """``vmap(function)(rows)`` in chunks of bounded memory, recomputed in reverse mode."""
    count = jax.tree.leaves(rows)[0].shape[0]
    chunk = min(count, max(1, _CHUNK // max(1, numbers_per_row)))
    return jax.lax.map(jax.checkpoint(function), rows, batch_size=chunk)
