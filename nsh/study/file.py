"""Studies as TOML files."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from nsh._checks import MOST_KEY, require, require_integer
from nsh.measure.recorded import ATTRIBUTE
from nsh.networks import Network, PerStep, Schedule
from nsh.networks.network import BRANCHES
from nsh.networks.schedules import TRACEABLE
from nsh.neurashed import Neurashed, Rules
from nsh.study.measurements import (
    MEASUREMENTS,
    TEST,
    Measurement,
    MeasurementContext,
    made_from,
    measurements,
)
from nsh.study.study import Study, Tune, grid_leaves
from nsh.study.systems import SYSTEMS, OptimiserName, SystemAndData
from nsh.study.tables import (
    Field,
    Registry,
    construct,
    handle_errors,
    import_path,
    load,
    numbers,
    require_takes,
)
from nsh.training import (
    Method,
    Sampler,
    SaveAt,
    Sequential,
    TrainingProblem,
    WithReplacement,
    stream,
)

ELSEWHERE = ("grid", "hyper", "batches", "record", "system")


def on_test_set(one: Measurement) -> Measurement:
    """The same measurement of the test examples."""
    return dataclasses.replace(one, test=True)


def own_measurement(function: Callable[..., Any], options: Mapping[str, Any]) -> Measurement:
    """Record a user's measure with @recorded, or ``function(snapshot, **options)``."""
    if ATTRIBUTE in vars(function):
        make = made_from(function)
        require_takes(make, **options)
        return make(**options)
    require_takes(function, None, **options)
    name = getattr(function, "__name__", "recorded")

    def measured(context: MeasurementContext) -> dict[str, Array]:
        found = function(context.snapshot, **options)
        try:
            arrays = found if isinstance(found, dict) else {name: found}
            return {key: jnp.asarray(value) for key, value in arrays.items()}
        except TypeError as problem:
            allowed = "an array of numbers, or a dict of them by name"
            raise ValueError(f"{name}(...) = {found!r}: must be {allowed}") from problem

    return Measurement(measured, {})


MEASUREMENT_NAMES = Registry(MEASUREMENTS, {TEST: on_test_set}, own_measurement)


@dataclasses.dataclass(frozen=True)
class RecordTable:
    """[record]: what, and after which steps; of only the first so many `examples`."""

    what: tuple[Annotated[Measurement, MEASUREMENT_NAMES], ...]
    every: int | None = None
    times: tuple[int, ...] | None = None
    examples: int | None = None

    def __post_init__(self):
        require(len(self.what) > 0, "what", [], "a list of measurements")
        one = (self.every is None) != (self.times is None)
        require(one, "every", self.every, "given, or `times` in its place")
        SaveAt(every=self.every, times=self.times)


