"""The Gibbs law, where noisy gradient descent comes to rest: a fixed point of the outputs alone."""

from __future__ import annotations

import importlib
from types import ModuleType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from nsh._checks import require
from nsh._extras import extra
from nsh._shown import Shown
from nsh.theory.two_layer.checks import require_particles
from nsh.theory.two_layer.mean_field.coefficients import coefficients_of
from nsh.theory.two_layer.mean_field.free_energy import regulariser
from nsh.theory.two_layer.mean_field.grid import Density, Grid
from nsh.theory.two_layer.mean_field.stationary_distribution import (
    StationaryDistribution,
    stationary_distribution,
)
from nsh.theory.two_layer.network import Examples, Hyper, TwoLayer
from nsh.theory.two_layer.particles import Particles

MOST_STEPS = 64


class Gibbs(Shown):
    """The law at rest, ``p* ~ exp(-(dL/dp / alpha^2 + r) / temperature)``, which minimises Q.

    `output`: f(x_i), [n, outputs]; `output_gradient`: loss' there, on which alone p* depends;
    `law`: p* by the places of theta (see `StationaryDistribution`); `free_energy`: ``Q(p*)``;
    `residual`: the largest difference between `output` and the output of the law that it makes;
    `converged`: whether that is small. `law.edge`, the mass at the grid's faces, is to be looked
    at too.
    """

    output: Float[Array, "n outputs"]
    output_gradient: Float[Array, "n outputs"]
    law: StationaryDistribution
    free_energy: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


def gibbs(
    network: TwoLayer,
    examples: Examples,
    hyper: Hyper,
    grid: Grid | None = None,
    *,
    kept: Particles | None = None,
) -> Gibbs:
    """The stationary law of noisy gradient descent with infinitely many particles.

    p* depends on the n outputs f alone: they are the root of ``f - alpha E_{p*(f)}[u s(theta .
    x)]``. With C the covariance of u s(theta . x) under p*, the root's Jacobian is ``1 + C loss'' /
    (n temperature)``, whose eigenvalues are at least 1 for a convex loss: there is one root, that
    of a strictly convex dual problem, found by Levenberg-Marquardt (Optimistix). For squared error
    the dual is to maximise ``-mean_i (|a_i|^2 / 2 + a_i . y_i) - alpha^2 temperature log Z(a)`` in
    a = loss'(f). Source: Fang, Dong, Zhang, arXiv 2012.13982; the dual derived here.

    u, being linear in V, is integrated exactly. `trained` = "both": `grid` has an axis to each
    entry of theta (three at most), the number of outputs is free. "theta": the same, with the law
    of u `kept` as in these particles. "u": no grid; thetas and masses as in `kept`. To compare with
    ``train(network, examples, hyper, key, ...)``, keep those that it starts from:
    `nsh.training.start` with the same key. Entropies are then those given the kept part.

    Differentiable in `hyper`, `examples` and `kept`, by the implicit function theorem. Raises
    `ValueError` unless temperature and the decays of what is trained are > 0, on a grid or `kept`
    that does not fit, and where memory does not suffice; `ImportError` without Optimistix. Where
    no law exists (an activation that grows, too little decay) mass gathers at the faces.

    Example:
        >>> from nsh.theory.two_layer import Grid, Independent, TwoLayer, gibbs
        >>> network = TwoLayer(1, Independent(4), activation="tanh")
        >>> noise = {"temperature": 1.0, "decay_u": 1.0, "decay_theta": 1.0}
        >>> hyper = {"alpha": 1.0, "learning_rate": 0.1, **noise}
        >>> grid = Grid(low=(-8.0,), high=(8.0,), cells=(64,))
        >>> result = gibbs(network, network.prepare([[1.0]], [0.0]), hyper, grid)
        >>> round(float(result.free_energy), 4), bool(result.converged)  # -log(2 pi): all is normal
        (-1.8379, True)
    """
    optimistix = _optimistix()
    network.check_examples(examples)
    needed = ("temperature", *(f"decay_{name}" for name in network.trained_parts))
    dtype, count = examples.x.dtype, len(examples.x)
    coefficients = coefficients_of(network, hyper, dtype, needed)
    _check(network, grid, kept, count)

    def law_of(output: Array, given: tuple) -> StationaryDistribution:
        examples, coefficients, kept = given
        return stationary_distribution(
            network,
            network.output_gradient(output, examples.y),
            examples.x,
            coefficients,
            grid,
            kept,
        )

    def excess(output: Array, given: tuple) -> Array:
        examples, coefficients, _ = given
        law = law_of(output, given)
        return output - law.outputs(network, examples.x, coefficients.alpha)

    given = (examples, coefficients, kept)
    tolerance = float(jnp.finfo(dtype).eps) ** (2 / 3)
    start = jnp.zeros((count, network.out_size), dtype)
    solver = optimistix.LevenbergMarquardt(rtol=tolerance, atol=tolerance)
    found = optimistix.root_find(excess, solver, start, given, max_steps=MOST_STEPS, throw=False)
    output, law = found.value, law_of(found.value, given)
    residual = jnp.max(jnp.abs(excess(output, given)))
    output_gradient = network.output_gradient(output, examples.y)
    loss = jnp.mean(jax.vmap(network.loss)(output, examples.y))
    pulled = jnp.sum(output_gradient * output) / count
    scale = coefficients.alpha**2 * coefficients.temperature
    small = jnp.asarray(100 * tolerance, dtype) * (1 + jnp.max(jnp.abs(output)))
    return Gibbs(
        output,
        output_gradient,
        law,
        loss - pulled - scale * law.log_partition,
        residual,
        residual <= small,
    )


