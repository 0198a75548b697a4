"""How results print: small arrays as their numbers, large ones by type and shape."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from nsh._checks import is_concrete

LARGEST_SHOWN = 16


class Shown(eqx.Module):
    """What prints the numbers of its arrays of up to 16 entries."""

    def __repr__(self) -> str:
        return eqx.tree_pformat(jax.tree.map(_shown, self))


class _Numbers:
    def __init__(self, array: np.ndarray):
        self.text = " ".join(np.array2string(array, separator=", ").split())

    def __repr__(self) -> str:
        return self.text


def _shown(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array | np.ndarray) or not is_concrete(leaf):
        return leaf
    plain = getattr(leaf.dtype, "kind", "") in ("b", "i", "u", "f", "c")  # keys have no numbers
    return _Numbers(np.asarray(leaf)) if plain and leaf.size <= LARGEST_SHOWN else leaf
