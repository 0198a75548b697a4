"""Expectations over up to four correlated Gaussians, accurate at kinks."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh.theory.effective.gaussian import standard_nodes

NODES = {1: 100, 2: 48, 3: 24, 4: 18}  # of each piece, by dimension
TAIL = 7.0  # standard deviations; what lies beyond weighs 3e-12

Function = Callable[[Array], Array]


def factor(K: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """The lower-triangular L with L L^T = K, for singular K too.

    Conditional variances below rounding (1e-12 of K_ii in 64 bits, 1e-6 in 32) are raised to that.
    """
    size = K.shape[0]
    least = 1e-12 if K.dtype == jnp.float64 else 1e-6
    L = [[jnp.zeros((), K.dtype)] * size for _ in range(size)]
    for i in range(size):
        for j in range(i):
            dot = sum((L[i][k] * L[j][k] for k in range(j)), jnp.zeros((), K.dtype))
            L[i][j] = (K[i, j] - dot) / L[j][j]
        left = K[i, i] - sum((L[i][k] ** 2 for k in range(i)), jnp.zeros((), K.dtype))
        L[i][i] = jnp.sqrt(jnp.maximum(left, least * K[i, i]))
    return jnp.stack([jnp.stack(row) for row in L])


def expectation(
    L: Float[Array, "m m"], functions: tuple[Function, ...], kinks: tuple[float, ...]
) -> Float[Array, "*several"]:
    """``<f_1(z_1) ... f_m(z_m)>`` over z = L u, u standard normal, by nested quadrature.

    Each function takes a number; all return a number, or each several ([several], multiplied
    elementwise) where several expectations over the same Gaussians are wanted at once.

    Gauss-Legendre in each u_k, broken wherever z_k or the mean of a later z_j given u_1..u_k
    meets one of the kinks (or 0), so that no kink lies inside a piece however parallel the
    inputs are.
    """
    breaks = tuple(sorted({0.0, *kinks}))
    return _integral(L, functions, breaks, NODES[len(functions)], ())


def _integral(
    L: Array, functions: tuple[Function, ...], kinks: tuple[float, ...], nodes: int, past: tuple
) -> Array:
    k, size = len(past), len(functions)
    if k == size:
        return jnp.ones((), L.dtype)
    u, weight = standard_nodes(_breaks(L, kinks, past, k), nodes)

    def at(u: Array) -> Array:
        row = (*past, u)
        z = sum((L[k, i] * row[i] for i in range(k + 1)), jnp.zeros((), L.dtype))
        return functions[k](z) * _integral(L, functions, kinks, nodes, row)

    return jnp.tensordot(weight, jax.vmap(at)(u), 1)


def _breaks(L: Array, kinks: tuple[float, ...], past: tuple, k: int) -> Array:
    """Where pieces of the k-th integral end, in order, the tails' included."""
    places = [jnp.zeros((), L.dtype)]  # so that no piece holds all of the bell
    for kink in kinks:
        for j in range(k, L.shape[0]):
            if kink == 0 and k == 0:
                continue  # at u = 0 again
            mean = sum((L[j, i] * past[i] for i in range(k)), jnp.zeros((), L.dtype))
            moves = L[j, k] != 0
            place = (kink - mean) / jnp.where(moves, L[j, k], 1.0)
            places.append(jnp.where(moves, jnp.clip(place, -TAIL, TAIL), TAIL))
    inner = jnp.sort(jnp.stack(places))
    return jnp.concatenate([jnp.full((1,), -TAIL, L.dtype), inner, jnp.full((1,), TAIL, L.dtype)])
