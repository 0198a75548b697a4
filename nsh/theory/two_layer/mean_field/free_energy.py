"""The free energy that noisy gradient descent minimises over laws of particles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from nsh.theory.two_layer.checks import require_particles
from nsh.theory.two_layer.mean_field.coefficients import Coefficients, coefficients_of
from nsh.theory.two_layer.mean_field.entropy import entropy, moved_axes
from nsh.theory.two_layer.mean_field.grid import Density
from nsh.theory.two_layer.network import Examples, Hyper, TwoLayer
from nsh.theory.two_layer.particles import Particles, mean_over

Law = Density | Particles


def mean_loss(network: TwoLayer, particles: Particles, examples: Examples) -> Float[Array, ""]:
    """``L(f_p)``, the mean over examples of the loss of f_p(x). Convex in p. Differentiable.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, mean_loss
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> particles = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> float(mean_loss(network, particles, network.prepare([[3.0]], [5.0])))  # (6 - 5)^2 / 2
        0.5
    """
    require_particles(particles, network)
    network.check_examples(examples)
    outputs = jax.vmap(network.output, (None, 0))(particles, examples.x)
    return jnp.mean(jax.vmap(network.loss)(outputs, examples.y))


def energy(network: TwoLayer, law: Law, examples: Examples, hyper: Hyper) -> Float[Array, ""]:
    """``L(f_p) + alpha^2 E_p r``: all of the free energy but the entropy. Differentiable.

    ``r = decay_u |u|^2 / 2 + decay_theta |theta|^2 / 2``, of the trained parts.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, energy
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> hyper = {"alpha": 1.0, "learning_rate": 0.1, "decay_u": 1.0}
        >>> particles = network.init(jax.random.key(0), hyper)
        >>> examples = network.prepare([[3.0]], [5.0])
        >>> float(energy(network, particles, examples, hyper))  # loss 1/2, r 1/2
        1.0
    """
    particles, coefficients = _placed(network, law, hyper)
    decay = mean_over(particles, regulariser(network, particles, coefficients))
    return mean_loss(network, particles, examples) + coefficients.alpha**2 * decay


def free_energy(
    network: TwoLayer,
    law: Law,
    examples: Examples,
    hyper: Hyper,
    *,
    neighbours: int = 4,
) -> Float[Array, ""]:
    """``Q(p) = L(f_p) + alpha^2 (E_p r + temperature int p log p)``. Convex in p.

    The noisy descent of `TwoLayer` follows ``d_t p = div(p grad(V / alpha + r)) + temperature
    Laplacian p`` with ``dL/dp = alpha V``: the gradient flow of Q in the Wasserstein metric, at
    pace 1 / alpha^2. At alpha = 1 it is the paper's (Fang, Dong, Zhang, arXiv 2012.13982). Loss and
    E_p r are exact, also for particles; for these the entropy is an estimate: see `entropy`, whose
    errors it raises and which `neighbours` is for. Differentiable.

    Example:
        >>> from nsh.theory.two_layer import Density, Grid, Independent, TwoLayer, free_energy
        >>> network = TwoLayer(1, Independent(4), activation="tanh")
        >>> noise = {"temperature": 1.0, "decay_u": 1.0, "decay_theta": 1.0}
        >>> hyper = {"alpha": 1.0, "learning_rate": 0.1, **noise}
        >>> normal = Density.normal(Grid(low=(-8.0, -8.0), high=(8.0, 8.0), cells=(64, 64)))
        >>> round(float(free_energy(network, normal, network.prepare([[1.0]], [0.0]), hyper)), 4)
        -1.8379
    """
    found = energy(network, law, examples, hyper)
    _, coefficients = _placed(network, law, hyper)
    spread = entropy(network, law, neighbours=neighbours)
    return found - coefficients.alpha**2 * coefficients.temperature * spread


def potential(
    network: TwoLayer, particles: Particles, examples: Examples, hyper: Hyper
) -> Float[Array, " width"]:
    """``V / alpha + r`` at each particle, whose slope drives it: ``(dL/dp + alpha^2 r) / alpha^2``.

    ``V = mean_i loss'(f(x_i)) . u s(theta . x_i)``. Differentiable.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, TwoLayer, potential
        >>> network = TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]]))
        >>> hyper = {"alpha": 1.0, "learning_rate": 0.1}
        >>> particles = network.init(jax.random.key(0), hyper)
        >>> examples = network.prepare([[3.0]], [5.0])
        >>> potential(network, particles, examples, hyper).tolist()  # (6 - 5) 6
        [6.0]
    """
    require_particles(particles, network)
    network.check_examples(examples)
    coefficients = coefficients_of(network, hyper, particles.u.dtype)
    hidden = network.activation(particles.theta @ examples.x.T)
    rest = regulariser(network, particles, coefficients)
    return loss_potential(network, particles, hidden, examples) / coefficients.alpha + rest


def loss_potential(
    network: TwoLayer, particles: Particles, hidden: Float[Array, "width n"], examples: Examples
) -> Float[Array, " width"]:
    """V at each particle, from the hidden layer ``s(theta . x_i)`` at all examples."""
    outputs = particles.alpha * hidden.T @ (particles.mass[:, None] * particles.u)
    pulled = hidden @ network.output_gradient(outputs, examples.y) / len(hidden.T)
    return jnp.sum(particles.u * pulled, axis=1)


def first_variation(
    network: TwoLayer, law: Density, examples: Examples, hyper: Hyper
) -> Float[Array, " *cells"]:
    """``dQ/dp = dL/dp + alpha^2 (r + temperature log p)`` at the nodes, up to a constant.

    It is constant where Q is least, that is at the Gibbs law. Where a part is kept, p is the
    density given it. Differentiable where p > 0.

    Example:
        >>> from nsh.theory.two_layer import Density, Grid, Independent, TwoLayer, first_variation
        >>> network = TwoLayer(1, Independent(4), activation="tanh")
        >>> noise = {"temperature": 1.0, "decay_u": 1.0, "decay_theta": 1.0}
        >>> hyper = {"alpha": 1.0, "learning_rate": 0.1, **noise}
        >>> normal = Density.normal(Grid(low=(-2.0, -2.0), high=(2.0, 2.0), cells=(4, 4)))
        >>> result = first_variation(network, normal, network.prepare([[1.0]], [0.0]), hyper)
        >>> round(float(result.max() - result.min()), 3)  # constant: this is the Gibbs law
        0.0
    """
    particles, coefficients = _placed(network, law, hyper)
    kept = jnp.sum(law.mass, axis=moved_axes(network), keepdims=True)
    log_p = jnp.log(law.mass) - jnp.broadcast_to(jnp.log(kept), law.mass.shape)
    drift = potential(network, particles, examples, hyper).reshape(law.mass.shape)
    return coefficients.alpha**2 * (drift + coefficients.temperature * log_p)


def regulariser(
    network: TwoLayer, particles: Particles, coefficients: Coefficients
) -> Float[Array, " width"]:
    """r at each particle."""
    found = jnp.zeros_like(particles.mass)
    for name in network.trained_parts:
        decay = getattr(coefficients, f"decay_{name}")
        found += decay * jnp.sum(getattr(particles, name) ** 2, axis=1) / 2
    return found


def _placed(network: TwoLayer, law: Law, hyper: Hyper) -> tuple[Particles, Coefficients]:
    """The law as particles, and the coefficients."""
    if isinstance(law, Particles):
        return law, coefficients_of(network, hyper, law.u.dtype)
    coefficients = coefficients_of(network, hyper, law.mass.dtype)
    return law.particles(network, coefficients.alpha), coefficients
