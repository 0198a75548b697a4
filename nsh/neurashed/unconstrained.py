"""Rules as unconstrained numbers, so that any optimiser keeps the paper's conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from nsh._checks import is_concrete, require_all
from nsh.neurashed.rules import Interval, Rules, parameters


class Unconstrained(eqx.Module):
    """`Rules` in coordinates that run over all real numbers.

    A parameter on the open interval (low, high) becomes ``log(p - low)``, ``-log(high - p)`` or,
    with both ends finite, ``logit((p - low) / (high - low))``. Schedules stay as they are.
    ``Unconstrained.of(rules).rules()`` gives the rules back. Differentiable both ways; `of` raises
    `ValueError` for a concrete parameter on the edge of its interval (g- with factor 1, say),
    which no optimiser could leave.
    """

    raw: Rules

    @classmethod
    def of(cls, rules: Rules) -> Unconstrained:
        """From rules to unconstrained numbers."""
        return cls(_map(rules, _free))

    def rules(self) -> Rules:
        """From unconstrained numbers to rules."""
        return _map(self.raw, _bound)


def _map(rules: Rules, change: Callable[[Any, Interval, str], Any]) -> Rules:
    leaves, names = [], [name for name, rule in vars(rules).items() if rule is not None]
    for name in names:
        rule = getattr(rules, name)
        for field, interval in rule.domain("growth" in name).items():
            value = parameters(rule)[field]
            leaves += jax.tree.leaves(
                value if callable(value) else change(value, interval, f"{name}.{field}")
            )
    # rebuilt from leaves: raw numbers are no valid rules, and must not be checked as such
    return jax.tree.unflatten(jax.tree.structure(rules), leaves)


def _free(value: Any, interval: Interval, field: str) -> Any:
    low, high = interval
    if is_concrete(value):
        inside = (np.asarray(value) > low) & (np.asarray(value) < high)
        require_all(inside, field, value, f"strictly inside ({low}, {high}) to be optimised")
    if math.isinf(high):
        return jnp.log(value - low)
    if math.isinf(low):
        return -jnp.log(high - value)
    share = (value - low) / (high - low)
    return jnp.log(share) - jnp.log1p(-share)


def _bound(raw: Any, interval: Interval, field: str) -> Any:  # noqa: ARG001
    low, high = interval
    if math.isinf(high):
        return low + jnp.exp(raw)
    if math.isinf(low):
        return high - jnp.exp(-raw)
    return low + (high - low) * jax.nn.sigmoid(raw)
