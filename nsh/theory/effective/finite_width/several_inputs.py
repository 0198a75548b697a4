"""How the kernels of several inputs fluctuate together, to first order in 1/width."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all
from nsh._shown import Shown
from nsh.activations import Activation
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.correlated import pair_nodes, product_mean
from nsh.theory.effective.finite_width.pair_functions import triangle

Kernel = Float[Array, "n n"]
Vertex = Float[Array, "n n n n"]


def four_point_vertex(architecture: Architecture, x: Float[Array, "n n_0"]) -> Vertex:
    """V[a, b, c, d] = Cov of (z1_a z1_b) with (z2_c z2_d) in the last layer, for inputs x.

    z1, z2 two neurons and a..d inputs, so ``K_ab`` of a finite network has covariance V_ab,cd with
    K_cd. From a layer of width n, with C_W of the next one::

        V'_ab,cd = C_W^2 {[<s_a s_b s_c s_d> - <s_a s_b> <s_c s_d>] / n + T_ab : V : T_cd},
        T_ab = d<s_a s_b> / dK = (1/2) K^-1 <s_a s_b (z z^T - K)> K^-1

    (computed without the inverse, so inputs may be parallel or equal). V[a, a, a, a] is
    `fluctuations(...).V[-1]`. Source: arXiv 2106.10165, section 4.3. Shapes: x [n, n_0] to
    [n, n, n, n]; any widths. PairExpectations by quadrature, four inputs as two pairs by Hermite
    expansion (see `nsh.theory.effective.finite_width.correlated`). Cost a layer: n^2/2 quadratures
    and n^4/8 small contractions, some milliseconds each: for a dozen inputs. Relative errors of the
    moments, in 64 bits: of one or two different inputs 1e-8; of more 1e-6 for ReLU, 3e-4 for kinks
    away from 0, 5e-3 where K is 100 and the activation's own scale 1, at correlations of .99;
    smooth functions and smaller correlations much less. Differentiable by x and the architecture's
    numbers. Raises `ValueError` for shapes, inputs that are not finite or zero without C_b, gamma
    != 0 (a traced one gives NaN), no widths.

    Example:
        >>> from nsh.theory.effective import Architecture, four_point_vertex
        >>> V = four_point_vertex(Architecture("linear", 2, 10), jnp.ones((1, 1)))
        >>> round(float(V[0, 0, 0, 0]), 4)  # 2 / width
        0.2
    """
    architecture.hidden_widths()  # there are some
    require(x.ndim == 2 and min(x.shape) >= 1, "x.shape", x.shape, "[inputs, n_0], neither 0")
    x = jnp.asarray(x, architecture.C_W.dtype)
    for field, value in (("x", x), ("gamma", architecture.gamma)):
        if is_concrete(value):
            good = np.isfinite(value) if field == "x" else np.asarray(value) == 0
            require_all(good, field, value, "finite" if field == "x" else "0 here")
    K = architecture.C_b[0] + architecture.C_W[0] * (x @ x.T) / x.shape[1]
    if is_concrete(K):
        require_all(np.diagonal(K) > 0, "C_b + C_W |x|^2 / n_0", np.diagonal(K), "> 0")
    return _vertex(architecture, K)


@jax.jit
def _vertex(architecture: Architecture, K: Kernel) -> Vertex:
    n = K.shape[0]
    V = jnp.where(architecture.gamma == 0, jnp.zeros((n,) * 4, K.dtype), jnp.nan)
    widths = jnp.asarray(architecture.hidden_widths(), K.dtype)
    steps = architecture.C_b[1:], architecture.C_W[1:], widths

    def step(layer: tuple[Kernel, Vertex], after: tuple[Array, Array, Array]):
        (K, V), (C_b, C_W, width) = layer, after
        pairs = _pairs(K, architecture.activation)
        fourth = _fourth_moments(K, pairs)
        source = (fourth - pairs.g[:, :, None, None] * pairs.g[None, None]) / width
        transport = jnp.einsum("abef,efgh,cdgh->abcd", pairs.T, V, pairs.T)
        return (C_b + C_W * pairs.g, C_W**2 * (source + transport)), None

    (_, V), _ = jax.lax.scan(step, (K, V), steps)
    return V


class PairExpectations(Shown):
    """<s_a s_b>, its derivatives T[a, b, e, f] by K_ef, <s_a^3 s_b> and <s_a^2 s_b^2>.

    Of the pairs a <= b as `triangle` orders them: L^-1 where K = L L^T, and the Hermite
    coefficients of s_a s_b.
    """

    g: Kernel
    T: Vertex
    cubes: Kernel
    squares: Kernel
    inverse: Float[Array, "pairs 2 2"]
    F: Float[Array, "pairs terms terms"]


def _pairs(K: Kernel, activation: Activation) -> PairExpectations:
    """Of all pairs of inputs. T needs no inverse: d/dK_ab is <s'_a s'_b> (Price), and scaling z_a
    gives d/dK_aa.
    """
    n = K.shape[0]
    a, b, number = triangle(n)
    pairs = np.stack([a, b], 1)

    @jax.checkpoint  # else reverse mode keeps every polynomial at every node
    def of_pair(pair: Array) -> tuple[Array, Array, Array]:
        nodes = pair_nodes(K[pair][:, pair], activation.kinks)
        z_a, z_b = nodes.z_a, nodes.z_b
        s_a, s_b = activation(z_a), activation(z_b)
        t_a, t_b = activation.derivative(z_a), activation.derivative(z_b)
        of_a, of_b = (
            jnp.stack([s, t, s**2, z * t, s**3]) for s, t, z in ((s_a, t_a, z_a), (s_b, t_b, z_b))
        )
        (l_aa, _), (l_ba, l_bb) = nodes.L
        inverse = jnp.stack([1 / l_aa, 0 * l_aa, -l_ba / (l_aa * l_bb), 1 / l_bb])
        return nodes.means(of_a, of_b), inverse.reshape(2, 2), nodes.coefficients(s_a, s_b)

    found, inverse, F = jax.lax.map(of_pair, jnp.asarray(pairs))
    table = found[number]  # [n, n, function of the lower, function of the higher]
    i, j = np.indices((n, n))
    g, slopes, squares = (table[..., k, k] for k in range(3))
    stretched, cubes = (jnp.where(i <= j, table[..., k, 0], table[..., 0, k]) for k in (3, 4))
    own = (stretched - K * slopes) / (2 * jnp.diagonal(K))[:, None]
    one = jnp.eye(n, dtype=K.dtype)
    a_e, b_e = one[:, None, :, None], one[None, :, :, None]
    a_f, b_f = one[:, None, None, :], one[None, :, None, :]
    own, own_b, half = (x[:, :, None, None] for x in (own, own.T, slopes / 2))
    T = own * a_e * a_f + own_b * b_e * b_f + half * (a_e * b_f + a_f * b_e)
    return PairExpectations(g, T, cubes, squares, inverse, F)


def _fourth_moments(K: Kernel, pairs: PairExpectations) -> Vertex:
    """<s_a s_b s_c s_d>; of three or four different inputs each multiset is computed once.

    (a, a, b, c) is taken as the pairs (a, a) and (b, c); of the three ways to pair four different
    ones, the one with the smallest correlations, whose expansion is the shortest.
    """
    n = K.shape[0]
    a, b, number = triangle(n)
    members = np.stack([a, b], 1)
    places = {tuple(sorted((a, a, a, b))): a * n + b for a in range(n) for b in range(n)}
    places |= {(a, a, b, b): n**2 + a * n + b for a in range(n) for b in range(a + 1, n)}
    values = [pairs.cubes.reshape(-1), pairs.squares.reshape(-1)]
    several = [
        four for four in itertools.combinations_with_replacement(range(n), 4) if len(set(four)) > 2
    ]
    if several:
        ways = np.asarray([_ways(*four) for four in several])  # [several, 3, 4]
        numbers = jnp.asarray(number[ways[..., ::2], ways[..., 1::2]])  # [several, 3, 2]
        across = K[members[:, None, :, None], members[None, :, None, :]]
        half = jnp.sum(pairs.inverse[:, None, :, :, None] * across[:, :, None], 3)
        C = jnp.sum(half[:, :, :, None] * pairs.inverse[None, :, None], 4)  # L^-1 K L'^-T
        size = jnp.sum(C**2, (2, 3))
        squared = pairs.squares[members[:, 0], members[:, 1]]

        def of_four(numbers: Array) -> Array:
            both = numbers[jnp.argmin(size[numbers[:, 0], numbers[:, 1]])]
            F, G = pairs.F[both]
            return product_mean(F, G, C[both[0], both[1]], squared[both])

        values.append(jax.lax.map(of_four, numbers))
        places |= {four: 2 * n**2 + place for place, four in enumerate(several)}
    where = [places[tuple(sorted(four))] for four in itertools.product(range(n), repeat=4)]
    return jnp.concatenate(values)[jnp.asarray(where)].reshape((n,) * 4)


def _ways(*four: int) -> list[tuple[int, ...]]:
    """The three ways to pair four inputs; where one occurs twice, with itself, three times."""
    twice = next((i for i in four if four.count(i) == 2), None)
    if twice is not None:
        return [(twice, twice, *(i for i in four if i != twice))] * 3
    a, b, c, d = four
    return [(a, b, c, d), (a, c, b, d), (a, d, b, c)]
