"""Derivatives of an objective by the hyperparameters: of one run, and of an ensemble's runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Required, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh._checks import require, require_integer
from nsh._named_parts import for_leaves
from nsh.training.ensemble import Device, Members, members_of
from nsh.training.modes import Choice, Mode, choose
from nsh.training.problem import Method, Run, RunStatus, TrainingProblem, as_run

Objective = Callable[[Run], Array]
MEMORY = 256_000_000
# so many directions share one forward run
DIRECTIONS = 16


class ValueAndGrad(NamedTuple):
    """Of one seed: objective, gradient by the trainable hyperparameters, status of the run."""

    value: Float[Array, ""]
    gradient: PyTree
    status: Int[Array, ""]


class DifferentiableRun(eqx.Module):
    """An objective of one run, to be differentiated by the trainable hyperparameters.

    `forward`: in forward mode, along one hyperparameter after the other; else in reverse.
    """

    objective: Objective
    problem: TrainingProblem
    method: Method
    forward: bool = eqx.field(static=True)

    def value(
        self, trainable: PyTree, frozen: PyTree, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Int[Array, ""]]:
        """Objective and status of the run with these hyperparameters."""
        problem = self.problem.at(eqx.combine(trainable, frozen))
        run = as_run(self.method.run(problem, key), problem)
        found, allowed = self.objective(run), "a scalar of floating type"
        require(eqx.is_array_like(found), "objective(run)", found, allowed)
        value = jnp.asarray(found)
        scalar = value.shape == () and jnp.issubdtype(value.dtype, jnp.floating)
        require(scalar, "objective(run)", f"{value.dtype}{list(value.shape)}", allowed)
        return value, jnp.asarray(run.status)

    def value_and_grad(
        self, trainable: PyTree, frozen: PyTree, key: Key[Array, ""]
    ) -> ValueAndGrad:
        """Value and gradient."""

        def value(trainable: PyTree) -> tuple[Array, Array]:
            return self.value(trainable, frozen, key)

        if self.forward:
            value_, derivatives, status = jacfwd(value, trainable)
            numbers, unravel = ravel_pytree(trainable)
            return ValueAndGrad(value_, unravel(derivatives.astype(numbers.dtype)), status)
        (value_, status), gradient = jax.value_and_grad(value, has_aux=True)(trainable)
        return ValueAndGrad(value_, gradient, status)

    def hessian_vector_product(
        self, trainable: PyTree, frozen: PyTree, vector: PyTree, key: Key[Array, ""]
    ) -> tuple[ValueAndGrad, PyTree]:
        """Value and gradient, and the product of the Hessian with `vector`."""
        gradient, product, first = jax.jvp(
            lambda v: self._gradient(v, frozen, key), (trainable,), (vector,), has_aux=True
        )
        return first._replace(gradient=gradient), product

    def hessian(
        self, trainable: PyTree, frozen: PyTree, key: Key[Array, ""]
    ) -> tuple[ValueAndGrad, Float[Array, "p p"]]:
        """Value and gradient, and the Hessian, by the trainable numbers in order of the leaves."""
        gradient, rows, first = jacfwd(lambda v: self._gradient(v, frozen, key), trainable)
        flat = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(rows)]
        return first._replace(gradient=gradient), jnp.concatenate(flat, axis=1)

    def _gradient(
        self, trainable: PyTree, frozen: PyTree, key: Key[Array, ""]
    ) -> tuple[PyTree, ValueAndGrad]:
        found = self.value_and_grad(trainable, frozen, key)
        return found.gradient, found._replace(gradient=None)


def count_numbers(tree: PyTree) -> int:
    """Count the numbers that the leaves hold."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def jacfwd(
    function: Callable[[PyTree], tuple[PyTree, PyTree]], at: PyTree
) -> tuple[PyTree, PyTree, PyTree]:
    """For ``function(at) = (result, aux)``: result, derivatives by each number of `at`, and aux.

    Forward mode, `DIRECTIONS` at once: nothing is stored but those. The derivatives have the number
    as leading axis, in order of the leaves.
    """
    flat, unravel = ravel_pytree(at)
    count = flat.size

    def along(number: Int[Array, ""]) -> tuple[PyTree, PyTree, PyTree]:
        basis = unravel(jax.nn.one_hot(number, count, dtype=flat.dtype))
        return jax.jvp(function, (at,), (basis,), has_aux=True)

    if count == 1:  # a batch of one would still cost, in products of matrices above all
        result, derivative, aux = along(jnp.zeros((), jnp.int32))
        return result, jax.tree.map(lambda leaf: leaf[None], derivative), aux
    together = jax.vmap(along, out_axes=(None, 0, None))
    if count <= DIRECTIONS:
        return together(jnp.arange(count, dtype=jnp.int32))
    blocks = math.ceil(count / DIRECTIONS)  # beyond the last number it is 0
    numbers = jnp.arange(blocks * DIRECTIONS, dtype=jnp.int32).reshape(blocks, DIRECTIONS)
    results, derivatives, auxs = jax.lax.map(together, numbers)
    derivatives = jax.tree.map(
        lambda leaf: leaf.reshape(numbers.size, *leaf.shape[2:])[:count], derivatives
    )
    result, aux = jax.tree.map(lambda leaf: leaf[0], (results, auxs))
    return result, derivatives, aux


