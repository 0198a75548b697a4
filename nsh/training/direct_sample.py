"""Final states drawn from their law, at a cost that does not grow with the number of steps."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Key

from nsh._checks import require_integer
from nsh.training.binomial import LARGEST_N
from nsh.training.closed_form import events_of, require_countable
from nsh.training.method import Method
from nsh.training.multinomial import multinomial
from nsh.training.plan import Keys, Outcome, Plan


class DirectSample(Method):
    """The final state drawn from its exact law: agrees with other methods in law, not in draws.

    The start is that of any method with the same key; the T mini-batches are not drawn. How often
    each distinct mini-batch came up is Multinomial(T, p), hence how often each event happened
    (`System.events`), hence the final state (`System.from_events`). Time and memory grow with the
    number of distinct mini-batches, not with T.

    For systems whose steps can be counted instead of taken (as `ClosedForm`) and samplers with a
    law (`Sampler.law`): single samples, or mini-batches of any size drawn from few samples. Final
    states only. Differentiable in the hyperparameters: the counts do not depend on them.
    """

    instead: ClassVar[str] = "ClosedForm() (any mini-batches, recordings too) or Sequential()"

    def require_fit(self, plan: Plan) -> None:
        """Raise `ValueError` if something is recorded, order matters, or there are many batches."""
        if plan.times:
            raise ValueError("it gives final states only, and `save` records before the end")
        require_integer("steps", plan.steps, 0, LARGEST_N)
        plan.sampler.law(plan.samples)
        require_countable(plan)

    def run(self, plan: Plan, key: Key[Array, ""]) -> Outcome:
        """See `Method.run`."""
        keys = Keys.of(key)
        start, _ = plan.start(keys)
        batches, p = plan.sampler.law(plan.samples)
        drawn = multinomial(keys.batches, jnp.asarray(plan.steps, jnp.int32), p)
        counts = drawn @ events_of(plan, jnp.asarray(batches))
        state = plan.system.from_events(start, counts, plan.steps, plan.hyper)
        return Outcome(state, None, plan.status(state))
