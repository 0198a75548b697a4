"""Training one seed of any `System`, by any method."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require, require_key
from nsh._shown import Shown
from nsh.system import System
from nsh.training.batches import Sampler, WithReplacement
from nsh.training.method import Method
from nsh.training.plan import Keys, Outcome, Plan, SaveAt, as_arrays
from nsh.training.sequential import Sequential


class Run(Shown):
    """A finished run. Under an ensemble every array has leading axes for grid and seeds.

    `state`: final state. `saved`: what was recorded, leading axis = recorded times. `steps`:
    number of steps at each recording. `status`: 0 healthy, 1 diverged (`System.healthy` is false
    of the final state), 2 stalled (`System.stalled` is true of it): failures are data, so that one
    diverged seed harms no other.
    """

    state: PyTree
    saved: PyTree
    steps: Int[Array | np.ndarray, " times"]
    status: Int[Array | np.ndarray, "*members"]


def train(
    system: System,
    examples: PyTree,
    hyper: PyTree,
    key: Key[Array, ""],
    *,
    steps: int,
    sampler: Sampler | None = None,
    save: SaveAt | None = None,
    method: Method | None = None,
) -> Run:
    """Train one seed: ``state_{t+1} = system.step(state_t, batch_t, hyper, key_t)``.

    `examples`: from `system.prepare`; `sampler`: mini-batches (default: single samples with
    replacement); `method`: how it is computed (default: `Sequential`). The randomness of step t
    depends on `key` and t alone, never on what is recorded. Compiled once for each system shape,
    number of steps, sampler, `save` and method: other values of `hyper` compile nothing. `jit`,
    `vmap` and `grad` work on it; see `nsh.training.hypergradient` for derivatives at less cost.

    Raises `ValueError` on bad input, before compiling.
    """
    require_key(key)
    plan = make_plan(system, examples, as_arrays(hyper), steps, sampler, save)
    method = checked_method(method, plan)
    return as_run(_run(plan, method, key), plan)


def start(system: System, hyper: PyTree, key: Key[Array, ""]) -> PyTree:
    """The state before the first step of ``train(system, ..., hyper, key)``, up to rounding.

    `train` splits `key` into one for the start and others for the mini-batches and steps, so
    ``system.init(key, hyper)`` is another start. That of seed i of an ensemble is
    ``start(system, hyper, jax.random.fold_in(key, i))``. Jittable, vmappable and differentiable as
    the system is. Raises `ValueError` on bad input.
    """
    require_key(key)
    hyper = as_arrays(hyper)
    system.check(hyper, 0)
    return _start(system, hyper, key)


def make_plan(
    system: System,
    examples: PyTree,
    hyper: PyTree,
    steps: int,
    sampler: Sampler | None,
    save: SaveAt | None,
) -> Plan:
    """A plan with the usual defaults, checked."""
    sampler = WithReplacement() if sampler is None else sampler
    plan = Plan(system, examples, hyper, sampler, SaveAt() if save is None else save, steps)
    plan.check()
    return plan


def checked_method(method: Method | None, plan: Plan) -> Method:
    """The method, `Sequential` by default, after it has said that it fits."""
    method = Sequential() if method is None else method
    require(isinstance(method, Method), "method", method, "an nsh.training.Method")
    method.check(plan)
    return method


def as_run(outcome: Outcome, plan: Plan) -> Run:
    """An outcome with the times of its recordings."""
    state, saved, status = outcome
    return Run(state, saved, np.asarray(plan.times, np.int32), status)


@eqx.filter_jit
def _start(system: System, hyper: PyTree, key: Key[Any, ""]) -> PyTree:
    return system.init(Keys.of(key).init, hyper)


@eqx.filter_jit
def _run(plan: Plan, method: Method, key: Key[Any, ""]) -> Outcome:
    return method.run(plan, key)
