"""Second derivatives, and means over seeds with their standard errors."""

import dataclasses

import descent
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import x64

from nsh import Neurashed, Rules, Saturating, TrainingProblem, hyper_grid
from nsh.neurashed import Constant, figure4
from nsh.training import (
    Hypergradient,
    ensemble,
    hessian,
    hessian_vector_product,
    hypergradient,
    mean_over_seeds,
    sensitivity,
)

KEY = jax.random.key(4)
ONES = jnp.ones(3)


def descending(hyper, **options):
    return TrainingProblem(descent.SYSTEM, descent.EXAMPLES, hyper, steps=6, **options)


@pytest.mark.long
def test_curvature_of_gradient_descent_by_its_rate():
    hyper = hyper_grid(descent.hyper, rate=[0.1, 0.3], quartic=[0.0])
    grid = descending(hyper, grid_ndim=2)
    forward = hessian(descent.loss, grid, KEY, seeds=3)
    assert forward.first.mode == "forward"
    problem = TrainingProblem(descent.SYSTEM, descent.EXAMPLES, descent.hyper(), steps=0)
    start = ensemble(problem, KEY, seeds=3).state
    shrink = 1 - 2 * np.array([0.1, 0.3])[:, None]
    # (w_0 (1 - 2 rate)^6)^2 / 2; `quartic` comes first, in order of the leaves
    wanted = np.asarray(start)[:, 0] ** 2 / 2 * 4 * 12 * 11 * shrink**10
    assert forward.second.shape == (2, 1, 3, 2, 2)
    np.testing.assert_allclose(forward.second[:, 0, :, 1, 1], wanted, rtol=1e-4)
    np.testing.assert_allclose(
        forward.second[..., 0, 1], forward.second[..., 1, 0], rtol=1e-3, atol=1e-6
    )
    vector = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.5), hyper)
    product = hessian_vector_product(descent.loss, grid, vector, KEY, seeds=3, mode="reverse")
    assert product.first.mode == "reverse"
    np.testing.assert_allclose(
        jnp.stack([product.second["quartic"], product.second["rate"]], axis=-1),
        forward.second.sum(axis=-1) / 2,
        rtol=1e-3,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        product.first.gradient["rate"], forward.first.gradient["rate"], rtol=1e-4
    )


def log_size(run):
    return jnp.mean(run.state.log_amplification**2)


@pytest.mark.long
def test_product_is_the_change_of_the_gradient():
    with x64(True):
        graph, inputs = figure4()
        system = Neurashed(graph, Constant(0.5), Constant(0.5))
        examples = system.prepare(inputs.x, inputs.y)
        rules = Rules(Saturating(1.1, 5.0), Saturating(0.9, 4.0))
        vector = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.3), rules)
        problem = TrainingProblem(system, examples, rules, steps=6)
        found = hessian_vector_product(log_size, problem, vector, KEY, seeds=2, vmap_size=2)

        def gradient(h):
            moved = jax.tree.map(lambda rule, v: rule + h * v, rules, vector)
            beside = dataclasses.replace(problem, hyper=moved)
            return hypergradient(log_size, beside, KEY, seeds=2, vmap_size=2).gradient

        above, below = gradient(1e-5), gradient(-1e-5)
        differences = jax.tree.map(lambda a, b: (a - b) / 2e-5, above, below)
        for got, wanted in zip(
            jax.tree.leaves(found.second), jax.tree.leaves(differences), strict=True
        ):
            assert got.shape == (2,)
            assert np.abs(got).min() > 0
            np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_gradients_are_differentiable_themselves():
    def slope(rate):
        problem = descending(descent.hyper() | {"rate": rate})
        return jnp.sum(hypergradient(descent.loss, problem, KEY, seeds=3).gradient["rate"])

    second = hessian(descent.loss, descending(descent.hyper()), KEY, seeds=3).second
    found = jax.jit(jax.grad(slope))(jnp.asarray(0.1, float))
    np.testing.assert_allclose(found, second[:, 1, 1].sum(), rtol=1e-4)


def test_mean_over_seeds_leaves_out_what_is_not_valid():
    random = np.random.default_rng(0)
    numbers = random.normal(size=(2, 5, 3)).astype(np.float32)
    valid = np.array([[True] * 5, [True, False, True, False, True]])
    spoilt = np.where(valid[..., None], numbers, np.nan)
    found = mean_over_seeds({"a": jnp.asarray(spoilt)}, jnp.asarray(valid))
    np.testing.assert_array_equal(found.count, [5, 3])
    for point in (0, 1):
        used = numbers[point][valid[point]]
        error = used.std(axis=0, ddof=1) / np.sqrt(len(used))
        np.testing.assert_allclose(found.mean["a"][point], used.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(found.standard_error["a"][point], error, rtol=1e-5)
    none = mean_over_seeds(jnp.ones(4, jnp.float32), jnp.zeros(4, bool))
    assert np.isnan(none.mean)
    assert none.count == 0


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (
            lambda: hessian_vector_product(
                descent.loss, descending(descent.hyper()), {"rate": jnp.array(1.0)}, KEY, seeds=3
            ),
            "vector = .*: must be like hyper",
        ),
        (
            lambda: sensitivity(
                Hypergradient(ONES, {"rate": ONES}, jnp.zeros(3, jnp.int32), "forward", "as asked"),
                relative_to={"rate": jnp.ones(2)},
            ),
            "relative_to = .*: must be like hyper",
        ),
    ],
)
def test_bad_input(act, named):
    with pytest.raises(ValueError, match=named):
        act()
