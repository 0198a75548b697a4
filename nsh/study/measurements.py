"""Measurements as values: by name, of a user's own, and many as one function to record by."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh import measure
from nsh._checks import MOST_KEY, require, require_integer, require_label_type
from nsh.measure import Noise, Observation, Variable, observe
from nsh.measure.blocks import IN_BLOCKS, ExampleBlocks
from nsh.measure.recorded import ATTRIBUTE, Recorded
from nsh.neurashed import Neurashed
from nsh.system import System
from nsh.training import Snapshot, StreamedExamples

TEST = "test_"
BLOCK = 256  # examples of a stream at a time
STANDARD_ERROR = "standard error of "
Arrays = dict[str, Array]


class MeasuredExamples(eqx.Module):
    """Examples, as `System.prepare` or `nsh.training.stream` gives them, and their targets `y`.

    `y`: labels, or any pytree with the examples as leading axis, as `System.targets` makes them.
    """

    examples: PyTree
    y: PyTree

    @property
    def labels(self) -> Int[Array, " n"]:
        """The classes. Raises `ValueError` where `y` are other targets."""
        require(hasattr(self.y, "dtype"), "y", type(self.y).__name__, "labels, one per example")
        require_label_type(self.y, len(self.y), "y")
        return self.y

    @property
    def are_labelled(self) -> bool:
        """Whether `y` is one whole number for each example, as labels of classes are."""
        leaves = jax.tree.leaves(self.y)
        return len(leaves) == 1 and leaves[0].ndim == 1 and leaves[0].dtype.kind in "iu"


class StreamedObservation:
    """What is seen of a stream: the outputs, made block by block where they are asked for."""

    def __init__(self, blocks: ExampleBlocks):
        self._blocks = blocks

    @functools.cached_property
    def outputs(self) -> PyTree:
        """The outputs of all examples."""
        return self._blocks.outputs()

    @property
    def features(self) -> Any:
        """Raises `ValueError`."""
        known = ", ".join(function.__name__ for function in IN_BLOCKS)
        allowed = f"of examples in memory; of a stream nsh.measure.over_blocks(...) of {known}"
        raise ValueError(f"features = those of a stream: must be {allowed}")

    log_units = features


class MeasurementContext(eqx.Module):
    """The input of a measurement: a run as it stands, and what it makes of some examples.

    `snapshot`: the run. `data`: examples, with labels or targets. `observation`: their logits and
    features; of a stream, the outputs alone. `key`: for Monte Carlo draws, the same at all steps
    and for all seeds.
    """

    snapshot: Snapshot
    data: MeasuredExamples
    observation: Observation | StreamedObservation
    key: Key[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """A function of a `MeasurementContext` that gives arrays, by the names of `variables`.

    `test`: of the test examples, its variables' names beginning with ``test_``. `needs`: of what
    `nsh.measure.recorded` lists, that which cannot always be had: what a system predicts, and
    features or examples, which a stream does not keep. `in_blocks`: does it for a stream, where
    `function` needs these.
    """

    function: Callable[[MeasurementContext], Arrays]
    variables: Mapping[str, Variable]
    test: bool = False
    needs: frozenset[str] = frozenset()
    in_blocks: Callable[[MeasurementContext], Arrays] | None = None

    def named(self) -> dict[str, Variable]:
        """The variables by the names that they are recorded under."""
        if not self.test:
            return dict(self.variables)
        return {
            TEST + name: dataclasses.replace(v, long_name=f"{v.long_name}, test set")
            for name, v in self.variables.items()
        }


def of_levels(
    function: Callable[..., Arrays],
    variables: Mapping[str, Variable],
    needs: frozenset[str] = frozenset(),
    in_blocks: Callable[[MeasurementContext], Sequence[Arrays]] | None = None,
) -> Measurement:
    """A measurement of one level's features and unit, for all levels, stacked.

    `in_blocks`: gives those of all levels of a stream.
    """
    across = {n: dataclasses.replace(v, dims=("level",)) for n, v in variables.items()}

    def measured(context: MeasurementContext) -> Arrays:
        pairs = zip(context.observation.features, context.observation.log_units, strict=True)
        return _stacked([function(context, features, unit) for features, unit in pairs])

    streamed = None if in_blocks is None else lambda context: _stacked(in_blocks(context))
    return Measurement(measured, across, needs=needs | {"features"}, in_blocks=streamed)


def _stacked(levels: Sequence[Arrays]) -> Arrays:
    return jax.tree.map(lambda *numbers: jnp.stack(numbers), *levels)


def over_blocks(context: MeasurementContext, function: Callable[..., Any], **options: Any) -> Any:
    """`nsh.measure.over_blocks` of the examples of a context."""
    now, data = context.snapshot, context.data
    y = options.pop("y", data.y)
    return measure.over_blocks(function, now.system, now.state, data.examples, y, **options)


# what a measure can ask for, and stand-ins by which its options are tried
PROVIDED: Mapping[str, Callable[[MeasurementContext], Any]] = {
    "logits": lambda context: context.observation.outputs,
    "label_logits": lambda context: context.observation.outputs,
    "predictions": lambda context: context.observation.outputs,
    "labels": lambda context: context.data.labels,
    "targets": lambda context: context.data.y,
    "classes": lambda context: context.observation.outputs.shape[1],
    "features": lambda context: context.observation.features,
    "log_unit": lambda context: context.observation.log_units,
    "examples": lambda context: context.data.examples,
    "system": lambda context: context.snapshot.system,
    "state": lambda context: context.snapshot.state,
    "hyper": lambda context: context.snapshot.hyper,
    "key": lambda context: context.key,
}
TRIED = dict.fromkeys(
    ("logits", "label_logits", "predictions", "targets", "features"), np.zeros((2, 2))
) | {"labels": np.arange(2)}
# what measures cannot ask for, by what a system predicts
OF_CLASSES = frozenset({"logits", "labels", "classes"})
NOT_STREAMED = frozenset({"features", "log_unit", "examples"})
NOT_PREDICTED: Mapping[str, frozenset[str]] = {
    "classes": frozenset({"predictions", "label_logits"}),
    "labels": frozenset({"predictions"}) | OF_CLASSES,
    "numbers": frozenset({"label_logits"}) | OF_CLASSES,
    "anything": OF_CLASSES,
}


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
    *,
    samples: int = 16,
    noise_fixed: float = 1e-4,
    noise_relative: float = 0.05,
    label: bool = True,
) -> Measurement:
    """I(level; input) and I(level; label) under Gaussian noise, with standard errors.

    `label`: whether the latter, for which systems must predict classes.
    """
    require_integer("samples", samples, 2)
    noise = Noise(noise_fixed, noise_relative)
    names = {"input": "I(level; input)"} | ({"label": "I(level; label)"} if label else {})

    def measured(context: MeasurementContext, features: Array, unit: Array) -> Arrays:
        # without labels, all are of one class
        found = measure.information(
            features,
            context.data.labels if label else jnp.zeros(len(features), jnp.int32),
            context.key,
            noise=noise,
            log_unit=unit,
            classes=context.observation.outputs.shape[1] if label else 1,
            samples=samples,
        )
        return chosen(found)

    def in_blocks(context: MeasurementContext) -> list[Arrays]:
        alike = jnp.zeros(len(jax.tree.leaves(context.data.y)[0]), jnp.int32)
        of = {} if label else {"y": alike, "classes": 1}
        found = over_blocks(
            context, measure.information, key=context.key, noise=noise, samples=samples, **of
        )
        return [chosen(level) for level in found]

    def chosen(found: measure.Information) -> Arrays:
        parts = [part + error for part in names for error in ("", "_error")]
        return {f"information_{part}": getattr(found, part) for part in parts}

    variables = {}
    for part, long_name in names.items():
        variables[f"information_{part}"] = Variable(long_name, "bits")
        variables[f"information_{part}_error"] = Variable(STANDARD_ERROR + long_name, "bits")
    return of_levels(measured, variables, OF_CLASSES if label else frozenset(), in_blocks)


def elasticity() -> Measurement:
    """Local elasticity within classes and across them; time grows with the examples squared."""

    def measured(context: MeasurementContext) -> Arrays:
        now, data = context.snapshot, context.data
        matrix = measure.elasticity_matrix(
            now.system, now.state, now.hyper, data.examples, context.key
        )
        return parts(measure.elasticity_contrast(matrix, data.labels))

    def in_blocks(context: MeasurementContext) -> Arrays:
        options = {"hyper": context.snapshot.hyper, "key": context.key}
        return parts(over_blocks(context, measure.elasticity_contrast, **options))

    def parts(found: measure.ElasticityContrast) -> Arrays:
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
    needs = frozenset({"labels", "examples"})
    return Measurement(measured, variables, needs=needs, in_blocks=in_blocks)


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
    needs = frozenset(given) & NOT_STREAMED.union(*NOT_PREDICTED.values())

    def measured(context: MeasurementContext, options: Mapping[str, Any], **level: Array) -> Arrays:
        arguments = {name: level.get(name, PROVIDED[name](context)) for name in given}
        return _by_name(recorded, function(**arguments, **options))

    def make(**options: Any) -> Measurement:
        def levels_in_blocks(context: MeasurementContext) -> list[Arrays]:
            return [_by_name(recorded, one) for one in over_blocks(context, function, **options)]

        def in_blocks(context: MeasurementContext) -> Arrays:
            return _by_name(recorded, over_blocks(context, function, **options))

        if options:
            fixed = options | {"classes": 2} if "classes" in given else options
            arrays = {name: TRIED[name] for name in given if name in TRIED}
            jax.eval_shape(lambda arrays: function(**arrays, **fixed), arrays)  # may complain
        if "features" not in given:
            made = functools.partial(measured, options=options)
            streamed = in_blocks if function in IN_BLOCKS else None
            return Measurement(made, recorded.variables, needs=needs, in_blocks=streamed)

        def of_level(context: MeasurementContext, features: Array, unit: Array) -> Arrays:
            return measured(context, options, features=features, log_unit=unit)

        streamed = levels_in_blocks if function in IN_BLOCKS else None
        return of_levels(of_level, recorded.variables, needs, streamed)

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
        if streamed := isinstance(data.examples, StreamedExamples):
            blocks = ExampleBlocks(now.system, now.state, data.examples, data.y, BLOCK)
            seen = StreamedObservation(blocks)
        else:
            seen = observe(now.system, now.state, data.examples)
        context = MeasurementContext(now, data, seen, self.key)
        found = [
            one.in_blocks(context) if streamed and one.in_blocks else one.function(context)
            for one in chosen
        ]
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
    test: tuple[Any, Any] | StreamedExamples | None = None,
    examples: int | None = None,
    key: int = 0,
) -> Measurements:
    """Measurements by name (see `MEASUREMENTS`), on training data x, y and ``test = x, y``.

    Also measures of your own, decorated by `nsh.measure.recorded`.

    ``"test_accuracy"`` is the accuracy on the test data, and so on for every name. `examples`:
    only the first so many of each set. `key`: of the Monte Carlo draws. Raises `ValueError` for a
    name that is not there, test data that are not, and measurements that do not fit the system or
    the targets: those of classes where it predicts no classes, and those of predicted numbers where
    it does (see `System.predicts`).

    x may be a stream (`nsh.training.stream`), with y None, and so may `test`: then it is measured
    block by block, see `nsh.measure.over_blocks`. The first `examples` of a stream are read into
    memory.

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
    train = labelled(system, x, y, examples)
    tested = None if test is None else _labelled_test(system, test, examples)
    for one in chosen:
        data = tested if one.test and tested is not None else train
        _require_predicted(one, system, data)
        _require_streamed(one, data)
    return Measurements(chosen, train, tested, jax.random.key(key))


