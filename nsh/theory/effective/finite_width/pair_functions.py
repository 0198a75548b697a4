"""Expectations of two inputs' preactivations, and how they change with the kernel.

Tensors of one layer go over into the next by these: ``g = <s_a s_b>``, ``c = <s'_a s'_b>`` and
their derivatives by K_aa, K_bb and K_ab. They are computed far more precisely than expectations
of four inputs, which only add to the tensors.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh.activations import Activation
from nsh.activations.gaussian import gaussian, hermite
from nsh.theory.effective.finite_width.common_draws import line
from nsh.theory.effective.infinite_width.dual import dual

TERMS = 128
MORE = 6  # terms that derivatives take from beyond
NODES = 200

Pairs = Float[Array, "inputs inputs"]


class Changes(NamedTuple):
    """Derivatives of a function of (K_aa, K_bb, K_ab), each for all pairs a, b.

    Of equal indices it is a function of K_aa alone: all of a derivative is in `aa`.
    """

    aa: Pairs
    bb: Pairs
    ab: Pairs
    aaaa: Pairs
    bbbb: Pairs
    aabb: Pairs
    abab: Pairs
    aaab: Pairs
    bbab: Pairs


class Bends(NamedTuple):
    """<s_a s''_b>, <s''_a s''_b> and <s'_a s'''_b>, of smooth activations."""

    s_s2: Pairs
    s2_s2: Pairs
    s1_s3: Pairs


class Projection(NamedTuple):
    """A function of (z_a, z_b) up to degree 2 in z: ``mean + a z_a + b z_b`` and the quadratic
    ``aa (z_a^2 - K_aa) + bb (z_b^2 - K_bb) + ab (z_a z_b - K_ab)``; the rest has no mean with them.
    """

    mean: Pairs
    a: Pairs
    b: Pairs
    aa: Pairs
    bb: Pairs
    ab: Pairs


class PairFunctions(NamedTuple):
    """``g = <s_a s_b>``, ``c = <s'_a s'_b>``, their changes with K, and bends if smooth.

    `projections`: of s_a s_b and s'_a s'_b; if smooth also of s_a with the second derivative of
    s_b, the third of s_a with s'_b, and both second ones.
    """

    g: Pairs
    c: Pairs
    dg: Changes
    dc: Changes
    bends: Bends | None
    projections: tuple[Projection, ...]


def pair_functions(K: Pairs, activation: Activation, kept: Float[Array, " terms"]) -> PairFunctions:
    """Those of N(0, K): by series if the activation is smooth, else by its `dual`.

    `kept`: which terms of the series count, 1 or 0: how many matter is seen by leaving some out.
    """
    own = jax.vmap(lambda variance: _of_one(variance, activation))(jnp.diagonal(K))
    found = _by_dual(K, activation) if activation.kinks else _by_series(K, activation, kept)
    zero = jnp.zeros_like(own["g"])
    dg = [own["dg"], zero, zero, own["d2g"], *[zero] * 5]
    dc = [own["dc"], zero, zero, own["d2c"], *[zero] * 5]
    bends = None
    if found.bends is not None:
        diagonal = own["s_s2"], own["s2_s2"], own["s1_s3"]
        bends = Bends(*map(_with_diagonal, found.bends, diagonal))
    g, c = _with_diagonal(found.g, own["g"]), _with_diagonal(found.c, own["c"])
    by_g, by_c = (
        Changes(*map(_with_diagonal, change, diagonal))
        for change, diagonal in ((found.dg, dg), (found.dc, dc))
    )
    none = jnp.zeros_like(g)
    projections = found.projections or tuple(
        Projection(mean, none, none, change.aa, change.bb, change.ab)
        for mean, change in ((g, by_g), (c, by_c))
    )
    return PairFunctions(g, c, by_g, by_c, bends, projections)


def _with_diagonal(matrix: Pairs, diagonal: Float[Array, " inputs"]) -> Pairs:
    return jnp.where(jnp.eye(len(matrix), dtype=bool), diagonal[:, None], matrix)


def _of_one(K: Float[Array, ""], activation: Activation) -> dict[str, Array]:
    """The same of one input, as functions of K, without derivatives across kinks (Stein)."""
    nodes = gaussian(K, activation)
    s, slope = activation(nodes.z), activation.derivative(nodes.z)
    u2 = nodes.z**2 / nodes.K
    fourth = (u2**2 - 6 * u2 + 3) / (4 * nodes.K**2)
    found = {
        "g": nodes.mean(s**2),
        "c": nodes.mean(slope**2),
        "dg": nodes.mean(nodes.z * s * slope) / nodes.K,
        "d2g": nodes.mean(s**2 * fourth),
        "d2c": nodes.mean(slope**2 * fourth),
    }
    if activation.kinks:
        found["dc"] = nodes.mean(slope**2 * (u2 - 1)) / (2 * nodes.K)
        return found
    bend, third = activation.derivative(nodes.z, 2), activation.derivative(nodes.z, 3)
    found |= {
        "s_s2": nodes.mean(s * bend),
        "s2_s2": nodes.mean(bend**2),
        "s1_s3": nodes.mean(slope * third),
    }
    return found | {"dc": found["s2_s2"] + found["s1_s3"]}


def _by_series(K: Pairs, activation: Activation, kept: Float[Array, " terms"]) -> PairFunctions:
    """``<s^(p)_a s^(q)_b> = sum_k a^(p)_k a^(q)_k c^k``, c the correlation (Mehler's formula).

    With h_k the orthonormal Hermite polynomials, ``a^(p)_k = <s^(p)(z) h_k(z / sqrt K)>`` is
    ``sqrt((k + p)! / k! / K^p) a^(0)_{k+p}``: derivatives of s are not needed.
    """
    u, basis = (jnp.asarray(part, K.dtype) for part in _basis(TERMS + MORE))
    deviation = jnp.sqrt(jnp.diagonal(K))
    coefficients = jnp.matmul(basis, activation(u[:, None] * deviation[None]), precision="highest")
    orders = np.arange(TERMS)
    of = []
    for p in range(6):
        rising = np.prod([orders + i for i in range(1, p + 1)], 0) if p else np.ones(TERMS)
        root = jnp.asarray(np.sqrt(rising) * np.ones(TERMS), K.dtype)[:, None]
        of.append(kept[:, None] * root * coefficients[p : p + TERMS] / deviation[None] ** p)
    same = jnp.eye(len(K), dtype=bool)
    cosine = jnp.where(same, 1.0, K / (deviation[:, None] * deviation[None]))
    one = jnp.ones((1, *K.shape), K.dtype)
    factors = jnp.concatenate([one, jnp.broadcast_to(cosine, (TERMS - 1, *K.shape))])
    powers = jnp.cumprod(factors, 0)

    stacked = jnp.stack(of)
    means = jnp.einsum("pka,kab,qkb->pqab", stacked, powers, stacked, precision="highest")

    def mean(p: int, q: int) -> Pairs:
        return means[p, q]

    def first(p: int) -> tuple[Pairs, Pairs, Pairs]:
        return mean(p + 2, p) / 2, mean(p, p + 2) / 2, mean(p + 1, p + 1)

    def second(p: int) -> tuple[Pairs, ...]:
        return (
            mean(p + 4, p) / 4, mean(p, p + 4) / 4, mean(p + 2, p + 2) / 4,
            mean(p + 2, p + 2), mean(p + 3, p + 1) / 2, mean(p + 1, p + 3) / 2,
        )  # fmt: skip

    def projection(p: int, q: int) -> Projection:
        a, b = mean(p + 1, q), mean(p, q + 1)
        aa, bb, ab = mean(p + 2, q) / 2, mean(p, q + 2) / 2, mean(p + 1, q + 1)
        return Projection(
            mean(p, q), jnp.where(same, a + b, a), jnp.where(same, 0.0, b),
            jnp.where(same, aa + bb + ab, aa), *(jnp.where(same, 0.0, one) for one in (bb, ab)),
        )  # fmt: skip

    return PairFunctions(
        mean(0, 0),
        mean(1, 1),
        Changes(*first(0), *second(0)),
        Changes(*first(1), *second(1)),
        Bends(mean(0, 2), mean(2, 2), mean(1, 3)),
        tuple(projection(p, q) for p, q in ((0, 0), (1, 1), (0, 2), (3, 1), (2, 2))),
    )


def _by_dual(K: Pairs, activation: Activation) -> PairFunctions:
    """Derivatives of the closed form, or expansion, of the kernel: kinks are part of it."""
    of = dual(activation)

    def both(K_aa: Array, K_bb: Array, K_ab: Array) -> tuple[tuple[Array, ...], ...]:
        def values(variances: Array) -> tuple[Array, Array]:
            found = of(variances[0], variances[1], variances[2])
            both = jnp.stack([found.s, found.slope])
            return both, both

        def first(variances: Array) -> tuple[Array, tuple[Array, Array]]:
            gradient, found = jax.jacfwd(values, has_aux=True)(variances)
            return gradient, (gradient, found)

        at = jnp.stack([K_aa, K_bb, K_ab])
        hessian, (gradient, found) = jax.jacfwd(first, has_aux=True)(at)
        return tuple(
            (
                found[i],
                *gradient[i],
                *(hessian[i, j, k] for j, k in ((0, 0), (1, 1), (0, 1), (2, 2), (0, 2), (1, 2))),
            )
            for i in range(2)
        )

    variance = jnp.diagonal(K)
    apart = ~jnp.eye(len(K), dtype=bool)
    rows, columns = (
        jnp.broadcast_to(variance[:, None], K.shape),
        jnp.broadcast_to(variance, K.shape),
    )
    (g, *dg), (c, *dc) = jax.vmap(jax.vmap(both))(rows, columns, jnp.where(apart, K, 0.0))
    return PairFunctions(g, c, Changes(*dg), Changes(*dc), None, ())


@functools.lru_cache(maxsize=4)
def _basis(terms: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes u [nodes] and h_k(u) times their weights [terms, nodes]."""
    nodes, weight = line(NODES)
    u = nodes[:, 0]
    return u, np.stack(hermite(u, terms)) * weight


def triangle(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs a <= b, as two arrays [pairs], and the number [count, count] of every pair."""
    a, b = np.triu_indices(count)
    number = np.zeros((count, count), int)
    number[a, b] = number[b, a] = np.arange(len(a))
    return a, b, number
