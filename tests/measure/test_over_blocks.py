"""Measures of one block after the other are those of all examples at once."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from measure_tools import KEY, Growing, Linear

from nsh import measure
from nsh.measure import Noise, over_blocks
from nsh.training import stream

pytestmark = pytest.mark.core
N, CLASSES = 11, 3
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 12)), np.arange(N) % CLASSES
WEIGHTS = jnp.asarray(RNG.normal(size=(CLASSES, 12)), float)
NOISE = Noise(fixed=0.1, relative=0.1)


class Streaming(Linear):
    def convert(self, x, y):
        return {"x": x.astype(float), "y": y}

    def features(self, state, example):
        return (jnp.tanh(2 * example["x"][:8]), example["x"])


SYSTEM = Streaming(classes=CLASSES)
EXAMPLES, LABELS = SYSTEM.prepare(X, Y), jnp.asarray(Y)
STREAM = stream(SYSTEM, X, Y)


def each_level(function, seen):
    return tuple(function(level) for level in seen.features)


def of_outputs(function):
    return lambda seen: function(seen.outputs, LABELS)


def contrast(seen):
    matrix = measure.elasticity_matrix(SYSTEM, WEIGHTS, 0.1, EXAMPLES, KEY)
    return measure.elasticity_contrast(matrix, LABELS)


def pathways(level):
    return measure.pathway_overlap(measure.active_units(level, 0.5), LABELS)


def bits(level):
    return measure.information(level, LABELS, KEY, noise=NOISE, classes=CLASSES, samples=4)


SMALL = {
    "effective_features": ({}, functools.partial(each_level, measure.effective_features)),
    "surviving_fraction": (
        {"threshold": 0.5},
        functools.partial(each_level, lambda level: measure.surviving_fraction(level, 0.5)),
    ),
    "pathway_overlap": ({"threshold": 0.5}, functools.partial(each_level, pathways)),
    "accuracy": ({}, of_outputs(measure.accuracy)),
    "class_accuracy": ({}, of_outputs(measure.class_accuracy)),
    "cross_entropy": ({}, of_outputs(measure.cross_entropy)),
    "expected_calibration_error": ({}, of_outputs(measure.expected_calibration_error)),
    "brier_score": ({}, of_outputs(measure.brier_score)),
    "system_collapse": (
        {},
        lambda seen: measure.neural_collapse(
            seen.features[-1], LABELS, *measure.readout(seen.features[-1], seen.outputs),
            classes=CLASSES,
        ),
    ),
    "information": (
        {"key": KEY, "noise": NOISE, "samples": 4}, functools.partial(each_level, bits)
    ),
    "elasticity_contrast": ({"key": KEY, "hyper": 0.1}, contrast),
}  # fmt: skip


SLOW = SMALL.keys() - {"cross_entropy", "class_accuracy", "effective_features", "system_collapse"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long) if n in SLOW else n for n in SMALL]
)
def test_blocks_give_what_the_whole_gives(name):
    options, whole = SMALL[name]
    taken = functools.partial(
        over_blocks, getattr(measure, name), SYSTEM, WEIGHTS, size=4, **options
    )
    found = taken(EXAMPLES, Y)  # 4 + 4 + 3 examples
    expected = jax.jit(lambda weights: whole(measure.observe(SYSTEM, weights, EXAMPLES)))(WEIGHTS)
    rounding = 50 * float(jnp.finfo(WEIGHTS.dtype).eps)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)
    for a, b in zip(jax.tree.leaves(taken(STREAM)), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)


@pytest.mark.thorough
def test_units_of_blocks_are_brought_together():
    system = Growing()
    examples = system.prepare(X[:, :4], Y)
    examples["unit"] = jnp.array([0.0, 1.0, 1e4, 1e4 - 1, 3.0, 4.0, 1e4 + 1] + [5.0] * 4)
    state = system.init(KEY, 0.5)
    seen = measure.observe(system, state, examples)
    (found,) = over_blocks(measure.effective_features, system, state, examples, Y, size=2)
    np.testing.assert_allclose(found, measure.effective_features(seen.features[0]), rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    [
        "cross_entropy",
        "effective_features",
        pytest.param("system_collapse", marks=pytest.mark.long),
    ],
)
def test_slopes_are_those_of_the_whole(name):
    options, whole = SMALL[name]

    def first(found):
        return jax.tree.leaves(found)[0]  # NC1 of the collapse

    def by_blocks(x):
        given = {"x": x, "y": LABELS}
        function = getattr(measure, name)
        return first(over_blocks(function, SYSTEM, WEIGHTS, given, Y, size=4, **options))

    def at_once(x):
        return first(whole(measure.observe(SYSTEM, WEIGHTS, {"x": x, "y": LABELS})))

    x = EXAMPLES["x"]
    expected = jax.jit(jax.grad(at_once))(x)
    scale = float(jnp.max(jnp.abs(expected)))
    np.testing.assert_allclose(jax.jit(jax.grad(by_blocks))(x), expected, atol=1e-4 * scale)


class Wide(Linear):
    """With a wide level."""

    def features(self, state, example):  # pyright: ignore[reportIncompatibleMethodOverride]
        return (jnp.tile(example["x"], 5000),)  # 60,000


@pytest.mark.parametrize("name", ["effective_features", "accuracy"])
def test_memory_does_not_grow_with_the_examples(name):
    def needed(n):
        x = jax.ShapeDtypeStruct((n, 12), float)
        y = jnp.arange(n) % CLASSES

        def taken(x):
            given = {"x": x, "y": y}
            return over_blocks(getattr(measure, name), Wide(CLASSES), WEIGHTS, given, y, size=8)

        memory = jax.jit(taken).lower(x).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    features = 60000 * WEIGHTS.dtype.itemsize * 8  # of one block
    outputs = 64 * CLASSES * WEIGHTS.dtype.itemsize
    assert needed(64) - needed(32) <= 4 * outputs
    assert needed(64) < 8 * features


def test_what_has_no_blocks_is_refused():
    for function, options, said in [
        (measure.binned_information, {}, "measure = 'binned_information'.*or one of effective_f"),
        (measure.effective_features, {"threshold": 1}, r"options = \['threshold'\]"),
        (measure.information, {"noise": NOISE}, "key = None"),
        (measure.accuracy, {"size": 0}, "size = 0"),
        (lambda logits, key: 0, {}, "measure = '<lambda>'"),
    ]:
        with pytest.raises(ValueError, match=said):
            over_blocks(function, SYSTEM, WEIGHTS, EXAMPLES, Y, **options)
    with pytest.raises(ValueError, match=r"labels\[2\] = 3: must be a class in 0..2"):
        over_blocks(measure.accuracy, SYSTEM, WEIGHTS, EXAMPLES, [0, 1, 3] + [0] * 8, size=4)
    with pytest.raises(ValueError, match="y = None"):
        over_blocks(measure.accuracy, SYSTEM, WEIGHTS, EXAMPLES)
    with pytest.raises(ValueError, match=r"y\.shape = \[\(2,\)\]: must be \(11"):
        over_blocks(measure.accuracy, SYSTEM, WEIGHTS, EXAMPLES, [0, 1])


def test_outputs_of_streams_have_the_bits_of_those_in_memory():
    outputs = {}
    for name, examples in (("memory", EXAMPLES), ("stream", STREAM)):
        kept = over_blocks(lambda logits: logits, SYSTEM, WEIGHTS, examples, Y, size=4)
        outputs[name] = kept
    np.testing.assert_array_equal(outputs["stream"], outputs["memory"])
    np.testing.assert_allclose(outputs["memory"], X @ WEIGHTS.T, rtol=1e-4, atol=1e-5)


def test_seeds_by_vmap_and_no_new_programs(caplog):
    states = jnp.stack([WEIGHTS, -WEIGHTS])
    taken = eqx.filter_jit(lambda w: over_blocks(measure.accuracy, SYSTEM, w, STREAM, size=4))
    found = jax.jit(jax.vmap(taken))(states)
    np.testing.assert_array_equal(found, [taken(w) for w in states])
    whole = jax.jit(lambda w: SMALL["cross_entropy"][1](measure.observe(SYSTEM, w, EXAMPLES)))
    with jax.log_compiles():
        one = over_blocks(measure.cross_entropy, SYSTEM, WEIGHTS, STREAM, size=N)
        np.testing.assert_array_equal(one, whole(WEIGHTS))
        for state in states:
            over_blocks(measure.cross_entropy, SYSTEM, state, STREAM, size=N)
    programs = [r for r in caplog.records if "Finished XLA compilation of jit(_taken)" in r.message]
    assert len(programs) <= 1
