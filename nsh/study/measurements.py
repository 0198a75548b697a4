"""Measurements as values: by name, of a user's own, and many as one function to record by."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh import measure
from nsh._checks import MOST_KEY, require, require_integer, require_label_type
from nsh.measure import Noise, Observation, Variable, observe
from nsh.measure.recorded import ATTRIBUTE, Recorded
from nsh.neurashed import Neurashed
from nsh.system import System
from nsh.training import Snapshot

TEST = "test_"
STANDARD_ERROR = "standard error of "
Arrays = dict[str, Array]


class MeasuredExamples(eqx.Module):
    """Examples, as `System.prepare` gives them, and their labels or real targets `y`."""

    examples: PyTree
    y: Array

    @property
    def labels(self) -> Int[Array, " n"]:
        """The classes. Raises `ValueError` where `y` are real targets."""
        require_label_type(self.y, len(self.y), "y")
        return self.y


class MeasurementContext(eqx.Module):
    """The input of a measurement: a run as it stands, and what it makes of some examples.

    `snapshot`: the run. `data`: examples, with labels or targets. `observation`: their logits and
    features. `key`: for Monte Carlo draws, the same at all steps and for all seeds.
    """

    snapshot: Snapshot
    data: MeasuredExamples
    observation: Observation
    key: Key[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """A function of a `MeasurementContext` that gives arrays, by the names of `variables`.

    `test`: of the test examples, its variables' names beginning with ``test_``.
    """

    function: Callable[[MeasurementContext], Arrays]
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

    def measured(context: MeasurementContext) -> Arrays:
        pairs = zip(context.observation.features, context.observation.log_units, strict=True)
        levels = [function(context, features, unit) for features, unit in pairs]
        return jax.tree.map(lambda *numbers: jnp.stack(numbers), *levels)

    return Measurement(measured, across)


# what a measure can ask for, and stand-ins by which its options are tried
PROVIDED: Mapping[str, Callable[[MeasurementContext], Any]] = {
    "logits": lambda context: context.observation.outputs,
    "labels": lambda context: context.data.labels,
    "classes": lambda context: context.observation.outputs.shape[1],
    "features": lambda context: context.observation.features,
    "log_unit": lambda context: context.observation.log_units,
    "examples": lambda context: context.data.examples,
    "system": lambda context: context.snapshot.system,
    "state": lambda context: context.snapshot.state,
    "hyper": lambda context: context.snapshot.hyper,
    "key": lambda context: context.key,
}
TRIED = {"logits": np.zeros((2, 2)), "features": np.zeros((2, 2)), "labels": np.arange(2)}


def measurement(name: str | Callable[..., Any]) -> Measurement:
    """A measurement with its default options: by its name in `MEASUREMENTS`, or of a measure.

    The measure is one that `nsh.measure.recorded` decorates.

    Example:
        >>> from nsh.study import measurement
        >>> list(measurement("test_accuracy").named())
        ['test_accuracy']
    """
    if callable(name):
        known = ATTRIBUTE in getattr(name, "__dict__", {})
        require(known, "what", name, "a name, a Measurement or a measure with @recorded")
        return made_from(name)()
    plain = name.removeprefix(TEST)
    require(plain in MEASUREMENTS, "what", name, f"one of {', '.join(MEASUREMENTS)}")
    return dataclasses.replace(MEASUREMENTS[plain](), test=plain != name)


def information(
    *, samples: int = 16, noise_fixed: float = 1e-4, noise_relative: float = 0.05
) -> Measurement:
    """I(level; input) and I(level; label) under Gaussian noise, with standard errors."""
    require_integer("samples", samples, 2)
    noise = Noise(noise_fixed, noise_relative)

    def measured(context: MeasurementContext, features: Array, unit: Array) -> Arrays:
        found = measure.information(
            features, context.data.labels, context.key,
            noise=noise, log_unit=unit, classes=context.observation.outputs.shape[1],
            samples=samples,
        )  # fmt: skip
        parts = ("input", "input_error", "label", "label_error")
        return {f"information_{part}": getattr(found, part) for part in parts}

    names = {"input": "I(level; input)", "label": "I(level; label)"}
    variables = {}
    for part, long_name in names.items():
        variables[f"information_{part}"] = Variable(long_name, "bits")
        variables[f"information_{part}_error"] = Variable(STANDARD_ERROR + long_name, "bits")
    return of_levels(measured, variables)


def elasticity() -> Measurement:
    """Local elasticity within classes and across them; time grows with the examples squared."""

    def measured(context: MeasurementContext) -> Arrays:
        now, data = context.snapshot, context.data
        matrix = measure.elasticity_matrix(
            now.system, now.state, now.hyper, data.examples, context.key
        )
        found = measure.elasticity_contrast(matrix, data.labels)
        return {
            "elasticity_within": found.within_class,
            "elasticity_across": found.across_classes,
            "elasticity_ratio": found.ratio,
        }

    variables = {
        "elasticity_within": Variable("local elasticity within classes", "1"),
        "elasticity_across": Variable("local elasticity across classes", "1"),
        "elasticity_ratio": Variable("local elasticity, within / across classes", "1"),
    }
    return Measurement(measured, variables)


def log_amplification() -> Measurement:
    """Log amplification factors of neurashed's feature nodes."""
    variables = {"log_amplification": Variable("log amplification factor", "1", ("node",))}
    return Measurement(
        lambda context: {"log_amplification": context.snapshot.state.log_amplification}, variables
    )


