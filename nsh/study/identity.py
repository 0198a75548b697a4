"""What a study is, as JSON: equal for two studies if and only if they compute the same."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import math
import types
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_SHOWN = 16
# their releases are recorded, so a function's name says which it is
RELEASED = ("jax", "jaxlib", "numpy", "optax", "equinox", "nsh")


def described(value: Any) -> Any:
    """A value as JSON that tells it from any other: numbers, arrays, dataclasses, functions.

    Arrays of more than 16 entries are given by their SHA-256. A function is its module and name,
    what it closes over and, unless it belongs to a recorded release, its compiled code; what it
    reads from its module is not looked at. Raises `ValueError` for what cannot be told apart.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _array(value)
    if isinstance(value, jax.ShapeDtypeStruct):
        return {"dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {str(name): described(value[name]) for name in value}
    if isinstance(value, list | tuple):
        return [described(entry) for entry in value]
    if isinstance(value, jax.tree_util.PyTreeDef):
        return described(jax.tree.unflatten(value, range(value.num_leaves)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: described(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": _name(type(value)), **fields}
    if isinstance(value, functools.partial):
        bound = {"args": described(value.args), "keywords": described(value.keywords)}
        return {"function": described(value.func), **bound}
    if isinstance(value, types.MethodType):
        return {"function": _name(value), "self": described(value.__self__)}
    if callable(value) and hasattr(value, "__name__"):
        return _function(value)
    raise ValueError(
        f"{value!r}: must be made of numbers, arrays, dataclasses and functions, or nobody can "
        "say whether a study begun with it is the same"
    )


def canonical(description: Any) -> str:
    """A description as JSON text, the same text for equal descriptions."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Where two descriptions differ, as ``field: before there, now here``."""
    if isinstance(before, Mapping) and isinstance(now, Mapping) and "dtype" not in before:
        names = sorted(before.keys() | now.keys())
        below = [(before.get(n, "nothing"), now.get(n, "nothing"), _join(path, n)) for n in names]
        return [line for parts in below for line in differences(*parts)]
    if before == now:
        return []
    values = f"{_short(before)} there, {_short(now)} here"
    return [f"{path}: {values}" if path else values]


def _array(value: Any) -> dict[str, Any]:
    kind = str(value.dtype)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    if array.size <= LARGEST_SHOWN:
        # by way of str: the shortest number that is this one in its own precision
        exact = array.astype(str).astype(float) if array.dtype.kind == "f" else array
        return {"dtype": kind, "values": described(exact.tolist())}
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"dtype": kind, "shape": list(array.shape), "sha256": digest}


def _function(value: Any) -> Any:
    plain = inspect.unwrap(value)
    name = _name(plain)
    cells = getattr(plain, "__closure__", None) or ()
    found: dict[str, Any] = {"function": name}
    if cells:
        names = plain.__code__.co_freevars
        inside = {n: cell.cell_contents for n, cell in zip(names, cells, strict=True)}
        # a function that calls itself closes over itself
        found["closure"] = {n: described(v) for n, v in inside.items() if v is not value}
    code = getattr(plain, "__code__", None)
    if code is not None and name.partition(".")[0] not in RELEASED:
        found["code"] = hashlib.sha256(repr(_code(code)).encode()).hexdigest()
        found["defaults"] = described([plain.__defaults__, plain.__kwdefaults__])
    return found if len(found) > 1 else name


def _code(code: types.CodeType) -> list[Any]:
    """What a function's code does, free of where it stands in its file."""
    constants = [
        _code(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts
    ]
    return [code.co_code, code.co_names, code.co_varnames, constants]


def _constant(value: Any) -> str:
    return repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def _name(value: Any) -> str:
    module = getattr(value, "__module__", None) or ""
    return f"{module}.{getattr(value, '__qualname__', value.__name__)}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("values", value)
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
