"""Hyperparameters by gradient descent through training: for the mean of seeds, or for each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh._checks import is_concrete, require, require_integer, require_key
from nsh._shown import Shown
from nsh.bounds import constrain, intervals, unconstrain
from nsh.training.derivatives import (
    MEMORY,
    DifferentiableEnsemble,
    DifferentiableRun,
    Objective,
    ValueAndGrad,
    combined_status,
    differentiable,
)
from nsh.training.ensemble import Device
from nsh.training.modes import Mode
from nsh.training.problem import Method, RunStatus, TrainingProblem
from nsh.training.sensitivity import mean_over_seeds
from nsh.training.varying import PerSeed

NOT_FINITE = (
    "Adam and its kin have none where a network's own gradient is exactly 0: give the optimiser "
    "eps_root, such as 1e-16, or take another (the guide has a table)"
)
WHERE_STABLE = "start where training is stable, or set bounds there"
FLAT = (
    "tune: the gradient is exactly 0 at the start: the objective does not depend on what is tuned, "
    "or is constant in steps, as accuracy is (take cross_entropy)"
)


class Tuned(Shown):
    """Hyperparameters along gradient descent, the start and the end included.

    `hyper`: the last, leaves [*grid, *leaf]; `hypers`: all, leaves [*grid, iterations + 1, *leaf].
    `values` [*grid, iterations + 1]: the objective at each. `best`: those of least value, among
    the iterations with most seeds in it. With `per_seed`, an axis of seeds follows *grid in all of
    these. `status` [*grid, seeds, iterations + 1]: as in `Hypergradient`, such as 1 for a run that
    diverged and 3 for a gradient that was not finite.
    """

    hyper: PyTree
    hypers: PyTree
    best: PyTree
    values: Float[Array, "*members iterations"]
    status: Int[Array, "*seeds iterations"]


def tune(
    objective: Objective,
    problem: TrainingProblem,
    key: Key[Array, ""],
    *,
    seeds: int,
    optimiser: optax.GradientTransformation,
    iterations: int,
    tuned: PyTree = None,
    per_seed: bool = False,
    bounds: PyTree = None,
    first_seed: int = 0,
    method: Method | None = None,
    mode: Mode = "auto",
    vmap_size: int | None = None,
    devices: Sequence[Device] | None = None,
    memory: int = MEMORY,
    callback: Callable[[int], object] | None = None,
) -> Tuned:
    """Minimise ``E_seeds[objective(run)]`` over the hyperparameters, from the problem's on.

    Each iteration is a `hypergradient` and a step of `optimiser` (of Optax; keep the same object
    for repeated calls) on unconstrained numbers (`nsh.bounds`), which hold every hyperparameter
    within `bounds`. `tuned`: which leaves to tune, of those of floating type: True for all, or a
    pytree like `hyper` of True and False, or a dict of those to tune by names of keys and fields;
    by default ``system.tunable(hyper)``. `bounds`: intervals in the same way; what a dict does not
    name has those of ``system.bounds(hyper)``. The points of a grid are several starts.
    `per_seed`: minimise each seed's objective by hyperparameters of its own. `callback`: called
    with 1 after each iteration. Other options as in `hypergradient`, whose pitfalls are those of
    this.

    The seeds are the same at every iteration (common random numbers), so the descent is
    deterministic and its end fits these seeds: judge it by others, through `first_seed`. Runs
    that diverged are left out of the means. So are gradients that are not finite, whose values
    stay in; `status` tells. Where no seed is left the value is NaN and the gradient counts as 0:
    a `UserWarning` says so, and says so if the gradient is exactly 0 at the start.

    One program for all iterations. Raises `ValueError` on bad input, before compiling, such as a
    start on the end of its interval, or an optimiser that needs more than gradient and value.

    Example:
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> def objective(run):
        ...     return run.state.log_amplification[0]
        >>> key, sgd = jax.random.key(0), optax.sgd(0.1)
        >>> tuned = nsh.tune(objective, problem, key, seeds=1, optimiser=sgd, iterations=2)
        >>> bool(tuned.values[-1] < tuned.values[0])
        True
    """
    require(hasattr(optimiser, "update"), "optimiser", optimiser, "an optax.GradientTransformation")
    require_key(key)
    require_integer("iterations", iterations, 0)
    require(isinstance(per_seed, bool), "per_seed", per_seed, "True or False")
    allowed = "alike for all seeds; with per_seed=True each goes its own way from there"
    require(not isinstance(problem.hyper, PerSeed), "hyper", "PerSeed", allowed)
    point = problem.first_point
    ensemble = differentiable(
        objective, problem, seeds=seeds, first_seed=first_seed, method=method, mode=mode,
        vmap_size=vmap_size, devices=devices, memory=memory,
        by=point.system.tunable(problem.hyper) if tuned is None else tuned,
    )  # fmt: skip
    descent = _Descent(ensemble, _bounds(ensemble, bounds), optimiser, per_seed)
    free = descent.start()
    descent.check(free)
    carry = _started(descent, free)
    found, told = [], False
    for _ in range(iterations + 1):
        carry, seen = _iteration(descent, carry, key)
        found.append(seen)
        if len(found) == 1:
            told = warn_of_idle(seen.status[..., None], seen.moving[..., None], everywhere=True)
        if callback is not None:
            jax.block_until_ready(seen)
            callback(1)
    result, moving = _joined(descent, found)
    if not told:
        warn_of_idle(result.status, moving)
    return result


class _Descent(eqx.Module):
    """What stays the same over the iterations. Leaves of hyperparameters: [points, copies, *leaf].

    `copies`: seeds, if each has hyperparameters of its own, else 1.
    """

    ensemble: DifferentiableEnsemble
    bounds: PyTree
    optimiser: optax.GradientTransformation
    per_seed: bool = eqx.field(static=True)

    @property
    def copies(self) -> int:
        return self.ensemble.members.seeds if self.per_seed else 1

    def start(self) -> PyTree:
        """Unconstrained numbers."""
        given = jax.tree.map(lambda leaf: leaf[:, 0], self.ensemble.trainable)
        free = unconstrain(self.ensemble.members.unflatten_grid(given), self.bounds)
        members = self.ensemble.members

        def spread(free: Array, given: Array) -> Array:
            return jnp.repeat(
                free.reshape(members.grid_size, 1, *given.shape[1:]), self.copies, axis=1
            )

        return jax.tree.map(spread, free, given)

    def check(self, free: PyTree) -> None:
        """Raise `ValueError` unless the optimiser can step by gradient and value."""
        value = jax.ShapeDtypeStruct((self.ensemble.members.grid_size, self.copies), jnp.float32)
        try:
            eqx.filter_eval_shape(lambda f, v: self.update(f, self.begun(f), f, v), free, value)
        except Exception as problem:  # whatever Optax raises
            allowed = "an Optax optimiser that steps by parameters, gradient and value, but it says"
            said = f"{allowed}: {type(problem).__name__}: {problem}".splitlines()[0]
            require(False, "optimiser", type(self.optimiser).__name__, said)

    def begun(self, free: PyTree) -> PyTree:
        """The optimiser's state before its first step."""
        with jax.numpy_dtype_promotion("standard"):  # which Optax needs
            return jax.vmap(jax.vmap(self.optimiser.init))(free)

    def update(
        self, free: PyTree, state: PyTree, gradient: PyTree, value: Float[Array, "points copies"]
    ) -> tuple[PyTree, PyTree]:
        """Unconstrained numbers and the optimiser's state after its step."""
        optimiser = optax.with_extra_args_support(self.optimiser)

        def step(
            free: PyTree, state: PyTree, gradient: PyTree, value: Array
        ) -> tuple[PyTree, PyTree]:
            updates, after = optimiser.update(gradient, state, free, value=value, grad=gradient)
            return optax.apply_updates(free, updates), after

        with jax.numpy_dtype_promotion("standard"):  # which Optax needs
            return jax.vmap(jax.vmap(step))(free, state, gradient, value)

    def gradient(self, found: ValueAndGrad) -> tuple[Array, PyTree, Array]:
        """Values [points, copies], gradients, and the status of every seed."""
        status = combined_status(*found)
        good = status == RunStatus.HEALTHY
        valued = good | (status == RunStatus.GRADIENT_NOT_FINITE)
        if self.per_seed:
            value, gradient = jnp.where(valued, found.value, jnp.nan), found.gradient
            some = good
        else:
            value = mean_over_seeds(found.value, valued).mean[:, None]
            means = mean_over_seeds(found.gradient, good)
            gradient = jax.tree.map(lambda leaf: leaf[:, None], means.mean)
            some = (jnp.asarray(means.count) > 0)[:, None]
        gradient = jax.tree.map(lambda leaf: jnp.where(_over(some, leaf), leaf, 0), gradient)
        return value, gradient, status