def made_from(function: Callable[..., Any]) -> Callable[..., Measurement]:
    """The maker of a measure's measurement; its arguments are the measure's options."""
    recorded: Recorded = vars(function)[ATTRIBUTE]
    parameters = inspect.signature(function).parameters
    given = [name for name in parameters if name in PROVIDED]

    def measured(context: MeasurementContext, options: Mapping[str, Any], **level: Array) -> Arrays:
        arguments = {name: level.get(name, PROVIDED[name](context)) for name in given}
        return _by_name(recorded, function(**arguments, **options))

    def make(**options: Any) -> Measurement:
        if options:
            fixed = options | {"classes": 2} if "classes" in given else options
            arrays = {name: TRIED[name] for name in given if name in TRIED}
            jax.eval_shape(lambda arrays: function(**arrays, **fixed), arrays)  # may complain
        if "features" not in given:
            return Measurement(partial(measured, options=options), recorded.variables)

        def of_level(context: MeasurementContext, features: Array, unit: Array) -> Arrays:
            return measured(context, options, features=features, log_unit=unit)

        return of_levels(of_level, recorded.variables)

    options = [parameter for name, parameter in parameters.items() if name not in PROVIDED]
    signature = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in options])
    hints = {name: typing.get_type_hints(function)[name] for name in signature.parameters}
    vars(make)["__signature__"] = signature
    make.__annotations__ = hints
    return make


def _by_name(recorded: Recorded, found: Any) -> Arrays:
    names = list(recorded.variables)
    if len(names) == 1:
        return {names[0]: found}
    if isinstance(found, tuple):
        return dict(zip(names, found, strict=True))
    return {name: getattr(found, name.removeprefix(f"{recorded.name}_")) for name in names}


_MEASURES = [getattr(measure, name) for name in measure.__all__]
MEASUREMENTS: dict[str, Callable[..., Measurement]] = {
    vars(function)[ATTRIBUTE].name: made_from(function)
    for function in _MEASURES
    if inspect.isfunction(function) and ATTRIBUTE in vars(function)
} | {make.__name__: make for make in (information, elasticity, log_amplification)}
"""Makers of the measurements that study files know by name; their options are arguments.

Example:
    >>> from nsh.study import MEASUREMENTS
    >>> list(MEASUREMENTS["accuracy"]().variables)
    ['accuracy']
"""


class Measurements(eqx.Module):
    """Several measurements as one function for `nsh.SaveAt`: a dict of arrays, by variables' names.

    Make it by `measurements`. Monte Carlo draws are the same at all steps and for all seeds.
    """

    chosen: tuple[Measurement, ...] = eqx.field(static=True)
    train: MeasuredExamples
    test: MeasuredExamples | None
    key: Key[Array, ""]

    def __call__(self, now: Snapshot) -> Arrays:
        """All measurements of a run as it stands."""
        return self._of(now, self.train, test=False) | self._of(now, self.test, test=True)

    def _of(self, now: Snapshot, data: MeasuredExamples | None, *, test: bool) -> Arrays:
        chosen = [one for one in self.chosen if one.test is test]
        if data is None or not chosen:
            return {}
        seen = observe(now.system, now.state, data.examples)
        context = MeasurementContext(now, data, seen, self.key)
        found = [one.function(context) for one in chosen]
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
    """Measurements by name (see `MEASUREMENTS`), on training data x, y and ``test = x, y``.

    Also measures of your own, decorated by `nsh.measure.recorded`.

    ``"test_accuracy"`` is the accuracy on the test data, and so on for every name. `examples`:
    only the first so many of each set. `key`: of the Monte Carlo draws. Raises `ValueError` for a
    name that is not there, test data that are not, and measurements that do not fit the system.
    Where `y` are real targets, measurements that need classes raise it as they are recorded.

    Example:
        >>> from nsh.study import measurements
        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph)
        >>> what = measurements(["accuracy", "cross_entropy"], system, inputs.x, inputs.y)
        >>> sorted(what.variables())
        ['accuracy', 'cross_entropy']
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


def _labelled_test(system: System, test: Any, count: int | None) -> MeasuredExamples:
    pair = isinstance(test, tuple | list) and len(test) == 2
    require(pair, "test", test, "a pair (x, y), or None")
    try:
        return labelled(system, test[0], test[1], count)
    except ValueError as complaint:
        raise ValueError(f"test {complaint}") from complaint


def labelled(system: System, x: Any, y: Any, count: int | None) -> MeasuredExamples:
    """The first `count` samples (None: all), prepared; labels as int32, targets as they are."""
    x, y = x[:count], y[:count]
    whole = np.asarray(y).dtype.kind in "iu"
    return MeasuredExamples(system.prepare(x, y), jnp.array(y, jnp.int32 if whole else None))
