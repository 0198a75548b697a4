"""Several measurements, of training and test data, as one function to record by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from nsh._checks import MOST_KEY, require, require_integer
from nsh.measure import Variable, observe
from nsh.neurashed import Neurashed
from nsh.study.catalogue import measurement
from nsh.study.measurement import TEST, Arrays, Labelled, Measurement, View
from nsh.system import System
from nsh.training import Snapshot


class Measurements(eqx.Module):
    """Several measurements as one function for `nsh.SaveAt`: a dict of arrays, by variables' names.

    Make it by `measurements`. Monte Carlo draws are the same at all steps and for all seeds.
    """

    chosen: tuple[Measurement, ...] = eqx.field(static=True)
    train: Labelled
    test: Labelled | None
    key: Key[Array, ""]

    def __call__(self, now: Snapshot) -> Arrays:
        """All measurements of a run as it stands."""
        return self._of(now, self.train, test=False) | self._of(now, self.test, test=True)

    def _of(self, now: Snapshot, data: Labelled | None, *, test: bool) -> Arrays:
        chosen = [one for one in self.chosen if one.test is test]
        if data is None or not chosen:
            return {}
        seen = observe(now.system, now.state, data.examples)
        view = View(now, data, seen, self.key)
        found = [one.function(view) for one in chosen]
        prefix = TEST if test else ""
        return {prefix + name: array for arrays in found for name, array in arrays.items()}

    def variables(self) -> dict[str, Variable]:
        """Names and units of all that is recorded, as far as known before running."""
        return {name: v for one in self.chosen for name, v in one.named().items()}


def measurements(
    what: Sequence[str | Measurement | Callable[..., Any]],
    system: System,
    x: Any,
    y: Any,
    *,
    test: tuple[Any, Any] | None = None,
    examples: int | None = None,
    key: int = 0,
) -> Measurements:
    """Measurements by name (see `CATALOGUE`), on training data x, y and test data ``test = x, y``.

    Also measures of your own, decorated by `nsh.measure.recorded`.

    ``"test_accuracy"`` is the accuracy on the test data, and so on for every name. `examples`:
    only the first so many of each set. `key`: of the Monte Carlo draws. Raises `ValueError` for a
    name that is not there, test data that are not, and measurements that do not fit the system.
    Where `y` are real targets, measurements that need classes raise it as they are recorded.
    """
    chosen = tuple(one if isinstance(one, Measurement) else measurement(one) for one in what)
    names = [name for one in chosen for name in one.named()]
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, "what", twice, "given once each")
    for one in chosen:
        require(
            "log_amplification" not in one.variables or isinstance(system, Neurashed),
            "what", "log_amplification", f"of a Neurashed, not a {type(system).__name__}",
        )  # fmt: skip
        allowed = "on the training set: this system comes without test data"
        require(not one.test or test is not None, "what", list(one.named()), allowed)
    if examples is not None:
        require_integer("examples", examples, 1)
    require_integer("key", key, 0, MOST_KEY)
    return Measurements(
        chosen,
        labelled(system, x, y, examples),
        None if test is None else _labelled_test(system, test, examples),
        jax.random.key(key),
    )


def _labelled_test(system: System, test: Any, count: int | None) -> Labelled:
    pair = isinstance(test, tuple | list) and len(test) == 2
    require(pair, "test", test, "a pair (x, y), or None")
    try:
        return labelled(system, test[0], test[1], count)
    except ValueError as complaint:
        raise ValueError(f"test {complaint}") from complaint


def labelled(system: System, x: Any, y: Any, count: int | None) -> Labelled:
    """The first `count` samples (None: all), prepared; labels as int32, targets as they are."""
    x, y = x[:count], y[:count]
    whole = np.asarray(y).dtype.kind in "iu"
    return Labelled(system.prepare(x, y), jnp.asarray(y, jnp.int32 if whole else None))
