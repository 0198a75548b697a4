"""Two-layer networks without readout at the start, and the teacher that they learn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from nsh.theory.two_layer.initializer import Drawn, Independent, ParticleInitializer
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles

TEACHER = 3  # units


class Silent(ParticleInitializer):
    """`width` units with u = 0 and theta ~ N(0, 1): nothing is there to be represented yet."""

    width: int

    def draw(self, key: Key[Array, ""], inputs: int, outputs: int) -> Drawn:
        """See `ParticleInitializer.draw`."""
        u, theta, mass = Independent(self.width).draw(key, inputs, outputs)
        return jnp.zeros_like(u), theta, mass


def teacher(key: Key[Array, ""], inputs: int) -> Float[Array, "units inputs"]:
    """Unit vectors: the input weights of the teacher's units."""
    theta = jax.random.normal(key, (TEACHER * inputs,)).reshape(TEACHER, inputs)
    return theta / jnp.linalg.norm(theta, axis=1, keepdims=True)


def taught(theta: Float[Array, "units inputs"], x: Float[Array, "n inputs"]) -> Float[Array, " n"]:
    """The teacher's outputs, its readouts 1.5 and -1.5 in turn."""
    return jax.nn.relu(x @ theta.T) @ jnp.array([1.5, -1.5, 1.5])


def outputs(network: TwoLayer, particles: Particles, x: Float[Array, "n inputs"]) -> Array:
    """f(x_i) of a network with one output."""
    return jax.vmap(network.output, (None, 0))(particles, x)[:, 0]
