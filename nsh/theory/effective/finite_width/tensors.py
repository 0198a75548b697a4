"""All tensors of a finite network's kernels and their derivatives, of several inputs.

The idea: to first order in 1/width a random network is described by a few tensors. V says how
kernels fluctuate, A and B tangent kernels, D and F both together. P and Q say how the tangent
kernel moves with the output; R, S, T and U how that motion moves. K1 and Theta1 shift the means.
Each has up to four inputs as indices. What training does to the network at order 1/width follows
from them (see `finite_width_dynamics`).

From layer to layer there are two kinds of terms. A layer adds expectations of products of four
neurons' functions, divided by its width. All of these come from six matrices of moments, each a
product of two matrices of values at common draws. And tensors below are passed on by derivatives
of two inputs' expectations, of which only those by the pair's own kernels are not 0: so passing
on costs no more than the tensors' own size, inputs^4.

Expectations of two inputs are precise (`pair_functions`), so means and transport are, and only
what layers add carries the draws' error. The whole recursion runs for several sets of draws.

`_step` is one layer. Where s' jumps, R, S, T and U do not exist and P and Q have terms from the
kinks, so these are refused; `relu_width_correction` is the law that holds there instead.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from nsh._checks import as_finite, is_concrete, require, require_all, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations import Activation
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.common_draws import common_draws
from nsh.theory.effective.finite_width.pair_functions import (
    TERMS,
    Bends,
    Changes,
    PairFunctions,
    Projection,
    pair_functions,
    triangle,
)

POINTS = 2**14
CHUNK = 2**11
Runs = TypeVar("Runs", bound=PyTree)
Two = Float[Array, "inputs inputs"]
Four = Float[Array, "inputs inputs inputs inputs"]


class TangentTensors(NamedTuple):
    """What moves the tangent kernel: P, Q of its derivative, R, S, T, U of the second one."""

    P: Four
    Q: Four
    R: Four
    S: Four
    T: Four
    U: Four


class LayerTensors(NamedTuple):
    """The tensors of one layer; `moving` is None where it is not asked for."""

    K: Two
    Theta: Two
    K1: Two
    Theta1: Two
    V: Four
    A: Four
    B: Four
    D: Four
    F: Four
    moving: TangentTensors | None


class FiniteWidthTensors(Shown):
    """Means and leading correlations in 1/width, of the last layer's z and NTK H of inputs a..f.

    Of neurons (outputs) 1 and 2, over networks at initialisation:

    - ``K``, ``Theta`` [n, n]: infinite-width E[z1_a z1_b] and E[H11_ab]; ``K1``, ``Theta1``: what
      a finite width adds to these;
    - ``V[a,b,c,d]`` = Cov(z1_a z1_b, z2_c z2_d), ``A[a,b,c,d]`` = Cov(H11_ab, H22_cd);
    - ``B[a,c,b,d]`` = E[H12_ab H12_cd], ``D[a,b,c,d]`` = Cov(z1_a z1_b, H22_cd);
    - ``F[a,c,b,d]`` = E[z1_a z2_b H12_cd];
    - ``P[a,b,c,d]`` = E[dH_122,abc z1_d], ``Q[a,b,c,d]`` = E[dH_112,abc z2_d], with
      dH_ijk = v_j . Hess z_i v_k and v = Lam grad z, Lam the learning rates;
    - ``R`` = E[ddI_1122], ddI the third derivative of the first along v of the others;
    - ``S``, ``T``, ``U`` = E[ddII_1122], E[ddII_1212], E[ddII_1221], with
      ddII_ijkl = v_k . Hess z_i Lam Hess z_j v_l.

    All carry their 1/width. P to U are None if not asked for. `errors`: estimates of each tensor's
    error by name, root mean squares over entries.
    """

    K: Two
    Theta: Two
    K1: Two
    Theta1: Two
    V: Four
    A: Four
    B: Four
    D: Four
    F: Four
    P: Four | None
    Q: Four | None
    R: Four | None
    S: Four | None
    T: Four | None
    U: Four | None
    errors: dict[str, Float[Array, ""]]


def finite_width_tensors(
    architecture: Architecture,
    x: ArrayLike,
    *,
    moving: bool = True,
    points: int = POINTS,
) -> FiniteWidthTensors:
    """Compute all first-order tensors of the last layer for several inputs.

    For example ``V' = C_W^2 {[<s_a s_b s_c s_d> - <s_a s_b> <s_c s_d>] / n + T_ab : V : T_cd}``
    with ``T_ab = d<s_a s_b> / dK``, z ~ N(0, K). The others' equations are in `_step`.
    Source: arXiv 2106.10165, chapters 4, 8, 11 and infinity, derived anew. All tensors were held
    against finite networks for tanh and GELU; unequal widths were not, beyond one input.

    x: [n, n_0] gives tensors [n, n, n, n]. Units: z's to the power of how many z there are, and
    per step size for each H. `moving`: whether P to U are computed. `points`: of randomised Sobol'
    draws, used from 5 inputs on, or from 2 where the activation has kinks; errors fall
    nearly like 1 / points. Fewer inputs have a lattice. Differentiable by x and all numbers of the
    architecture, less precisely for inputs that are equal or nearly so.

    Raises `ValueError` without widths, for bad x, inputs of variance 0, and gamma != 0 (a traced
    one gives NaN). Also for kinks with `moving`: R, S, T, U diverge there and P, Q have terms
    from the kinks.

    Example:
        >>> from nsh.theory.effective import Architecture, finite_width_tensors
        >>> found = finite_width_tensors(Architecture("linear", 2, 10), jnp.ones((1, 1)))
        >>> round(float(found.V[0, 0, 0, 0]), 4), round(float(found.B[0, 0, 0, 0]), 4)
        (0.2, 0.4)
    """
    x = checked(architecture, x, moving, points)
    return _tensors(architecture, x, moving, points)


def checked(architecture: Architecture, x: ArrayLike, moving: bool, points: int) -> Array:
    """The inputs as an array; `ValueError` for what `finite_width_tensors` does not take."""
    architecture.hidden_widths()  # there are some
    x = as_finite("x", x, architecture.C_W.dtype)
    require(x.ndim == 2 and min(x.shape) >= 1, "x.shape", x.shape, "[inputs, n_0], neither 0")
    require_integer("points", points, 16 * x.shape[0])
    require(points & (points - 1) == 0, "points", points, "a power of 2")
    gamma = architecture.gamma
    if is_concrete(gamma):
        require(
            float(gamma) == 0,
            "gamma",
            float(gamma),
            "0 here: skips are not done for several inputs",
        )
    activation = architecture.activation
    if moving:
        require(
            not activation.kinks,
            "activation",
            activation.name,
            "smooth for P, Q, R, S, T, U, which diverge or lose terms at kinks: "
            "take moving=False for the other tensors, or a smooth activation",
        )
    variance = jnp.diagonal(first_kernel(architecture, x))
    if is_concrete(variance):
        require_all(np.asarray(variance) > 0, "C_b + C_W |x|^2 / n_0", variance, "> 0")
    return x


def first_kernel(architecture: Architecture, x: Array) -> Two:
    """K of layer 1."""
    inner = jnp.matmul(x, x.T, precision="highest") / x.shape[1]
    return architecture.C_b[0] + architecture.C_W[0] * inner


@partial(jax.jit, static_argnames=("moving", "points"))
def _tensors(architecture: Architecture, x: Array, moving: bool, points: int) -> FiniteWidthTensors:
    runs, random = tensors_of_runs(architecture, x, moving, points)
    mean, error = together(runs, random)
    typical = jax.tree.map(lambda part: jnp.sqrt(jnp.mean(part**2)), error)
    moved, errors = mean.moving, typical._asdict()
    of_moving = errors.pop("moving")
    if of_moving is not None:
        errors |= of_moving._asdict()
    tensors = (None,) * 6 if moved is None else tuple(moved)
    return FiniteWidthTensors(*mean[:-1], *tensors, errors=errors)


def together(runs: Runs, random: bool) -> tuple[Runs, Runs]:
    """(value, error) of what several runs gave: the last run takes fewer terms, or is coarser.

    Of randomised runs, the mean and its standard error, with what the terms matter.
    """

    def one(values: Array) -> tuple[Array, Array]:
        coarse = values[-1] - values[0]
        if not random:
            return values[0], jnp.abs(coarse)
        count = len(values) - 1
        mean = jnp.mean(values[:-1], 0)
        square = jnp.sum((values[:-1] - mean[None]) ** 2, 0) / (count * (count - 1)) + coarse**2
        return mean, jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)

    leaves, kind = jax.tree.flatten(runs)
    both = [one(leaf) for leaf in leaves]
    value, error = (jax.tree.unflatten(kind, [pair[i] for pair in both]) for i in (0, 1))
    return value, error


def tensors_of_runs(
    architecture: Architecture, x: Array, moving: bool, points: int
) -> tuple[LayerTensors, bool]:
    """The last layer's tensors of several runs, leading axis, and whether these are random."""
    smooth = not architecture.activation.kinks
    draws = common_draws(len(x), points, smooth)
    sets = len(draws.u)
    u, weight = (jnp.asarray(part, x.dtype) for part in (draws.u, draws.weight))
    few = np.where(np.arange(TERMS) < 3 * TERMS // 4, 1.0, 0.0)
    if draws.random:
        numbers = np.append(np.arange(sets), 0)
        kept = np.concatenate([np.ones((sets, TERMS)), few[None]])
    else:
        numbers, kept = np.arange(sets), np.stack([np.ones(TERMS), few])

    def one(given: tuple[Array, Array]) -> LayerTensors:
        number, kept = given
        return _last_layer(architecture, x, moving, u[number], weight[number], kept)

    return jax.lax.map(one, (jnp.asarray(numbers), jnp.asarray(kept, x.dtype))), draws.random


def _last_layer(
    architecture: Architecture, x: Array, moving: bool, u: Array, weight: Array, kept: Array
) -> LayerTensors:
    count, activation = len(x), architecture.activation
    K = first_kernel(architecture, x)
    inner = jnp.matmul(x, x.T, precision="highest") / x.shape[1]
    Theta = architecture.lambda_b[0] + architecture.lambda_W[0] * inner
    bad = jnp.where(architecture.gamma == 0, 0.0, jnp.nan)
    two, four = jnp.zeros_like(K), jnp.full((count,) * 4, bad, K.dtype)
    first = LayerTensors(
        K, Theta, two, two, *[four] * 5, moving=TangentTensors(*[four] * 6) if moving else None
    )
    width = jnp.asarray(architecture.hidden_widths(), K.dtype)
    steps = (
        architecture.C_b[1:], architecture.C_W[1:], architecture.lambda_b[1:],
        architecture.lambda_W[1:], width,
    )  # fmt: skip

    def step(layer: LayerTensors, numbers: tuple[Array, ...]) -> tuple[LayerTensors, None]:
        pairs = pair_functions(layer.K, activation, kept)
        moments = _moments(layer.K, activation, pairs.projections, u, weight, moving)
        return _step(layer, pairs, moments, *numbers), None

    return jax.lax.scan(step, first, steps)[0]


class FourPointMoments(NamedTuple):
    """Expectations of four functions, [inputs] * 4, indices in the order of the name."""

    s_s_s_s: Four
    s_s_s1_s1: Four
    s1_s1_s1_s1: Four
    s_s2_s1_s1: Four | None
    s3_s1_s1_s1: Four | None
    s2_s2_s1_s1: Four | None


def _moments(
    K: Two, activation: Activation, projections: tuple[Projection, ...], u: Array, weight: Array,
    moving: bool,
) -> FourPointMoments:  # fmt: skip
    """By draws only of what is left of each pair's function beyond degree 2: most is exact."""
    count, size = len(K), len(weight)
    a, b, number = triangle(count)
    # so that equal inputs have a factor too
    jitter = (1e-12 if K.dtype == jnp.float64 else 1e-6) * jnp.diagonal(K)
    factor = jnp.linalg.cholesky(K + jnp.diag(jitter))
    rows, columns = (places.reshape(-1) for places in np.indices((count, count)))
    chunks = -(-size // CHUNK)
    length = -(-size // chunks)
    padding = chunks * length - size
    u = jnp.pad(u, ((0, padding), (0, 0))).reshape(chunks, length, count)
    weight = jnp.pad(weight, (0, padding)).reshape(chunks, length)

    @jax.checkpoint  # else reverse mode keeps all values at all points
    def of_chunk(total: tuple[Array, ...], given: tuple[Array, Array]):
        u, weight = given
        z = jnp.matmul(u, factor.T, precision="highest")
        s, s1 = activation(z), activation.derivative(z)
        functions, orders = [s, s1], [(0, 0), (1, 1)]
        if moving:
            functions += [activation.derivative(z, 2), activation.derivative(z, 3)]
            orders += [(0, 2), (3, 1), (2, 2)]
        left = []
        for (p, q), known in zip(orders, projections, strict=False):
            i, j = (a, b) if p == q else (rows, columns)
            near = Projection(*(part[i, j][None] for part in known))
            z_a, z_b = z[:, i], z[:, j]
            below = near.mean + near.a * z_a + near.b * z_b + near.ab * (z_a * z_b - K[i, j][None])
            below += near.aa * (z_a**2 - K[i, i][None]) + near.bb * (z_b**2 - K[j, j][None])
            left.append(functions[p][:, i] * functions[q][:, j] - below)
        ss, slopes = left[:2]
        weighted = weight[:, None]
        return (
            total[0] + jnp.matmul((ss * weighted).T, ss, precision="highest"),
            total[1]
            + jnp.matmul(jnp.concatenate(left, 1).T, slopes * weighted, precision="highest"),
        ), None

    features = 2 * len(a) + (2 * count**2 + len(a) if moving else 0)
    zeros = jnp.zeros((len(a), len(a)), K.dtype), jnp.zeros((features, len(a)), K.dtype)
    (fourth, others), _ = jax.lax.scan(of_chunk, zeros, (u, weight))
    ends = np.cumsum([len(a), len(a), count**2, count**2])
    parts = jnp.split(others, ends if moving else ends[:1])
    every = number.reshape(-1)

    def full(matrix: Array) -> Four:
        of_pairs = matrix if len(matrix) == count**2 and count > 1 else matrix[every]
        return of_pairs[:, every].reshape((count,) * 4)

    pairs = K[:, None, :, None] * K[None, :, None]
    squares = pairs + pairs.swapaxes(2, 3)  # <(z_e z_f - K_ef) (z_g z_h - K_gh)>
    seen = [_passed(known, squares).transpose(2, 3, 0, 1) for known in projections[:2]]

    def below(known: Projection, right: int) -> Four:
        """<F G> of two functions up to degree 2."""
        other = projections[right]
        towards = K[:, :, None] * other.a[None] + K[:, None] * other.b[None]  # <z_e G_cd>
        mean, a, b = (part[..., None, None] for part in known[:3])
        linear = a * towards[:, None] + b * towards[None]
        return mean * other.mean[None, None] + linear + _passed(known, seen[right])

    found = [full(fourth) + below(projections[0], 0)]
    found += [full(part) + below(known, 1) for part, known in zip(parts, projections, strict=False)]
    return FourPointMoments(*found, *[None] * (6 - len(found)))


def _passed(change: Changes | Projection, tensor: Array) -> Array:
    """sum_ef T_ab^ef X_ef...: X's first two indices are symmetric."""
    own = _same(tensor)

    def times(coefficient: Two, value: Array) -> Array:
        return coefficient.reshape(coefficient.shape + (1,) * (tensor.ndim - 2)) * value

    return times(change.aa, own[:, None]) + times(change.bb, own[None]) + times(change.ab, tensor)


def _same(tensor: Array) -> Array:
    """X_aa..., of the first two indices."""
    index = jnp.arange(len(tensor))
    return tensor[index, index]


def _along(first: Two, second: Two, tensor: Array) -> Array:
    """sum_e N_ac^e X_ec..., with e = a (`first`) or c (`second`)."""
    shape = first.shape + (1,) * (tensor.ndim - 2)
    return first.reshape(shape) * tensor + second.reshape(shape) * _same(tensor)[None]


def _curvature(change: Changes, V: Four) -> Two:
    """(1/2) sum V_cd,ef d^2 / dK_cd dK_ef of a function of a pair."""
    index = jnp.arange(len(V))
    i, j = index[:, None], index[None]
    own, mixed = V[i, i, j, j], V[i, j, i, j]
    aaaa = jnp.diagonal(own)
    aaab, bbab = V[i, i, i, j], V[j, j, i, j]
    return (
        change.aaaa * aaaa[:, None] + change.bbbb * aaaa[None] + 2 * change.aabb * own
        + change.abab * mixed + 2 * change.aaab * aaab + 2 * change.bbab * bbab
    ) / 2  # fmt: skip


def _step(
    now: LayerTensors, pairs: PairFunctions, m: FourPointMoments, C_b: Array, C_W: Array,
    lambda_b: Array, lambda_W: Array, n: Array,
) -> LayerTensors:  # fmt: skip
    """Layer l + 1 from layer l of width n; the hyperparameters are those of layer l + 1.

    With ``Om_ab = lambda_W s_a s_b + C_W Theta_ab s'_a s'_b``, c and T those of `PairFunctions`,
    chi = C_W c and N_ac^e = <d_e (s_a s'_c)>::

        K1' = C_W (T[ss]:K1 + (1/2) V : d^2<s_a s_b> / dK^2)         (the bracket: k1, or c1 of c)
        Th1' = lambda_W k1 + C_W (c1 Th + c Th1 + T[s's']_ab^ef (D_ef,ab + F_ea,fb + F_eb,fa))
        V' = C_W^2 (Cov(ss, ss) / n + T[ss]:V:T[ss])
        D' = C_W (Cov(ss, Om) / n + T[ss]:V:T[Om] + T[ss]:D chi_cd)
        A' = Cov(Om, Om) / n + chi chi A + T[Om]:D chi + transpose + T[Om]:V:T[Om]
        F'_ac,bd = C_W^2 (<s_a s'_c s_b s'_d> Th_cd / n + N_ac^e N_bd^f F_ec,fd)
        B'_ac,bd = C_W^2 (<s'_a s'_c s'_b s'_d> Th_ab Th_cd / n + c_ac c_bd B_ac,bd)
    """
    g, c, dg, dc = pairs.g, pairs.c, pairs.dg, pairs.dc
    Theta, V, D, F, B = now.Theta, now.V, now.D, now.F, now.B
    chi, W2 = C_W * c, C_W**2
    one, two = (lambda X: X[:, :, None, None]), (lambda X: X[None, None])

    def swapped(X: Four) -> Four:
        return X.transpose(2, 3, 0, 1)

    # T[Om]
    tilt = Changes(*(lambda_W * s + C_W * Theta * t for s, t in zip(dg, dc, strict=True)))
    VV = m.s_s_s_s - one(g) * two(g)
    VS = m.s_s_s1_s1 - one(g) * two(c)
    SS = m.s1_s1_s1_s1 - one(c) * two(c)
    V_Omega = lambda_W * VV + C_W * VS * two(Theta)
    Omega_Omega = (
        lambda_W**2 * VV
        + lambda_W * C_W * (VS * two(Theta) + swapped(VS) * one(Theta))
        + W2 * SS * one(Theta) * two(Theta)
    )
    gV = _passed(dg, V)
    tV = _passed(tilt, V)
    tD = _passed(tilt, D) * two(chi)

    k1 = _passed(dg, now.K1) + _curvature(dg, V)
    c1 = _passed(dc, now.K1) + _curvature(dc, V)
    i, j = jnp.arange(len(g))[:, None], jnp.arange(len(g))[None]
    # D_ef,ab + F_ea,fb + F_eb,fa with (e, f) = (a, a), (b, b) and half of (a, b) + (b, a)
    at_aa = D[i, i, i, j] + F[i, i, i, j] + F[i, j, i, i]
    at_bb = D[j, j, i, j] + F[j, i, j, j] + F[j, j, j, i]
    at_ab = D[i, j, i, j] + (F[i, i, j, j] + F[i, j, j, i] + F[j, i, i, j] + F[j, j, i, i]) / 2
    Theta1 = lambda_W * k1 + C_W * (
        c1 * Theta + c * now.Theta1 + dc.aa * at_aa + dc.bb * at_bb + dc.ab * at_ab
    )

    # <d_e (s_a s'_c)> with e = a, and e = c
    by_s = jnp.where(jnp.eye(len(g), dtype=bool), 0.0, c)
    by_slope = jnp.where(jnp.eye(len(g), dtype=bool), dg.aa, 2 * dg.bb)
    half = _along(by_s, by_slope, F)  # [a, c, f, d]
    NF = swapped(half)  # [f, d, a, c]
    NNF = swapped(_along(by_s, by_slope, NF))  # [a, c, b, d]
    mixed = m.s_s_s1_s1.transpose(0, 2, 1, 3)  # <s_a s_b s'_c s'_d> at [a, c, b, d]
    slopes4 = m.s1_s1_s1_s1

    moving = None
    if now.moving is not None:
        assert pairs.bends is not None
        moving = _moving_step(
            now, now.moving, pairs, pairs.bends, m, (by_s, by_slope), NF, C_W, lambda_W, n
        )
    return LayerTensors(
        K=C_b + C_W * g,
        Theta=lambda_b + lambda_W * g + chi * Theta,
        K1=C_W * k1,
        Theta1=Theta1,
        V=W2 * (VV / n + swapped(_passed(dg, swapped(gV)))),
        A=Omega_Omega / n + one(chi) * two(chi) * now.A + tD + swapped(tD)
        + swapped(_passed(tilt, swapped(tV))),
        B=W2 * (
            slopes4 * Theta[:, None, :, None] * Theta[None, :, None] / n + one(c) * two(c) * B
        ),
        D=C_W * (V_Omega / n + swapped(_passed(tilt, swapped(gV))) + _passed(dg, D) * two(chi)),
        F=W2 * (mixed * Theta[None, :, None] / n + NNF),
        moving=moving,
    )  # fmt: skip


def _moving_step(
    now: LayerTensors, old: TangentTensors, pairs: PairFunctions, bends: Bends, m: FourPointMoments,
    N: tuple[Two, Two], NF: Four, C_W: Array, lambda_W: Array, n: Array,
) -> TangentTensors:  # fmt: skip
    """P to U of layer l + 1, with NF[f, c, e, a] = N_dc^f F_fc,ea at [e, a, d, c]::

        P' = C_W^2 (<s_d s'_b s'_c s''_a> Th_ab Th_ac / n
                    + c_bc (<s_d s''_a> B_aa,bc + N_da^e P_abce))
        Q' = lambda_W C_W (<s_b s'_a s'_c s_d> Th_ac / n + N_ba^e N_dc^f F_ea,fc)
             + C_W^2 (<s'_b s'_c s_d s''_a> Th_ab Th_ac / n + Th_ab Y_ba^e N_dc^f F_ea,fc
                      + c_ab N_dc^f Q_abcf)
        R' = lambda_W C_W (<s_b s''_a s'_c s'_d> Th_ac Th_ad / n
                           + c_cd (<s_b s''_a> B_aa,cd + N_ba^e P_acde))
             + C_W^2 (<s'''_a s'_b s'_c s'_d> Th_ab Th_ac Th_ad / n
                      + c_cd (Th_ab <s'''_a s'_b> B_aa,cd + Th_ab Y_ba^e P_acde + c_ab R))
        S' = lambda_W C_W (<s'_a s'_b s'_c s'_d> Th_ac Th_bd / n + c_ab c_cd B_ab,cd)
             + C_W^2 (<s''_a s''_b s'_c s'_d> Th_ab Th_ac Th_bd / n
                      + c_cd (<s''_a s''_b> Th_ab B_ab,cd + c_ab S))
        T' = <w_ca w_db> Th_ab / n + Z_ca^e Z_db^f F_ea,fb + chi_bd Z_ca^e Q_bdae
             + chi_ac Z_db^f Q_acbf + chi_ac chi_bd T
        U' = C_W^2 (<s''_a s'_d s''_b s'_c> Th_ab Th_ac Th_bd / n + c_ad c_bc U)

    with Y_ba^e = <d_e (s'_b s''_a)>, w_ca = lambda_W s_c s'_a + C_W Th_ac s'_c s''_a and
    Z_ca^e = <d_e w_ca>.
    """
    c, Theta, B, F = pairs.c, now.Theta, now.B, now.F
    assert m.s_s2_s1_s1 is not None
    assert m.s3_s1_s1_s1 is not None
    assert m.s2_s2_s1_s1 is not None
    P, Q = old.P, old.Q
    W2, both_rates = C_W**2, lambda_W * C_W
    chi = C_W * c
    index = jnp.arange(len(c))
    by_s, by_slope = N

    def at(X: Two, places: str) -> Array:
        """X of two of the indices a, b, c, d, to be multiplied with tensors of all four."""
        first, second = ("abcd".index(place) for place in places)
        X = X if first < second else X.T
        shape = [1] * 4
        shape[first] = shape[second] = len(c)
        return X.reshape(shape)

    def swapped(X: Four) -> Four:
        return X.transpose(2, 3, 0, 1)

    # s_b s''_a s'_c s'_d and s'''_a s'_b s'_c s'_d at [a, b, c, d]
    bent = m.s_s2_s1_s1.transpose(1, 0, 2, 3)
    third, twice, slopes, mixed = m.s3_s1_s1_s1, m.s2_s2_s1_s1, m.s1_s1_s1_s1, m.s_s_s1_s1
    bent_d = bent.transpose(0, 2, 3, 1)  # s_d s''_a s'_b s'_c: b of `bent` is d
    same_B = _same(B)  # B_aa,..
    P_last_a = P[index, :, :, index]  # P_abca
    # N_da^e P_abce: e = d, e = a
    NP = at(by_s, "da") * P + at(by_slope, "da") * P_last_a[..., None]
    P_new = W2 * (
        bent_d * at(Theta, "ab") * at(Theta, "ac") / n
        + at(c, "bc") * (at(bends.s_s2, "da") * same_B[..., None] + NP)
    )

    diagonal = jnp.eye(len(c), dtype=bool)
    # Y_ba^e with e = b and e = a; of equal indices all in the latter
    Y_b = jnp.where(diagonal, 0.0, bends.s2_s2)
    Y_a = bends.s1_s3 + jnp.where(diagonal, bends.s2_s2, 0.0)
    # NF at [e, a, d, c]; contract e with (b, a)
    NNF = _along(by_s, by_slope, NF).transpose(1, 0, 3, 2)
    YNF = _along(Y_b, Y_a, NF).transpose(1, 0, 3, 2)
    Q_last_c = Q[:, :, index, index]  # Q_abcc
    NQ = at(by_s, "dc") * Q + at(by_slope, "dc") * Q_last_c[..., None]
    # s_b s_d s'_a s'_c
    crossed = mixed.transpose(2, 0, 3, 1)
    Q_new = both_rates * (crossed * at(Theta, "ac") / n + NNF) + W2 * (
        bent_d * at(Theta, "ab") * at(Theta, "ac") / n + at(Theta, "ab") * YNF + at(c, "ab") * NQ
    )

    # P_acde with e = b, and e = a
    P_e = P.transpose(0, 3, 1, 2)
    P_a = P_last_a[:, None]
    NP = at(by_s, "ba") * P_e + at(by_slope, "ba") * P_a
    YP = at(Y_b, "ba") * P_e + at(Y_a, "ba") * P_a
    B_aa = same_B[:, None]
    R_new = both_rates * (
        bent * at(Theta, "ac") * at(Theta, "ad") / n
        + at(c, "cd") * (at(bends.s_s2, "ba") * B_aa + NP)
    ) + W2 * (
        third * at(Theta, "ab") * at(Theta, "ac") * at(Theta, "ad") / n
        + at(c, "cd")
        * (at(Theta, "ab") * (at(bends.s1_s3, "ba") * B_aa + YP) + at(c, "ab") * old.R)
    )

    across = at(Theta, "ac") * at(Theta, "bd")
    S_new = both_rates * (slopes * across / n + at(c, "ab") * at(c, "cd") * B) + W2 * (
        twice * at(Theta, "ab") * across / n
        + at(c, "cd") * (at(bends.s2_s2 * Theta, "ab") * B + at(c, "ab") * old.S)
    )

    # w_ca: Z_ca^e with e = c, and e = a
    Z_c = lambda_W * by_s + C_W * Theta * Y_b
    Z_a = lambda_W * by_slope + C_W * Theta * Y_a
    # s_d s'_c s'_b s''_a; s_c s'_d s'_a s''_b
    sd, sc = bent_d, bent_d.transpose(1, 0, 3, 2)
    w_w = (
        lambda_W**2 * mixed.transpose(2, 3, 0, 1)
        + both_rates * (at(Theta, "bd") * sc + at(Theta, "ac") * sd)
        + W2 * across * twice
    )
    ZF = swapped(_along(Z_c, Z_a, F))  # [f, b, c, a]
    ZZF = _along(Z_c, Z_a, ZF).transpose(3, 1, 2, 0)  # [d, b, c, a] -> [a, b, c, d]
    # Z_ca^e Q_bdae: e = c: Q_bdac, e = a: Q_bdaa
    Q_c = Q.transpose(2, 0, 3, 1)
    ZQ = at(Z_c, "ca") * Q_c + at(Z_a, "ca") * Q_last_c.transpose(2, 0, 1)[:, :, None]
    T_new = (
        w_w * at(Theta, "ab") / n
        + ZZF
        + at(chi, "bd") * ZQ
        + at(chi, "ac") * ZQ.transpose(1, 0, 3, 2)
        + at(chi, "ac") * at(chi, "bd") * old.T
    )
    U_new = W2 * (twice * at(Theta, "ab") * across / n + at(c, "ad") * at(c, "bc") * old.U)
    return TangentTensors(P_new, Q_new, R_new, S_new, T_new, U_new)
