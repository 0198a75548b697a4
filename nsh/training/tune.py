"""Hyperparameters by gradient descent through training: for the mean of seeds, or for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh._checks import require, require_integer, require_key
from nsh._shown import Shown
from nsh.bounds import from_reals, to_reals
from nsh.system import System
from nsh.training.batches import Sampler
from nsh.training.derivatives import Differentiated, Objective, Slopes
from nsh.training.differentiable import MEMORY, Differentiable, differentiable, usable
from nsh.training.members import Device
from nsh.training.method import Method
from nsh.training.modes import Mode
from nsh.training.plan import DIVERGED, HEALTHY, SaveAt
from nsh.training.sensitivity import mean_over_seeds


class Tuned(Shown):
    """Hyperparameters along gradient descent, the start and the end included.

    `hyper`: the last, leaves [*grid, *leaf]; `hypers`: all, leaves [*grid, iterations + 1, *leaf].
    `values` [*grid, iterations + 1]: the objective at each. With `per_seed`, an axis of seeds
    follows *grid in all of them. `status` [*grid, seeds, iterations + 1]: 1 for a run that
    diverged or whose value or gradient was not finite, else 0.
    """

    hyper: PyTree
    hypers: PyTree
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
    tuned: PyTree = True,
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

    Each iteration is a `hypergradient` and a step of `optimiser` (any of Optax; keep the same
    object for repeated calls) on unconstrained numbers (`nsh.bounds`), which hold every
    hyperparameter within `bounds`, by default ``system.bounds(hyper)``. `tuned`: a prefix of
    `hyper` with True for leaves to tune, by default all; of these, those of floating type.
    `grid`: leading axes of `hyper` are several starts. `per_seed`: minimise each seed's objective
    by hyperparameters of its own. `advance`: called with 1 after each iteration. Other options as
    in `hypergradient`, whose pitfalls are those of this.

    The seeds are the same at every iteration (common random numbers), so the descent is
    deterministic and its end fits these seeds: judge it by others, through `first_seed`. Runs
    that diverged, or whose value or gradient is not finite, are left out of the means and flagged
    in `status`; where none is left the value is NaN and the gradient counts as 0.

    One program for all iterations. Raises `ValueError` on bad input, before compiling, such as a
    start on the end of its interval.
    """
    require(hasattr(optimiser, "update"), "optimiser", optimiser, "an optax.GradientTransformation")
    require_key(key)
    require_integer("iterations", iterations, 0)
    require(isinstance(per_seed, bool), "per_seed", per_seed, "True or False")
    ensemble = differentiable(
        objective, system, examples, hyper, seeds=seeds, steps=steps, sampler=sampler, save=save,
        method=method, mode=mode, grid=grid, first_seed=first_seed, lanes=lanes, devices=devices,
        memory=memory, by=tuned,
    )  # fmt: skip
    bounds = system.bounds(ensemble.plan.hyper) if bounds is None else bounds
    descent = _Descent(ensemble, bounds, optimiser, per_seed)
    place = _started(descent, descent.start())
    found = []
    for _ in range(iterations + 1):
        place, seen = _iteration(descent, place, key)
        found.append(seen)
        if advance is not None:
            jax.block_until_ready(seen)
            advance(1)
    return _joined(descent, found)


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

    def gradient(self, slopes: Slopes) -> tuple[Array, PyTree, Array]:
        """Values [points, copies], gradients, and which seeds are in them."""
        good = usable(*slopes)
        if self.per_seed:
            used = jax.tree.map(lambda leaf: jnp.where(_over(good, leaf), leaf, 0), slopes.gradient)
            return slopes.value, used, good
        means = mean_over_seeds((slopes.value, slopes.gradient), good)
        value, gradient = jax.tree.map(lambda leaf: leaf[:, None], means.mean)
        some = (means.seeds > 0)[:, None]
        gradient = jax.tree.map(lambda leaf: jnp.where(_over(some, leaf), leaf, 0), gradient)
        return value, gradient, good


class _Seen(NamedTuple):
    hyper: PyTree
    value: Float[Array, "points copies"]
    status: Int[Array, "points seeds"]


@eqx.filter_jit
def _started(descent: _Descent, free: PyTree) -> tuple[PyTree, PyTree]:
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        return free, jax.vmap(jax.vmap(descent.optimiser.init))(free)


@eqx.filter_jit
def _iteration(
    descent: _Descent, place: tuple[PyTree, PyTree], key: Key[Array, ""]
) -> tuple[tuple[PyTree, PyTree], _Seen]:
    free, optimiser_state = place
    varied, pull = jax.vjp(lambda free: from_reals(free, descent.bounds), free)
    ensemble = replace(descent.ensemble, varied=varied)
    value, gradient, good = descent.gradient(
        ensemble.map(Differentiated.slopes, ensemble.choice(), key)
    )
    (gradient,) = pull(gradient)
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        update = jax.vmap(jax.vmap(descent.optimiser.update))
        updates, optimiser_state = update(gradient, optimiser_state, free)
        free = optax.apply_updates(free, updates)
    fixed = jax.tree.map(lambda x: jnp.repeat(x, descent.copies, axis=1), ensemble.fixed)
    status = jnp.where(good, HEALTHY, DIVERGED).astype(jnp.int32)
    return (free, optimiser_state), _Seen(eqx.combine(varied, fixed), value, status)


def _joined(descent: _Descent, seen: list[_Seen]) -> Tuned:
    layout = descent.ensemble.layout
    hyper, value, status = jax.tree.map(lambda *parts: jnp.stack(parts, axis=2), *seen)
    if not descent.per_seed:
        hyper, value = jax.tree.map(lambda leaf: leaf[:, 0], (hyper, value))
    hypers, values, status = layout.shaped((hyper, value, status))
    axis = values.ndim - 1
    last = jax.tree.map(lambda leaf: jnp.take(leaf, -1, axis=axis), hypers)
    return Tuned(last, hypers, values, status)


def _over(flags: Array, leaf: Array) -> Array:
    """Flags with trailing axes to go with a leaf."""
    return flags.reshape(*flags.shape, *(1,) * (leaf.ndim - flags.ndim))
