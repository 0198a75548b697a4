"""Prediction by conjugate gradients on blocks, against dense solves in 64 bits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64
from untyped import linalg

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width.kernels import kernels
from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.conjugate_gradients import conjugate_gradients
from nsh.theory.effective.prediction.iterative import cg_predict
from nsh.theory.effective.prediction.prediction import kernel_regression

RANDOM = np.random.default_rng(0)
N, TESTS, OUTPUTS = 45, 7, 3
X, Z = RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(TESTS, 2))
Y = RANDOM.normal(size=(N, OUTPUTS))
NOISE, TOLERANCE = 0.05, 1e-3
SMALL = {"block": 16, "rank": 6, "tolerance": TOLERANCE, "max_steps": 100}


def rbf(x, z):
    return jnp.exp(-jnp.sum((x[:, None] - z[None]) ** 2, axis=-1))


def in_numpy(x, z):
    return np.exp(-np.sum((x[:, None] - z[None]) ** 2, axis=-1))


def dense(noise):
    A, cross = in_numpy(X, X) + noise * np.eye(N), in_numpy(Z, X)
    solved = partial(linalg.cho_solve, linalg.cho_factor(A))
    return A, cross @ solved(Y), 1 - np.sum(cross.T * solved(cross.T), axis=0)


@pytest.mark.core
@pytest.mark.parametrize("memory", [0, 1e9])
def test_is_as_near_to_the_dense_solve_as_it_says(memory):
    found = cg_predict(rbf, X, Y, Z, noise=NOISE, variance=True, memory=memory, **SMALL)
    A, mean, variance = dense(NOISE)
    assert found.status == Status.SOLVED
    assert found.residual.shape == (OUTPUTS,)
    rest = Y - A @ np.asarray(found.dual, np.float64)
    residual = np.linalg.norm(rest, axis=0) / np.linalg.norm(Y, axis=0)
    rounding = 100 * float(jnp.finfo(found.mean.dtype).eps)
    np.testing.assert_allclose(found.residual, residual, rtol=1e-2, atol=rounding)
    assert np.all(found.residual <= TOLERANCE)
    assert np.max(residual) > TOLERANCE / 100  # it stopped when it was there
    off = np.abs(np.asarray(found.mean) - mean)
    assert np.all(off <= found.error + rounding)
    assert np.max(found.error) < 0.1
    assert found.variance is not None
    assert found.variance_error is not None
    above = np.asarray(found.variance) - variance
    assert np.all(above >= -rounding)
    assert np.all(above <= found.variance_error + rounding)
    assert np.max(found.variance_error) < 1e-3
    assert found.variance_error.shape == found.variance.shape == (TESTS,)


def test_the_preconditioner_saves_passes_and_changes_nothing_else():
    one, many = (
        cg_predict(rbf, X, Y[:, 0], Z, noise=1e-2, **{**SMALL, "rank": rank}) for rank in (1, 30)
    )
    assert 2 * many.steps < one.steps
    assert many.dual.shape == (N,)
    assert one.status == many.status == Status.SOLVED
    assert np.all(np.abs(one.mean - many.mean) <= one.error + many.error)


def test_the_smallest_ritz_value_is_the_least_eigenvalue():
    A = in_numpy(X, X) + NOISE * np.eye(N)
    with x64(True):
        found = conjugate_gradients(
            lambda v: jnp.asarray(A) @ v, lambda v: v, jnp.asarray(Y), tolerance=1e-8, max_steps=100
        )
    least = linalg.eigvalsh(A)[0]
    assert least * (1 - 1e-9) <= float(found.smallest) < 1.1 * least


@pytest.mark.long
def test_of_a_tangent_kernel_it_is_kernel_regression():
    network = Architecture("relu", 2, C_W=2.0)
    found = cg_predict(lambda x, z: kernels(network, x, z).ntk, X, Y, Z, **SMALL)
    K, cross = kernels(network, X).ntk, kernels(network, Z, X).ntk
    expected = kernel_regression(K, cross, Y)
    assert found.status == Status.SOLVED
    assert np.all(np.abs(found.mean - expected.mean) <= found.error + 4 * expected.error)


def test_of_whole_numbers_the_kernel_sees_these():
    """Tokens, and a kernel that counts where they agree."""
    tokens, others = np.arange(24).reshape(8, 3) % 5, np.array([[0, 1, 2]])

    def kernel(x, z):
        assert x.dtype == z.dtype
        assert jnp.issubdtype(x.dtype, jnp.integer)
        return jnp.mean(x[:, None] == z[None], axis=-1, dtype=jnp.float32)

    y = np.arange(8.0)
    found = cg_predict(kernel, tokens, y, others.tolist(), noise=0.5)
    agree = np.mean(tokens[:, None] == tokens[None], axis=-1) + 0.5 * np.eye(8)
    mean = np.mean(others[:, None] == tokens[None], axis=-1) @ np.linalg.solve(agree, y)
    np.testing.assert_allclose(found.mean, mean, atol=1e-3)


@pytest.mark.core
def test_what_fails_is_data():
    """No passes left, and a matrix that is not positive, beside one that is."""
    few = cg_predict(rbf, X, Y, Z, noise=NOISE, **{**SMALL, "max_steps": 4})
    assert few.status == Status.NOT_CONVERGED
    assert few.steps == 4
    A, mean, _ = dense(NOISE)
    rest = np.linalg.norm(Y - A @ np.asarray(few.dual), axis=0)
    np.testing.assert_allclose(few.residual, rest / np.linalg.norm(Y, axis=0), rtol=1e-3)
    assert np.all(few.residual > TOLERANCE)
    assert np.all(np.abs(few.mean - mean) <= few.error)

    def shifted(shift, x, z):
        same = jnp.all(x[:, None] == z[None], axis=-1)
        return rbf(x, z) + jnp.where(same, shift, 0)

    y = Y * np.array([0, 1, 1])

    @jax.jit
    @jax.vmap
    def found(shift):
        return cg_predict(partial(shifted, shift), X, y, Z, **SMALL)

    several = found(jnp.asarray([NOISE, -2.0, jnp.nan]))
    wanted = [Status.SOLVED, Status.NOT_POSITIVE, Status.NOT_POSITIVE]
    np.testing.assert_array_equal(several.status, wanted)
    np.testing.assert_allclose(several.mean[0, :, 1:], mean[:, 1:], atol=0.01)
    np.testing.assert_array_equal(several.dual[0, :, 0], 0)  # of a target that is 0
    np.testing.assert_array_equal(several.residual[0, 0], 0)
    assert np.all(np.isnan(several.mean[1:, :, 1:]))


@pytest.mark.long
def test_derivatives_three_ways():
    """By targets, noise, inputs and a number of the kernel, which is a closure."""
    exact = {**SMALL, "tolerance": 1e-12}

    def found(y, noise, z, width):
        def kernel(x, z):
            return rbf(x / width, z / width)

        result = cg_predict(kernel, X[:20], y, z, noise=noise, variance=True, **exact)
        return result.mean, result.variance

    check_three_ways(found, Y[:20, :2], 0.3, Z[:3], 1.2, tolerance=1e-5)


@pytest.mark.core
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_input_is_named():
    cases = [
        ("x.shape", (rbf, X[0], Y, Z), {}),
        ("x", (rbf, X * np.nan, Y, Z), {}),
        ("y.shape", (rbf, X, Y[:3], Z), {}),
        ("z.shape", (rbf, X, Y, Z[:, :1]), {}),
        ("z.shape", (rbf, X, Y, Z[:0]), {}),
        ("z.dtype", (rbf, np.ones((N, 2), int), Y, Z), {}),
        ("noise", (rbf, X, Y, Z), {"noise": -1.0}),
        ("tolerance", (rbf, X, Y, Z), {"tolerance": 0.0}),
        ("rank", (rbf, X, Y, Z), {"rank": 0}),
        ("block", (rbf, X, Y, Z), {"block": 0}),
        ("max_steps", (rbf, X, Y, Z), {"max_steps": 1}),
        ("memory", (rbf, X, Y, Z), {"memory": -1}),
        ("kernel", (1.0, X, Y, Z), {}),
        (r"kernel\(x, z\).shape", (lambda x, z: x @ x.T @ x, X, Y, Z), {}),
        (r"kernel\(x, z\).dtype", (lambda x, z: x @ z.T > 0, X, Y, Z), {}),
    ]
    for field, arguments, options in cases:
        with pytest.raises(ValueError, match=field.replace(".", r"\.")):
            cg_predict(*arguments, **options)
