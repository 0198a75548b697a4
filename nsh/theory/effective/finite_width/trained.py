"""Finite networks after training: what a finite width does to the mean output, to order 1/width.

The idea: in the limit of infinite width the tangent kernel H is the same for all networks and
does not move. At width n it differs from that by order 1/sqrt(n) from net to net, its mean by
1/n, and it moves by order 1/n during training. So the mean output has four corrections: by the
shifted mean kernel (Theta1), by its fluctuations met twice (HH), by the motion of H, which is
correlated with the outputs at the start (O3), and by how that motion changes (O4).

Under gradient flow on squared error each is a sum over the training kernel's eigenvectors. What
drives the correction, J(t), is a product of exponentials. The correction follows from J by the
infinite network's own response, an integral over time.

The tensors come from `tensors`. `_drive` computes J, `_at_time` the integral.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_finite, as_numbers, is_concrete, require, require_all
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.tensors import (
    POINTS,
    LayerTensors,
    checked,
    tensors_of_runs,
    together,
)

PARTS = ("Theta1", "HH", "O3", "O4")
PANELS, NODES = 17, 8  # of time: panels halve towards either end


class FiniteWidthTrajectory(Shown):
    """The mean output of finite networks through training, to first order in 1/width.

    `train` [*times, n, ...] and `test` [*times, tests, ...], the rest like y: mean over networks.
    `infinite_train`, `infinite_test`: those of infinite width. `parts_train`, `parts_test`: what
    is added to these, by name: ``Theta1`` from the shift of the mean tangent kernel, ``HH`` from
    its fluctuations, ``O3`` and ``O4`` from its motion and the change of that motion.
    `error_train`, `error_test`: estimates of the tensors' numerical errors in the sum; what is
    left out at order 1/width^2 is not among them.
    """

    train: Float[Array, "..."]
    test: Float[Array, "..."]
    infinite_train: Float[Array, "..."]
    infinite_test: Float[Array, "..."]
    parts_train: dict[str, Float[Array, "..."]]
    parts_test: dict[str, Float[Array, "..."]]
    error_train: Float[Array, "..."]
    error_test: Float[Array, "..."]


def finite_width_dynamics(
    architecture: Architecture,
    x_train: ArrayLike,
    x_test: ArrayLike,
    y: ArrayLike,
    times: ArrayLike,
    *,
    points: int = POINTS,
) -> FiniteWidthTrajectory:
    """Compute mean outputs of finite networks under gradient flow on ``sum |f - y|^2 / 2``.

    With Theta = q lam q^T on the training inputs, i, j, k in its eigenbasis and Y = q^T y, after
    infinite time ``E f_x = f_inf - J_x + Theta_xi J_i / lam_i``, where for one output::

        J_x = -Theta1_xi Y_i / lam_i + HH_xi,ik Y_k / (lam_i lam_k)
              + [of_xij,i Y_j + of_xij,j Y_i] / (lam_i (lam_i + lam_j))
              - O4_xijk (Y_i Y_j Y_k + K_ij Y_k + K_ik Y_j + K_jk Y_i)
                / (lam_i (lam_i + lam_j) (lam_i + lam_j + lam_k))

    HH is the covariance of two tangent kernels, of that of their motion with the output, O4 the
    mean of their second motion. At finite times the fractions become integrals of exponentials.
    Source: arXiv 2106.10165, chapters 11 and infinity, derived anew. It was held against trained
    ensembles of tanh and GELU networks with 2 and 3 layers, one output, and two outputs for GELU
    with 2 layers. Not verified: unequal widths, other activations, deeper networks.

    Shapes: x_train [n, n_0], x_test [tests, n_0], y [n] or [n, outputs], `times` any, infinity
    allowed. Times are in units of 1 / learning rate, outputs in those of y. `points` as in
    `finite_width_tensors`. Differentiable by inputs, y and all numbers of the architecture, where
    eigenvalues of Theta differ. Second order can be large: O4 is cubic in y.

    Raises `ValueError` as `finite_width_tensors`, for kinked activations (their correction is of
    order 1/sqrt(width), see `relu_width_correction`), shapes that do not fit and negative times.

    Example:
        >>> from nsh.theory.effective import Architecture, finite_width_dynamics
        >>> network = Architecture("linear", 2, 10, lambda_b=0.0)
        >>> x = jnp.ones((1, 1))
        >>> found = finite_width_dynamics(network, x, x, jnp.ones(1), [0.0, jnp.inf])
        >>> [round(float(value), 4) + 0.0 for value in found.train[:, 0]]
        [0.0, 1.0]
    """
    dtype = architecture.C_W.dtype
    train, test = as_finite("x_train", x_train, dtype), as_finite("x_test", x_test, dtype)
    require(train.ndim == 2 and len(train) > 0, "x_train.shape", train.shape, "[n, n_0], n >= 1")
    fits = test.ndim == 2 and test.shape[1:] == train.shape[1:]
    require(fits, "x_test.shape", test.shape, f"[tests, {train.shape[1]}], as x_train")
    y = as_finite("y", y, dtype)
    fits = y.ndim in (1, 2) and len(y) == len(train)
    require(fits, "y.shape", y.shape, f"({len(train)},) or ({len(train)}, outputs)")
    times = as_numbers("times", times, dtype)
    if is_concrete(times):
        require_all(np.asarray(times) >= 0, "times", times, ">= 0 (infinity is allowed)")
    x = checked(architecture, jnp.concatenate([train, test]), True, points)
    return _dynamics(architecture, x, y, times, points)


@partial(jax.jit, static_argnames="points")
def _dynamics(
    architecture: Architecture, x: Array, y: Array, times: Array, points: int
) -> FiniteWidthTrajectory:
    runs, random = tensors_of_runs(architecture, x, True, points)
    targets = y.reshape(len(y), -1)
    flat = times.reshape(-1)

    def of_run(layer: LayerTensors) -> tuple[Array, Array, Array]:
        infinite, parts = mean_course(layer, targets, flat)
        return infinite, parts, jnp.sum(parts, 1)

    (infinite, parts, _), (_, _, error) = together(jax.lax.map(of_run, runs), random)
    n = len(y)

    def shaped(values: Array, where: slice) -> Array:
        chosen = values[:, where]
        return chosen.reshape(*times.shape, chosen.shape[1], *y.shape[1:])

    train, test = slice(None, n), slice(n, None)
    both = infinite + jnp.sum(parts, 1)
    of_train, of_test = (
        {name: shaped(parts[:, i], where) for i, name in enumerate(PARTS)}
        for where in (train, test)
    )
    return FiniteWidthTrajectory(
        shaped(both, train), shaped(both, test), shaped(infinite, train), shaped(infinite, test),
        of_train, of_test, shaped(error, train), shaped(error, test),
    )  # fmt: skip


class _Drive(NamedTuple):
    """What multiplies the four kinds of functions of time in J, [points, ..., outputs]."""

    Theta1: Float[Array, "points n k"]
    HH: Float[Array, "points n n k"]
    O3: Float[Array, "points n n k"]
    O4: Float[Array, "points n n n k"]


def mean_course(
    layer: LayerTensors, y: Float[Array, "n k"], times: Float[Array, " times"]
) -> tuple[Float[Array, "times points k"], Float[Array, "times 4 points k"]]:
    """The infinite network's mean outputs on all points, the first n trained, and the parts."""
    n = len(y)
    lam, q = jnp.linalg.eigh(layer.Theta[:n, :n])
    drive = _drive(layer, y, q)
    response = jnp.matmul(layer.Theta[:, :n], q, precision="highest")
    Y = jnp.matmul(q.T, y, precision="highest")

    def one(t: Array) -> tuple[Array, Array]:
        ended = jnp.isinf(t)
        finite = jnp.where(ended, 1.0, t)
        done = jnp.where(ended, 1 / lam, _phi(lam, finite))
        infinite = jnp.matmul(response, done[:, None] * Y, precision="highest")
        parts = jnp.where(
            ended, _in_the_end(drive, lam, response, q), _at_time(drive, lam, response, q, finite)
        )
        return infinite, parts

    return jax.lax.map(one, times)


