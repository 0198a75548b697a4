"""A system whose training is known exactly: gradient descent on a parabola."""

import jax
import jax.numpy as jnp

from nsh import System


class Descent(System):
    """``w <- w - rate (curvature w - quartic w^3)``, w_0 normal, `width` numbers alike.

    Without the quartic term w_t = w_0 (1 - rate curvature)^t; with it, large w_0 run away.
    """

    curvature: float = 2.0
    width: int = 1

    def prepare(self, x, y):
        return jnp.asarray(x), jnp.asarray(y)

    def init(self, key, hyper):
        return jnp.full(self.width, jax.random.normal(key, dtype=jnp.result_type(float)))

    def step(self, state, batch, hyper, key):
        return state - hyper["rate"] * (self.curvature * state - hyper["quartic"] * state**3)

    def outputs(self, state, example):
        return state

    def features(self, state, example):
        return (state,)

    def bounds(self, hyper):
        return {"rate": (0.0, 10.0), "quartic": (-1.0, float("inf"))}


SYSTEM = Descent()
EXAMPLES = (jnp.zeros((3, 1), jnp.float32), jnp.zeros(3, jnp.int32))


def hyper(rate=0.1, quartic=0.0):
    return {"rate": jnp.asarray(rate, float), "quartic": jnp.asarray(quartic, float)}


def loss(run):
    """``w^2 / 2``."""
    return jnp.mean(run.state**2) / 2
