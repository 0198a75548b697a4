"""Final states drawn from their law, at a cost that does not grow with the number of steps."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Key

from nsh._checks import require_integer
from nsh.training.binomial import LARGEST_N
from nsh.training.closed_form import events_of, require_countable
from nsh.training.multinomial import multinomial
from nsh.training.problem import Keys, Method, Result, TrainingProblem


class DirectSample(Method):
    """The final state drawn from its exact law: agrees with other methods in law, not in draws.

    The start is that of any method with the same key; the T mini-batches are not drawn. How often
    each distinct mini-batch came up is Multinomial(T, p), hence how often each event happened
    (`System.events`), hence the final state (`System.state_from_counts`). Time and memory grow
    with the number of distinct mini-batches, not with T.

    For systems whose steps can be counted instead of taken (as `ClosedForm`) and samplers with a
    `Sampler.distribution`: single examples, or mini-batches of any size drawn from few examples.
    Final states only. Differentiable in the hyperparameters: the counts do not depend on them.

    Example:
        Node 0 fires for each of the examples, so it grows in every step:

        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> examples = system.prepare(inputs.x, inputs.y)
        >>> problem = nsh.TrainingProblem(system, examples, rules, steps=4)
        >>> run = nsh.train(problem, jax.random.key(0), method=nsh.DirectSample())
        >>> round(float(jnp.exp(run.state.log_amplification[0])), 3)
        16.0
    """

    alternative: ClassVar[str] = "ClosedForm() (any mini-batches, recordings too) or Sequential()"

    def check_supported(self, problem: TrainingProblem) -> None:
        """Raise `ValueError` if something is recorded, order matters, or there are many batches."""
        if problem.times:
            raise ValueError("it gives final states only, and `save` records before the end")
        require_integer("steps", problem.steps, 0, LARGEST_N)
        problem.sampler.distribution(problem.num_examples)
        require_countable(problem)

    def run(self, problem: TrainingProblem, key: Key[Array, ""]) -> Result:
        """See `Method.run`."""
        keys = Keys.of(key)
        start, _ = problem.start(keys)
        batches, p = problem.sampler.distribution(problem.num_examples)
        drawn = multinomial(keys.batches, jnp.asarray(problem.steps, jnp.int32), p)
        counts = drawn @ events_of(problem, jnp.asarray(batches))
        state = problem.system.state_from_counts(start, counts, problem.steps, problem.hyper)
        return Result(state, None, problem.status(state))
