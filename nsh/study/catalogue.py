"""The measurements of `nsh.measure` that a study can record by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from jaxtyping import Array

from nsh import measure
from nsh._checks import require, require_integer
from nsh.measure import Noise
from nsh.study.measurement import (
    STANDARD_ERROR,
    TEST,
    Arrays,
    Measurement,
    Variable,
    View,
    of_levels,
    of_logits,
)


def measurement(name: str) -> Measurement:
    """A measurement of the `CATALOGUE` with its default options, by name."""
    plain = name.removeprefix(TEST)
    require(plain in CATALOGUE, "what", name, f"one of {', '.join(CATALOGUE)}")
    return dataclasses.replace(CATALOGUE[plain](), test=plain != name)


def accuracy() -> Measurement:
    """Share of examples with the right class."""
    variable = Variable("accuracy", "1", differentiable=False)
    return of_logits(measure.accuracy, "accuracy", variable)


def cross_entropy() -> Measurement:
    """Mean cross-entropy."""
    variable = Variable("cross-entropy", "nats")
    return of_logits(measure.cross_entropy, "cross_entropy", variable)


def brier_score() -> Measurement:
    """Mean squared distance of probabilities and labels."""
    return of_logits(measure.brier_score, "brier_score", Variable("Brier score", "1"))


def calibration_error(*, bins: int = 15) -> Measurement:
    """Expected calibration error."""
    require_integer("bins", bins, 1)

    def error(logits: Array, labels: Array) -> Array:
        return measure.expected_calibration_error(logits, labels, bins)

    variable = Variable("expected calibration error", "1", differentiable=False)
    return of_logits(error, "calibration_error", variable)


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


def binned_information(*, bins: int = 30) -> Measurement:
    """I(level; input) and I(level; label) of binned activations."""
    require_integer("bins", bins, 2)

    def measured(view: View, features: Array, unit: Array) -> Arrays:  # noqa: ARG001
        found = measure.binned_information(
            features, view.data.labels, classes=view.seen.logits.shape[1], bins=bins
        )
        return dict(zip(variables, found, strict=True))

    variables = {
        f"binned_information_{what}": Variable(
            f"I(binned level; {what})", "bits", differentiable=False
        )
        for what in ("input", "label")
    }
    return of_levels(measured, variables)


def effective_features() -> Measurement:
    """Participation ratio of the units of each level."""

    def measured(view: View, features: Array, unit: Array) -> Arrays:  # noqa: ARG001
        return {"effective_features": measure.effective_features(features)}

    return of_levels(measured, {"effective_features": Variable("effective features", "units")})


def surviving_share(*, threshold: float = 0.01) -> Measurement:
    """Share of the units of each level that are not negligible."""
    require(0 <= threshold <= 1, "threshold", threshold, "a number in 0..1")

    def measured(view: View, features: Array, unit: Array) -> Arrays:  # noqa: ARG001
        return {"surviving_share": measure.surviving_share(features, threshold)}

    variable = Variable("surviving share", "1", differentiable=False)
    return of_levels(measured, {"surviving_share": variable})


def collapse() -> Measurement:
    """Neural collapse of the top level, NC1 to NC4."""

    def measured(view: View) -> Arrays:
        weights, bias = measure.readout(view.seen.features[-1], view.seen.logits)
        found = measure.neural_collapse(
            view.seen.features[-1],
            view.data.labels,
            weights,
            bias,
            classes=view.seen.logits.shape[1],
        )
        return {name: getattr(found, name) for name in variables}

    names = [field.name for field in dataclasses.fields(measure.Collapse)]
    variables = {
        name: Variable(name.upper().replace("_", " "), "1", differentiable=name != "nc4")
        for name in names
    }
    return Measurement(measured, variables)


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


CATALOGUE: dict[str, Callable[..., Measurement]] = {
    make.__name__: make
    for make in (
        accuracy,
        cross_entropy,
        brier_score,
        calibration_error,
        information,
        binned_information,
        effective_features,
        surviving_share,
        collapse,
        elasticity,
        log_amplification,
    )
}
"""Makers of the measurements that study files know by name; their options are arguments."""
