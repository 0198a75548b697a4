"""How a run is computed, as a value: one abstract `Method`, several ways, same results."""

from __future__ import annotations

import abc
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Key

from nsh.training.plan import Outcome, Plan


class Method(eqx.Module):
    """A way to compute a run, chosen like a Diffrax solver.

    Methods are exact: with the same key they train on the same mini-batches and agree up to
    rounding; one that only agrees in law says so.
    """

    instead: ClassVar[str] = "Sequential()"
    """What to use where this one does not fit."""

    def require_fit(self, plan: Plan) -> None:
        """Raise `ValueError`, saying why, if this method cannot compute the plan; by default none.

        Called outside `jit`, before compiling.
        """

    @abc.abstractmethod
    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """Compute the run; called inside `jit`."""

    def check(self, plan: Plan) -> None:
        """Raise `ValueError`, naming a method that does fit, if this one does not fit the plan."""
        try:
            self.require_fit(plan)
        except ValueError as complaint:
            name = type(self).__name__
            raise ValueError(
                f"method: {name} does not fit, {complaint}; use {self.instead}"
            ) from complaint
