"""An ensemble ready to be differentiated by its hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh._checks import require, require_integer
from nsh._named_parts import for_leaves
from nsh.system import System
from nsh.training.batches import Sampler
from nsh.training.derivatives import Differentiated, Objective, count_numbers
from nsh.training.ensemble import check_seeds, checked_devices, default_lanes, grid_plan
from nsh.training.layout import Layout
from nsh.training.members import Device
from nsh.training.method import Method
from nsh.training.modes import Choice, Mode, choose
from nsh.training.plan import DIVERGED, GRADIENT_NOT_FINITE, HEALTHY, Plan, SaveAt, as_arrays

MEMORY = 256_000_000


class Differentiable(eqx.Module):
    """What of a seed is differentiated and how, which seeds there are, their hyperparameters.

    `varied`, `fixed`: pytrees like `hyper` that share its leaves out, [points, seeds or 1, *leaf].
    """

    objective: Objective
    plan: Plan
    layout: Layout
    varied: PyTree
    fixed: PyTree
    method: Method | None
    mode: str = eqx.field(static=True)
    memory: int = eqx.field(static=True)

    def choice(self) -> Choice:
        """How to differentiate; asked while tracing, for it takes a trace itself."""
        numbers = count_numbers(jax.tree.map(lambda leaf: leaf[0, 0], self.varied))
        return choose(self.plan, numbers, self.layout.lanes, self.memory, self.mode, self.method)

    def map(
        self, derivative: Callable[..., PyTree], choice: Choice, key: Key[Array, ""], *more: PyTree
    ) -> PyTree:
        """``derivative(differentiated, varied, fixed, *more, key)`` of all members, as `choice`.

        Leaves [points, seeds, ...]; inside `jit`.
        """

        def one(of: Differentiated, hypers: Any, key: Any) -> PyTree:
            return derivative(of, *hypers, key)

        forward = choice.mode == "forward"
        of = Differentiated(self.objective, self.plan, choice.method, forward)
        return self.layout.map(one, of, (self.varied, self.fixed, *more), key)


def differentiable(
    objective: Objective,
    system: System,
    examples: PyTree,
    hyper: PyTree,
    *,
    seeds: int,
    steps: int,
    sampler: Sampler | None = None,
    save: SaveAt | None = None,
    method: Method | None = None,
    mode: Mode = "auto",
    grid: int = 0,
    first_seed: int = 0,
    lanes: int | None = None,
    devices: Sequence[Device] | None = None,
    memory: int = MEMORY,
    by: PyTree = True,
) -> Differentiable:
    """All of a hypergradient's input, checked; by those floating leaves for which `by` is true.

    `by`: True or False for all, a pytree of these like `hyper`, or dicts of those that are true.
    """
    require(callable(objective), "objective", objective, "a function of a Run")
    require_integer("memory", memory, 1)
    hyper = jax.tree.map(jnp.asarray, as_arrays(hyper))
    plan, shape = grid_plan(system, examples, hyper, steps, sampler, save, grid)
    check_seeds(seeds, first_seed, math.prod(shape))
    if lanes is None:  # no more than there are members: spare lanes would be differentiated too
        lanes = min(default_lanes(plan), math.prod(shape) * seeds)
    require_integer("lanes", lanes, 1)
    first, chosen = jnp.asarray(first_seed, jnp.int32), checked_devices(devices)
    layout = Layout(first, shape, seeds, lanes, chosen)
    varied, fixed = eqx.partition(layout.over_points(hyper), _chosen(hyper, by))
    allowed = "a pytree with floating leaves to differentiate by, of which `tuned` names one"
    require(count_numbers(varied) > 0, "hyper", hyper, allowed)
    return Differentiable(objective, plan, layout, varied, fixed, method, mode, memory)


def _chosen(hyper: PyTree, by: PyTree) -> PyTree:
    leaves, structure = jax.tree.flatten(hyper)
    flags = for_leaves(
        by, hyper, field="tuned", allowed="True or False, or a dict of these by name",
        is_one=lambda flag: isinstance(flag, bool), others=[False] * len(leaves),
    )  # fmt: skip
    chosen = [flag and eqx.is_inexact_array(leaf) for leaf, flag in zip(leaves, flags, strict=True)]
    return jax.tree.unflatten(structure, chosen)


def judged(
    value: Float[Array, "*members"], derivatives: PyTree, status: Int[Array, "*members"]
) -> Int[Array, "*members"]:
    """The status of each member, by its run, then by its objective, then by the derivatives."""
    finite = jnp.ones(value.shape, bool)
    for leaf in jax.tree.leaves(derivatives):
        finite &= jnp.all(jnp.isfinite(leaf).reshape(*value.shape, -1), axis=-1)
    found = jnp.where(finite, HEALTHY, GRADIENT_NOT_FINITE)
    found = jnp.where(jnp.isfinite(value), found, DIVERGED)
    return jnp.where(status == HEALTHY, found, status).astype(jnp.int32)