@dataclasses.dataclass(frozen=True)
class TuneTable:
    """[tune]: see `Tune`; `optimiser` and `learning_rate` are those of the tuning."""

    objective: str
    parameters: tuple[str, ...]
    learning_rate: float
    iterations: int
    optimiser: OptimiserName = "adam"
    maximise: bool = False
    per_seed: bool = False
    bounds: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        self.value()

    def value(self) -> Tune:
        """The same with the optimiser made."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        make = getattr(optax, given.pop("optimiser"))
        return Tune(optimiser=make(given.pop("learning_rate")), **given)


@dataclasses.dataclass(frozen=True)
class StudyTable:
    """A study file."""

    system: Annotated[SystemAndData, SYSTEMS]
    record: RecordTable
    seeds: int
    steps: int
    hyper: dict[str, Any] = dataclasses.field(default_factory=dict)
    grid: dict[str, Any] = dataclasses.field(default_factory=dict)
    batches: Sampler = dataclasses.field(default_factory=WithReplacement)
    method: Method = dataclasses.field(default_factory=Sequential)
    tune: TuneTable | None = None
    key: int = 0
    chunk: int | None = None
    checkpoint_every: int | None = None

    def __post_init__(self):
        require_integer("key", self.key, 0, MOST_KEY)


def read_study(path: str | Path) -> Study:
    """The study that a TOML file describes; see experiments/studies for commented examples.

    Functions named ``"module:function"`` are looked for beside the file, too. Raises
    `StudyFileError` (a `ValueError`) naming file, line, field, value and what is allowed.
    """
    path = Path(path)
    values, root = load(path)
    with import_path(path.parent):
        table: StudyTable = construct(StudyTable, values, root)
    task = table.system
    hyper = _hyper(task, table.hyper, root / "hyper")
    grid = dict(_flat(table.grid, ""))
    known = list(grid_leaves(hyper, table.batches))
    for name in grid:
        if name not in known:
            raise (root / "grid").unknown(name, known)
    try:
        with handle_errors("code of your own fails"):
            prepare = partial(stream, task.system) if task.streamed else task.system.prepare
            examples = prepare(task.x, task.y)
            data, test = (task.x, task.y), task.test
            if task.streamed:
                data, test = (examples, None), test and stream(task.system, *test)
    except ValueError as complaint:
        raise (root / "system").of(complaint) from complaint
    try:
        what = measurements(
            table.record.what, task.system, *data,
            test=test, examples=table.record.examples, key=table.key,
        )  # fmt: skip
    except ValueError as complaint:
        raise (root / "record").of(complaint) from complaint
    try:
        with handle_errors("code of your own fails"):
            save = SaveAt(what, every=table.record.every, times=table.record.times)
            problem = TrainingProblem(
                task.system,
                examples,
                hyper,
                steps=table.steps,
                sampler=table.batches,
                save=save,
            )
            return Study(
                problem,
                seeds=table.seeds,
                grid=grid,
                method=table.method,
                tune=None if table.tune is None else table.tune.value(),
                key=table.key,
                chunk=table.chunk,
                checkpoint_every=table.checkpoint_every,
            )
    except ValueError as complaint:
        text = str(complaint).replace("save.fn", "record.what")
        in_file = ValueError(re.sub("^save[.]", "record.", text))
        raise root.of(in_file, ELSEWHERE) from complaint


def _hyper(task: SystemAndData, given: dict[str, Any], field: Field) -> PyTree:
    """The system's hyperparameters: rules, an optimiser's arguments, or a user's own."""
    if isinstance(task.system, Neurashed):
        return task.hyper if not given and task.hyper else construct(Rules, given, field)
    if isinstance(task.system, Network):
        values = _branches(task.system, given, field)
        own = task.hyper if isinstance(task.hyper, dict) else {}
        return own | {branch: own.get(branch, {}) | named for branch, named in values.items()}
    values = _numbers(given, field)
    if isinstance(task.hyper, dict):
        return task.hyper | values
    return task.hyper if not given and task.hyper is not None else values


def _branches(system: Network, given: dict[str, Any], field: Field) -> dict[str, dict[str, Any]]:
    """A network's hyperparameters by branch and name: numbers, schedules or one number a step."""
    for name, names in given.items():
        if name not in BRANCHES:
            raise field.unknown(name, BRANCHES)
        if not isinstance(names, dict):
            raise (field / name).wrong(names, "a table of arguments")
    allowed = list(inspect.signature(system.optimiser).parameters)
    for name in given.get("optimiser", {}):
        if name not in allowed:
            raise (field / "optimiser").unknown(name, allowed)
    return {
        branch: {name: _argument(value, field / branch / name) for name, value in names.items()}
        for branch, names in given.items()
    }


def _argument(value: Any, field: Field) -> Any:
    if not isinstance(value, dict):
        return numbers(value, field)
    if "per_step" in value:
        return PerStep(numbers(value["per_step"], field / "per_step"))
    if "schedule" not in value:
        return _numbers(value, field)
    known = {function.__name__: function for function in TRACEABLE}
    name = value["schedule"]
    if name not in known:
        raise (field / "schedule").unknown(str(name), list(known))
    rest = {n: v for n, v in value.items() if n != "schedule"}
    try:
        return Schedule(known[name], **rest)
    except ValueError as complaint:
        raise field.of(complaint) from complaint


def _numbers(given: dict[str, Any], field: Field) -> dict[str, Any]:
    return {
        name: (_numbers if isinstance(value, dict) else numbers)(value, field / name)
        for name, value in given.items()
    }


def _flat(table: dict[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    """Nested tables by dotted name: ``growth.factor = [...]`` is one for TOML."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value
