"""Every measurement, recorded along a run, differentiated by every parameter of the rules.

Forward mode, reverse mode and central differences must agree; measurements that count have slope 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import x64
from jax.flatten_util import ravel_pytree

from nsh import (
    Affine,
    Geometric,
    Neurashed,
    PerLevel,
    Rules,
    Saturating,
    SaveAt,
    TrainingProblem,
    train,
)
from nsh.measure import (
    Noise,
    accuracy,
    active_units,
    binned_information,
    brier_score,
    cross_entropy,
    effective_features,
    effective_number,
    elasticity_contrast,
    elasticity_matrix,
    expected_calibration_error,
    level_information,
    observe,
    pathway_overlap,
    surviving_fraction,
    system_collapse,
)
from nsh.neurashed import figure6

# as many kinds of rule as one model holds, so that one program differentiates by all parameters
RULES = Rules(
    PerLevel(Affine([1.03, 1.05, 1.1], [0.001, 0.0005, 0.001])),
    Saturating(0.98, 0.05),
    weight_decay=Geometric(np.linspace(0.97, 0.99, 6)),
)


class Everything:
    """What is recorded: all measurements that have a slope, or all that count (hashable)."""

    def __init__(self, examples, labels, subclasses, counting):
        self.given, self.counting = (examples, labels, subclasses), counting

    def __call__(self, now):
        examples, labels, subclasses = self.given
        seen = observe(now.system, now.state, examples)
        if self.counting:
            binned = binned_information(seen.features[1], labels, classes=2)
            overlap = pathway_overlap(active_units(seen.features[1]), labels)
            collapse = system_collapse(now.system, now.state, examples, labels, classes=2)
            return {
                "accuracy": accuracy(seen.outputs, labels),
                "binned input": binned[0],
                "binned label": binned[1],
                "overlap": overlap.within,
                "surviving": surviving_fraction(seen.features[1]),
                "nc4": collapse.nc4,
            }
        bits = level_information(
            now.system, now.state, examples, labels, jax.random.key(5), level=2, classes=2,
            noise=Noise(1e-4, 0.05), samples=8,
        )  # fmt: skip
        matrix = elasticity_matrix(now.system, now.state, now.hyper, examples, jax.random.key(1))
        contrast = elasticity_contrast(matrix, labels, subclasses)
        collapse = system_collapse(now.system, now.state, examples, labels, classes=2)
        return {
            "unit": seen.log_units[0],
            "input": bits.input,
            "input error": bits.input_error,
            "input lower": bits.input_lower,
            "input upper": bits.input_upper,
            "label": bits.label,
            "label lower": bits.label_lower,
            "label upper": bits.label_upper,
            "within subclass": contrast.within_subclass,
            "within class": contrast.within_class,
            "across": contrast.across_classes,
            "elasticity ratio": contrast.ratio,
            "effective number": effective_number(now.state.log_amplification),
            "effective features": effective_features(seen.features[0]),
            "loss": cross_entropy(1e3 * seen.outputs, labels),
            "brier": brier_score(1e3 * seen.outputs, labels),
            "calibration": expected_calibration_error(1e3 * seen.outputs, labels),
            "nc1": collapse.nc1,
            "nc2 norms": collapse.nc2_norms,
            "nc3": collapse.nc3,
        }


def recorded(counting):
    """(names, parameters, function from parameters to all measurements after 12 steps)."""
    graph, inputs = figure6()
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)
    what = Everything(examples, jnp.asarray(inputs.y), jnp.asarray(inputs.subclass), counting)
    save = SaveAt(what, times=(12,))
    rules = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), RULES)
    point, unravel = ravel_pytree(rules)

    def run(rules):
        problem = TrainingProblem(system, examples, rules, steps=12, save=save)
        return train(problem, jax.random.key(3)).saved

    def measured(point):
        return ravel_pytree(run(unravel(point)))[0]

    return list(jax.eval_shape(run, rules)), point, measured


@pytest.mark.long
def test_slopes_agree_three_ways():
    with x64(True):
        names, point, measured = recorded(False)
        forward = np.asarray(jax.jit(jax.jacfwd(measured))(point))
        reverse = np.asarray(jax.jit(jax.jacrev(measured))(point))
        value, steps = jax.jit(measured), np.diag(1e-6 * np.abs(point))
        differences = [(value(point + h) - value(point - h)) / (2 * h.max()) for h in steps]
    scale = np.abs(forward).max(axis=0, keepdims=True)
    assert (scale > 1e-6).all(), "a parameter that moves nothing"
    np.testing.assert_allclose(forward / scale, reverse / scale, atol=1e-8)
    np.testing.assert_allclose(forward / scale, np.transpose(differences) / scale, atol=1e-5)
    moved = np.abs(forward).max(axis=1) > 1e-6
    # two class means are equally far from their centre; a bound of 1 bit is at its ceiling
    still = {"nc2 norms": False, "label upper": False}
    assert dict(zip(names, moved.tolist(), strict=True)) == dict.fromkeys(names, True) | still


@pytest.mark.long
def test_counting_measurements_have_slope_zero():
    with x64(True):
        names, point, measured = recorded(True)
        assert np.isfinite(measured(point)).all()
        for slopes in (jax.jacfwd(measured), jax.jacrev(measured)):
            found = np.asarray(jax.jit(slopes)(point))
            np.testing.assert_array_equal(found, np.zeros_like(found), err_msg=str(names))
