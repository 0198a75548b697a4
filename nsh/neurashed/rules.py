"""How amplification factors grow (g+) and shrink (g-): pytrees, and the model's hyperparameters."""

from __future__ import annotations

import abc
import math
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh._checks import is_concrete, require, require_all
from nsh._shown import Shown
from nsh.bounds import REALS, Interval
from nsh.neurashed.logspace import log_plus

MOST_STEPS_CHECKED = 10_000
# parameter values at which a rule leaves x as it is
IDENTITY = {"factor": 1.0, "step": 0.0}


def _parameter(value: Any) -> Any:
    """A number or array as a float array; a schedule as a pytree that can be called."""
    if callable(value):
        is_pytree = isinstance(value, eqx.Module | jax.tree_util.Partial)
        return value if is_pytree else jax.tree_util.Partial(value)
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return jnp.asarray(value, dtype=float)


class Rule(Shown):
    """A map x -> g(x) of amplification factors, computed on log x so that nothing overflows.

    Every parameter is a scalar, an array with an entry for each node, or a schedule: any function
    of the iteration (0, 1, ...) such as Optax's. Parameters are leaves of the pytree: `jit`,
    `vmap` and `grad` work on them. A schedule that is an `equinox.Module` or a
    `jax.tree_util.Partial` shows its own arrays as leaves.
    """

    @abc.abstractmethod
    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log g(x) from log x; parameters must be arrays by now (see `at`)."""

    @abc.abstractmethod
    def domain(self, growing: bool) -> dict[str, Interval]:
        """The open interval of each parameter, for g+ (`growing`) or g-."""

    def affine(self) -> tuple[Any, Any] | None:
        """log a and c of a rule ``g(x) = max(a x + c, 0)``, c None for 0; for rules after `at`.

        None for other rules, whose steps do not compose.
        """
        return None

    def at(self, iteration: Int[Array, ""], level: Int[np.ndarray, " nodes"] | int) -> Rule:  # noqa: ARG002
        """This rule at one iteration, with schedules evaluated, for nodes of the given levels."""
        return type(self)(*(_at(value, iteration) for value in vars(self).values()))


class Geometric(Rule):
    """``g(x) = factor x``: factor > 1 for g+, 0 < factor <= 1 for g- (arXiv 2112.09741, Sec. 2)."""

    factor: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log x + log factor."""
        return log_x + jnp.log(self.factor)

    def affine(self) -> tuple[Any, Any]:
        """See `Rule.affine`."""
        return jnp.log(self.factor), None

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return {"factor": (1.0, math.inf) if growing else (0.0, 1.0)}


class Additive(Rule):
    """``g(x) = max(x + step, 0)``: step > 0 for g+, step <= 0 for g- (arXiv 2112.09741, Sec. 2)."""

    step: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log max(x + step, 0)."""
        return log_plus(log_x, self.step)

    def affine(self) -> tuple[Any, Any]:
        """See `Rule.affine`."""
        return jnp.zeros_like(self.step), self.step

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return {"step": (0.0, math.inf) if growing else (-math.inf, 0.0)}


class Affine(Rule):
    """``g(x) = max(factor x + step, 0)``, of which `Geometric` and `Additive` are the two edges.

    For g+ factor >= 1 and step >= 0, not both the identity; for g- 0 < factor <= 1 and step <= 0.
    """

    factor: Any = eqx.field(converter=_parameter)
    step: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log max(factor x + step, 0)."""
        return log_plus(log_x + jnp.log(self.factor), self.step)

    def affine(self) -> tuple[Any, Any]:
        """See `Rule.affine`."""
        return jnp.log(self.factor), self.step

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        if growing:
            return {"factor": (1.0, math.inf), "step": (0.0, math.inf)}
        return {"factor": (0.0, 1.0), "step": (-math.inf, 0.0)}


