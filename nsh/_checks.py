"""Checks of what a user hands in: every error names the field, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.core
import numpy as np


def require(ok: Any, field: str, value: Any, allowed: str) -> None:
    """Raise ``ValueError`` naming field, value and what is allowed, unless `ok`."""
    if not ok:
        raise ValueError(f"{field} = {value!r}: must be {allowed}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean ...?` if one of the allowed names is like this one."""
    close = difflib.get_close_matches(name, list(allowed), 1)
    return f"; did you mean {close[0]}?" if close else ""


def is_concrete(value: Any) -> bool:
    """Whether the numbers of `value` can be looked at now (no tracer among its leaves)."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def require_all(ok: Any, field: str, value: Any, allowed: str) -> None:
    """As `require`, elementwise over an array: the error shows the first offending entry."""
    ok, value = np.asarray(ok), np.asarray(value)
    if not ok.all():
        where = tuple(int(i) for i in np.argwhere(~ok)[0])
        place = f"{field}[{', '.join(map(str, where))}]" if where else field
        raise ValueError(f"{place} = {value[where]}: must be {allowed}")


def require_integer(field: str, value: Any, low: int, high: int | None = None) -> int:
    """An integer in low..high as a Python int, else an error."""
    allowed = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    integral = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(integral and value >= low and (high is None or value <= high), field, value, allowed)
    return int(value)


def require_numeric(field: str, value: Any) -> np.ndarray:
    """A concrete array of bools, integers or floats without NaN, else an error."""
    array = np.asarray(value)
    require(array.dtype.kind in "biuf", f"{field}.dtype", str(array.dtype), "bool, int or float")
    if array.dtype.kind == "f":
        require_all(~np.isnan(array), field, array, "a number, not NaN")
    return array


def require_labels(labels: Any, count: int, classes: int) -> np.ndarray:
    """`count` integer labels in 0..classes-1 as int32, else an error."""
    array = require_numeric("y", labels)
    require(array.dtype.kind in "iu", "y.dtype", str(array.dtype), "an integer type")
    require(array.shape == (count,), "y.shape", array.shape, f"({count},), one label per sample")
    require_all((array >= 0) & (array < classes), "y", array, f"a class in 0..{classes - 1}")
    return array.astype(np.int32)


def checked_levels(levels: Any) -> Sequence[Any]:
    """What `System.features` gave; raises `ValueError` unless it is one thing per level."""
    if not isinstance(levels, Sequence):  # an array's first axis would pass for the levels
        shape = getattr(levels, "shape", None)
        found = type(levels).__name__ if shape is None else f"an array of shape {shape}"
        allowed = "a tuple with one vector per level; for a single level return (h,)"
        raise ValueError(f"features(...) = {found}: must be {allowed}")
    return levels