class _Iteration(NamedTuple):
    """Of one iteration; `moving`: whether any number of the gradient is not 0."""

    hyper: PyTree
    value: Float[Array, "points copies"]
    status: Int[Array, "points seeds"]
    moving: Bool[Array, "points copies"]


def _bounds(ensemble: DifferentiableEnsemble, bounds: PyTree) -> PyTree:
    """The interval of each leaf that is tuned."""
    point = ensemble.problem.first_point
    hyper, system = point.hyper, point.system
    found = intervals(hyper, system.bounds(hyper))
    if bounds is not None:
        found = intervals(hyper, bounds, found)
    trainable = jax.tree.structure(hyper).flatten_up_to(ensemble.trainable)
    chosen = [pair for pair, leaf in zip(found, trainable, strict=True) if leaf is not None]
    return jax.tree.unflatten(jax.tree.structure(ensemble.trainable), chosen)


@eqx.filter_jit
def _started(descent: _Descent, free: PyTree) -> tuple[PyTree, PyTree]:
    return free, descent.begun(free)


@eqx.filter_jit
def _iteration(
    descent: _Descent, carry: tuple[PyTree, PyTree], key: Key[Array, ""]
) -> tuple[tuple[PyTree, PyTree], _Iteration]:
    free, optimiser_state = carry
    trainable, vjp = jax.vjp(lambda free: constrain(free, descent.bounds), free)
    ensemble = replace(descent.ensemble, trainable=trainable)
    found = ensemble.map(DifferentiableRun.value_and_grad, ensemble.choice(), key)
    value, gradient, status = descent.gradient(found)
    some = [jnp.any(leaf.reshape(*value.shape, -1) != 0, -1) for leaf in jax.tree.leaves(gradient)]
    (gradient,) = vjp(gradient)
    carry = descent.update(free, optimiser_state, gradient, value)
    frozen = jax.tree.map(lambda x: jnp.repeat(x, descent.copies, axis=1), ensemble.frozen)
    moving = jnp.any(jnp.stack(some), axis=0)
    return carry, _Iteration(eqx.combine(trainable, frozen), value, status, moving)


