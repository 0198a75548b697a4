"""Bayesian inference at finite width: against exact integrals and averages over networks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways
from untyped import integrate, stats

from nsh.theory.effective import (
    Architecture,
    finite_width_posterior,
    finite_width_tensors,
    gp_predict,
    kernels,
)

DOUBLE = jnp.zeros(()).dtype == jnp.float64
RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.normal(size=(3, 2)), RANDOM.normal(size=(2, 2))
Y = np.array([[1.0, -0.5], [0.3, 1.2], [-1.4, 0.6]])
NOISE = 0.2
NETWORK = Architecture("relu", 3, (50, 60), C_b=0.1, C_W=1.5)


def exact(width, y):
    """Log evidence and mean of one linear hidden layer and one input: G is chi^2_n / n."""
    law = stats.chi2(width)

    def weight(t):
        return law.pdf(t) * stats.norm.pdf(y, scale=np.sqrt(t / width + NOISE))

    ends = law.ppf(1e-13), law.isf(1e-13)
    parts = [
        integrate.quad(function, *ends, epsabs=0, epsrel=1e-12, limit=400)[0]
        for function in (weight, lambda t: weight(t) * (t / width) / (t / width + NOISE) * y)
    ]
    return np.array([np.log(parts[0]), parts[1] / parts[0]])


@pytest.mark.core
def test_one_linear_layer_is_exact():
    one = np.ones((1, 1))
    found = finite_width_posterior(Architecture("linear", 2, 10), one, [2.0], one, noise=NOISE)
    slope = 10 * np.array([
        found.log_evidence - found.infinite_log_evidence,
        found.mean[0] - found.infinite_mean[0],
    ])  # fmt: skip
    infinite = np.array([found.infinite_log_evidence, found.infinite_mean[0]])
    narrow, wide = (n * (exact(n, 2.0) - infinite) for n in (400, 800))
    # what goes as a + b / n
    np.testing.assert_allclose(slope, 2 * wide - narrow, rtol=1e-3 if DOUBLE else 1e-2)


@pytest.mark.core
def test_infinite_width_and_shapes():
    found = finite_width_posterior(NETWORK, TRAIN, Y, TEST, noise=NOISE)
    both = kernels(NETWORK, np.concatenate([TRAIN, TEST])).nngp
    known = gp_predict(both[:3, :3], both[3:, :3], both[3:, 3:], Y, noise=NOISE)
    tolerance: Any = {"rtol": 1e-6 if DOUBLE else 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(found.infinite_mean, known.mean, **tolerance)
    covariance = found.infinite_covariance
    assert known.covariance is not None
    np.testing.assert_allclose(covariance[:, 0, :, 0], known.covariance, **tolerance)
    assert np.all(covariance[:, 0, :, 1] == 0)
    np.testing.assert_allclose(
        found.infinite_log_evidence, known.log_marginal_likelihood, **tolerance
    )
    # outputs that share their hidden layers are correlated, with no more than the two of them
    assert np.all(found.covariance[:, 0, :, 1] != 0)
    alone: Any = jax.eval_shape(
        lambda y: finite_width_posterior(NETWORK, TRAIN, y, TEST, noise=NOISE), Y[:, 0]
    )
    assert alone.mean.shape == (2,)
    assert alone.covariance.shape == (2, 2)


@pytest.mark.core
def test_data_without_information_leave_the_prior():
    found = finite_width_posterior(NETWORK, TRAIN, 0 * Y, TEST, noise=1e6)
    prior = finite_width_tensors(NETWORK, np.concatenate([TRAIN, TEST]), moving=False)
    tolerance: Any = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(found.kernel, prior.K + prior.K1, **tolerance)
    variance = (prior.K + prior.K1)[3:, 3:]
    np.testing.assert_allclose(found.covariance[:, 0, :, 0], variance, **tolerance)


@pytest.mark.long
def test_derivatives():
    def of(C_W, x, y):
        network = Architecture("tanh", 2, 10, C_b=0.1, C_W=C_W)
        found = finite_width_posterior(network, x[:1], y, x[1:], noise=NOISE)
        return found.mean, found.log_evidence

    check_three_ways(of, np.full(2, 1.5), TRAIN[:2], Y[:1, 0], tolerance=1e-3)


def drawn(network, x, count, random):
    """Kernels of the last layer of networks: z of a layer is Gaussian given the one before."""
    C_b, C_W = float(network.C_b[0]), float(network.C_W[0])
    G = np.broadcast_to(C_b + C_W * x @ x.T / x.shape[1], (count, len(x), len(x)))
    for width in network.hidden_widths():
        root = np.linalg.cholesky(G + 1e-9 * np.eye(len(x)))
        z = random.normal(size=(count, width, len(x))) @ root.mT
        s = np.asarray(network.activation(jnp.asarray(z)), float)
        G = C_b + C_W * s.mT @ s / width
    return G


def averages(network, batches, size, random):
    """[batches, numbers]: log evidence, mean and covariance of each batch of networks."""
    found = []
    for _ in range(batches):
        G = drawn(network, np.concatenate([TRAIN, TEST]), size, random)
        A = G[:, :3, :3] + NOISE * np.eye(3)
        cross = G[:, 3:, :3]
        solved = np.linalg.solve(A, np.broadcast_to(Y, (size, *Y.shape)))
        mean = cross @ solved
        covariance = G[:, 3:, 3:] - cross @ np.linalg.solve(A, cross.mT)
        logs = -(np.sum(Y * solved, (1, 2)) + 2 * np.linalg.slogdet(2 * np.pi * A)[1]) / 2
        found.append((np.exp(logs), mean, covariance))
    return found


@pytest.mark.long
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_averages_over_networks(activation):
    batches, size, widths = 40, 2500, (48, 96)
    slopes, spreads, predicted = [], [], np.zeros(())
    for width in widths:
        network = Architecture(activation, 3, width, C_b=0.1, C_W=1.5)
        found = finite_width_posterior(network, TRAIN, Y, TEST, noise=NOISE)
        parts = averages(network, batches, size, np.random.default_rng(width))
        weight = np.array([w.sum() for w, _, _ in parts])
        of_mean = np.array([(w[:, None, None] * m).sum(0) for w, m, _ in parts])
        of_square = np.array([
            np.einsum("s,sai,sbj->aibj", w, m, m)
            + np.einsum("s,sab,ij->aibj", w, C, np.eye(2)) for w, m, C in parts
        ])  # fmt: skip

        def numbers(weight, of_mean, of_square, count):
            mean, square = of_mean / weight, of_square / weight
            covariance = square - np.einsum("ai,bj->aibj", mean, mean)
            return np.concatenate([[np.log(weight / count)], mean.ravel(), covariance.ravel()])

        sums = weight.sum(), of_mean.sum(0), of_square.sum(0)
        whole = numbers(*sums, batches * size)
        left_out = np.array([
            numbers(sums[0] - w, sums[1] - m, sums[2] - s, (batches - 1) * size)
            for w, m, s in zip(weight, of_mean, of_square, strict=True)
        ])  # fmt: skip
        infinite = np.concatenate([
            [found.infinite_log_evidence], np.ravel(found.infinite_mean),
            np.ravel(found.infinite_covariance),
        ])  # fmt: skip
        slopes.append(width * (whole - infinite))
        spreads.append(width * np.sqrt((batches - 1) * left_out.var(0)))
        predicted = width * np.concatenate([
            [found.log_evidence - found.infinite_log_evidence],
            np.ravel(found.mean - found.infinite_mean),
            np.ravel(found.covariance - found.infinite_covariance),
        ])  # fmt: skip
    mean = 2 * slopes[1] - slopes[0]
    error = np.sqrt(4 * spreads[1] ** 2 + spreads[0] ** 2)
    score = (mean - predicted) / error
    assert np.abs(score).max() < 4, (predicted, mean, error)
    # and it would be seen if the correction were none
    assert np.sqrt(np.mean(predicted**2 / error**2)) > 5


BAD: list[tuple[dict[str, Any], str]] = [
    ({"noise": -1.0}, r"noise = -1\.0: must be >= 0"),
    ({"y": Y[:2]}, r"y\.shape = \(2, 2\): must be \(3,\) or \(3, outputs\)"),
    ({"x_test": TEST[:, :1]}, r"x_test\.shape = \(2, 1\): must be \[tests, 2\]"),
    ({"x_train": TRAIN[0]}, r"x_train\.shape = \(2,\): must be \[n, n_0\]"),
    ({"y": np.full((3,), np.nan)}, r"y\[0\] = nan: must be finite"),
    ({"architecture": Architecture("relu", 2)}, r"width"),
]  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize(("changed", "said"), BAD, ids=lambda given: "")
def test_bad_input(changed, said):
    given: dict[str, Any] = {
        "architecture": Architecture("relu", 2, 8), "x_train": TRAIN, "y": Y, "x_test": TEST,
        "noise": NOISE, **changed,
    }  # fmt: skip
    network = given.pop("architecture")
    with pytest.raises(ValueError, match=said):
        finite_width_posterior(network, given.pop("x_train"), given.pop("y"), **given)
