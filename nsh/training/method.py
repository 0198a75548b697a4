"""How a run is computed, as a value: one abstract `Method`, several ways, same results."""

from __future__ import annotations

import abc

import equinox as eqx
from jaxtyping import Array, Key

from nsh.training.plan import Outcome, Plan


class Method(eqx.Module):
    """A way to compute a run, chosen like a Diffrax solver.

    Methods are exact: with the same key they train on the same mini-batches and agree up to
    rounding; one that only agrees in law says so.
    """

    @abc.abstractmethod
    def check(self, plan: Plan) -> None:
        """Raise `ValueError`, naming a method that does fit, if this one does not fit the plan."""

    @abc.abstractmethod
    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """Compute the run; called inside `jit`."""