def _drive(layer: LayerTensors, y: Array, q: Array) -> _Drive:
    """In the training kernel's eigenbasis, with the pairings of outputs summed.

    Indices I = (output, input): ``n Cov(H_IJ, H_KL) = d_ij d_kl A_ab,cd + d_ik d_jl B_ac,bd
    + d_il d_jk B_ad,bc``, ``n E[dH_IJK f_L] = d_ij d_kl Q_abcd + d_ik d_jl Q_acbd
    + d_il d_jk P_abcd``, and likewise R three times for ddI and S, T, U for ddII.
    ``O3_xya = dH_xya + dH_yxa``; ``O4_xyab = ddI_xyab + ddI_yxab + ddII_xyab + ddII_yxab
    + ddII_xayb + ddII_yaxb``.
    """
    assert layer.moving is not None
    n, k = y.shape
    P, Q, R, S, T, U = layer.moving

    def dot(spec: str, *arrays: Array) -> Array:
        return jnp.einsum(spec, *arrays, precision="highest")

    def of(tensor: Array, order: str) -> Array:
        """The tensor as a function of x, y, a, b (x any point), its indices named in `order`."""
        places = [order.index(name) for name in "xyab"]
        moved = tensor.transpose(places)[:, :n, :n, :n]
        for axis in (1, 2, 3):
            moved = jnp.moveaxis(dot("...i,ij->...j", jnp.moveaxis(moved, axis, -1), q), -1, axis)
        return moved

    Y, prior = dot("ai,ak->ik", q, y), dot("ai,ab,bj->ij", q, layer.K[:n, :n], q)
    Theta1 = dot("xa,ai,ik->xik", layer.Theta1[:, :n], q, Y)

    # HH_xi,ik: the tangent kernel between x and i, and between i and k
    A, B = of(layer.A, "xyab"), of(layer.B, "xyab")
    HH = dot("xiik->xik", A) + dot("xiik->xik", B) + k * dot("xkii->xik", B)

    # of_xya,l with outputs of x and y, and of a and l, the same; then x and a; then x and l
    Qs = of(Q, "xyab"), of(Q, "yxab"), of(Q, "xayb"), of(Q, "yaxb")
    first = Qs[0] + Qs[1]
    second = Qs[2] + of(P, "yxab")
    third = of(P, "xyab") + Qs[3]
    with_a = dot("xijj->xij", k * first + second + third)
    with_y = dot("xiji->xij", first + k * second + third)
    O3 = with_a[..., None] * Y[None, :, None] + with_y[..., None] * Y[None, None]

    # the same three pairings of O4
    first = (
        of(R, "xyab") + of(R, "yxab") + of(S, "xyab") + of(S, "yxab") + of(T, "xayb")
        + of(T, "yaxb")
    )  # fmt: skip
    second = (
        of(R, "xayb") + of(R, "ybxa") + of(T, "xyab") + of(U, "yxab") + of(S, "xayb")
        + of(U, "yaxb")
    )  # fmt: skip
    third = (
        of(R, "xbya") + of(R, "yaxb") + of(U, "xyab") + of(T, "yxab") + of(U, "xayb")
        + of(S, "yaxb")
    )  # fmt: skip
    square = dot("ik,jk->ij", Y, Y)
    # coefficients of Y_i, Y_j, Y_k: the pairing's own Y Y + outputs K, and K of the others
    both = square + k * prior
    of_i = first * both[None, None] + (second + third) * prior[None, None]
    of_j = second * both[None, :, None] + (first + third) * prior[None, :, None]
    of_k = third * both[None, ..., None] + (first + second) * prior[None, ..., None]
    O4 = -(
        of_i[..., None] * Y[None, :, None, None]
        + of_j[..., None] * Y[None, None, :, None]
        + of_k[..., None] * Y[None, None, None]
    )
    return _Drive(Theta1=-Theta1, HH=HH[..., None] * Y[None, None], O3=O3, O4=O4)


