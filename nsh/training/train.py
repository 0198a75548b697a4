"""Training one seed of any `System`, by any method."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require, require_key
from nsh.system import System
from nsh.training.checkpoints import (
    Checkpoints,
    Programs,
    begun,
    describe,
    follow,
    followed,
    stepping,
)
from nsh.training.problem import (
    Keys,
    Method,
    Result,
    Run,
    TrainingProblem,
    as_arrays,
    as_run,
    check_method,
)
from nsh.training.sequential import Sequential
from nsh.training.step_loop import Stretch
from nsh.training.varying import in_words


def train(
    problem: TrainingProblem,
    key: Key[Array, ""],
    *,
    method: Method = Sequential(),  # noqa: B008, an immutable value
    checkpoints: Checkpoints | None = None,
    callback: Callable[[int], object] | None = None,
) -> Run:
    """Train one seed: ``state_{t+1} = system.step(state_t, batch_t, hyper, key_t)``.

    `method`: how it is computed. The randomness of step t depends on `key` and t alone, never on
    what is recorded. Compiled once for each system shape, number of steps, sampler, `save` and
    method: other values of the hyperparameters compile nothing. `jit`, `vmap` and `grad` work on
    it; see `nsh.training.hypergradient` for derivatives at less cost.

    `checkpoints`: where to save a long run as it goes, see `Checkpoints`. `callback`: called with
    the number of steps done, after each stretch that is saved or, without `checkpoints`, at the
    end.

    Raises `ValueError` on bad input, before compiling.

    Example:
        Everything fires in the full batch, so factors double in each of four steps:

        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> run = nsh.train(problem, jax.random.key(0))
        >>> round(float(jnp.exp(run.state.log_amplification[0])), 3), int(run.status)
        (16.0, 0)
    """
    require_key(key)
    varying = in_words(problem.varying())
    allowed = "one whose parts are alike for all members; for others use ensemble"
    require(not varying, "problem", varying, allowed)
    check_method(method, problem)
    require(problem.grid_ndim == 0, "grid_ndim", problem.grid_ndim, "0 for one run; use ensemble")
    if checkpoints is None:
        result = _train(problem, method, key)
        if callback is not None:
            jax.block_until_ready(result)
            callback(problem.steps)
        return as_run(result, problem)
    steps = stepping(method, problem, key)
    run = {"function": "train", "key": key, "method": method}
    describe(checkpoints, problem, run)
    programs = Programs(
        lambda: _begin(problem, steps, key),
        lambda carry, part, first: _follow(problem, steps, key, carry, part, first),
        lambda carry, saved: _end(problem, steps, carry)._replace(saved=saved),
    )
    told = (lambda _: None) if callback is None else callback
    return as_run(follow(checkpoints, "run", programs, problem, told, axis=0), problem)


def start(system: System, hyper: PyTree, key: Key[Array, ""]) -> PyTree:
    """The state before the first step of ``train(problem, key)``, up to rounding.

    `train` splits `key` into one for the start and others for the mini-batches and steps, so
    ``system.init(key, hyper)`` is another start. That of seed i of an ensemble is
    ``start(system, hyper, jax.random.fold_in(key, i))``. Jittable, vmappable and differentiable as
    the system is. Raises `ValueError` on bad input.

    Example:
        >>> from nsh.training import start
        >>> system = nsh.Neurashed(nsh.neurashed.figure2().graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> start(system, rules, jax.random.key(0)).log_amplification[:2].tolist()
        [0.0, 0.0]
    """
    require_key(key)
    hyper = as_arrays(hyper)
    system.check(hyper, 0)
    return _start(system, hyper, key)


@eqx.filter_jit
def _start(system: System, hyper: PyTree, key: Key[Array, ""]) -> PyTree:
    return system.init(Keys.of(key).init, hyper)


@eqx.filter_jit
def _train(problem: TrainingProblem, method: Method, key: Key[Array, ""]) -> Result:
    return method.run(problem, key)


@eqx.filter_jit
def _begin(problem: TrainingProblem, method: Sequential, key: Key[Array, ""]) -> PyTree:
    return begun(problem, method, key)


@eqx.filter_jit
def _follow(
    problem: TrainingProblem,
    method: Sequential,
    key: Key[Array, ""],
    carry: PyTree,
    part: Stretch,
    first: Int[Array, ""],
) -> PyTree:
    return followed(problem, method, key, carry, part, first)


@eqx.filter_jit
def _end(problem: TrainingProblem, method: Sequential, carry: PyTree) -> Result:
    return method.end(problem, carry, None)