class DifferentiableEnsemble(eqx.Module):
    """What of a seed is differentiated and how, which seeds there are, their hyperparameters.

    `trainable`, `frozen`: pytrees like `hyper` that share its leaves out, [points, seeds or 1,
    *leaf].
    """

    objective: Objective
    problem: TrainingProblem
    members: Members
    trainable: PyTree
    frozen: PyTree
    method: Method | None
    mode: str = eqx.field(static=True)
    memory: int = eqx.field(static=True)

    def choice(self) -> Choice:
        """How to differentiate; asked while tracing, for it takes a trace itself."""
        count = count_numbers(jax.tree.map(lambda leaf: leaf[0, 0], self.trainable))
        vmap_size = self.members.vmap_size
        point = self.problem.first_point
        return choose(point, count, vmap_size, self.memory, self.mode, self.method)

    def map(
        self, derivative: Callable[..., PyTree], choice: Choice, key: Key[Array, ""], *more: PyTree
    ) -> PyTree:
        """``derivative(run, trainable, frozen, *more, key)`` of all members, as `choice`.

        Leaves [points, seeds, ...]; inside `jit`.
        """

        def one(run: DifferentiableRun, hypers: tuple[PyTree, ...], key: Key[Array, ""]) -> PyTree:
            return derivative(run, *hypers, key)

        forward = choice.mode == "forward"
        run = DifferentiableRun(self.objective, self.problem, choice.method, forward)
        return self.members.map(one, run, (self.trainable, self.frozen, *more), key)


class DerivativeOptions(TypedDict, total=False):
    """The options of `hypergradient` that `hessian` and `hessian_vector_product` share."""

    seeds: Required[int]
    first_seed: int
    method: Method | None
    mode: Mode
    vmap_size: int | None
    devices: Sequence[Device] | None
    memory: int


def differentiable(
    objective: Objective,
    problem: TrainingProblem,
    *,
    seeds: int,
    first_seed: int = 0,
    method: Method | None = None,
    mode: Mode = "auto",
    vmap_size: int | None = None,
    devices: Sequence[Device] | None = None,
    memory: int = MEMORY,
    by: PyTree = True,
) -> DifferentiableEnsemble:
    """All of a hypergradient's input, checked; by those floating leaves for which `by` is true.

    `by`: True or False for all, a pytree of these like `hyper`, or dicts of those that are true.
    """
    require(callable(objective), "objective", objective, "a function of a Run")
    require_integer("memory", memory, 1)
    members = members_of(problem, seeds, first_seed, vmap_size, devices)
    if vmap_size is None:  # no more than there are members: the others would be differentiated too
        members = replace(members, vmap_size=min(members.vmap_size, members.count))
    hyper = members.flatten_grid(jax.tree.map(jnp.asarray, problem.hyper))
    trainable, frozen = eqx.partition(hyper, _chosen(hyper, by))
    allowed = "a pytree with floating leaves to differentiate by, of which `tuned` names one"
    require(count_numbers(trainable) > 0, "hyper", hyper, allowed)
    return DifferentiableEnsemble(
        objective, problem, members, trainable, frozen, method, mode, memory
    )


def _chosen(hyper: PyTree, by: PyTree) -> PyTree:
    leaves, structure = jax.tree.flatten(hyper)
    flags = for_leaves(
        by, hyper, field="tuned", allowed="True or False, or a dict of these by name",
        is_one=lambda flag: isinstance(flag, bool), others=[False] * len(leaves),
    )  # fmt: skip
    chosen = [flag and eqx.is_inexact_array(leaf) for leaf, flag in zip(leaves, flags, strict=True)]
    return jax.tree.unflatten(structure, chosen)


def combined_status(
    value: Float[Array, "*members"], derivatives: PyTree, status: Int[Array, "*members"]
) -> Int[Array, "*members"]:
    """The status of each member, by its run, then by its objective, then by the derivatives."""
    finite = jnp.ones(value.shape, bool)
    for leaf in jax.tree.leaves(derivatives):
        finite &= jnp.all(jnp.isfinite(leaf).reshape(*value.shape, -1), axis=-1)
    found = jnp.where(finite, RunStatus.HEALTHY, RunStatus.GRADIENT_NOT_FINITE)
    found = jnp.where(jnp.isfinite(value), found, RunStatus.DIVERGED)
    return jnp.where(status == RunStatus.HEALTHY, found, status).astype(jnp.int32)
