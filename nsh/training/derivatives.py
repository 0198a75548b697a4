"""Value and derivatives of one seed's objective by its hyperparameters, in forward or reverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh._checks import require
from nsh.training.loop import Run, as_run
from nsh.training.method import Method
from nsh.training.plan import Plan

Objective = Callable[[Run], Array]
# so many directions share one forward run
DIRECTIONS = 16


class Slopes(NamedTuple):
    """Of one seed: objective, its gradient (as the hyperparameters varied), status of the run."""

    value: Float[Array, ""]
    gradient: PyTree
    status: Int[Array, ""]


class Differentiated(eqx.Module):
    """An objective of one run, to be differentiated by what varies of the plan's hyperparameters.

    `forward`: in forward mode, along one hyperparameter after the other; else in reverse.
    """

    objective: Objective
    plan: Plan
    method: Method
    forward: bool = eqx.field(static=True)

    def value(
        self, varied: PyTree, fixed: PyTree, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Int[Array, ""]]:
        """Objective and status of the run with these hyperparameters."""
        plan = replace(self.plan, hyper=eqx.combine(varied, fixed))
        run = as_run(self.method.run(plan, key), plan)
        found, allowed = self.objective(run), "a scalar of floating type"
        require(eqx.is_array_like(found), "objective(run)", found, allowed)
        value = jnp.asarray(found)
        scalar = value.shape == () and jnp.issubdtype(value.dtype, jnp.floating)
        require(scalar, "objective(run)", f"{value.dtype}{list(value.shape)}", allowed)
        return value, jnp.asarray(run.status)

    def slopes(self, varied: PyTree, fixed: PyTree, key: Key[Array, ""]) -> Slopes:
        """Value and gradient."""

        def value(varied: PyTree) -> tuple[Array, Array]:
            return self.value(varied, fixed, key)

        if self.forward:
            value_, along, status = along_each(value, varied)
            numbers, unravel = ravel_pytree(varied)
            return Slopes(value_, unravel(along.astype(numbers.dtype)), status)
        (value_, status), gradient = jax.value_and_grad(value, has_aux=True)(varied)
        return Slopes(value_, gradient, status)

    def along(
        self, varied: PyTree, fixed: PyTree, vector: PyTree, key: Key[Array, ""]
    ) -> tuple[Slopes, PyTree]:
        """Value and gradient, and the product of the Hessian with `vector`."""
        gradient, product, slopes = jax.jvp(
            lambda v: self._gradient(v, fixed, key), (varied,), (vector,), has_aux=True
        )
        return slopes._replace(gradient=gradient), product

    def hessian(
        self, varied: PyTree, fixed: PyTree, key: Key[Array, ""]
    ) -> tuple[Slopes, Float[Array, "p p"]]:
        """Value and gradient, and the Hessian, by the numbers varied in order of the leaves."""
        gradient, rows, slopes = along_each(lambda v: self._gradient(v, fixed, key), varied)
        flat = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(rows)]
        return slopes._replace(gradient=gradient), jnp.concatenate(flat, axis=1)

    def _gradient(self, varied: PyTree, fixed: PyTree, key: Any) -> tuple[PyTree, Slopes]:
        slopes = self.slopes(varied, fixed, key)
        return slopes.gradient, slopes._replace(gradient=None)


def count_numbers(tree: PyTree) -> int:
    """Count the numbers that the leaves hold."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def along_each(
    function: Callable[[PyTree], tuple[PyTree, Any]], at: PyTree
) -> tuple[PyTree, PyTree, Any]:
    """For ``function(at) = (result, aux)``: result, its slopes by each number of `at`, and aux.

    Forward mode, `DIRECTIONS` at once: nothing is stored but those. The slopes have the number as
    leading axis, in order of the leaves.
    """
    flat, unravel = ravel_pytree(at)
    count = flat.size

    def along(number: Int[Array, ""]) -> tuple[PyTree, PyTree, Any]:
        basis = unravel(jax.nn.one_hot(number, count, dtype=flat.dtype))
        return jax.jvp(function, (at,), (basis,), has_aux=True)

    if count == 1:  # a batch of one would still cost, in products of matrices above all
        result, slope, aux = along(jnp.zeros((), jnp.int32))
        return result, jax.tree.map(lambda leaf: leaf[None], slope), aux
    together = jax.vmap(along, out_axes=(None, 0, None))
    if count <= DIRECTIONS:
        return together(jnp.arange(count, dtype=jnp.int32))
    blocks = math.ceil(count / DIRECTIONS)  # what is beyond the last number has slope 0
    numbers = jnp.arange(blocks * DIRECTIONS, dtype=jnp.int32).reshape(blocks, DIRECTIONS)
    results, slopes, auxs = jax.lax.map(together, numbers)
    slopes = jax.tree.map(lambda leaf: leaf.reshape(numbers.size, *leaf.shape[2:])[:count], slopes)
    result, aux = jax.tree.map(lambda leaf: leaf[0], (results, auxs))
    return result, slopes, aux
