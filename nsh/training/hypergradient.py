"""Gradients of anything seen of a run by its hyperparameters, for every seed of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh._checks import require_key
from nsh._shown import Shown
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
from nsh.training.modes import Choice, Mode
from nsh.training.problem import Method, RunStatus, TrainingProblem


class Hypergradient(Shown):
    """Objective and its gradient by the hyperparameters, of every seed.

    `value` [*grid, seeds]. `gradient`: like `hyper`, leaves [*grid, seeds, *leaf]; None in place of
    leaves that are not of floating type. `status`: `RunStatus.HEALTHY` where all is finite, else
    that of the run, or `DIVERGED` if the objective is not finite, or `GRADIENT_NOT_FINITE`.
    `mode`: "forward", "reverse" or "closed form", and `why` it was that.
    """

    value: Float[Array, "*members"]
    gradient: PyTree
    status: Int[Array, "*members"]
    mode: str = eqx.field(static=True)
    why: str = eqx.field(static=True)

    @property
    def valid(self) -> Bool[Array, "*members"]:
        """Seeds with a healthy run, a finite value and a finite gradient."""
        return self.status == RunStatus.HEALTHY


def hypergradient(
    objective: Objective,
    problem: TrainingProblem,
    key: Key[Array, ""],
    *,
    seeds: int,
    first_seed: int = 0,
    method: Method | None = None,
    mode: Mode = "auto",
    vmap_size: int | None = None,
    devices: Sequence[Device] | None = None,
    memory: int = MEMORY,
) -> Hypergradient:
    """``d objective(run) / d hyper`` of every seed's run, differentiated through all its steps.

    `objective`: `Run` of one seed -> scalar, from its final state and what `save` records. Keep
    the same function for repeated calls: a new one is compiled anew. Seeds, `vmap_size` and
    `devices` as in `ensemble`; each member is differentiated by itself, so memory is that of
    `vmap_size` members.

    `mode`: ``"forward"``: along each number of `hyper` in turn, no trajectory stored, time
    about proportional to their count, memory independent of T. ``"reverse"``: all at once, from
    stored states. ``"closed form"``: through `ClosedForm` or, where it does not fit,
    `ParallelInTime`. ``"auto"``: `ClosedForm` where it fits; forward for up to 8
    numbers; else reverse with the states of all steps if these fit in `memory` bytes (those of
    `vmap_size` members), else with sqrt(T) checkpoints. `method`: how runs are computed, by
    default chosen by mode.

    Exact up to rounding, but a gradient may not be what one wants: after a chaotic stretch it
    grows like ``exp(Lyapunov exponent * t)`` while means over seeds still change smoothly; it is
    0 where the objective is piecewise constant (binned information, which nodes fire, and
    accuracy: use ``cross_entropy`` instead) and one-sided at clips and ties; Adam has none where
    a network's own gradient is 0, unless ``eps_root`` > 0 (the guide has a table of all of Optax's
    optimisers). A seed whose gradient is not finite harms no other (see `sensitivity`): its value
    stays, and its status says so.

    `jit`, `vmap` and `grad` work on it; the mode is chosen while tracing. Raises `ValueError` on
    bad input, before compiling.

    Example:
        The logarithm of a factor that grows in each of four steps has the slope 4 / a:

        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4, sampler=nsh.FullBatch())
        >>> def objective(run):
        ...     return run.state.log_amplification[0]
        >>> found = nsh.hypergradient(objective, problem, jax.random.key(0), seeds=2)
        >>> found.gradient.growth.factor.round(3).tolist(), found.mode
        ([2.0, 2.0], 'closed form')
    """
    require_key(key)
    ensemble = differentiable(
        objective, problem, seeds=seeds, first_seed=first_seed, method=method, mode=mode,
        vmap_size=vmap_size, devices=devices, memory=memory,
    )  # fmt: skip
    (value, gradient, status), choice = _value_and_grad(ensemble, key)
    status = combined_status(value, gradient, status)
    return Hypergradient(value, gradient, status, choice.mode, choice.why)


@eqx.filter_jit
def _value_and_grad(
    ensemble: DifferentiableEnsemble, key: Key[Array, ""]
) -> tuple[ValueAndGrad, Choice]:
    choice = ensemble.choice()
    found = ensemble.map(DifferentiableRun.value_and_grad, choice, key)
    return ensemble.members.unflatten_grid(found), choice
