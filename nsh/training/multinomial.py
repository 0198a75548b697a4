"""Multinomial counts by conditional binomials, one proposal after the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, UInt32

from nsh.training.binomial import propose

# so many proposals are made from one call for random bits
AT_ONCE = 4


def multinomial(
    key: Key[Array, ""], n: Int[Array, ""], p: Float[np.ndarray, " categories"]
) -> Int[Array, " categories"]:
    """Draw how many of n draws fall in each category: counts ~ Multinomial(n, p), sum exactly n.

    Exact in law for conditional probabilities rounded to the float type, p itself being in 64
    bits: in 32-bit floats and n draws, a mean is off by at most about 1e-7 sqrt(n) standard
    deviations. Time grows with the number of categories, hardly with n; n up to 2^31 - 1.

    `jax.random.multinomial` is not used because 32-bit floats hold whole numbers to 2^24 only and
    its test of acceptance subtracts logarithms of order n: at n = 10^6 two million draws tell it
    from the binomial law (chi-square p-values 1e-8 to 1e-12), at n = 10^7 with certainty.

    `jit` and `vmap` work; under `vmap` a member's counts do not depend on the others.
    """
    order = np.argsort(p, kind="stable")
    tails = np.cumsum(p[order][::-1])[::-1]
    # rarest first: then no conditional probability exceeds 1/2
    shares = p[order][:-1] / tails[:-1]
    return successive(key, n, jnp.asarray(shares, float))[np.argsort(order)]


@jax.jit
def successive(
    key: Key[Array, ""], n: Int[Array, ""], shares: Float[Array, " conditional"]
) -> Int[Array, " conditional+1"]:
    """Counts of categories of which each takes its share, at most 1/2, of what is left.

    Each member of a `vmap` goes on to its next binomial as soon as it has accepted one. A loop for
    each binomial would keep all members waiting, each time, for the slowest.
    """
    last = shares.shape[0]
    shares = jnp.append(shares, 0)  # of finished members

    def step(carry: PyTree, words: UInt32[Array, "2"]) -> tuple[PyTree, None]:
        category, left = carry
        value, accepted = propose(words, left[category], shares[category])
        now = left[category] - jnp.where(accepted, value, 0)
        left = left.at[category + 1].set(now, mode="drop")
        category = jnp.minimum(category + accepted.astype(jnp.int32), last)
        return (jnp.where(now == 0, last, category), left), None

    def block(carry: PyTree) -> PyTree:
        number, inner = carry
        words = jax.random.bits(jax.random.fold_in(key, number), (AT_ONCE, 2), jnp.uint32)
        return number + 1, jax.lax.scan(step, inner, words)[0]

    # what is left before each category: its differences add up to n however they are rounded
    left = jnp.zeros(last + 1, jnp.int32).at[0].set(n)
    start = (jnp.where(n == 0, last, 0), left)
    running = (jnp.zeros((), jnp.int32), start)
    _, (_, left) = jax.lax.while_loop(lambda c: c[1][0] < last, block, running)
    return left - jnp.append(left[1:], 0)
