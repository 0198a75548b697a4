"""The measurements of `nsh.measure` that a study can record by name."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from nsh import measure
from nsh._checks import require, require_integer
from nsh.measure import Noise, Variable
from nsh.measure.recorded import ATTRIBUTE, Recorded
from nsh.study.measurement import STANDARD_ERROR, TEST, Arrays, Measurement, View, of_levels

# what a measure can ask for, and stand-ins by which its options are tried
PROVIDED: Mapping[str, Callable[[View], Any]] = {
    "logits": lambda view: view.seen.logits,
    "labels": lambda view: view.data.labels,
    "classes": lambda view: view.seen.logits.shape[1],
    "features": lambda view: view.seen.features,
    "log_unit": lambda view: view.seen.log_units,
    "examples": lambda view: view.data.examples,
    "system": lambda view: view.now.system,
    "state": lambda view: view.now.state,
    "hyper": lambda view: view.now.hyper,
    "key": lambda view: view.key,
}
TRIED = {"logits": np.zeros((2, 2)), "features": np.zeros((2, 2)), "labels": np.arange(2)}


def measurement(name: str | Callable[..., Any]) -> Measurement:
    """A measurement with its default options: by its name in `CATALOGUE`, or of a measure.

    The measure is one that `nsh.measure.recorded` decorates.
    """
    if callable(name):
        known = ATTRIBUTE in getattr(name, "__dict__", {})
        require(known, "what", name, "a name, a Measurement or a measure with @recorded")
        return made_from(name)()
    plain = name.removeprefix(TEST)
    require(plain in CATALOGUE, "what", name, f"one of {', '.join(CATALOGUE)}")
    return dataclasses.replace(CATALOGUE[plain](), test=plain != name)


def information(
    *, samples: int = 16, noise_fixed: float = 1e-4, noise_relative: float = 0.05
) -> Measurement:
    """I(level; input) and I(level; label) under Gaussian noise, with standard errors."""
    require_integer("samples", samples, 2)
    noise = Noise(noise_fixed, noise_relative)

    def measured(view: View, features: Array, unit: Array) -> Arrays:
        found = measure.information(
            features, view.data.labels, view.key,
            noise=noise, log_unit=unit, classes=view.seen.logits.shape[1], samples=samples,
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

    def measured(view: View) -> Arrays:
        now, data = view.now, view.data
        matrix = measure.elasticity_matrix(
            now.system, now.state, now.hyper, data.examples, view.key
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
        lambda view: {"log_amplification": view.now.state.log_amplification}, variables
    )


def made_from(function: Callable[..., Any]) -> Callable[..., Measurement]:
    """The maker of a measure's measurement; its arguments are the measure's options."""
    recorded: Recorded = vars(function)[ATTRIBUTE]
    parameters = inspect.signature(function).parameters
    given = [name for name in parameters if name in PROVIDED]

    def measured(view: View, options: Mapping[str, Any], **level: Array) -> Arrays:
        arguments = {name: level.get(name, PROVIDED[name](view)) for name in given}
        return _by_name(recorded, function(**arguments, **options))

    def make(**options: Any) -> Measurement:
        if options:
            fixed = options | {"classes": 2} if "classes" in given else options
            arrays = {name: TRIED[name] for name in given if name in TRIED}
            jax.eval_shape(lambda arrays: function(**arrays, **fixed), arrays)  # may complain
        if "features" not in given:
            return Measurement(partial(measured, options=options), recorded.variables)

        def of_level(view: View, features: Array, unit: Array) -> Arrays:
            return measured(view, options, features=features, log_unit=unit)

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
CATALOGUE: dict[str, Callable[..., Measurement]] = {
    vars(function)[ATTRIBUTE].name: made_from(function)
    for function in _MEASURES
    if inspect.isfunction(function) and ATTRIBUTE in vars(function)
} | {make.__name__: make for make in (information, elasticity, log_amplification)}
"""Makers of the measurements that study files know by name; their options are arguments."""
