"""Which rules a model grows by: the model's hyperparameters, and the paper's conditions on them."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify
from jaxtyping import Array, Float, Int

from nsh._checks import is_concrete, require, require_all
from nsh._shown import Shown
from nsh.bounds import REALS
from nsh.neurashed.rule import Geometric, Rule, at_iteration, parameters

MOST_STEPS_CHECKED = 10_000


class Rules(Shown):
    """The hyperparameters of neurashed: g+ and g- of nodes and, if they differ, of class weights.

    `weight_growth`, `weight_decay`: for the weights eta of edges to class nodes; None: as nodes.
    Concrete values are checked against the paper's conditions (g+(x) > x, 0 <= g-(x) <= x, both
    increasing; arXiv 2112.09741, Section 2) and raise `ValueError` naming field and value.

    Example:
        >>> nsh.Rules(growth=nsh.Geometric(1.5), decay=nsh.Geometric(0.75))
        Rules(growth=Geometric(factor=1.5), decay=Geometric(factor=0.75))
    """

    growth: Rule
    decay: Rule
    weight_growth: Rule | None = None
    weight_decay: Rule | None = None

    def __check_init__(self):
        for name, rule in vars(self).items():
            if rule is not None:
                require(isinstance(rule, Rule), name, rule, "a Rule, such as Geometric(factor)")
                check_rule(rule, name, growing="growth" in name)

    def for_weights(self) -> tuple[Rule, Rule]:
        """g+ and g- of the class weights."""
        growth = self.growth if self.weight_growth is None else self.weight_growth
        decay = self.decay if self.weight_decay is None else self.weight_decay
        return growth, decay

    def bounds(self) -> Rules:
        """The open interval of each parameter in its place (`Rule.domain`); a schedule has none."""
        intervals = []
        for name, rule in vars(self).items():
            if rule is None:
                continue
            for field, value in parameters(rule).items():
                interval = REALS if callable(value) else rule.domain("growth" in name)[field]
                intervals += [interval] * len(jax.tree.leaves(value))
        return jax.tree.unflatten(jax.tree.structure(self), intervals)


def constant_log_factor(
    rule: Rule, name: str, level: Int[np.ndarray, " nodes"] | int
) -> Float[Array, "..."]:
    """log a of a rule that is ``g(x) = a x`` at every iteration, for nodes of the given levels.

    Raises `ValueError` for any other rule: its final state depends on the order of the steps.
    """
    now = rule.at(jnp.zeros((), jnp.int32), level)
    if not isinstance(now, Geometric):
        raise ValueError(f"{name} is {type(now).__name__}, not Geometric: the order matters")
    if callable(parameters(rule)["factor"]):
        raise ValueError(f"{name}.factor is a schedule: the order of the steps matters")
    return jnp.log(now.factor)


def check_rule(rule: Rule, name: str, *, growing: bool, steps: int = 1) -> None:
    """Raise `ValueError` where a rule's concrete parameters break the paper's conditions.

    A schedule is looked at over `steps` iterations (at 10,000 of them, if there are more).
    """
    if not is_concrete(rule):
        return
    given, identity = parameters(rule), rule.identity()
    moves = np.array(not identity)
    for field, (low, high) in rule.domain(growing).items():
        values = _over_time(given[field], steps, f"{name}.{field}")
        inside = (values > low) & (values < high)
        still = identity.get(field)
        bounds = [f"> {low}"] * math.isfinite(low) + [f"< {high}"] * math.isfinite(high)
        allowed = " and ".join(bounds) + ("" if still is None else f" (or {still})")
        require_all(inside | (values == still), f"{name}.{field}", values, allowed)
        if still is not None:  # a schedule's axis of time beside the axis of nodes
            alone = callable(given[field]) and inside.ndim == 1
            moves = moves | (inside[:, None] if alone else inside)
    if growing and not moves.all():
        values = {field: np.asarray(given[field]).tolist() for field in identity}
        still = ", ".join(f"{field} {value:g}" for field, value in identity.items())
        require(False, name, values, f"such that g+(x) > x, not the identity ({still})")


def _over_time(value: Any, steps: int, field: str) -> np.ndarray:
    """A parameter's values: an array as it is, a schedule with iterations as leading axis."""
    if callable(value):
        count = min(max(steps, 1), MOST_STEPS_CHECKED)
        iterations = np.linspace(0, max(steps - 1, 0), count).astype(np.int32)
        along = jax.vmap(partial(at_iteration, value))
        checked = jax.jit(checkify.checkify(along, errors=checkify.index_checks))
        with jax.ensure_compile_time_eval():  # numbers, under jit too
            complaint, value = checked(iterations)
            beyond = complaint.get()  # JAX would go on with the last entry
        allowed = f"given for all {steps} iterations; {beyond and beyond.splitlines()[0]}"
        require(beyond is None, field, "a schedule", allowed)
    array = np.asarray(value)
    require_all(np.isfinite(array), field, array, "finite")
    return array
