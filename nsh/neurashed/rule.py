"""How amplification factors grow (g+) and shrink (g-): maps of x, as pytrees."""

from __future__ import annotations

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh._shown import Shown
from nsh.bounds import Interval
from nsh.neurashed.logspace import Compensated, plus


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

    Example:
        Rules map log x; here g(4) = 1.5 * 4:

        >>> rule = nsh.Geometric(1.5)
        >>> jnp.exp(rule(jnp.log(jnp.array([4.0])))).round(4).tolist()
        [6.0]
    """

    @abc.abstractmethod
    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log g(x) from log x; parameters must be arrays by now (see `at`)."""

    @abc.abstractmethod
    def domain(self, growing: bool) -> dict[str, Interval]:
        """The open interval of each parameter, for g+ (`growing`) or g-."""

    def identity(self) -> dict[str, float]:
        """The parameters with which, all together, ``g(x) = x``, by name; none by default.

        These values are allowed beside the open intervals of `domain`, but not all of them for g+.
        """
        return {}

    def affine(self) -> tuple[Array, Array | None] | None:
        """log a and c of a rule ``g(x) = max(a x + c, 0)``, c None for 0; for rules after `at`.

        None for other rules, whose steps do not compose.
        """
        return None

    def gain(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"] | None:  # noqa: ARG002
        """``log(g(x) / x)`` of a rule with g(0) = 0 that is not affine, from log x.

        Give it for long runs: steps are then added up without loss. None, the default: log x is
        rounded at every step.
        """
        return None

    def at(self, iteration: Int[Array, ""], level: Int[np.ndarray, " nodes"] | int) -> Rule:  # noqa: ARG002
        """This rule at one iteration, with schedules evaluated, for nodes of the given levels."""
        return type(self)(*(at_iteration(value, iteration) for value in vars(self).values()))


class Geometric(Rule):
    """``g(x) = factor x``: factor > 1 for g+, 0 < factor <= 1 for g- (arXiv 2112.09741, Sec. 2).

    Example:
        >>> rule = nsh.Geometric(optax.linear_schedule(2.0, 1.0, 10))
        >>> float(rule.at(jnp.asarray(5), 0).factor)
        1.5
    """

    factor: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log x + log factor."""
        return log_x + jnp.log(self.factor)

    def identity(self) -> dict[str, float]:
        """See `Rule.identity`."""
        return {"factor": 1.0}

    def affine(self) -> tuple[Array, Array | None]:
        """See `Rule.affine`."""
        return jnp.log(self.factor), None

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return {"factor": (1.0, math.inf) if growing else (0.0, 1.0)}


class Additive(Rule):
    """``g(x) = max(x + step, 0)``: step > 0 for g+, step <= 0 for g- (arXiv 2112.09741, Sec. 2).

    The paper writes g-(x) = x - c: here that is ``Additive(-c)``.

    Example:
        >>> jnp.exp(nsh.Additive(-0.5)(jnp.log(jnp.array([2.0, 0.25])))).round(4).tolist()
        [1.5, 0.0]
    """

    step: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log max(x + step, 0)."""
        return plus(Compensated.of(log_x), self.step).total

    def identity(self) -> dict[str, float]:
        """See `Rule.identity`."""
        return {"step": 0.0}

    def affine(self) -> tuple[Array, Array | None]:
        """See `Rule.affine`."""
        return jnp.zeros_like(self.step), self.step

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return {"step": (0.0, math.inf) if growing else (-math.inf, 0.0)}


class Affine(Rule):
    """``g(x) = max(factor x + step, 0)``, of which `Geometric` and `Additive` are the two edges.

    For g+ factor >= 1 and step >= 0, not both the identity; for g- 0 < factor <= 1 and step <= 0.

    Example:
        >>> jnp.exp(nsh.Affine(2.0, 1.0)(jnp.log(jnp.array([3.0])))).round(4).tolist()
        [7.0]
    """

    factor: Any = eqx.field(converter=_parameter)
    step: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log max(factor x + step, 0)."""
        return plus(Compensated.of(log_x + jnp.log(self.factor)), self.step).total

    def identity(self) -> dict[str, float]:
        """See `Rule.identity`."""
        return {"factor": 1.0, "step": 0.0}

    def affine(self) -> tuple[Array, Array | None]:
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

    Example:
        The ceiling is a fixed point:

        >>> jnp.exp(nsh.Saturating(2.0, ceiling=8.0)(jnp.log(jnp.array([8.0])))).round(4).tolist()
        [8.0]
    """

    factor: Any = eqx.field(converter=_parameter)
    ceiling: Any = eqx.field(converter=_parameter)

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """log g(x)."""
        return log_x + self.gain(log_x)

    def identity(self) -> dict[str, float]:
        """See `Rule.identity`."""
        return {"factor": 1.0}

    def gain(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        """See `Rule.gain`."""
        strength = jnp.abs(self.factor - 1)
        crowded = strength > 0
        log_crowding = jnp.log(jnp.where(crowded, strength, 1)) - jnp.log(self.ceiling)
        loss = jnp.where(crowded, jax.nn.softplus(log_x + log_crowding), 0)
        return jnp.log(self.factor) - loss

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return {"factor": (1.0, math.inf) if growing else (0.0, 1.0), "ceiling": (0.0, math.inf)}


class PerLevel(Rule):
    """One rule for each level: every parameter of `rule` has an entry for each of levels 1..L.

    Entry L (the class level) is for the weights of the edges to class nodes.

    Example:
        >>> rule = nsh.PerLevel(nsh.Geometric([1.5, 2.0, 4.0]))
        >>> rule.at(jnp.asarray(0), np.array([0, 0, 1]))
        Geometric(factor=[1.5, 1.5, 2. ])
    """

    rule: Rule

    def __call__(self, log_x: Float[Array, " nodes"]) -> Float[Array, " nodes"]:  # noqa: ARG002
        """Not defined before `at` has given every node its level's parameters."""
        raise TypeError("PerLevel must be resolved by at(iteration, level) before it is called")

    def domain(self, growing: bool) -> dict[str, Interval]:
        """See `Rule.domain`."""
        return self.rule.domain(growing)

    def identity(self) -> dict[str, float]:
        """See `Rule.identity`."""
        return self.rule.identity()

    def at(self, iteration: Int[Array, ""], level: Int[np.ndarray, " nodes"] | int) -> Rule:
        """See `Rule.at`: gathers each node's entry."""
        return jax.tree.map(lambda values: values[level], self.rule.at(iteration, level))


def parameters(rule: Rule) -> dict[str, Any]:
    """A rule's parameters by name, those of the rule inside a `PerLevel`."""
    return dict(vars(rule.rule if isinstance(rule, PerLevel) else rule))


def at_iteration(value: Any, iteration: Int[Array, ""]) -> Any:
    """A parameter's value: a schedule's at this iteration, another as it is."""
    if not callable(value):
        return value
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        return jnp.asarray(value(iteration), dtype=float)
