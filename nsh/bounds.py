"""Hyperparameters as unconstrained numbers, so that any optimiser keeps them within bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from nsh._checks import is_concrete, require, require_all

Interval = tuple[float, float]
REALS: Interval = (-math.inf, math.inf)


def to_reals(hyper: PyTree, bounds: PyTree) -> PyTree:
    """Each floating leaf, on its open interval (low, high), in a coordinate over all reals.

    ``log(p - low)``, ``-log(high - p)`` or, with both ends finite,
    ``logit((p - low) / (high - low))``; p itself without ends. `bounds`: a prefix of `hyper` whose
    leaves are intervals, such as ``system.bounds(hyper)``. Other leaves stay as they are.
    Differentiable; raises `ValueError` for a concrete p on an end of its interval (g- with
    factor 1, say), which no optimiser could leave, and for bounds that are none.
    """
    return _map(_to_real, hyper, bounds)


def from_reals(free: PyTree, bounds: PyTree) -> PyTree:
    """The inverse of `to_reals`: hyperparameters within their bounds. Differentiable."""
    return _map(_from_real, free, bounds)


def intervals(hyper: PyTree, bounds: PyTree) -> list[Any]:
    """The interval of each leaf of `hyper`; raises `ValueError` if `bounds` is no prefix of it."""
    try:
        everywhere = jax.tree.broadcast(bounds, hyper, is_leaf=_is_pair)
    except ValueError as complaint:
        raise ValueError(
            f"bounds = {bounds!r}: must be a prefix of hyper, but {complaint}"
        ) from None
    return jax.tree.leaves(everywhere, is_leaf=_is_pair)


def _map(change: Callable[[Array, Interval, str], Array], tree: PyTree, bounds: PyTree) -> PyTree:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    changed = []
    for (place, leaf), interval in zip(leaves, intervals(tree, bounds), strict=True):
        name = jax.tree_util.keystr(place)
        allowed = "(low, high), two floats with low < high"
        require(_is_interval(interval), f"bounds{name}", interval, allowed)
        if eqx.is_inexact_array(leaf):
            low, high = interval
            leaf = change(leaf, (float(low), float(high)), f"hyper{name}")
        changed.append(leaf)
    return jax.tree.unflatten(structure, changed)


def _is_pair(bounds: Any) -> bool:
    numbers = type(bounds) is tuple and all(isinstance(end, int | float) for end in bounds)
    return numbers and len(bounds) == 2


def _is_interval(bounds: Any) -> bool:
    return _is_pair(bounds) and bounds[0] < bounds[1]


def _to_real(value: Array, interval: Interval, name: str) -> Array:
    low, high = interval
    if is_concrete(value):
        inside = (np.asarray(value) > low) & (np.asarray(value) < high)
        require_all(inside, name, value, f"strictly inside ({low}, {high}) to be optimised")
    if interval == REALS:
        return value
    if math.isinf(high):
        return jnp.log(value - low)
    if math.isinf(low):
        return -jnp.log(high - value)
    share = (value - low) / (high - low)
    return jnp.log(share) - jnp.log1p(-share)


def _from_real(free: Array, interval: Interval, name: str) -> Array:  # noqa: ARG001
    low, high = interval
    if interval == REALS:
        return free
    if math.isinf(high):
        return low + jnp.exp(free)
    if math.isinf(low):
        return high - jnp.exp(-free)
    return low + (high - low) * jax.nn.sigmoid(free)