def predicted(system: System, data: MeasuredExamples) -> str:
    """What the system predicts of these data: one of classes may have numbers as targets, too."""
    if system.classifies and not data.are_labelled:
        return "numbers"
    return system.predicts


def _require_predicted(one: Measurement, system: System, data: MeasuredExamples) -> None:
    what = predicted(system, data)
    if not one.needs & NOT_PREDICTED[what]:
        return
    known = {name: make() for name, make in MEASUREMENTS.items()}
    fitting = [
        name
        for name, other in known.items()
        if other.needs and not other.needs & NOT_PREDICTED[what]
    ]
    which = f"fits what {type(system).__name__} predicts of these targets ({what})"
    require(False, "what", list(one.named()), f"one that {which}: {', '.join(fitting)}")


def _require_streamed(one: Measurement, data: MeasuredExamples) -> None:
    if isinstance(data.examples, StreamedExamples) and one.in_blocks is None:
        known = {name: make() for name, make in MEASUREMENTS.items()}
        fitting = [n for n, m in known.items() if m.in_blocks or not m.needs & NOT_STREAMED]
        allowed = f"one that can be taken block by block: {', '.join(fitting)}; or give examples="
        require(not one.needs & NOT_STREAMED, "what", list(one.named()), allowed)


def _labelled_test(system: System, test: Any, count: int | None) -> MeasuredExamples:
    if isinstance(test, StreamedExamples):
        test = test, None
    pair = isinstance(test, tuple | list) and len(test) == 2
    require(pair, "test", test, "a pair (x, y), or None")
    try:
        return labelled(system, test[0], test[1], count)
    except ValueError as complaint:
        raise ValueError(f"test {complaint}") from complaint


def labelled(system: System, x: Any, y: Any, count: int | None) -> MeasuredExamples:
    """The first `count` samples (None: all), prepared; labels as int32, targets as they are."""
    if isinstance(x, StreamedExamples):
        require(y is None, "y", type(y).__name__, "None for a stream, which has its targets")
        if count is None or count >= x.num_examples:
            return MeasuredExamples(x, x.y)
        return MeasuredExamples(next(x.blocks(system, count)), _first(x.y, count))
    x, y = _first(x, count), _first(y, count)
    examples = system.prepare(x, y)
    targets = jax.tree.map(_as_target, system.targets(y), is_leaf=_is_array_like)
    return MeasuredExamples(examples, targets)


def _first(rows: Any, count: int | None) -> Any:
    return jax.tree.map(lambda leaf: leaf[:count], rows, is_leaf=_is_array_like)


def _as_target(leaf: Any) -> Array:
    whole = np.asarray(leaf).dtype.kind in "iu"
    return jnp.array(leaf, jnp.int32 if whole else None)  # a copy: the user's may change


def _is_array_like(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, list)
