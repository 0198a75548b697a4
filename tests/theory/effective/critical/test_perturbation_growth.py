"""Two nearby inputs against the exact kernel of two inputs, by quadrature in two dimensions."""

import jax
import numpy as np
import pytest
from derivatives import check_three_ways, x64

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.perturbation_growth import perturbation_growth

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
U, V = np.meshgrid(NODES, NODES, indexing="ij")
BOTH = np.outer(WEIGHTS, WEIGHTS)


def layer(kernel, function, C_b, C_W):
    """The exact 2 x 2 kernel one layer on."""
    L = np.linalg.cholesky(kernel)
    a, b = function(L[0, 0] * U), function(L[1, 0] * U + L[1, 1] * V)
    square = [[(BOTH * x * y).sum() for x in (a, b)] for y in (a, b)]
    return C_b + C_W * np.asarray(square)


def parts(kernel):
    (plus, cross), (_, minus) = kernel
    return (
        (plus + minus + 2 * cross) / 4,
        (plus - minus) / 2,
        (plus + minus - 2 * cross) / 4,
    )


@pytest.mark.parametrize(("name", "function"), [("tanh", np.tanh), ("sin", np.sin)])
def test_second_order_is_exact(name, function):
    """The h term too: what is left falls as the fourth power of the difference."""
    C_b, C_W, depth = 0.1, 1.7, 4
    with x64(True):
        net = Architecture(name, depth, C_b=C_b, C_W=C_W)
        run = jax.jit(lambda K, norm, distance: perturbation_growth(net, K, norm, distance))
        off = []
        for scale in (0.04, 0.02):
            K, norm, distance = 0.8, 0.4 * scale, 0.2 * scale**2
            kernel = np.asarray([[K + norm + distance, K - distance], [0, K - norm + distance]])
            kernel[1, 0] = kernel[0, 1]
            exact = []
            for _ in range(depth):
                exact.append(parts(kernel))
                kernel = layer(kernel, function, C_b, C_W)
            found = run(K, norm, distance)
            off.append(np.abs(np.asarray(found.distance) - np.asarray(exact)[:, 2])[1:])
            np.testing.assert_allclose(found.norm, np.asarray(exact)[:, 1], rtol=4 * scale**2)
            np.testing.assert_allclose(found.distance, np.asarray(exact)[:, 2], rtol=20 * scale**2)
        np.testing.assert_allclose(off[0] / off[1], 16, rtol=0.1)


def test_cosine():
    found = perturbation_growth(Architecture("relu", 1), 2.0, 0.5, 0.25)
    plus, minus, cross = 2.75, 1.75, 1.75
    np.testing.assert_allclose(found.cosine, [cross / np.sqrt(plus * minus)], rtol=1e-6)


def test_skips_add_to_all():
    gamma, C_W = 0.6, 0.0
    found = perturbation_growth(Architecture("tanh", 3, C_W=C_W, gamma=gamma), 1.0, 0.1, 0.01)
    for part, start in ((found.K, 1.0), (found.norm, 0.1), (found.distance, 0.01)):
        np.testing.assert_allclose(part, start * gamma ** (2 * np.arange(3)), rtol=1e-6)


def test_derivatives():
    def last(C_b, C_W, norm):
        net = Architecture("tanh", 3, C_b=C_b, C_W=C_W)
        return jax.tree.map(lambda part: part[-1], perturbation_growth(net, 0.7, norm, 0.01))

    check_three_ways(last, np.asarray(0.1), np.asarray(1.5), np.asarray(0.2))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0.0, 0.1, 0.1), "K = 0.0: must be > 0"),
        ((1.0, 0.1, -0.1), "distance = -0.1: must be >= 0"),
        ((1.0, np.nan, 0.1), "norm = nan: must be finite"),
        ((np.ones(2), 0.0, 0.1), r"K.shape = \(2,\): must be \(\), one number"),
    ],
)
def test_bad_numbers(given, message):
    with pytest.raises(ValueError, match=message):
        perturbation_growth(Architecture("relu", 3), *given)
