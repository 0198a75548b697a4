"""Second derivatives of an objective by the hyperparameters, for every seed of an ensemble."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key, PyTree

from nsh._checks import require, require_key
from nsh._shown import Shown
from nsh.system import System
from nsh.training.derivatives import Differentiated, Objective, Slopes
from nsh.training.differentiable import Differentiable, differentiable, judged
from nsh.training.hypergradient import Hypergradient
from nsh.training.modes import Choice
from nsh.training.plan import HEALTHY, as_arrays


class Curvature(Shown):
    """Second derivatives of every seed's objective, with what `hypergradient` gives.

    `first`: value, gradient and status. `second`: the Hessian [*grid, seeds, P, P] by the P
    numbers of `hyper` in order of its leaves, or its product with a vector, like `hyper` with
    leaves [*grid, seeds, *leaf].
    """

    first: Hypergradient
    second: PyTree

    @property
    def usable(self) -> Bool[Array, "*members"]:
        """Seeds with a healthy run and finite value and derivatives."""
        return judged(self.first.value, self.second, self.first.status) == HEALTHY


def hessian(
    objective: Objective,
    system: System,
    examples: PyTree,
    hyper: PyTree,
    key: Key[Array, ""],
    **options: Any,
) -> Curvature:
    """``d^2 objective / d hyper^2`` of every seed: forward mode over the mode of `hypergradient`.

    For few hyperparameters: costs P Hessian-vector products. `options` are those of
    `hypergradient`, `seeds` and `steps` among them. Mean over seeds with standard error:
    ``mean_over_seeds(found.second, found.usable)``. Differentiable; raises `ValueError` on bad
    input.
    """
    require_key(key)
    ensemble = differentiable(objective, system, examples, hyper, **options)
    return _curvature(*_hessian(ensemble, key))


def hessian_vector_product(
    objective: Objective,
    system: System,
    examples: PyTree,
    hyper: PyTree,
    vector: PyTree,
    key: Key[Array, ""],
    **options: Any,
) -> Curvature:
    """``(d^2 objective / d hyper^2) vector`` of every seed, at about twice a hypergradient's cost.

    `vector`: like `hyper`, grid axes included. Options, mean and errors as in `hessian`. A
    Hessian is never formed, so that `hyper` may be large.
    """
    require_key(key)
    ensemble = differentiable(objective, system, examples, hyper, **options)
    vector, hyper = (eqx.filter(_arrays(tree), eqx.is_inexact_array) for tree in (vector, hyper))
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (hyper, vector)]
    require(shapes[0] == shapes[1], "vector", vector, f"like hyper, of {shapes[0]}")
    like = jax.tree.map(lambda v, h: v.reshape(h.shape).astype(h.dtype), vector, ensemble.varied)
    return _curvature(*_product(ensemble, like, key))


def _curvature(slopes: Slopes, second: PyTree, choice: Choice) -> Curvature:
    value, gradient, status = slopes
    status = judged(value, gradient, status)
    return Curvature(Hypergradient(value, gradient, status, choice.mode, choice.why), second)


def _arrays(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, as_arrays(tree))


@eqx.filter_jit
def _hessian(ensemble: Differentiable, key: Key[Array, ""]) -> tuple[Slopes, Array, Choice]:
    choice = ensemble.choice()
    found = ensemble.map(Differentiated.hessian, choice, key)
    return *ensemble.layout.shaped(found), choice


@eqx.filter_jit
def _product(
    ensemble: Differentiable, vector: PyTree, key: Key[Array, ""]
) -> tuple[Slopes, PyTree, Choice]:
    choice = ensemble.choice()
    found = ensemble.map(Differentiated.along, choice, key, vector)
    return *ensemble.layout.shaped(found), choice
