"""Particles at rest in the potential of a given output gradient; u is integrated exactly."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from nsh._shown import Shown
from nsh.theory.two_layer.mean_field.coefficients import Coefficients
from nsh.theory.two_layer.mean_field.grid import Grid
from nsh.theory.two_layer.network import TwoLayer
from nsh.theory.two_layer.particles import Particles


class StationaryDistribution(Shown):
    """A law of (u, theta) by places of theta: their masses and, at each, moments of u.

    `u`, `u_square`: mass times the mean of u, and of its squares. `log_partition`: log Z of
    ``exp(-(V / alpha + r) / temperature)``, averaged over what is kept. `edge`: the mass in the
    grid's outermost cells, which tells whether it reaches far enough.
    """

    theta: Float[Array, "places inputs"]
    mass: Float[Array, " places"]
    u: Float[Array, "places outputs"]
    u_square: Float[Array, "places outputs"]
    log_partition: Float[Array, ""]
    edge: Float[Array, ""]

    def outputs(
        self, network: TwoLayer, x: Float[Array, "n inputs"], alpha: Float[Array, ""]
    ) -> Float[Array, "n outputs"]:
        """``f(x) = alpha E[u s(theta . x)]``."""
        return alpha * network.activation(x @ self.theta.T) @ self.u

    def second_moments(self) -> tuple[Float[Array, " outputs"], Float[Array, " inputs"]]:
        """``E u^2`` and ``E theta^2`` of each coordinate."""
        return jnp.sum(self.u_square, axis=0), self.mass @ self.theta**2


def stationary_distribution(
    network: TwoLayer,
    output_gradient: Float[Array, "n outputs"],
    x: Float[Array, "n inputs"],
    coefficients: Coefficients,
    grid: Grid | None,
    kept: Particles | None,
) -> StationaryDistribution:
    """The law ``~ exp(-(V / alpha + r) / temperature)`` of the trained coordinates.

    ``V = u . g(theta)``, ``g = mean_i loss'_i s(theta . x_i)``; u, where trained, is Gaussian
    given theta.
    """

    def slope_at(theta: Array) -> Array:
        return (
            network.activation(theta @ x.T) @ output_gradient / len(x) / coefficients.alpha
        )  # g / alpha

    if grid is None:
        assert kept is not None
        nothing = jnp.zeros((), x.dtype)
        return _readout_trained(kept.theta, kept.mass, slope_at(kept.theta), coefficients, nothing)
    theta = grid.nodes()
    slope = slope_at(theta)
    spring = coefficients.decay_theta * jnp.sum(theta**2, axis=1) / 2
    log_prior = float(np.log(grid.volume)) - spring / coefficients.temperature
    faces = jnp.asarray(grid.at_faces())
    if kept is not None:
        return _readout_kept(theta, log_prior, slope, coefficients, kept, faces)
    log_mass = log_prior + _log_partition_of_u(slope, coefficients)
    mass = jax.nn.softmax(log_mass)
    edge = jnp.sum(jnp.where(faces, mass, 0.0))
    law = _readout_trained(theta, mass, slope, coefficients, edge)
    return eqx.tree_at(lambda law: law.log_partition, law, logsumexp(log_mass))


def _log_partition_of_u(slope: Array, coefficients: Coefficients) -> Array:
    """``log int exp(-(u . slope + decay_u |u|^2 / 2) / temperature) du``."""
    variance = coefficients.temperature / coefficients.decay_u
    shift = jnp.sum(slope**2, axis=1) / (2 * coefficients.decay_u * coefficients.temperature)
    return shift + slope.shape[1] / 2 * jnp.log(2 * np.pi * variance)


def _readout_trained(
    theta: Array, mass: Array, slope: Array, coefficients: Coefficients, edge: Array
) -> StationaryDistribution:
    """With u ~ N(-slope / decay_u, temperature / decay_u) at each theta."""
    mean = -slope / coefficients.decay_u
    square = mean**2 + coefficients.temperature / coefficients.decay_u
    log_partition = jnp.sum(mass * _log_partition_of_u(slope, coefficients))
    column = mass[:, None]
    return StationaryDistribution(theta, mass, column * mean, column * square, log_partition, edge)


def _readout_kept(
    theta: Array,
    log_prior: Array,
    slope: Array,
    coefficients: Coefficients,
    kept: Particles,
    faces: Array,
) -> StationaryDistribution:
    """With a law of theta to each kept u."""
    log_mass = log_prior[None] - kept.u @ slope.T / coefficients.temperature  # [kept, places]
    joint = kept.mass[:, None] * jax.nn.softmax(log_mass, axis=1)
    mass = jnp.sum(joint, axis=0)
    log_partition = jnp.sum(kept.mass * logsumexp(log_mass, axis=1))
    edge = jnp.sum(jnp.where(faces, mass, 0.0))
    return StationaryDistribution(
        theta, mass, joint.T @ kept.u, joint.T @ kept.u**2, log_partition, edge
    )