def _in_the_end(drive: _Drive, lam: Array, response: Array, q: Array) -> Array:
    one, other = lam[:, None], lam[None]
    two = one + other
    weights = (
        1 / lam,
        1 / (one * other),
        1 / (one * two),
        1 / (one[..., None] * two[..., None] * (two[..., None] + lam[None, None])),
    )
    J = _summed(drive, tuple(weight[None] for weight in weights))[:, 0]  # [4, points, k]
    own = jnp.einsum("ai,pak->pik", q, J[:, : len(q)], precision="highest") / lam[None, :, None]
    return jnp.einsum("xi,pik->pxk", response, own, precision="highest") - J


def _summed(drive: _Drive, weights: tuple[Array, ...]) -> Array:
    """The parts of J, [4, times, points, k]."""
    return jnp.stack(
        [
            jnp.einsum(spec, weight, part, precision="highest")
            for spec, weight, part in zip(
                ("ti,xik->txk", "tij,xijk->txk", "tij,xijk->txk", "tijl,xijlk->txk"),
                weights,
                drive,
                strict=True,
            )
        ]
    )


def _at_time(drive: _Drive, lam: Array, response: Array, q: Array, t: Array) -> Array:
    """``-int J_x(s) ds + Theta_xi int phi_i(t - s) J_i(s) ds``, over times up to t."""
    place, left, share = (jnp.asarray(part, t.dtype) for part in _panels())
    s, weight, rest = t * place, t * share, t * left
    one = s[:, None]
    phi = _phi(lam[None], one)  # [times, n]
    falls = jnp.exp(-lam[None] * one)
    i, j = lam[None, :, None], lam[None, None]
    at = s[:, None, None]
    both = jnp.exp(-jnp.minimum(i, j) * at) * _phi(jnp.abs(i - j), at)
    weights = (
        falls,
        both,
        falls[:, :, None] * phi[:, None],
        falls[:, :, None, None] * _twice(i, j, at)[:, None],
    )
    J = _summed(drive, weights)  # [4, times, points, k]
    own = jnp.einsum("ai,psak->psik", q, J[:, :, : len(q)], precision="highest")
    answer = jnp.einsum("s,si,psik->pik", weight, _phi(lam[None], rest[:, None]), own)
    return jnp.einsum("xi,pik->pxk", response, answer, precision="highest") - jnp.einsum(
        "s,psxk->pxk", weight, J, precision="highest"
    )