def gibbs_density(
    network: TwoLayer, found: Gibbs, examples: Examples, hyper: Hyper, grid: Grid
) -> Density:
    """A Gibbs law on a grid over (u, theta), both trained, for use as any `Density`.

    Differentiable. Raises `ValueError` as `gibbs` does, and where a part is kept.

    Example:
        >>> from nsh.theory.two_layer import Grid, Independent, TwoLayer, gibbs, gibbs_density
        >>> network = TwoLayer(1, Independent(4), activation="tanh")
        >>> noise = {"temperature": 1.0, "decay_u": 1.0, "decay_theta": 1.0}
        >>> hyper = {"alpha": 1.0, "learning_rate": 0.1, **noise}
        >>> examples = network.prepare([[1.0]], [0.0])
        >>> result = gibbs(network, examples, hyper, Grid(low=(-8.0,), high=(8.0,), cells=(64,)))
        >>> grid = Grid(low=(-8.0, -8.0), high=(8.0, 8.0), cells=(64, 64))
        >>> density = gibbs_density(network, result, examples, hyper, grid)
        >>> round(float(density.mean(grid.nodes()[:, 0] ** 2)), 4)  # E u^2 = temperature / decay_u
        1.0
    """
    require(network.trained == "both", "trained", network.trained, "'both'")
    network.check_examples(examples)
    needed = ("temperature", "decay_u", "decay_theta")
    coefficients = coefficients_of(network, hyper, examples.x.dtype, needed)
    nodes = Density.normal(grid).particles(network, coefficients.alpha)
    hidden = network.activation(nodes.theta @ examples.x.T)
    V = jnp.sum(nodes.u * (hidden @ found.output_gradient), axis=1) / len(examples.x)
    drift = V / coefficients.alpha + regulariser(network, nodes, coefficients)
    return Density.from_log(grid, -drift / coefficients.temperature)


def _check(network: TwoLayer, grid: Grid | None, kept: Particles | None, count: int) -> None:
    """Raise `ValueError` unless grid and kept particles are what this network needs."""
    if network.trained == "both":
        require(kept is None, "kept", kept, "None where both u and theta are trained")
    elif not isinstance(kept, Particles):
        raise ValueError(f"kept = {kept!r}: must be Particles, whose law of the other part is kept")
    else:
        require_particles(kept, network, "kept")
    if network.trained == "u":
        require(grid is None, "grid", grid, "None where only u is trained")
    elif not isinstance(grid, Grid):
        raise ValueError(f"grid = {grid!r}: must be a Grid over theta")
    else:
        grid.require_axes(network.in_size, "the inputs (u is integrated exactly)")
        slopes = network.out_size if kept is None else len(kept.mass)
        grid.require_memory(count * network.out_size * slopes)


def _optimistix() -> ModuleType:
    with extra("theory", "the Gibbs law"):
        return importlib.import_module("optimistix")
