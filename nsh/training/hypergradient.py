"""Gradients of anything seen of a run by its hyperparameters, for every seed of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh._checks import require_key
from nsh._shown import Shown
from nsh.system import System
from nsh.training.batches import Sampler
from nsh.training.derivatives import Differentiated, Objective, Slopes
from nsh.training.differentiable import MEMORY, Differentiable, differentiable, judged
from nsh.training.members import Device
from nsh.training.method import Method
from nsh.training.modes import Choice, Mode
from nsh.training.plan import HEALTHY, SaveAt


class Hypergradient(Shown):
    """Objective and its gradient by the hyperparameters, of every seed.

    `value` [*grid, seeds]. `gradient`: like `hyper`, leaves [*grid, seeds, *leaf]; None in place of
    leaves that are not of floating type. `status`: 0 where all is finite, else that of the run, or
    1 if the objective is not finite, 3 if it is and its gradient is not (`GRADIENT_NOT_FINITE`).
    `mode`: "forward", "reverse" or "closed form", and `why` it was that.
    """

    value: Float[Array, "*members"]
    gradient: PyTree
    status: Int[Array, "*members"]
    mode: str = eqx.field(static=True)
    why: str = eqx.field(static=True)

    @property
    def usable(self) -> Bool[Array, "*members"]:
        """Seeds with a healthy run, a finite value and a finite gradient."""
        return self.status == HEALTHY


def hypergradient(
    objective: Objective,
    system: System,
    examples: PyTree,
    hyper: PyTree,
    key: Key[Array, ""],
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
) -> Hypergradient:
    """``d objective(run) / d hyper`` of every seed's run, differentiated through all its steps.

    `objective`: `Run` of one seed -> scalar, from its final state and what `save` records. Keep
    the same function for repeated calls: a new one is compiled anew. Seeds, `grid`, `lanes` and
    `devices` as in `ensemble`; each member is differentiated by itself, so memory is that of the
    lanes in flight.

    `mode`: ``"forward"``: along each number of `hyper` in turn, no trajectory stored, time
    about proportional to their count, memory independent of T. ``"reverse"``: all at once, from
    stored states. ``"closed form"``: through `ClosedForm` or, where it does not fit,
    `ParallelInTime`. ``"auto"``: `ClosedForm` where it fits; forward for up to 8
    numbers; else reverse with the states of all steps if these fit in `memory` bytes (of lanes in
    flight), else with sqrt(T) checkpoints. `method`: how runs are computed, default by mode.

    Exact up to rounding, but a gradient may not be what one wants: after a chaotic stretch it
    grows like ``exp(Lyapunov exponent * t)`` while means over seeds still change smoothly; it is
    0 where the objective is piecewise constant (binned information, which nodes fire, and
    accuracy: use ``cross_entropy`` instead) and one-sided at clips and ties; Adam has none where
    a network's own gradient is 0, unless ``eps_root`` > 0 (the guide has a table of all of Optax's
    optimisers). A seed whose gradient is not finite harms no other (see `sensitivity`): its value
    stays, and its status says so.

    `jit`, `vmap` and `grad` work on it; the mode is chosen while tracing. Raises `ValueError` on
    bad input, before compiling.
    """
    require_key(key)
    ensemble = differentiable(
        objective, system, examples, hyper, seeds=seeds, steps=steps, sampler=sampler, save=save,
        method=method, mode=mode, grid=grid, first_seed=first_seed, lanes=lanes, devices=devices,
        memory=memory,
    )  # fmt: skip
    (value, gradient, status), choice = _slopes(ensemble, key)
    status = judged(value, gradient, status)
    return Hypergradient(value, gradient, status, choice.mode, choice.why)


@eqx.filter_jit
def _slopes(ensemble: Differentiable, key: Key[Array, ""]) -> tuple[Slopes, Choice]:
    choice = ensemble.choice()
    return ensemble.layout.shaped(ensemble.map(Differentiated.slopes, choice, key)), choice