def _phi(rate: Array, t: Array) -> Array:
    """``int_0^t e^(-rate s) ds``."""
    small = jnp.abs(rate * t) < 1e-6
    safe = jnp.where(small, 1.0, rate)
    return jnp.where(small, t * (1 - rate * t / 2), -jnp.expm1(-safe * t) / safe)


def _twice(first: Array, second: Array, t: Array) -> Array:
    """``int_0^t e^(-first s) phi_second(s) ds``, divided by the larger of the two rates."""
    u, v = first * t, second * t
    small = jnp.maximum(u, v) < float(jnp.finfo(t.dtype).eps) ** (1 / 3)
    whole = _phi(first + second, t)
    by_second = second >= first
    larger = jnp.where(small, 1.0, jnp.where(by_second, second, first))
    difference = jnp.where(by_second, _phi(first, t) - whole, whole - jnp.exp(-u) * _phi(second, t))
    return jnp.where(small, t**2 * (1 / 2 - u / 3 - v / 6), difference / larger)


def _panels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes on [0, 1], 1 minus these without cancellation, and weights."""
    node, weight = np.polynomial.legendre.leggauss(NODES)
    ends = np.concatenate([[0.0], 0.5 ** np.arange(PANELS, 0, -1)])  # 0, ..., 1/4, 1/2
    low, length = ends[:-1, None], np.diff(ends)[:, None]
    near = (low + length * (node + 1) / 2).reshape(-1)
    share = (length * weight / 2).reshape(-1)
    return (
        np.concatenate([near, 1 - near]),
        np.concatenate([1 - near, near]),
        np.concatenate([share, share]),
    )
