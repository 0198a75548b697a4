"""Expectations over two correlated Gaussians, accurate at kinks, and over two such pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._shown import Shown
from nsh.activations.gaussian import standard_nodes

NODES = 64  # of each piece
TAIL = 10.0  # standard deviations; Hermite functions of the order TERMS still reach there
TERMS = 64

Coefficients = Float[Array, "terms terms"]


class PairNodes(Shown):
    """(z_a, z_b) ~ N(0, K) as nodes: z_a of u_a, and for each of them z_b of u_a and u_b.

    z = L u with u standard normal and L lower triangular. Gauss-Legendre in u_a, broken where z_a
    or the mean of z_b given u_a meets a kink or 0, then in u_b, broken where z_b does: no kink lies
    inside a piece however parallel the inputs are.
    """

    L: Float[Array, "2 2"]
    u_a: Float[Array, " outer"]
    weight_a: Float[Array, " outer"]
    u_b: Float[Array, "outer inner"]
    weight_b: Float[Array, "outer inner"]

    @property
    def z_a(self) -> Float[Array, " outer"]:
        """The nodes of the first Gaussian."""
        return self.L[0, 0] * self.u_a

    @property
    def z_b(self) -> Float[Array, "outer inner"]:
        """The nodes of the second, for each of the first."""
        return self.L[1, 0] * self.u_a[:, None] + self.L[1, 1] * self.u_b

    def means(
        self, of_a: Float[Array, "i outer"], of_b: Float[Array, "j outer inner"]
    ) -> Float[Array, "i j"]:
        """<f_i(z_a) g_j(z_b)>, of the values at the nodes."""
        inner = jnp.sum(self.weight_b[None] * of_b, -1)
        return jnp.matmul(self.weight_a[None] * of_a, inner.T, precision="highest")

    def coefficients(
        self, of_a: Float[Array, " outer"], of_b: Float[Array, "outer inner"]
    ) -> Coefficients:
        """<f(z_a) g(z_b) h_{m-k}(u_a) h_k(u_b)> in row m and column k <= m, else 0.

        h are the orthonormal Hermite polynomials: row m is a symmetric tensor of degree m.
        """
        weighted = self.weight_b * of_b

        def following(last: tuple[Array, Array], k: Array):
            # of u_a and u_b: (h_k, h_{k-1}), one row of the latter more
            now, before = last
            u = jnp.concatenate([self.u_a[:, None], self.u_b], 1)
            new = (u * now - jnp.sqrt(k) * before) / jnp.sqrt(k + 1)
            return (new, now), (now[:, 0], jnp.sum(now[:, 1:] * weighted, 1))

        one = jnp.ones((weighted.shape[0], weighted.shape[1] + 1), weighted.dtype)
        orders = jnp.arange(TERMS, dtype=one.dtype)
        _, (outer, inner) = jax.lax.scan(following, (one, jnp.zeros_like(one)), orders)
        F = jnp.matmul(outer * (self.weight_a * of_a)[None], inner.T, precision="highest")
        m, k = np.indices(F.shape)
        return jnp.where(k <= m, F[np.maximum(m - k, 0), k], 0.0)


def pair_nodes(K: Float[Array, "2 2"], kinks: tuple[float, ...]) -> PairNodes:
    """The nodes for N(0, K), K singular too; the kinks are those of both functions.

    A conditional variance below rounding (1e-12 of K_bb in 64 bits, 1e-6 in 32) is raised to that.
    """
    L = _factor(K)
    places = jnp.asarray(sorted({0.0, *kinks}), K.dtype)
    moves = L[1, 0] != 0
    means = jnp.where(moves, places / jnp.where(moves, L[1, 0], 1.0), 0.0)
    u_a, weight_a = _nodes(jnp.concatenate([places / L[0, 0], means]))

    def second(u: Array) -> tuple[Array, Array]:
        own = (places - L[1, 0] * u) / L[1, 1]
        # at 0 too, so that no piece holds all of the bell
        return _nodes(jnp.concatenate([jnp.zeros((1,), K.dtype), own]))

    return PairNodes(L, u_a, weight_a, *jax.vmap(second)(u_a))


def _factor(K: Float[Array, "2 2"]) -> Float[Array, "2 2"]:
    least = 1e-12 if K.dtype == jnp.float64 else 1e-6
    first = jnp.sqrt(K[0, 0])
    across = K[0, 1] / first
    second = jnp.sqrt(jnp.maximum(K[1, 1] - across**2, least * K[1, 1]))
    return jnp.stack([jnp.stack([first, jnp.zeros_like(first)]), jnp.stack([across, second])])


def _nodes(places: Array) -> tuple[Array, Array]:
    ends = jnp.full((1,), TAIL, places.dtype)
    breaks = jnp.concatenate([-ends, jnp.sort(jnp.clip(places, -TAIL, TAIL)), ends])
    return standard_nodes(breaks, NODES)


def product_mean(
    F: Coefficients, G: Coefficients, C: Float[Array, "2 2"], squares: Float[Array, "2"]
) -> Float[Array, ""]:
    """<F(u) G(v)> over four Gaussians: u, v standard normal pairs with <u v^T> = C.

    ``sum_m F_m . C^(x m) G_m``, with F_m the coefficients of degree m (Mehler's formula in two
    dimensions). C^(x m) comes from C^(x m-1) by a mean over which factor is the last one, so
    nothing grows. `squares`: <F^2> and <G^2>, which tell what the terms left out weigh; how far
    they are aligned is extrapolated from the last half of the terms and the quarter before.
    """
    index = jnp.arange(TERMS, dtype=F.dtype)
    second = jnp.sqrt(index)

    def following(power: Array, given: tuple[Array, Array, Array]):
        m, f, g = given
        first = jnp.sqrt(jnp.maximum(m + 1 - index, 0))
        padded = jnp.pad(power, ((1, 0), (1, 0)))
        new = (
            C[0, 0] * first[:, None] * first[None] * power
            + C[0, 1] * first[:, None] * second[None] * padded[1:, :-1]
            + C[1, 0] * second[:, None] * first[None] * padded[:-1, 1:]
            + C[1, 1] * second[:, None] * second[None] * padded[:-1, :-1]
        )
        products = jnp.stack(
            [jnp.sum(f[:, None] * power * g[None]), jnp.sum(f * f), jnp.sum(g * g)]
        )
        return new / (m + 1), products

    start = jnp.zeros((TERMS, TERMS), F.dtype).at[0, 0].set(1)
    _, products = jax.lax.scan(following, start, (index, F, G))
    # sums over the second quarter, the last half and all
    parts = np.stack([np.arange(TERMS) // (TERMS // 4) == 1, np.arange(TERMS) >= TERMS // 2])
    parts = np.concatenate([parts, np.ones((1, TERMS))])
    early, late, whole = jnp.sum(jnp.asarray(parts, F.dtype)[:, :, None] * products[None], 1)
    least = jnp.finfo(F.dtype).eps * squares

    def aligned(part: Array) -> Array:
        return part[0] / jnp.sqrt(jnp.prod(part[1:] + least))

    # as if the alignment went on falling as it does
    before = aligned(early)
    falls = jnp.clip(aligned(late) / jnp.where(before == 0, 1.0, before), -1.0, 1.0)
    left = jnp.sqrt(jnp.prod(jnp.maximum(squares - whole[1:], least)))
    return whole[0] + jnp.clip(aligned(late) * falls**2, -1.0, 1.0) * left
