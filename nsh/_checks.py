"""Checks of what a user hands in: every error names the field, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh._types import ArrayLike, DTypeLike

GENERATOR = "threefry2x32"
MOST_CLASSES = np.iinfo(np.int32).max
# steps and seeds are counted in 32-bit integers
MOST = 2**31 - 1
MOST_KEY = 2**32 - 1


def require(ok: object, field: str, value: object, allowed: str) -> None:
    """Raise ``ValueError`` naming field, value and what is allowed, unless `ok`."""
    if not ok:
        raise ValueError(f"{field} = {value!r}: must be {allowed}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean ...?` if one of the allowed names is like this one."""
    close = difflib.get_close_matches(name, list(allowed), 1)
    return f"; did you mean {close[0]}?" if close else ""


def is_concrete(value: object) -> bool:
    """Whether the numbers of `value` can be looked at now (no tracer among its leaves)."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def require_all(ok: object, field: str, value: object, allowed: str) -> None:
    """As `require`, elementwise over an array: the error shows the first offending entry."""
    ok, value = np.asarray(ok), np.asarray(value)
    if not ok.all():
        where = tuple(int(i) for i in np.argwhere(~ok)[0])
        place = f"{field}[{', '.join(map(str, where))}]" if where else field
        raise ValueError(f"{place} = {value[where]}: must be {allowed}")


def as_finite(field: str, given: object, dtype: DTypeLike | None) -> jax.Array:
    """Finite numbers as floats: of type `dtype`, by default their own."""
    array = as_numbers(field, given, dtype)
    if is_concrete(array):
        require_all(np.isfinite(array), field, array, "finite")
    return array


def as_numbers(field: str, given: object, dtype: DTypeLike | None) -> jax.Array:
    """Numbers, perhaps traced, as floats: of type `dtype`, by default their own or of 32 bits, if
    that is more.

    Raises `ValueError` where JAX would read strings, the real parts of complex numbers or the
    numbers under a mask.
    """
    require(not np.ma.is_masked(given), field, "a masked array", "without masked entries")
    if is_concrete(given) and not isinstance(given, jax.Array):
        try:
            given = np.asarray(given)
        except ValueError as error:
            raise ValueError(f"{field}: must be an array of numbers; NumPy: {error}") from None
    array = given if isinstance(given, np.ndarray) else jnp.asarray(given)
    real = array.dtype == bool or jnp.issubdtype(array.dtype, np.number)
    real = real and not jnp.issubdtype(array.dtype, np.complexfloating)
    require(real, f"{field}.dtype", str(array.dtype), "bool, int or float")
    if dtype is None:
        own = jax.dtypes.canonicalize_dtype(array.dtype)
        own = own if jnp.issubdtype(own, np.floating) else jnp.result_type(float)
        dtype = jnp.float32 if jnp.finfo(own).bits < 32 else own  # half cannot be factored
    return jnp.asarray(array, dtype)


def plain_integer(value: Any) -> Any:
    """An integer of NumPy's as Python's, in tuples too: Equinox takes the former for arrays.

    For fields that are static; anything else is left as it is, for a check to refuse.
    """
    if isinstance(value, tuple):
        return tuple(plain_integer(entry) for entry in value)
    return int(value) if isinstance(value, np.integer) else value


def require_integer(field: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer in low..high as a Python int, else an error."""
    allowed = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    integral = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(integral and value >= low and (high is None or value <= high), field, value, allowed)
    return int(value)


def require_scalar(field: str, value: ArrayLike) -> None:
    """Raise `ValueError` unless a hyperparameter, perhaps traced, is one number."""
    shape = tuple(np.shape(value))  # others would broadcast over whatever axis is as long
    require(
        shape == (), f"{field}.shape", shape, "(), a scalar; for a grid of values say grid_ndim=1"
    )


def require_numeric(field: str, value: object) -> np.ndarray:
    """A concrete array of bools, integers or floats without NaN, else an error."""
    masked = np.ma.is_masked(value)
    require(not masked, field, "a masked array", "without masked entries: choose the whole rows")
    array = np.asarray(value)
    require(array.dtype.kind in "biuf", f"{field}.dtype", str(array.dtype), "bool, int or float")
    if array.dtype.kind == "f":
        require_all(~np.isnan(array), field, array, "a number, not NaN")
    return array


def require_labels(
    labels: object, count: int, classes: int = MOST_CLASSES, field: str = "y"
) -> np.ndarray:
    """`count` concrete labels 0..classes-1 as int32, in NumPy, else an error.

    The one rule for labels: whole numbers of an integer type. Nothing else is turned into them,
    lest names or probabilities be misread; the error says how to.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind == "f":  # astype(int) would take these, and change them
        require_all(~np.isnan(labels), field, labels, "a whole number, not NaN")
        require_all(labels == np.floor(labels), field, labels, "a whole number")
    require_label_type(labels, count, field)
    from_one = count > 0 and labels.min() == 1 and labels.max() == classes
    hint = f"; of labels that count from 1: {field} - 1" if from_one else ""
    inside = (labels >= 0) & (labels < classes)
    require_all(inside, field, labels, f"a class in 0..{classes - 1}{hint}")
    return labels.astype(np.int32)


def require_label_type(labels: Array | np.ndarray, count: int, field: str) -> None:
    """Raise `ValueError` unless an array, perhaps traced, is of `count` integers."""
    shape = tuple(labels.shape)
    one_hot = len(shape) == 2 and shape[0] == count
    hint = f"; of one-hot rows {field}.argmax(1)" if one_hot else ""
    require(shape == (count,), f"{field}.shape", shape, f"({count},), one label per sample{hint}")
    allowed = (
        f"an integer type, classes being numbered from 0: {field}.astype(int) of bools and of "
        f"whole floats, np.unique({field}, return_inverse=True)[1] of names"
    )
    integral = np.dtype(labels.dtype).kind in "iu"
    require(integral, f"{field}.dtype", str(labels.dtype), allowed)


def require_key(key: Array) -> None:
    """Raise `ValueError` unless `key` is one JAX key, new-style or raw, of the threefry generator.

    Others (rbg, unsafe_rbg) draw other numbers under `vmap`: then a seed would depend on how many
    are computed together, and a mini-batch on how many are drawn at once.
    """
    try:
        generator, axes = str(jax.random.key_impl(key)), jnp.ndim(key)
    except Exception:  # TypeError or AttributeError, as it happens
        generator, axes = None, 0
    require(generator is not None, "key", key, "a JAX key, jax.random.key(0)")
    single = axes == (0 if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else 1)
    require(single, "key.shape", key.shape, "one key; for several use jax.vmap")
    allowed = (
        f"{GENERATOR!r}, which draws the same alone and under vmap: "
        f"jax.random.key(0, impl={GENERATOR!r})"
    )
    require(generator == GENERATOR, "generator of key", generator, allowed)


def checked_levels(levels: Any) -> Sequence[Any]:
    """Return what `System.features` gave; raise `ValueError` unless it is one thing per level."""
    if not isinstance(levels, Sequence):  # an array's first axis would pass for the levels
        shape = getattr(levels, "shape", None)
        found = type(levels).__name__ if shape is None else f"an array of shape {shape}"
        allowed = "a tuple with one vector per level; for a single level return (h,)"
        raise ValueError(f"features(...) = {found}: must be {allowed}")
    return levels
