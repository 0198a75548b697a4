"""Hyperparameters as unconstrained numbers, so that any optimiser keeps them within bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from nsh._checks import is_concrete, require, require_all
from nsh._named_parts import for_leaves

Interval = tuple[float, float]
REALS: Interval = (-math.inf, math.inf)


def unconstrain(hyper: PyTree, bounds: PyTree) -> PyTree:
    """Each floating leaf, on its open interval (low, high), in a coordinate over all reals.

    ``log(p - low)``, ``-log(high - p)`` or, with both ends finite,
    ``logit((p - low) / (high - low))``; p itself without ends. `bounds`: an interval, or a pytree
    of intervals like `hyper` such as ``system.bounds(hyper)``, or dicts by names of keys and
    fields. Leaves that are not floating stay as they are.
    Differentiable; raises `ValueError` for a concrete p on an end of its interval (g- with
    factor 1, say), which no optimiser could leave, and for bounds that are none.

    Example:
        >>> from nsh.bounds import unconstrain
        >>> float(unconstrain(jnp.asarray(0.5), (0.0, 1.0)))
        0.0
    """
    return _map(_to_real, hyper, bounds)


def constrain(free: PyTree, bounds: PyTree) -> PyTree:
    """The inverse of `unconstrain`: hyperparameters within their bounds. Differentiable.

    Example:
        >>> from nsh.bounds import constrain
        >>> constrain({"rate": jnp.asarray(0.0)}, {"rate": (0.0, 1.0)})["rate"].item()
        0.5
    """
    return _map(_from_real, free, bounds)


def intervals(hyper: PyTree, bounds: PyTree, others: Sequence[Any] | None = None) -> list[Any]:
    """The interval of each leaf of `hyper`; of those that `bounds` does not name, from `others`.

    Raises `ValueError` for names that `hyper` does not have, and for missing ones without `others`.

    Example:
        >>> from nsh.bounds import intervals
        >>> hyper, others = {"rate": 0.1, "scale": 2.0}, [(0.0, 1.0), (1.0, 9.0)]
        >>> intervals(hyper, {"scale": (0.0, 4.0)}, others)
        [(0.0, 1.0), (0.0, 4.0)]
    """
    allowed = "(low, high), two floats with low < high"
    return for_leaves(
        bounds, hyper, field="bounds", allowed=allowed, is_one=_is_pair, others=others
    )


def _map(change: Callable[[Array, Interval, str], Array], tree: PyTree, bounds: PyTree) -> PyTree:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    changed = []
    for (place, leaf), interval in zip(leaves, intervals(tree, bounds), strict=True):
        name = jax.tree_util.keystr(place)
        allowed = "(low, high), two floats with low < high"
        require(interval[0] < interval[1], f"bounds{name}", interval, allowed)
        if eqx.is_inexact_array(leaf):
            low, high = interval
            leaf = change(leaf, (float(low), float(high)), f"hyper{name}")
        changed.append(leaf)
    return jax.tree.unflatten(structure, changed)


def _is_pair(bounds: object) -> bool:
    ends = bounds if type(bounds) is tuple and len(bounds) == 2 else (None,)
    return all(isinstance(end, Real) and not isinstance(end, bool) for end in ends)


def _to_real(value: Array, interval: Interval, name: str) -> Array:
    low, high = interval
    if is_concrete(value):
        inside = (np.asarray(value) > low) & (np.asarray(value) < high)
        allowed = f"strictly inside ({low}, {high}) to be optimised: start there, or change bounds"
        require_all(inside, name, value, allowed)
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
