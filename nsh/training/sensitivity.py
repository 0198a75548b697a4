"""Means over the seeds of an ensemble, with standard errors."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from nsh._checks import require
from nsh._estimate import Estimate
from nsh.training.hypergradient import Hypergradient
from nsh.training.problem import as_arrays


def mean_over_seeds(numbers: PyTree, valid: Bool[Array, "*grid seeds"]) -> Estimate:
    """Mean over the seeds that are `valid`, and ``sqrt(variance / seeds)``; others are left out.

    Leaves [*grid, seeds, *leaf]. The mean of no seed, and the error of one, are NaN.
    Differentiable (the error where it is not 0).

    Example:
        >>> nsh.mean_over_seeds(jnp.array([1.0, 3.0]), jnp.array([True, True]))
        Estimate(mean=2., standard_error=1., count=2)
    """
    axis = valid.ndim - 1
    count = jnp.sum(valid, axis=-1, dtype=jnp.int32)

    def over_seeds(leaf: Float[Array, "..."]) -> tuple[Array, Array]:
        extra = (1,) * (leaf.ndim - valid.ndim)
        used, shape = valid.reshape(*valid.shape, *extra), (*count.shape, *extra)
        n = count.reshape(shape).astype(leaf.dtype)
        mean = jnp.sum(jnp.where(used, leaf, 0), axis) / n
        apart = jnp.where(used, leaf - jnp.expand_dims(mean, axis), 0)
        return mean, jnp.sqrt(jnp.sum(apart**2, axis) / (n - 1) / n)

    leaves, structure = jax.tree.flatten(numbers)
    pairs = [over_seeds(leaf) for leaf in leaves]
    mean, error = (structure.unflatten([pair[i] for pair in pairs]) for i in (0, 1))
    return Estimate(mean, error, count)


def sensitivity(found: Hypergradient, *, relative_to: PyTree = None) -> Estimate:
    """``d E[objective] / d hyper``: mean of the gradients over seeds, with standard error.

    Seeds that diverged, or whose value or gradient is not finite, are left out (`count` says how
    many are in). With ``relative_to=hyper``, derivatives by log hyper: what a relative change
    of each does. Leaves [*grid, *leaf], None where the gradient is. Differentiable.

    Example:
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> def objective(run):
        ...     return run.state.log_amplification[0]
        >>> found = nsh.hypergradient(objective, problem, jax.random.key(0), seeds=2)
        >>> round(float(nsh.sensitivity(found).mean.growth.factor), 3)
        2.0
    """
    result = mean_over_seeds(found.gradient, found.valid)
    if relative_to is None:
        return result
    sizes = eqx.filter(jax.tree.map(jnp.asarray, as_arrays(relative_to)), eqx.is_inexact_array)
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (result.mean, sizes)]
    require(shapes[0] == shapes[1], "relative_to", relative_to, f"like hyper, of {shapes[0]}")
    mean = jax.tree.map(jnp.multiply, result.mean, sizes)
    error = jax.tree.map(lambda e, s: e * jnp.abs(s), result.standard_error, sizes)
    return Estimate(mean, error, result.count)
