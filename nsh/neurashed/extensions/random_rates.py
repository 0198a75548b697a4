"""Random g+ and g-: log-normal noise on how far each factor moves, fresh or frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from nsh.bounds import Interval
from nsh.neurashed.extensions.extension import (
    Extended,
    Extension,
    ExtensionHyper,
    check_number,
    model_state,
    number,
    own_key,
)
from nsh.neurashed.pathway_model import PathwayModel
from nsh.neurashed.prepared import Pathways


class RandomRatesHyper(ExtensionHyper):
    """Hyperparameters of `RandomRates`: standard deviations of log rates; 0 switches one off.

    `per_step`: drawn anew in every step; `frozen`: drawn once for every factor and weight.
    Raises `ValueError` below 0. Differentiable (reparametrised draws).

    Example:
        >>> from nsh.neurashed.extensions import RandomRatesHyper
        >>> rules = nsh.Rules(nsh.Geometric(1.5), nsh.Geometric(0.5))
        >>> RandomRatesHyper(rules, per_step=0.25, frozen=0.0).per_step.item()
        0.25
    """

    intervals: ClassVar[dict[str, Interval]] = {
        "per_step": (0.0, math.inf),
        "frozen": (0.0, math.inf),
    }
    inner: PyTree
    per_step: Float[Array, "..."] = eqx.field(converter=number)
    frozen: Float[Array, "..."] = eqx.field(converter=number)

    def __check_init__(self):
        for field in self.intervals:
            check_number(field, getattr(self, field), 0.0, math.inf, ">= 0")


class RandomRates(Extension):
    """Noisy rates: ``log x <- log x + xi (log g(x) - log x)`` with log-normal xi of mean 1.

    ``xi = exp(s e - s^2/2 + r e' - r^2/2)``: s = `per_step`, r = `frozen`, e standard normal drawn
    anew for every factor and weight in every step, e' once for each, one for growing and another
    for shrinking. As xi > 0, the paper's conditions g+(x) > x and g-(x) <= x hold whatever the
    draw (arXiv 2112.09741, Section 4, names random rates; this noise is ours).
    `hyper`: `RandomRatesHyper`. Differentiable in the spreads; state: the frozen draws beside the
    inner's.

    Example:
        Noise does not turn growth into decay, whatever the draw:

        >>> from nsh.neurashed import Constant, figure4
        >>> from nsh.neurashed.extensions import RandomRates, RandomRatesHyper
        >>> graph, inputs = figure4()
        >>> system = RandomRates(nsh.Neurashed(graph, Constant(1.0)))
        >>> rules = nsh.Rules(nsh.Geometric(2.0), nsh.Geometric(0.5))
        >>> hyper = RandomRatesHyper(rules, per_step=1.0, frozen=0.0)
        >>> state, key = system.init(jax.random.key(0), hyper), jax.random.key(1)
        >>> after = system.step(state, system.prepare(inputs.x, inputs.y), hyper, key)
        >>> bool((after.inner.log_amplification > 0).all())  # all fire in the full batch
        True
    """

    inner: PathwayModel | Extension
    place: ClassVar[int] = 1
    kind: ClassVar[type] = RandomRatesHyper

    def init(self, key: Key[Array, ""], hyper: RandomRatesHyper) -> Extended:
        """The inner system's start, and the frozen draws: for growing, for shrinking."""
        inner = self.inner.init(key, hyper.inner)
        logs, _ = _moving(inner)
        drawn = jax.random.normal(own_key(key, self), (2 * logs.size,), logs.dtype)
        return Extended(inner, drawn.reshape(2, logs.size))

    def step(
        self, state: Extended, batch: Pathways, hyper: RandomRatesHyper, key: Key[Array, ""]
    ) -> Extended:
        """The inner system's step, each logarithm's move stretched by its xi."""
        after = self.inner.step(state.inner, batch, hyper.inner, key)
        (old, _), (new, replaced) = _moving(state.inner), _moving(after)
        alive = jnp.isfinite(old) & jnp.isfinite(new)
        move = jnp.where(alive, new - old, 0)
        fresh = jax.random.normal(own_key(key, self), old.shape, old.dtype)
        frozen = jnp.where(move > 0, *state.own)
        log_xi = _of_mean_one(hyper.per_step, fresh) + _of_mean_one(hyper.frozen, frozen)
        # not old + xi move: without noise, the inner system's step to the bit
        return Extended(replaced(new + move * jnp.expm1(log_xi)), state.own)


def _of_mean_one(spread: Array, normal: Array) -> Float[Array, " numbers"]:
    """The logarithm of a log-normal number of mean 1."""
    return spread * normal - spread**2 / 2


def _moving(state: PyTree) -> tuple[Float[Array, " numbers"], Callable[[Array], PyTree]]:
    """What a step adds to in all logarithms of a state, in a row; the state with others there."""

    def rests(state: PyTree) -> tuple[Any, Any]:  # `tree_at` puts marks there
        now = model_state(state)
        return now.amplification.rest, now.weight.rest

    flat, unravel = ravel_pytree(rests(state))
    return flat, lambda row: eqx.tree_at(rests, state, unravel(row))
