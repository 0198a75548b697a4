"""What several measurements share: checks, pair means, a safe norm, rows in chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from nsh._checks import checked_levels, is_concrete, require, require_all, require_integer
from nsh.system import Scaled, System

# Numbers held at once by one chunk of `map_rows`: 4 MB in float32.
_CHUNK = 2**20

ONE_SEED = "and one seed (for an ensemble's state use jax.vmap)"


def check_labels(labels: Any, count: int, classes: int | None = None) -> None:
    """Raise `ValueError` unless `labels` are `count` integers, in 0..classes-1 if concrete."""
    require(labels.shape == (count,), "labels.shape", labels.shape, f"({count},)")
    integral = jnp.issubdtype(labels.dtype, jnp.integer)
    require(integral, "labels.dtype", str(labels.dtype), "an integer type")
    if classes is not None:
        require_integer("classes", classes, 1)
    if classes is not None and is_concrete(labels):
        values = np.asarray(labels)
        inside = (values >= 0) & (values < classes)
        require_all(inside, "labels", values, f"a class in 0..{classes - 1}")


def check_predictions(logits: Any, labels: Any) -> None:
    """Raise `ValueError` unless `logits` are [n, classes] and `labels` n of these classes."""
    allowed = "(n, classes); for an ensemble use jax.vmap"
    require(logits.ndim == 2, "logits.shape", logits.shape, allowed)
    check_labels(labels, *logits.shape)


def logits_of(system: System, state: PyTree, example: PyTree) -> Float[Array, " classes"] | Scaled:
    """The system's logits of one example; raises `ValueError` unless they are a vector."""
    logits = system.logits(state, example)
    allowed = f"(classes,), one vector for one example {ONE_SEED}"
    _require_axes(logits, 1, 1, "logits(...)", allowed)
    return logits


def levels_of(
    system: System, state: PyTree, example: PyTree
) -> Sequence[Float[Array, "..."] | Scaled]:
    """The system's features of one example; raises `ValueError` unless they are vectors."""
    levels = checked_levels(system.features(state, example))
    for number, level in enumerate(levels):
        allowed = f"(width,), one vector per level for one example {ONE_SEED}"
        _require_axes(level, 1, None, f"features(...)[{number}]", allowed)
    return levels


def require_levels(features: Sequence[Any]) -> None:
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
    count = jnp.sum(chosen, dtype=values.dtype)
    total = jnp.sum(jnp.where(chosen, values, 0))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan)


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
