"""One step of amplification factors: g+ where they fire, g- elsewhere, a mean of both between."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nsh.neurashed.composition import Maps, Step, affine_step
from nsh.neurashed.logspace import Compensated
from nsh.neurashed.rule import Rule

Levels = Int[np.ndarray, " factors"] | int


def updated(
    log_x: Compensated,
    fired: Bool[Array, " factors"] | Float[Array, " factors"],
    rules: tuple[Rule, Rule],
    iteration: Int[Array, ""],
    levels: Levels,
) -> Compensated:
    """log x after one step under `rules` = (g+, g-), for factors of these levels.

    ``log x <- f log g+(x) + (1 - f) log g-(x)`` where the strength of firing f is a number.
    """
    growth, decay = (rule.at(iteration, levels) for rule in rules)
    selected = affine_step(fired, growth, decay) if fired.dtype == bool else None
    if selected is not None:  # half the work: select, then map
        return selected(log_x)
    grown, shrunk = _rest(growth, log_x), _rest(decay, log_x)
    between = jnp.where if fired.dtype == bool else _between
    return Compensated(log_x.value, between(fired, grown, shrunk))


def stuck(
    log_x: Compensated, rules: tuple[Rule, Rule], iteration: Int[Array, ""], levels: Levels
) -> Bool[Array, " factors"]:
    """Find the factors that neither g+ nor g- moves any more, although one of them should.

    What they would add is below the last digit of `log_x`. A rule without `Rule.gain` should move
    x if it is g+.
    """
    should = does = jnp.zeros(log_x.rest.shape, bool)
    for growing, rule in zip((True, False), rules, strict=True):
        now = rule.at(iteration, levels)
        should |= _should_move(now, log_x.total, growing)
        does |= _rest(now, log_x) != log_x.rest
    return jnp.isfinite(log_x.total) & should & ~does


def map_of(
    fired: Bool[Array, " factors"],
    rules: tuple[Rule, Rule],
    iteration: Int[Array, ""],
    levels: Levels,
) -> Maps:
    """The step as a map to be composed with others; raises `ValueError` unless rules are affine."""
    growth, decay = (rule.at(iteration, levels) for rule in rules)
    step = affine_step(fired, growth, decay)
    if step is None:
        names = " and ".join(type(rule).__name__ for rule in (growth, decay))
        raise ValueError(f"steps of {names} do not compose: one of them is not affine")
    return step.composable()


def _rest(rule: Rule, log_x: Compensated) -> Float[Array, " factors"]:
    """The rest of log g(x), of a rule after `Rule.at`."""
    affine = rule.affine()
    if affine is not None:
        return Step(*affine)(log_x).rest
    gain = rule.gain(log_x.total)
    return rule(log_x.total) - log_x.value if gain is None else log_x.moved(gain).rest


def _should_move(rule: Rule, log_x: Float[Array, " factors"], growing: bool) -> Array | bool:
    """Whether g(x) differs from x > 0, for a rule after `Rule.at`."""
    affine = rule.affine()
    if affine is not None:
        log_factor, step = affine
        return (log_factor != 0) | (False if step is None else step != 0)
    gain = rule.gain(log_x)
    return growing if gain is None else gain != 0


def _between(strength: Array, log_grown: Array, log_shrunk: Array) -> Float[Array, " factors"]:
    """The mean of both logarithms; 0 (log -inf) unless firing fully, where g- gives 0."""
    full, dead = strength >= 1, jnp.isneginf(log_shrunk)
    some = jnp.where(dead, 0, log_shrunk)
    mean = some + strength * (jnp.where(dead, 0, log_grown) - some)
    return jnp.where(full, log_grown, jnp.where(dead, -jnp.inf, mean))
