"""A system the library has never seen, a perceptron, trained and measured like any other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh import Epochs, SaveAt, System, TrainingProblem, ensemble, hyper_grid, measure, train

pytestmark = pytest.mark.core


class Perceptron(System):
    """Multi-class perceptron: a wrong prediction moves two rows of W; logits average W over time.

    The average makes the learning rate matter smoothly, and the last steps little.
    """

    classes: int = eqx.field(static=True)
    inputs: int = eqx.field(static=True)

    def prepare(self, x, y):
        with_bias = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        return {"x": jnp.asarray(with_bias, float), "y": jnp.asarray(y, jnp.int32)}

    def init(self, key, hyper):
        weights = jax.random.normal(key, (self.classes, self.inputs + 1))
        return {"weights": weights, "sum": jnp.zeros_like(weights), "count": jnp.zeros(())}

    def step(self, state, batch, hyper, key):
        weights = state["weights"]
        predicted = jnp.argmax(batch["x"] @ weights.T, axis=1).astype(jnp.int32)
        hot = jax.nn.one_hot(jnp.stack([batch["y"], predicted]), self.classes, dtype=weights.dtype)
        correction = (hot[0] - hot[1]).T @ batch["x"] / batch["x"].shape[0]
        weights = weights + hyper["learning_rate"] * correction
        return {"weights": weights, "sum": state["sum"] + weights, "count": state["count"] + 1}

    def outputs(self, state, example):
        return self.features(state, example)[-1]

    def features(self, state, example):
        average = state["sum"] / jnp.maximum(state["count"], 1)
        return example["x"], average @ example["x"]


CLASSES, KEY = 3, jax.random.key(0)
SYSTEM = Perceptron(CLASSES, 2)
Y = np.arange(24, dtype=np.int32) % CLASSES
CENTRES = np.array([[0.0, 3.0], [3.0, -2.0], [-3.0, -2.0]])
X = CENTRES[Y] + np.random.default_rng(0).normal(size=(24, 2))
OPTIONS = {"steps": 60, "sampler": Epochs(4)}


@pytest.fixture(scope="module")
def examples():
    return SYSTEM.prepare(X, Y)


def measurements(state, examples):
    """Everything measured at one state, as one compiled program would."""
    seen, key = measure.observe(SYSTEM, state, examples), jax.random.key(1)
    hyper = {"learning_rate": jnp.asarray(0.1, float)}
    information = measure.level_information(
        SYSTEM, state, examples, jnp.asarray(Y), key, level=1, classes=CLASSES,
        noise=measure.Noise(), samples=16,
    )  # fmt: skip
    return {
        "accuracy": measure.accuracy(seen.outputs, jnp.asarray(Y)),
        "information": information,
        "elasticity": measure.elasticity_matrix(SYSTEM, state, hyper, examples, key),
        "effective": [measure.effective_features(level) for level in seen.features],
        "collapse": measure.system_collapse(
            SYSTEM, state, examples, jnp.asarray(Y), classes=CLASSES
        ),
    }


@pytest.mark.long
def test_trains_and_is_measured(examples):
    hyper, save = {"learning_rate": 0.1}, SaveAt(every=30)
    run = train(TrainingProblem(SYSTEM, examples, hyper, save=save, **OPTIONS), KEY)
    assert run.status == 0
    assert run.saved["weights"].shape == (3, CLASSES, 3)
    found = eqx.filter_jit(measurements)(run.state, examples)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))
    assert found["accuracy"] > 0.9
    assert found["information"].consistent
    assert found["information"].label > 1
    assert found["information"].input <= np.log2(24) + 1e-3
    assert found["elasticity"].shape == (24, 24)
    diagonal = np.diagonal(found["elasticity"])
    np.testing.assert_allclose(diagonal[diagonal > 0], 1, rtol=1e-4)
    assert 1 <= found["effective"][1] <= CLASSES
    assert found["collapse"].nc4 < 0.3


@pytest.mark.long
def test_ensembles_over_seeds_and_learning_rates(examples):
    hyper = hyper_grid(lambda rate: {"learning_rate": rate}, rate=[0.01, 0.1])
    problem = TrainingProblem(SYSTEM, examples, hyper, grid_ndim=1, **OPTIONS)
    run = ensemble(problem, KEY, seeds=5)
    assert run.state["weights"].shape == (2, 5, CLASSES, 3)
    assert run.status.shape == (2, 5)

    def score(state):
        return measure.accuracy(measure.observe(SYSTEM, state, examples).outputs, jnp.asarray(Y))

    accuracy = jax.jit(jax.vmap(jax.vmap(score)))(run.state)
    assert accuracy[1].mean() > accuracy[0].mean()
    assert accuracy[1].mean() > 0.9


@pytest.mark.long
@pytest.mark.thorough
def test_differentiates_by_its_learning_rate():
    def loss(rate):
        examples = SYSTEM.prepare(X, Y)
        problem = TrainingProblem(SYSTEM, examples, {"learning_rate": rate}, **OPTIONS)
        state = train(problem, KEY).state
        logits = measure.observe(SYSTEM, state, examples).outputs
        return measure.cross_entropy(logits, jnp.asarray(Y))

    check_three_ways(loss, np.float64(0.07), tolerance=1e-5)
    assert jax.grad(loss)(jnp.asarray(0.07, float)) != 0
