"""The law of infinitely many particles through noisy training, on a grid."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh._checks import MOST, require, require_integer
from nsh.theory.two_layer.mean_field.coefficients import coefficients_of
from nsh.theory.two_layer.mean_field.entropy import moved_axes
from nsh.theory.two_layer.mean_field.free_energy import loss_potential, regulariser
from nsh.theory.two_layer.mean_field.grid import Density
from nsh.theory.two_layer.network import Examples, Hyper, TwoLayer

STEEPEST = 80.0  # change of potential over temperature from cell to cell; exp(-80) is as good as 0


def fokker_planck(
    network: TwoLayer,
    start: Density,
    examples: Examples,
    hyper: Hyper,
    *,
    steps: int,
    every: int = 1,
) -> Density:
    """The law p_t of the particles, m = infinity, of noisy descent on all examples.

    ``d_t p = div(p grad(V / alpha + r)) + temperature Laplacian p``, t = learning_rate times steps,
    V from p itself (see `potential`). A step is implicit along each axis in turn with V held, on
    finite volumes with exponentially fitted fluxes (Scharfetter and Gummel 1969; Chang and Cooper
    1970), closed at the box's faces: masses stay positive and sum to 1 for steps of any size, and
    the Gibbs law of the grid is at rest exactly. Errors in between are of order learning_rate and
    spacing^2.

    Returns the laws after 0, every, 2 every .. steps as one `Density` whose `mass` has the leading
    axis [1 + steps / every]: for use under `jax.vmap`. Differentiable. Raises `ValueError` unless
    temperature > 0, on a grid whose axes are not u and theta, and where memory does not suffice.

    Example:
        >>> from nsh.theory.two_layer import Density, Grid, Independent, TwoLayer, fokker_planck
        >>> network = TwoLayer(1, Independent(4), activation="tanh")
        >>> noise = {"temperature": 1.0, "decay_u": 1.0, "decay_theta": 1.0}
        >>> hyper = {"alpha": 1.0, "learning_rate": 0.1, **noise}
        >>> normal = Density.normal(Grid(low=(-2.0, -2.0), high=(2.0, 2.0), cells=(4, 4)))
        >>> examples = network.prepare([[1.0]], [0.0])
        >>> later = fokker_planck(network, normal, examples, hyper, steps=2).mass[-1]
        >>> round(float(abs(later - normal.mass).max()), 4)  # the Gibbs law is at rest
        0.0
    """
    require_integer("every", every, 1)
    require_integer("steps", steps, every, MOST)
    require(steps % every == 0, "steps", steps, f"a multiple of every = {every}")
    start.require_one()
    start.grid.require_axes(network.out_size + network.in_size, "outputs + inputs")
    network.check_examples(examples)
    start.grid.require_memory(len(examples.x) + steps // every)
    coefficients = coefficients_of(network, hyper, start.mass.dtype, ("temperature",))
    eta = jnp.asarray(hyper["learning_rate"], start.mass.dtype)
    nodes = start.particles(network, coefficients.alpha)
    hidden = network.activation(nodes.theta @ examples.x.T)
    rest = regulariser(network, nodes, coefficients)

    def step(law: Density, _: None) -> tuple[Density, None]:
        particles = eqx.tree_at(lambda p: p.mass, nodes, law.mass.reshape(-1))
        V = loss_potential(network, particles, hidden, examples)
        drift, mass = (V / coefficients.alpha + rest).reshape(law.mass.shape), law.mass
        for axis in moved_axes(network):
            pace = eta * coefficients.temperature / law.grid.spacing[axis] ** 2
            mass = _diffused(mass, drift / coefficients.temperature, axis, pace)
        return Density(law.grid, mass), None

    def block(law: Density, _: None) -> tuple[Density, Density]:
        law, _ = jax.lax.scan(step, law, length=every)
        return law, law

    _, course = jax.lax.scan(block, start, length=steps // every)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, course)


def _diffused(
    mass: Float[Array, "*cells"], drift: Float[Array, "*cells"], axis: int, pace: Array
) -> Float[Array, "*cells"]:
    """An implicit step along one axis: ``(1 - A) new = mass``, A from cell to neighbour."""
    if mass.shape[axis] == 1:
        return mass
    mass, drift = jnp.moveaxis(mass, axis, -1), jnp.moveaxis(drift, axis, -1)
    rise = jnp.diff(drift)
    upwards, downwards = pace * _bernoulli(rise), pace * _bernoulli(-rise)
    end = jnp.zeros_like(mass[..., :1])
    leaving = jnp.concatenate([upwards, end], -1) + jnp.concatenate([end, downwards], -1)
    below, above = jnp.concatenate([end, -upwards], -1), jnp.concatenate([-downwards, end], -1)
    found = jax.lax.linalg.tridiagonal_solve(below, 1 + leaving, above, mass[..., None])
    return jnp.moveaxis(found[..., 0], -1, axis)


def _bernoulli(x: Array) -> Array:
    """``x / (exp(x) - 1)``."""
    small = jnp.abs(x) < 1e-2
    x = jnp.clip(x, -STEEPEST, STEEPEST)
    away = jnp.where(small, 1.0, x)
    return jnp.where(small, 1 - x / 2 + x**2 / 12, away / jnp.expm1(away))
