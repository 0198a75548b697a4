"""Dual activations of any function, by the Hermite (Mehler) expansion."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from nsh.theory.effective.activation import Activation
from nsh.theory.effective.gaussian import TAIL, crowded, gaussian, hermite
from nsh.theory.effective.infinite_width.arccos import safe_sqrt
from nsh.theory.effective.infinite_width.closed_duals import relative_gap
from nsh.theory.effective.infinite_width.orthant import Ramps
from nsh.theory.effective.infinite_width.pairs import Moments, Pairs

TERMS = 64
COARSE, FINE = 200, 800  # nodes on a half-line; the fine ones for jumps of s'' beside kinks


class Expansion(eqx.Module):
    """<s_a s_b> = sum_k a_k(K_aa) a_k(K_bb) c^k, with a_k(K) = <s(sqrt(K) u) h_k(u)>.

    h_k are the normalised Hermite polynomials, c = K_ab / sqrt(K_aa K_bb) and k < `terms`; the
    same of s' gives <s'_a s'_b> (Mehler's formula). The jumps of s' are taken out first, as ramps
    J relu(z - kink), whose own pairs are known exactly (`Ramps`): what remains, products of the
    rest with itself and with the ramps, has coefficients that fall fast.

    Truncation error, estimated: |c|^terms sqrt(tail_a tail_b), where the tails <s^2> - sum a_k^2
    are known exactly. It is a bound where there are no ramps.
    """

    activation: Activation
    terms: int = eqx.field(static=True)

    def moments(self, K: Array) -> Moments:
        """See `Dual`."""
        kinked = any(self.activation.kinks)
        u, weight = _nodes(FINE if kinked else COARSE)
        projection = np.stack(hermite(u, self.terms)) * weight
        u, projection = jnp.asarray(u, K.dtype), jnp.asarray(projection, K.dtype)
        deviation = safe_sqrt(K)
        z = u.reshape(-1, *(1,) * K.ndim) * deviation[None]
        ramps = Ramps(self.activation)
        both = jnp.stack([self.activation(z), self.activation.derivative(z)], axis=1)
        # [terms, 2, ...]: of s and of s'
        rest = jnp.tensordot(projection, both - ramps.values(z), 1, precision="highest")
        bent = ramps.coefficients(deviation, self.terms)
        whole = rest + bent
        square, slope = (
            self._broken_squares(K)
            if kinked
            else jnp.tensordot(jnp.asarray(weight, K.dtype), both**2, 1, precision="highest")
        )
        tail = jnp.stack([square, slope]) - ramps.squares(deviation)
        tail = jnp.abs(tail - jnp.sum(whole**2 - bent**2, axis=0))
        return Moments(K, square, slope, (whole, bent, tail))

    def _broken_squares(self, K: Array) -> tuple[Array, Array]:
        """<s^2> and <s'^2>, the nodes breaking at kinks."""
        there = K > 0
        nodes = jax.vmap(lambda one: gaussian(one, self.activation))(
            jnp.where(there, K, 1.0).reshape(-1)
        )
        z = jnp.where(there.reshape(-1, 1), nodes.z, 0.0)
        values = (self.activation(z), self.activation.derivative(z))
        square, slope = (jnp.sum(nodes.weight * one**2, 1).reshape(K.shape) for one in values)
        return square, slope

    def pairs(self, a: Moments, b: Moments, gap: Array) -> Pairs:
        """See `Dual`."""
        cosine = 1 - gap
        (whole_a, bent_a, _), (whole_b, bent_b, _) = a.more, b.more
        bends = bool(self.activation.kinks)

        def horner(total: tuple[Array, Array], one: tuple[Array, ...]):
            w_a, w_b, r_a, r_b = one
            new = w_a * w_b - r_a * r_b if bends else w_a * w_b
            return (total[0] * cosine + new[0], total[1] * cosine + new[1]), None

        zero = jnp.zeros_like(gap)
        coefficients = (whole_a, whole_b, bent_a, bent_b)
        (both, slope), _ = jax.lax.scan(
            horner, (zero, zero), coefficients, reverse=True, unroll=min(16, self.terms)
        )
        error = self._error(a, b, cosine)
        if bends:
            ramps = Ramps(self.activation)
            more, steeper = ramps.pairs(a.K, b.K, gap)
            both, slope = both + more, slope + steeper
            # opposite ramps of a saturating function cancel
            lost = float(jnp.finfo(gap.dtype).eps * np.sum(ramps.jumps**2))
            error = error + lost * _growth(a) * _growth(b)
        return Pairs(relative_gap(a, b, both, gap), slope, error)

    def _error(self, a: Moments, b: Moments, cosine: Array) -> Array:
        relative = [
            safe_sqrt(one.more[2] / jnp.maximum(jnp.stack([one.square, one.slope]), 1e-30))
            for one in (a, b)
        ]
        return jnp.abs(cosine) ** (self.terms - 1) * jnp.max(relative[0] * relative[1], axis=0)


def _growth(one: Moments) -> Array:
    """sqrt(K / <s^2>)."""
    return safe_sqrt(one.K / jnp.maximum(one.square, 1e-30))


@functools.cache
def _nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of a standard Gaussian, crowded around 0: `count` on either side."""
    place, share = crowded(count)
    u = TAIL * place
    weight = TAIL * share * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return np.concatenate([u, -u]), np.concatenate([weight, weight])
