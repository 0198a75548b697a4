"""Hyperparameters by gradient descent through training: for the mean of seeds, or for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh._checks import require, require_integer, require_key
from nsh._shown import Shown
from nsh.bounds import from_reals, intervals, to_reals
from nsh.system import System
from nsh.training.batches import Sampler
from nsh.training.derivatives import Differentiated, Objective, Slopes
from nsh.training.differentiable import MEMORY, Differentiable, differentiable, judged
from nsh.training.idle import warn_of_idle
from nsh.training.members import Device
from nsh.training.method import Method
from nsh.training.modes import Mode
from nsh.training.plan import GRADIENT_NOT_FINITE, HEALTHY, SaveAt
from nsh.training.sensitivity import mean_over_seeds


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
    system: System,
    examples: PyTree,
    hyper: PyTree,
    key: Key[Array, ""],
    *,
    seeds: int,
    steps: int,
    optimiser: optax.GradientTransformation,
    iterations: int,
    tuned: PyTree = None,
    sampler: Sampler | None = None,
    save: SaveAt | None = None,
    method: Method | None = None,
    mode: Mode = "auto",
    grid: int = 0,
    per_seed: bool = False,
    bounds: PyTree = None,
    first_seed: int = 0,
    lanes: int | None = None,
    devices: Sequence[Device] | None = None,
    memory: int = MEMORY,
    advance: Callable[[int], Any] | None = None,
) -> Tuned:
    """Minimise ``E_seeds[objective(run)]`` over the hyperparameters, from `hyper` on.

    Each iteration is a `hypergradient` and a step of `optimiser` (of Optax; keep the same object
    for repeated calls) on unconstrained numbers (`nsh.bounds`), which hold every hyperparameter
    within `bounds`. `tuned`: which leaves to tune, of those of floating type: True for all, or a
    pytree like `hyper` of True and False, or a dict of those to tune by names of keys and fields;
    by default ``system.tunable(hyper)``. `bounds`: intervals in the same way; what a dict does not
    name has those of ``system.bounds(hyper)``. `grid`: leading axes of `hyper` are several starts.
    `per_seed`: minimise each seed's objective by hyperparameters of its own. `advance`: called
    with 1 after each iteration. Other options as in `hypergradient`, whose pitfalls are those of
    this.

    The seeds are the same at every iteration (common random numbers), so the descent is
    deterministic and its end fits these seeds: judge it by others, through `first_seed`. Runs
    that diverged are left out of the means. So are gradients that are not finite, whose values
    stay in; `status` tells. Where no seed is left the value is NaN and the gradient counts as 0:
    a `UserWarning` says so, and says so if the gradient is exactly 0 at the start.

    One program for all iterations. Raises `ValueError` on bad input, before compiling, such as a
    start on the end of its interval, or an optimiser that needs more than gradient and value.
    """
    require(hasattr(optimiser, "update"), "optimiser", optimiser, "an optax.GradientTransformation")
    require_key(key)
    require_integer("iterations", iterations, 0)
    require(isinstance(per_seed, bool), "per_seed", per_seed, "True or False")
    ensemble = differentiable(
        objective, system, examples, hyper, seeds=seeds, steps=steps, sampler=sampler, save=save,
        method=method, mode=mode, grid=grid, first_seed=first_seed, lanes=lanes, devices=devices,
        memory=memory, by=system.tunable(hyper) if tuned is None else tuned,
    )  # fmt: skip
    descent = _Descent(ensemble, _bounds(ensemble, bounds), optimiser, per_seed)
    free = descent.start()
    descent.check(free)
    place = _started(descent, free)
    found, told = [], False
    for _ in range(iterations + 1):
        place, seen = _iteration(descent, place, key)
        found.append(seen)
        if len(found) == 1:
            told = warn_of_idle(seen.status[..., None], seen.slope[..., None], everywhere=True)
        if advance is not None:
            jax.block_until_ready(seen)
            advance(1)
    result, slopes = _joined(descent, found)
    if not told:
        warn_of_idle(result.status, slopes)
    return result


class _Descent(eqx.Module):
    """What stays the same over the iterations. Leaves of hyperparameters: [points, copies, *leaf].

    `copies`: seeds, if each has hyperparameters of its own, else 1.
    """

    ensemble: Differentiable
    bounds: PyTree
    optimiser: optax.GradientTransformation
    per_seed: bool = eqx.field(static=True)

    @property
    def copies(self) -> int:
        return self.ensemble.layout.seeds if self.per_seed else 1

    def start(self) -> PyTree:
        """Unconstrained numbers."""
        given = jax.tree.map(lambda leaf: leaf[:, 0], self.ensemble.varied)
        free = to_reals(self.ensemble.layout.shaped(given), self.bounds)
        layout = self.ensemble.layout

        def spread(free: Array, given: Array) -> Array:
            return jnp.repeat(free.reshape(layout.points, 1, *given.shape[1:]), self.copies, axis=1)

        return jax.tree.map(spread, free, given)

    def check(self, free: PyTree) -> None:
        """Raise `ValueError` unless the optimiser can step by gradient and value."""
        value = jax.ShapeDtypeStruct((self.ensemble.layout.points, self.copies), jnp.float32)
        try:
            eqx.filter_eval_shape(lambda f, v: self.moved(f, self.begun(f), f, v), free, value)
        except Exception as problem:  # whatever Optax raises
            allowed = "an Optax optimiser that steps by parameters, gradient and value, but it says"
            said = f"{allowed}: {type(problem).__name__}: {problem}".splitlines()[0]
            require(False, "optimiser", type(self.optimiser).__name__, said)

    def begun(self, free: PyTree) -> PyTree:
        """The optimiser's state before its first step."""
        with jax.numpy_dtype_promotion("standard"):  # which Optax needs
            return jax.vmap(jax.vmap(self.optimiser.init))(free)

    def moved(
        self, free: PyTree, state: PyTree, gradient: PyTree, value: Float[Array, "points copies"]
    ) -> tuple[PyTree, PyTree]:
        """Unconstrained numbers and the optimiser's state after its step."""
        optimiser = optax.with_extra_args_support(self.optimiser)

        def step(free: PyTree, state: PyTree, gradient: PyTree, value: Array) -> Any:
            updates, after = optimiser.update(gradient, state, free, value=value, grad=gradient)
            return optax.apply_updates(free, updates), after

        with jax.numpy_dtype_promotion("standard"):  # which Optax needs
            return jax.vmap(jax.vmap(step))(free, state, gradient, value)

    def gradient(self, slopes: Slopes) -> tuple[Array, PyTree, Array]:
        """Values [points, copies], gradients, and the status of every seed."""
        status = judged(*slopes)
        good = status == HEALTHY
        valued = good | (status == GRADIENT_NOT_FINITE)
        if self.per_seed:
            value, gradient = jnp.where(valued, slopes.value, jnp.nan), slopes.gradient
            some = good
        else:
            value = mean_over_seeds(slopes.value, valued).mean[:, None]
            means = mean_over_seeds(slopes.gradient, good)
            gradient = jax.tree.map(lambda leaf: leaf[:, None], means.mean)
            some = (means.seeds > 0)[:, None]
        gradient = jax.tree.map(lambda leaf: jnp.where(_over(some, leaf), leaf, 0), gradient)
        return value, gradient, status


