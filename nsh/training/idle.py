"""Telling the user where tuning does not move, and why."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Int

from nsh._checks import is_concrete
from nsh.training.plan import GRADIENT_NOT_FINITE, HEALTHY

NOT_FINITE = (
    "Adam and its kin have none where a network's own gradient is exactly 0: give the optimiser "
    "eps_root, such as 1e-16, or take another (the guide has a table)"
)
DIVERGED = "start where training is stable, or set bounds there"
FLAT = (
    "tune: the gradient is exactly 0 at the start: the objective does not depend on what is tuned, "
    "or is constant in steps, as accuracy is (take cross_entropy)"
)


def warn_of_idle(
    status: Int[Array, "*grid seeds iterations"],
    slope: Bool[Array, "points copies iterations"],
    *,
    everywhere: bool = False,
) -> bool:
    """Warn where no seed had a gradient, or its mean is 0 at the start; whether it did.

    `everywhere`: only if it is so for all points. Silent inside `jit`.
    """
    if not is_concrete((status, slope)):
        return False
    told = np.all if everywhere else np.any
    points, copies, iterations = slope.shape
    found = np.asarray(status).reshape(points, -1, iterations)
    good = found == HEALTHY
    idle = ~(good if copies == good.shape[1] else good.any(axis=1, keepdims=True))
    if told(idle):
        message = _of_lost(found[np.broadcast_to(idle, found.shape)], int(idle.sum()), idle.size)
    elif told(~np.asarray(slope)[..., 0] & ~idle[..., 0]):
        message = FLAT
    else:
        return False
    warnings.warn(message, stacklevel=3)
    return True


def _of_lost(status: Any, idle: int, steps: int) -> str:
    lost = int((status == GRADIENT_NOT_FINITE).sum())
    gone = status.size - lost
    parts = [(lost, "gradients are not finite", NOT_FINITE), (gone, "runs diverged", DIVERGED)]
    said = "; ".join(f"{count} {what}: {cure}" for count, what, cure in parts if count)
    where = f"at {idle} of {steps} steps, which move nothing"
    return f"tune: no seed has a finite gradient {where}. {said}"
