"""The derivative of the test error by the dial alpha: through training, against differences."""

import jax
import jax.numpy as jnp
import numpy as np
from derivatives import x64

from nsh import Run, TrainingProblem
from nsh.theory.two_layer import Symmetric, TwoLayer
from nsh.training import FullBatch, hypergradient

WIDTH, EPSILON = 12, 1e-5
DIAL = np.array([0.5, 1.0, 4.0, 16.0])
RANDOM = np.random.default_rng(0)
X, TEST_X = RANDOM.normal(size=(10, 3)), RANDOM.normal(size=(7, 3))


def target(x):
    return np.maximum(x @ np.array([1.0, -0.5, 0.3]), 0)


def test_derivative_of_the_test_error_by_the_dial():
    with x64(True):
        system = TwoLayer(3, Symmetric(WIDTH), activation="erf")
        examples, test = (system.prepare(x, target(x)) for x in (X, TEST_X))

        def error(run: Run):
            f = jax.vmap(lambda x: system.output(run.state, x))(test.x)
            return jnp.mean((f - test.y) ** 2)

        def at(alpha):
            hyper = {"alpha": jnp.asarray(alpha), "learning_rate": jnp.full(len(DIAL), 0.5)}
            problem = TrainingProblem(
                system, examples, hyper, steps=8, sampler=FullBatch(), grid_ndim=1
            )
            return hypergradient(error, problem, jax.random.key(0), seeds=3, vmap_size=1)

        found, below, above = (at(DIAL + h) for h in (0, -EPSILON, EPSILON))
        assert bool(jnp.all(found.valid))
        slopes = np.asarray(found.gradient["alpha"])
        differences = np.asarray(above.value - below.value) / (2 * EPSILON)
        np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-9)
        assert np.all(np.abs(slopes[:3]) > 1e-5)
        # the farther into the lazy regime, the less the dial matters
        size = np.abs(slopes * DIAL[:, None]).mean(1)
        assert size[3] < 0.05 * size[1]
