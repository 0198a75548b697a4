"""A measurement as a value: a function of a run as it stands, with names and units."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import require_label_type
from nsh.measure import Observation, Variable
from nsh.training import Snapshot

TEST = "test_"
STANDARD_ERROR = "standard error of "
Arrays = dict[str, Array]


class Labelled(eqx.Module):
    """Examples, as `System.prepare` gives them, and their labels or real targets `y`."""

    examples: PyTree
    y: Array

    @property
    def labels(self) -> Int[Array, " n"]:
        """The classes. Raises `ValueError` where `y` are real targets."""
        require_label_type(self.y, len(self.y), "y")
        return self.y


class View(eqx.Module):
    """The input of a measurement: a run as it stands, and what it makes of some examples.

    `now`: the run. `data`: examples, with labels or targets. `seen`: logits and features of them.
    `key`: for Monte Carlo draws, the same at all steps and for all seeds.
    """

    now: Snapshot
    data: Labelled
    seen: Observation
    key: Key[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """A function of a `View` that gives arrays, by the names of `variables`.

    `test`: of the test examples, its variables' names beginning with ``test_``.
    """

    function: Callable[[View], Arrays]
    variables: Mapping[str, Variable]
    test: bool = False

    def named(self) -> dict[str, Variable]:
        """The variables by the names that they are recorded under."""
        if not self.test:
            return dict(self.variables)
        return {
            TEST + name: dataclasses.replace(v, long_name=f"{v.long_name}, test set")
            for name, v in self.variables.items()
        }


def of_levels(function: Callable[..., Arrays], variables: Mapping[str, Variable]) -> Measurement:
    """A measurement of one level's features and unit, for all levels, stacked."""
    across = {n: dataclasses.replace(v, dims=("level",)) for n, v in variables.items()}

    def measured(view: View) -> Arrays:
        pairs = zip(view.seen.features, view.seen.log_units, strict=True)
        levels = [function(view, features, unit) for features, unit in pairs]
        return jax.tree.map(lambda *numbers: jnp.stack(numbers), *levels)

    return Measurement(measured, across)
