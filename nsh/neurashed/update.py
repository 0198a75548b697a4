"""One step of amplification factors: g+ where they fire, g- elsewhere, a mean of both between."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from nsh.neurashed.composition import Maps, affine_step
from nsh.neurashed.rules import Rule

Levels = Int[np.ndarray, " factors"] | int


def updated(
    log_x: Float[Array, " factors"],
    fired: Bool[Array, " factors"] | Float[Array, " factors"],
    rules: tuple[Rule, Rule],
    iteration: Int[Array, ""],
    levels: Levels,
) -> Float[Array, " factors"]:
    """log x after one step under `rules` = (g+, g-), for factors of these levels.

    ``log x <- f log g+(x) + (1 - f) log g-(x)`` where the strength of firing f is a number.
    """
    growth, decay = (rule.at(iteration, levels) for rule in rules)
    if fired.dtype != bool:
        return _between(growth(log_x), decay(log_x), fired)
    selected = affine_step(fired, growth, decay)
    if selected is not None:  # half the work: select, then map
        return selected(log_x)
    return jnp.where(fired, growth(log_x), decay(log_x))


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


def _between(log_grown: Any, log_shrunk: Any, strength: Any) -> Float[Array, " factors"]:
    """The mean of both logarithms; 0 (log -inf) unless firing fully, where g- gives 0."""
    full, dead = strength >= 1, jnp.isneginf(log_shrunk)
    some = jnp.where(dead, 0, log_shrunk)
    mean = some + strength * (jnp.where(dead, 0, log_grown) - some)
    return jnp.where(full, log_grown, jnp.where(dead, -jnp.inf, mean))
