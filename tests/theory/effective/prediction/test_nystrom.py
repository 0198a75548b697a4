"""Prediction by a kernel of low rank, against dense solves in 64 bits."""

import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh.theory.effective.prediction.conditioning import Status
from nsh.theory.effective.prediction.nystrom import nystrom_predict

RANDOM = np.random.default_rng(0)
N, TESTS, NOISE = 40, 9, 0.1
X, Z = RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(TESTS, 2))
Y = RANDOM.normal(size=(N, 2))


def rbf(x, z):
    return jnp.exp(-jnp.sum((x[:, None] - z[None]) ** 2, axis=-1))


def in_numpy(x, z):
    return np.exp(-np.sum((x[:, None] - z[None]) ** 2, axis=-1))


def regression(K, cross, own):
    """Mean and variance."""
    A = K + NOISE * np.eye(N)
    return cross @ np.linalg.solve(A, Y), own - np.sum(cross.T * np.linalg.solve(A, cross.T), 0)


EXACT = regression(in_numpy(X, X), in_numpy(Z, X), np.ones(TESTS))


@pytest.mark.core
@pytest.mark.parametrize("rank", [4, 12])
def test_is_the_low_rank_kernel_s_and_as_far_off_as_it_says_at_most(rank):
    S = X[:rank]
    found = nystrom_predict(rbf, X, Y, Z, S, noise=NOISE, block=16)
    assert found.status == Status.SOLVED
    inverse = np.linalg.inv(in_numpy(S, S))
    low = in_numpy(X, S) @ inverse @ in_numpy(S, X)
    cross = in_numpy(Z, S) @ inverse @ in_numpy(S, X)
    own = np.sum((in_numpy(Z, S) @ inverse) * in_numpy(Z, S), axis=1)
    mean, variance = regression(low, cross, own)
    np.testing.assert_allclose(found.mean, mean, atol=1e-4)
    np.testing.assert_allclose(found.variance, variance + 1 - own, atol=1e-4)
    np.testing.assert_allclose(found.left_out, 1 - np.trace(low) / N, atol=1e-5)
    off = np.abs(np.asarray(found.mean) - EXACT[0])
    assert np.max(off) > 1e-2
    assert np.all(off <= found.error)
    off = np.abs(np.asarray(found.variance) - EXACT[1])
    assert np.max(off) > 1e-3
    assert np.all(off <= found.variance_error)


def test_with_all_inputs_as_landmarks_it_is_exact_and_says_so():
    few, y = X[:10], Y[:10]
    found = nystrom_predict(rbf, few, y, Z, few, noise=NOISE)
    mean = in_numpy(Z, few) @ np.linalg.solve(in_numpy(few, few) + NOISE * np.eye(10), y)
    np.testing.assert_allclose(found.mean, mean, atol=1e-4)
    assert np.max(found.error) < 0.5 < np.max(np.abs(mean))
    assert found.left_out < 1e-5
    twice = nystrom_predict(rbf, few, y, Z, np.concatenate([few, few[:1]]), noise=NOISE)
    assert twice.status == Status.REGULARISED
    np.testing.assert_allclose(twice.mean, mean, atol=1e-2)
    wrong = nystrom_predict(lambda x, z: -rbf(x, z), few, y, Z, few, noise=NOISE)
    assert wrong.status == Status.NOT_POSITIVE
    assert np.all(np.isnan(wrong.mean))


@pytest.mark.long
def test_derivatives_three_ways():
    def found(y, noise, landmarks, width):
        def kernel(x, z):
            return rbf(x / width, z / width)

        result = nystrom_predict(kernel, X[:12], y, Z[:3], landmarks, noise=noise)
        return result.mean, result.variance

    check_three_ways(found, Y[:12], 0.3, X[20:24], 1.2, tolerance=1e-5)


@pytest.mark.core
def test_bad_input_is_named():
    for field, arguments, noise in (
        ("landmarks.shape", (rbf, X, Y, Z, X[:3, :1]), NOISE),
        ("landmarks.shape", (rbf, X, Y, Z, X[:0]), NOISE),
        ("y.shape", (rbf, X, Y[:3], Z, X[:3]), NOISE),
        ("noise", (rbf, X, Y, Z, X[:3]), 0.0),
    ):
        with pytest.raises(ValueError, match=field.replace(".", r"\.")):
            nystrom_predict(*arguments, noise=noise)
