"""Second derivatives of an objective by the hyperparameters, for every seed of an ensemble."""

from __future__ import annotations

from typing import Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key, PyTree

from nsh._checks import require, require_key
from nsh._shown import Shown
from nsh.training.derivatives import (
    DerivativeOptions,
    DifferentiableEnsemble,
    DifferentiableRun,
    Objective,
    ValueAndGrad,
    combined_status,
    differentiable,
)
from nsh.training.hypergradient import Hypergradient
from nsh.training.modes import Choice
from nsh.training.problem import RunStatus, TrainingProblem, as_arrays


class Curvature(Shown):
    """Second derivatives of every seed's objective, with what `hypergradient` gives.

    `first`: value, gradient and status. `second`: the Hessian [*grid, seeds, P, P] by the P
    numbers of `hyper` in order of its leaves, or its product with a vector, like `hyper` with
    leaves [*grid, seeds, *leaf].
    """

    first: Hypergradient
    second: PyTree

    @property
    def valid(self) -> Bool[Array, "*members"]:
        """Seeds with a healthy run and finite value and derivatives."""
        return (
            combined_status(self.first.value, self.second, self.first.status) == RunStatus.HEALTHY
        )


def hessian(
    objective: Objective,
    problem: TrainingProblem,
    key: Key[Array, ""],
    **options: Unpack[DerivativeOptions],
) -> Curvature:
    """``d^2 objective / d hyper^2`` of every seed: forward mode over the mode of `hypergradient`.

    For few hyperparameters: costs P Hessian-vector products. `options` are those of
    `hypergradient`, `seeds` among them. Mean over seeds with standard error:
    ``mean_over_seeds(found.second, found.valid)``. Differentiable; raises `ValueError` on bad
    input.

    Example:
        The second derivative of 4 log a at a = 2 is -1:

        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> def objective(run):
        ...     return run.state.log_amplification[0]
        >>> found = nsh.hessian(objective, problem, jax.random.key(0), seeds=1)
        >>> found.second.shape, round(float(found.second[0, 0, 0]), 3)
        ((1, 2, 2), -1.0)
    """
    require_key(key)
    ensemble = differentiable(objective, problem, **options)
    return _curvature(*_hessian(ensemble, key))


def hessian_vector_product(
    objective: Objective,
    problem: TrainingProblem,
    vector: PyTree,
    key: Key[Array, ""],
    **options: Unpack[DerivativeOptions],
) -> Curvature:
    """``(d^2 objective / d hyper^2) vector`` of every seed, at about twice a hypergradient's cost.

    `vector`: like the hyperparameters, grid axes included. Options, mean and errors as in
    `hessian`. A Hessian is never formed, so that the hyperparameters may be many.

    Example:
        >>> from nsh.training import hessian_vector_product
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> def objective(run):
        ...     return run.state.log_amplification[0]
        >>> vector = jax.tree.map(jnp.ones_like, rules)
        >>> found = hessian_vector_product(objective, problem, vector, jax.random.key(0), seeds=1)
        >>> found.second.growth.factor.round(3).tolist()
        [-1.0]
    """
    require_key(key)
    ensemble = differentiable(objective, problem, **options)
    like = [jax.tree.map(jnp.asarray, as_arrays(tree)) for tree in (vector, problem.hyper)]
    vector, hyper = (eqx.filter(tree, eqx.is_inexact_array) for tree in like)
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (hyper, vector)]
    require(shapes[0] == shapes[1], "vector", vector, f"like hyper, of {shapes[0]}")
    flat = jax.tree.map(
        lambda v, h: v.astype(h.dtype), ensemble.members.flatten_grid(vector), ensemble.trainable
    )
    return _curvature(*_product(ensemble, flat, key))


def _curvature(first: ValueAndGrad, second: PyTree, choice: Choice) -> Curvature:
    status = combined_status(*first)
    gradient = Hypergradient(first.value, first.gradient, status, choice.mode, choice.why)
    return Curvature(gradient, second)


@eqx.filter_jit
def _hessian(
    ensemble: DifferentiableEnsemble, key: Key[Array, ""]
) -> tuple[ValueAndGrad, Array, Choice]:
    choice = ensemble.choice()
    found = ensemble.map(DifferentiableRun.hessian, choice, key)
    return *ensemble.members.unflatten_grid(found), choice


@eqx.filter_jit
def _product(
    ensemble: DifferentiableEnsemble, vector: PyTree, key: Key[Array, ""]
) -> tuple[ValueAndGrad, PyTree, Choice]:
    choice = ensemble.choice()
    found = ensemble.map(DifferentiableRun.hessian_vector_product, choice, key, vector)
    return *ensemble.members.unflatten_grid(found), choice
