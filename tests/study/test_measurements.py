"""What a study records by name is what `nsh.measure` gives, for every name, on both sets."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from studies import swelling

from nsh import Neurashed, SaveAt, TrainingProblem, WithReplacement, ensemble, measure
from nsh.measure import Variable
from nsh.networks import MLP, Classification, Custom, Linear, MultiLabel, Network, Regression
from nsh.neurashed import figure4, figure4_rules
from nsh.study import MEASUREMENTS, Measurement, measurement, measurements
from nsh.study.layout import layout
from nsh.theory.two_layer import Symmetric, TwoLayer
from nsh.training import Snapshot, stream

OTHERS = {"predictions", "label_logits"}


@pytest.fixture(scope="module")
def seen():
    """Everything in the catalogue, of a neurashed before training, and what it should be."""
    graph, inputs = figure4()
    system = Neurashed(graph)
    hyper = figure4_rules(graph)
    now = Snapshot(system, system.init(jax.random.key(0), hyper), hyper, jnp.zeros((), jnp.int32))
    names = [name for name, make in MEASUREMENTS.items() if not make().needs & OTHERS]
    names += ["test_accuracy", "test_cross_entropy", "test_effective_features"]
    test = inputs.x[2:6], inputs.y[2:6]
    what = measurements(names, system, inputs.x, inputs.y, test=test, key=7)
    examples, labels = system.prepare(inputs.x, inputs.y), jnp.asarray(inputs.y)
    test_examples, test_labels = system.prepare(*test), jnp.asarray(test[1])

    @jax.jit
    def both(now):
        context = measure.observe(system, now.state, examples)
        other = measure.observe(system, now.state, test_examples)
        levels = [
            measure.information(
                level, labels, jax.random.key(7), noise=measure.Noise(1e-4, 0.05), log_unit=unit,
                classes=2, samples=16,
            )
            for level, unit in zip(context.features, context.log_units, strict=True)
        ]  # fmt: skip
        expected = {
            "accuracy": measure.accuracy(context.outputs, labels),
            "effective_features": [measure.effective_features(level) for level in context.features],
            "information_input": [level.input for level in levels],
            "information_label_error": [level.label_error for level in levels],
            "nc1": measure.system_collapse(system, now.state, examples, labels, classes=2).nc1,
            "log_amplification": now.state.log_amplification,
            "test_accuracy": measure.accuracy(other.outputs, test_labels),
            "test_cross_entropy": measure.cross_entropy(other.outputs, test_labels),
            "test_effective_features": [
                measure.effective_features(level) for level in other.features
            ],
        }
        return what(now), expected

    return now, what, *both(now)


@pytest.mark.long
def test_every_name_gives_the_variables_it_says(seen):
    _, what, found, _ = seen
    variables = what.variables()
    assert set(found) == set(variables)
    for name, variable in variables.items():
        assert found[name].shape == tuple(
            {"level": 2, "node": 19, "class": 2}[dim] for dim in variable.dims
        )
        assert variable.units
        assert np.isfinite(found[name]).all(), name
    assert variables["test_accuracy"].long_name == "accuracy, test set"


@pytest.mark.long
def test_numbers_are_those_of_measure(seen):
    _, _, found, expected = seen
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_units_and_axes_reach_the_store(seen):
    now, what, _, _ = seen
    _, inputs = figure4()
    system = now.system
    study = swelling(
        system=system, examples=system.prepare(inputs.x, inputs.y), hyper=now.hyper,
        save=SaveAt(what, every=10),
    )  # fmt: skip
    plan = layout(study)
    assert plan.arrays["information_input"].dims == ("seed", "step", "level")
    assert plan.arrays["information_input"].attributes["units"] == "bits"
    np.testing.assert_array_equal(plan.coordinates["level"][1], [1, 2])


@pytest.mark.long
def test_real_targets_stay_real_and_are_no_labels():
    """Targets of -0.5, 0.25, ... were cut to 0, and passed for classes."""
    system = TwoLayer(2, Symmetric(2), out_size=2)
    x, y = np.eye(2), np.array([[-0.5, 0.25], [1.75, 0.5]])

    def squared(context):
        return {
            "squared_error": jnp.mean(
                jnp.sum((context.observation.outputs - context.data.y) ** 2, axis=1)
            )
        }

    error = Measurement(squared, {"squared_error": Variable("squared error", "1")})
    what = measurements([error, "effective_features"], system, x, y, test=(x, y))
    hyper = {"alpha": 1.0, "learning_rate": 0.1}
    state = system.init(jax.random.key(0), hyper)
    now = Snapshot(system, state, hyper, jnp.zeros((), jnp.int32))
    found = what(now)  # f = 0 at the start
    np.testing.assert_allclose(found["squared_error"], (y**2).sum() / 2, rtol=1e-6)

    needing = [name for name, make in MEASUREMENTS.items() if "labels" in make().needs]
    assert {"accuracy", "collapse", "information", "elasticity"} < set(needing)
    for name in needing:
        with pytest.raises(ValueError, match=r"what = \['test_.*predicts of these targets \(numb"):
            measurements([f"test_{name}"], system, x, y, test=(x, y))
    with pytest.raises(ValueError, match=r"\(numbers\): .*gaussian_.*, r_squared, root"):
        measurements(["accuracy"], TwoLayer(2, Symmetric(2)), x, [1, -1])


def test_a_regression_is_measured_as_one():
    """A study of a regression network recorded accuracy 1.0 and cross-entropy 0.0."""
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 5.0])
    network = Network(lambda key: Linear(1, 1, key=key), optax.sgd, Regression())
    hyper = {"optimiser": {"learning_rate": 0.1}}
    state = network.init(jax.random.key(0), hyper)
    now = Snapshot(network, state, hyper, jnp.zeros((), jnp.int32))
    names = ["r_squared", "root_mean_squared_error", "gaussian_negative_log_likelihood"]
    found = measurements([*names, MEASUREMENTS["information"](label=False)], network, x, y)(now)
    outputs = measure.observe(network, state, network.prepare(x, y)).outputs
    for name in names:
        np.testing.assert_array_equal(found[name], getattr(measure, name)(outputs, jnp.asarray(y)))
    assert {"information_input", "information_input_error"} == set(found) - set(names)
    with pytest.raises(ValueError, match=r"system\.predicts = 'numbers'.*r_squared"):
        measure.system_collapse(network, state, network.prepare(x, y), jnp.arange(3), classes=3)

    tasks = {
        "labels": (MultiLabel(), np.eye(3)), "classes": (Classification(), np.arange(3)),
        "anything": (Custom(lambda f, y: jnp.sum((f - y["a"]) ** 2)), {"a": np.eye(3)}),
    }  # fmt: skip
    fitting = {
        "labels": {"label_accuracy"}, "classes": {"accuracy"},
        "anything": {"label_accuracy", "r_squared"},
    }  # fmt: skip
    for kind, (task, targets) in tasks.items():
        network = Network(lambda key: Linear(1, 3, key=key), optax.sgd, task)
        for name in ("label_accuracy", "accuracy", "r_squared"):
            if name in fitting[kind]:
                measurements([name], network, x, targets)
            else:
                with pytest.raises(ValueError, match=rf"what = \['{name}'\].*\({kind}\)"):
                    measurements([name], network, x, targets)


def test_streams_are_measured_block_by_block(monkeypatch):
    monkeypatch.setattr(sys.modules["nsh.study.measurements"], "BLOCK", 4)
    x, y = np.random.default_rng(0).normal(size=(11, 12)), np.arange(11) % 3
    network = digit_like()
    examples = network.prepare(x, y)
    streamed, test = stream(network, x, y), stream(network, x[:6], y[:6])
    names = ["accuracy", "class_accuracy", "effective_features", "collapse", "test_cross_entropy"]
    by_blocks = measurements(names, network, streamed, None, test=test)
    at_once = measurements(names, network, x, y, test=(x[:6], y[:6]))
    hyper = {"optimiser": {"learning_rate": 0.1}}

    def saved(examples, what):
        save = SaveAt(what, every=2)
        sampler = WithReplacement(3)
        problem = TrainingProblem(network, examples, hyper, steps=4, sampler=sampler, save=save)
        return ensemble(problem, jax.random.key(0), seeds=3).saved

    found, expected = saved(streamed, by_blocks), saved(examples, at_once)
    assert found["nc1"].shape == (3, 3)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, err_msg=name)

    first = measurements(["binned_information"], network, streamed, None, examples=5)
    np.testing.assert_array_equal(first.train.examples.x, examples.x[:5])
    with pytest.raises(ValueError, match=r"what = \['binned.*block by block: .*collapse"):
        measurements(["binned_information"], network, streamed, None)
    with pytest.raises(ValueError, match="y = 'ndarray': must be None for a stream"):
        measurements(names[:1], network, streamed, y)
    now = Snapshot(network, network.init(jax.random.key(0), hyper), hyper, jnp.int32(0))
    own = Measurement(lambda context: {"a": context.observation.features[0]}, {})
    with pytest.raises(ValueError, match="features = those of a stream"):
        measurements([own], network, streamed, None)(now)


@pytest.mark.long
@pytest.mark.parametrize("name", ["information", "elasticity", "surviving_fraction"])
def test_options_reach_measures_of_streams(name):
    x, y = np.random.default_rng(0).normal(size=(7, 12)), np.arange(7) % 3
    network, hyper = digit_like(), {"optimiser": {"learning_rate": 0.1}}
    options = {
        "information": {"samples": 3, "label": False},
        "surviving_fraction": {"threshold": 0.5},
    }
    what = MEASUREMENTS[name](**options.get(name, {}))
    now = Snapshot(network, network.init(jax.random.key(0), hyper), hyper, jnp.int32(0))
    found = measurements([what], network, stream(network, x, y), None)(now)
    expected = measurements([what], network, x, y)(now)
    assert set(found) == set(what.variables)
    for variable, values in expected.items():
        np.testing.assert_allclose(found[variable], values, rtol=1e-4)


def digit_like():
    return Network(lambda key: MLP((12, 8, 3), key=key), optax.sgd)


def test_bad_names_and_sets():
    graph, inputs = figure4()
    system = Neurashed(graph)
    for what, field in [
        (["accurate"], "what = 'accurate'"),
        (["accuracy", "accuracy"], r"what = \['accuracy'\]"),
        (["test_accuracy"], r"what = \['test_accuracy'\].*without test data"),
    ]:
        with pytest.raises(ValueError, match=field):
            measurements(what, system, inputs.x, inputs.y)
    with pytest.raises(ValueError, match="of a Neurashed"):
        measurements(["log_amplification"], swelling().problem.system, [1.0], [0])
    with pytest.raises(ValueError, match="samples = 1"):
        MEASUREMENTS["information"](samples=1)
    assert measurement("test_accuracy").test
