"""How objects print: small arrays as their numbers, large ones by type, shape, size and range."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import numpy as np

from nsh._checks import is_concrete

LARGEST_SHOWN = 16


class Shown(eqx.Module):
    """What prints the numbers of its arrays: all of up to 16 entries, else least and largest."""

    def __repr__(self) -> str:
        return eqx.tree_pformat(jax.tree.map(_shown, self, is_leaf=_is_summary))


class Summary(eqx.Module):
    """What prints as one line, by itself and inside what is `Shown`."""

    @abc.abstractmethod
    def summary(self) -> str:
        """The line."""

    def __repr__(self) -> str:
        return self.summary()


class _Text:
    """What prints as it is."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _is_summary(node: object) -> bool:
    return isinstance(node, Summary)


def _shown(leaf: Any) -> Any:
    if _is_summary(leaf):
        return _Text(leaf.summary())
    if not isinstance(leaf, jax.Array | np.ndarray) or not is_concrete(leaf):
        return leaf
    if getattr(leaf.dtype, "kind", "") not in ("b", "i", "u", "f", "c"):  # keys have no numbers
        return leaf
    if leaf.size <= LARGEST_SHOWN:
        return _Text(" ".join(np.array2string(np.asarray(leaf), separator=", ").split()))
    return _Text(_range(np.asarray(leaf))) if leaf.dtype.kind == "f" else leaf


def _range(array: np.ndarray) -> str:
    """Such as ``f32[19] from -7.2 to -4.6``."""
    shape = ",".join(map(str, array.shape))
    text = f"f{8 * array.itemsize}[{shape}]"
    known = array[~np.isnan(array)]
    if known.size:
        text += f" from {known.min():.4g} to {known.max():.4g}"
    missing = array.size - known.size
    return f"{text}, {missing} NaN" if missing else text
