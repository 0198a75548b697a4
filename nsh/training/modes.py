"""Which way to differentiate a run: forward, reverse or in closed form, and why."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import equinox as eqx
import jax

from nsh._checks import require
from nsh.training.closed_form import ClosedForm
from nsh.training.parallel_in_time import ParallelInTime
from nsh.training.problem import Method, TrainingProblem, check_method
from nsh.training.sequential import Sequential

Mode = Literal["auto", "forward", "reverse", "closed form"]
MODES = ("auto", "forward", "reverse", "closed form")
# up to so many numbers, forward mode is quicker than reverse or takes about as long
FEW = 8


class Choice(NamedTuple):
    """A mode, the method that computes the run, and the reason in words."""

    mode: str
    method: Method
    why: str


def choose(
    problem: TrainingProblem,
    numbers: int,
    vmap_size: int,
    memory: int,
    mode: str,
    method: Method | None,
) -> Choice:
    """The mode asked for or, for "auto", the cheapest that keeps within `memory` bytes.

    `numbers`: how many there are to differentiate by. Raises `ValueError` for a mode or method
    that does not fit.
    """
    require(mode in MODES, "mode", mode, " or ".join(map(repr, MODES)))
    if method is not None:
        check_method(method, problem)
    exact = method is None or isinstance(method, ClosedForm | ParallelInTime)
    if mode == "closed form":
        allowed = "None, ClosedForm() or ParallelInTime() for mode 'closed form'"
        require(exact, "method", method, allowed)
        return _exact(problem, method)
    if mode == "auto" and method is None and _fits(ClosedForm(), problem):
        return _exact(problem, ClosedForm())
    count = f"{numbers} number{'s' * (numbers > 1)} to differentiate by"
    if mode == "forward" or (mode == "auto" and numbers <= FEW):
        reason = "as asked" if mode == "forward" else f"{count}, at most {FEW}"
        why = f"forward: {reason}; nothing is stored along the run"
        return Choice("forward", Sequential() if method is None else method, why)
    reason = "as asked" if mode == "reverse" else count
    if method is not None:
        return Choice("reverse", method, f"reverse: {reason}; through the method given")
    return _checkpointed(problem, vmap_size, memory, reason)


def _exact(problem: TrainingProblem, method: Method | None) -> Choice:
    if method is None:
        method = ClosedForm() if _fits(ClosedForm(), problem) else ParallelInTime()
    check_method(method, problem)
    reasons = {
        ClosedForm: "states follow from counts, which no hyperparameter changes",
        ParallelInTime: "steps compose as maps",
    }
    return Choice("closed form", method, f"closed form: {reasons[type(method)]}")


def _checkpointed(problem: TrainingProblem, vmap_size: int, memory: int, reason: str) -> Choice:
    state = eqx.filter_eval_shape(problem.system.init, jax.random.key(0), problem.hyper)
    size = sum(math.prod(s.shape) * s.dtype.itemsize for s in jax.tree.leaves(state))
    needed = problem.steps * vmap_size * size
    states = f"all {problem.steps} states of {vmap_size} member{'s' * (vmap_size > 1)}"
    allowed = f"{size_in_words(float(needed))} of the {size_in_words(float(memory))} allowed"
    if needed <= memory:
        why = f"reverse, a checkpoint every step: {reason}; {states} take {allowed}"
        return Choice("reverse", Sequential("step"), why)
    why = f"reverse, sqrt(T) checkpoints: {reason}; {states} would take {allowed}"
    return Choice("reverse", Sequential("sqrt"), why)


def _fits(method: Method, problem: TrainingProblem) -> bool:
    try:
        check_method(method, problem)
    except ValueError:
        return False
    return True


def size_in_words(count: float | int) -> str:
    """A size in words, powers of 1000."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