def _joined(descent: _Descent, seen: list[_Iteration]) -> tuple[Tuned, Bool[Array, "..."]]:
    members = descent.ensemble.members
    hyper, value, status, moving = jax.tree.map(lambda *parts: jnp.stack(parts, axis=2), *seen)
    valued = (status == RunStatus.HEALTHY) | (status == RunStatus.GRADIENT_NOT_FINITE)
    counted = valued if descent.per_seed else jnp.sum(valued, axis=1, keepdims=True)
    most = counted == jnp.max(counted, axis=2, keepdims=True)
    which = jnp.argmin(jnp.where(most & jnp.isfinite(value), value, jnp.inf), axis=2)
    best = jax.tree.map(lambda leaf: _at(leaf, which), hyper)
    if not descent.per_seed:
        hyper, best, value = jax.tree.map(lambda leaf: leaf[:, 0], (hyper, best, value))
    hypers, best, values, status = members.unflatten_grid((hyper, best, value, status))
    axis = values.ndim - 1
    last = jax.tree.map(lambda leaf: jnp.take(leaf, -1, axis=axis), hypers)
    return Tuned(last, hypers, best, values, status), moving


def _at(leaf: Array, which: Int[Array, "points copies"]) -> Array:
    """The chosen iteration of a leaf [points, copies, iterations, ...]."""
    index = which.reshape(*which.shape, *(1,) * (leaf.ndim - 2))
    return jnp.take_along_axis(leaf, index, axis=2).squeeze(2)


def _over(flags: Array, leaf: Array) -> Array:
    """Flags with trailing axes to go with a leaf."""
    return flags.reshape(*flags.shape, *(1,) * (leaf.ndim - flags.ndim))


def warn_of_idle(
    status: Int[Array, "*grid seeds iterations"],
    moving: Bool[Array, "points copies iterations"],
    *,
    everywhere: bool = False,
) -> bool:
    """Warn where no seed had a gradient, or its mean is 0 at the start; whether it did.

    `everywhere`: only if it is so for all points. Silent inside `jit`.
    """
    if not is_concrete((status, moving)):
        return False
    told = np.all if everywhere else np.any
    points, copies, iterations = moving.shape
    found = np.asarray(status).reshape(points, -1, iterations)
    good = found == RunStatus.HEALTHY
    idle = ~(good if copies == good.shape[1] else good.any(axis=1, keepdims=True))
    if told(idle):
        message = _of_lost(found[np.broadcast_to(idle, found.shape)], int(idle.sum()), idle.size)
    elif told(~np.asarray(moving)[..., 0] & ~idle[..., 0]):
        message = FLAT
    else:
        return False
    warnings.warn(message, stacklevel=3)
    return True


def _of_lost(status: np.ndarray, idle: int, steps: int) -> str:
    lost = int((status == RunStatus.GRADIENT_NOT_FINITE).sum())
    gone = status.size - lost
    parts = [(lost, "gradients are not finite", NOT_FINITE), (gone, "runs diverged", WHERE_STABLE)]
    said = "; ".join(f"{count} {what}: {cure}" for count, what, cure in parts if count)
    where = f"at {idle} of {steps} steps, which move nothing"
    return f"tune: no seed has a finite gradient {where}. {said}"
