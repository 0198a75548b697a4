"""How the kernels of several inputs fluctuate together, to first order in 1/width."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all
from nsh._shown import Shown
from nsh.theory.effective.activation import Activation
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.correlated import expectation, factor

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
    [n, n, n, n]; any widths. Cost: an n(n-1)(n-2)(n-3)/24 fold of four-dimensional quadratures a
    layer, some tenths of a second each: for a handful of inputs. Relative errors of the moments, in
    64 bits: 1e-8 of two different inputs, 1e-5 of three, 1e-3 of four, more where K is above 100
    and the activation's own scale 1 (see `nsh.theory.effective.finite_width.correlated`).
    Differentiable by x and the architecture's numbers. Raises `ValueError` for shapes, inputs that
    are not finite or zero without C_b, gamma != 0 (a traced one gives NaN), no widths.
    """
    widths = architecture.hidden_widths()
    require(x.ndim == 2 and min(x.shape) >= 1, "x.shape", x.shape, "[inputs, n_0], neither 0")
    x = jnp.asarray(x, architecture.C_W.dtype)
    for field, value in (("x", x), ("gamma", architecture.gamma)):
        if is_concrete(value):
            good = np.isfinite(value) if field == "x" else np.asarray(value) == 0
            require_all(good, field, value, "finite" if field == "x" else "0 here")
    K = architecture.C_b[0] + architecture.C_W[0] * (x @ x.T) / x.shape[1]
    if is_concrete(K):
        require_all(np.diagonal(K) > 0, "C_b + C_W |x|^2 / n_0", np.diagonal(K), "> 0")
    n = x.shape[0]
    V = jnp.where(architecture.gamma == 0, jnp.zeros((n,) * 4, K.dtype), jnp.nan)
    steps = architecture.C_b[1:], architecture.C_W[1:], jnp.asarray(widths, K.dtype)

    def step(layer: tuple[Kernel, Vertex], after: tuple[Array, Array, Array]):
        (K, V), (C_b, C_W, width) = layer, after
        pairs = _pairs(K, architecture.activation)
        fourth = _fourth_moments(K, architecture.activation, pairs)
        source = (fourth - pairs.g[:, :, None, None] * pairs.g[None, None]) / width
        transport = jnp.einsum("abef,efgh,cdgh->abcd", pairs.T, V, pairs.T)
        return (C_b + C_W * pairs.g, C_W**2 * (source + transport)), None

    (_, V), _ = jax.lax.scan(step, (K, V), steps)
    return V


class Pairs(Shown):
    """<s_a s_b>, its derivatives T[a, b, e, f] by K_ef, <s_a^3 s_b> and <s_a^2 s_b^2>."""

    g: Kernel
    T: Vertex
    cubes: Kernel
    squares: Kernel


def _pairs(K: Kernel, activation: Activation) -> Pairs:
    """Of all pairs of inputs. T needs no inverse: d/dK_ab is <s'_a s'_b> (Price), and scaling z_a
    gives d/dK_aa.
    """
    n = K.shape[0]
    a, b = (jnp.asarray(i) for i in np.indices((n, n)).reshape(2, -1))

    def of_a(z: Array) -> Array:
        s, slope = activation(z), activation.derivative(z)
        return jnp.stack([s, slope, z * slope, s**3, s**2])

    def of_b(z: Array) -> Array:
        s = activation(z)
        return jnp.stack([s, activation.derivative(z), s, s, s**2])

    def of_pair(pair: tuple[Array, Array]) -> Array:
        both = jnp.stack(pair)
        return expectation(factor(K[both][:, both]), (of_a, of_b), activation.kinks)

    found = jax.lax.map(of_pair, (a, b)).T.reshape(5, n, n)
    g, slopes, stretched, cubes, squares = found
    own = (stretched - K * slopes) / (2 * jnp.diagonal(K))[:, None]
    i, j = np.indices((n, n))
    T = jnp.zeros((n,) * 4, K.dtype)
    T = T.at[i, j, i, i].add(own).at[i, j, j, j].add(own.T)
    T = T.at[i, j, i, j].add(slopes / 2).at[i, j, j, i].add(slopes / 2)
    return Pairs(g, T, cubes, squares)


def _fourth_moments(K: Kernel, activation: Activation, pairs: Pairs) -> Vertex:
    """<s_a s_b s_c s_d>; of three or four different inputs each multiset is computed once."""
    n = K.shape[0]
    values = [pairs.cubes.reshape(-1), pairs.squares.reshape(-1)]
    places = {tuple(sorted((a, a, a, b))): a * n + b for a in range(n) for b in range(n)}
    places |= {(a, a, b, b): n**2 + a * n + b for a in range(n) for b in range(a + 1, n)}
    count = 2 * n**2
    for powers, members in _multisets(n).items():
        functions = tuple(_power(activation, power) for power in powers)

        def of_members(chosen: Array, functions=functions) -> Array:
            return expectation(factor(K[chosen][:, chosen]), functions, activation.kinks)

        values.append(jax.lax.map(of_members, jnp.asarray(members)))
        for member in members:
            places[tuple(sorted(np.repeat(member, powers).tolist()))] = count
            count += 1
    where = [places[tuple(sorted(four))] for four in itertools.product(range(n), repeat=4)]
    return jnp.concatenate(values)[jnp.asarray(where)].reshape((n,) * 4)


def _multisets(n: int) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Of three or four different indices below n: by how often each occurs, the lists of them."""
    found: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for four in itertools.combinations_with_replacement(range(n), 4):
        counts = sorted(((four.count(i), i) for i in set(four)), reverse=True)
        if len(counts) > 2:
            powers, members = zip(*counts, strict=True)
            found.setdefault(powers, []).append(members)
    return found


def _power(activation: Activation, power: int):
    return lambda z: activation(z) ** power