class _Seen(NamedTuple):
    """Of one iteration; `slope`: whether any number of the gradient is not 0."""

    hyper: PyTree
    value: Float[Array, "points copies"]
    status: Int[Array, "points seeds"]
    slope: Bool[Array, "points copies"]


def _bounds(ensemble: Differentiable, bounds: PyTree) -> PyTree:
    """The interval of each leaf that is tuned."""
    hyper, system = ensemble.plan.hyper, ensemble.plan.system
    found = intervals(hyper, system.bounds(hyper))
    if bounds is not None:
        found = intervals(hyper, bounds, found)
    varied = jax.tree.structure(hyper).flatten_up_to(ensemble.varied)
    chosen = [pair for pair, leaf in zip(found, varied, strict=True) if leaf is not None]
    return jax.tree.unflatten(jax.tree.structure(ensemble.varied), chosen)


@eqx.filter_jit
def _started(descent: _Descent, free: PyTree) -> tuple[PyTree, PyTree]:
    return free, descent.begun(free)


@eqx.filter_jit
def _iteration(
    descent: _Descent, place: tuple[PyTree, PyTree], key: Key[Array, ""]
) -> tuple[tuple[PyTree, PyTree], _Seen]:
    free, optimiser_state = place
    varied, pull = jax.vjp(lambda free: from_reals(free, descent.bounds), free)
    ensemble = replace(descent.ensemble, varied=varied)
    slopes = ensemble.map(Differentiated.slopes, ensemble.choice(), key)
    value, gradient, status = descent.gradient(slopes)
    some = [jnp.any(leaf.reshape(*value.shape, -1) != 0, -1) for leaf in jax.tree.leaves(gradient)]
    (gradient,) = pull(gradient)
    place = descent.moved(free, optimiser_state, gradient, value)
    fixed = jax.tree.map(lambda x: jnp.repeat(x, descent.copies, axis=1), ensemble.fixed)
    slope = jnp.any(jnp.stack(some), axis=0)
    return place, _Seen(eqx.combine(varied, fixed), value, status, slope)


def _joined(descent: _Descent, seen: list[_Seen]) -> tuple[Tuned, Bool[Array, "..."]]:
    layout = descent.ensemble.layout
    hyper, value, status, slope = jax.tree.map(lambda *parts: jnp.stack(parts, axis=2), *seen)
    valued = (status == HEALTHY) | (status == GRADIENT_NOT_FINITE)
    counted = valued if descent.per_seed else jnp.sum(valued, axis=1, keepdims=True)
    most = counted == jnp.max(counted, axis=2, keepdims=True)
    which = jnp.argmin(jnp.where(most & jnp.isfinite(value), value, jnp.inf), axis=2)
    best = jax.tree.map(lambda leaf: _at(leaf, which), hyper)
    if not descent.per_seed:
        hyper, best, value = jax.tree.map(lambda leaf: leaf[:, 0], (hyper, best, value))
    hypers, best, values, status = layout.shaped((hyper, best, value, status))
    axis = values.ndim - 1
    last = jax.tree.map(lambda leaf: jnp.take(leaf, -1, axis=axis), hypers)
    return Tuned(last, hypers, best, values, status), slope


def _at(leaf: Array, which: Int[Array, "points copies"]) -> Array:
    """The chosen iteration of a leaf [points, copies, iterations, ...]."""
    index = which.reshape(*which.shape, *(1,) * (leaf.ndim - 2))
    return jnp.take_along_axis(leaf, index, axis=2).squeeze(2)


def _over(flags: Array, leaf: Array) -> Array:
    """Flags with trailing axes to go with a leaf."""
    return flags.reshape(*flags.shape, *(1,) * (leaf.ndim - flags.ndim))