class Saturating(Rule):
    """``g(x) = factor x / (1 + |factor - 1| x / ceiling)``: geometric for x << ceiling.

    The Beverton-Holt map, our choice of a saturating rule (the paper asks for g+(x) > x only). As
    g+ it rises to the fixed point `ceiling`, and g+(x) > x holds for 0 < x < ceiling; as g-
    it loses ever more as x grows. Increasing for all x >= 0.
    """

    factor: Any = eqx.field(converter=_parameter)
    ceiling: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log g(x)."""
        crowding = jnp.abs(self.factor - 1) / self.ceiling
        crowded = crowding > 0
        log_crowding = jnp.log(jnp.where(crowded, crowding, 1))
        loss = jnp.where(crowded, jax.nn.softplus(log_x + log_crowding), 0)
        return log_x + jnp.log(self.factor) - loss

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return {"factor": (1.0, math.inf) if growing else (0.0, 1.0), "ceiling": (0.0, math.inf)}


class PerLevel(Rule):
    """One rule for each level: every parameter of `rule` has an entry for each of levels 1..L.

    Entry L (the class level) is for the weights of the edges to class nodes.
    """

    rule: Rule

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:  # noqa: ARG002
        """Not defined before `at` has given every node its level's parameters."""
        raise TypeError("PerLevel must be resolved by at(iteration, level) before it is called")

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return self.rule.domain(growing)

    def at(self, iteration: Int[Array, ""], level: Int[np.ndarray, " nodes"] | int) -> Rule:
        """See `Rule.at`: gathers each node's entry."""
        return jax.tree.map(lambda values: values[level], self.rule.at(iteration, level))


class Rules(Shown):
    """The hyperparameters of neurashed: g+ and g- of nodes and, if they differ, of class weights.

    `weight_growth`, `weight_decay`: for the weights eta of edges to class nodes; None: as nodes.
    Concrete values are checked against the paper's conditions (g+(x) > x, 0 <= g-(x) <= x, both
    increasing; arXiv 2112.09741, Section 2) and raise `ValueError` naming field and value.
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


def parameters(rule: Rule) -> dict[str, Any]:
    """A rule's parameters by name, those of the rule inside a `PerLevel`."""
    return dict(vars(rule.rule if isinstance(rule, PerLevel) else rule))


def check_rule(rule: Rule, name: str, *, growing: bool, steps: int = 1) -> None:
    """Raise `ValueError` where a rule's concrete parameters break the paper's conditions.

    A schedule is looked at over `steps` iterations (at 10,000 of them, if there are more).
    """
    if not is_concrete(rule):
        return
    given = parameters(rule)
    moves = np.array(False)
    for field, (low, high) in rule.domain(growing).items():
        values = _over_time(given[field], steps, f"{name}.{field}")
        inside = (values > low) & (values < high)
        identity = IDENTITY.get(field)
        bounds = [f"> {low}"] * math.isfinite(low) + [f"< {high}"] * math.isfinite(high)
        allowed = " and ".join(bounds) + ("" if identity is None else f" (or {identity})")
        require_all(inside | (values == identity), f"{name}.{field}", values, allowed)
        if identity is not None:
            moves = moves | inside
    if growing and not moves.all():
        values = {field: np.asarray(given[field]).tolist() for field in IDENTITY if field in given}
        require(False, name, values, "such that g+(x) > x, not the identity (factor 1, step 0)")


def _over_time(value: Any, steps: int, field: str) -> np.ndarray:
    """A parameter's values: an array as it is, a schedule with iterations as leading axis."""
    if callable(value):
        count = min(max(steps, 1), MOST_STEPS_CHECKED)
        with jax.ensure_compile_time_eval():  # numbers, under jit too
            iterations = jnp.linspace(0, max(steps - 1, 0), count).astype(jnp.int32)
            value = jax.vmap(partial(_at, value))(iterations)
    array = np.asarray(value)
    require_all(np.isfinite(array), field, array, "finite")
    return array


def _at(value: Any, iteration: Int[Array, ""]) -> Any:
    if not callable(value):
        return value
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        return jnp.asarray(value(iteration), dtype=float)
