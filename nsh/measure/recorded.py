"""What studies record of a measure, said beside the measure: names and units of its variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
ATTRIBUTE = "recorded"


@dataclasses.dataclass(frozen=True)
class Variable:
    """Name and unit of a recorded variable, and its axes besides grid, seed and step.

    `differentiable`: whether one can tune by it; what is constant in steps has slope 0.

    Example:
        >>> from nsh.measure import Variable
        >>> Variable("accuracy", "1", differentiable=False)
        Variable(long_name='accuracy', units='1', dims=(), differentiable=False)
    """

    long_name: str
    units: str
    dims: tuple[str, ...] = ()
    differentiable: bool = True


@dataclasses.dataclass(frozen=True)
class Recorded:
    """The name of a measure in study files, and its variables by the names they are stored under.

    One variable is the measure's result. Several are its entries, in order, or the fields that
    their names begin with the measure's name, or without it.
    """

    name: str
    variables: Mapping[str, Variable]


def recorded(name: str, **variables: Variable) -> Callable[[Function], Function]:
    """Make a measure known to study files, by a name; returns the function as it is.

    Of the function's parameters, studies fill in key, system, state, hyper, examples, targets and:
    logits, labels and classes of a system that predicts classes; label_logits of one whose examples
    have several labels; predictions of others (see `System.predicts`); features and log_unit of
    every level. All others are options, with their defaults. Studies refuse a measure that asks for
    what the system does not predict.

    Example:
        >>> from nsh.measure import Variable, recorded
        >>> @recorded("margin", margin=Variable("least margin", "1"))
        ... def margin(logits, labels):
        ...     return jnp.min(logits[jnp.arange(len(labels)), labels])
        >>> float(margin(jnp.array([[3.0, 1.0], [0.0, 2.0]]), jnp.array([0, 1])))
        2.0
    """

    def register(function: Function) -> Function:
        vars(function)[ATTRIBUTE] = Recorded(name, variables)
        return function

    return register
