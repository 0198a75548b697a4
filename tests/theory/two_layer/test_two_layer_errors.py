"""`TwoLayer`: every error names the field, the value and what is allowed."""

from typing import Any

import jax
import jaxtyping
import numpy as np
import pytest

from nsh import train
from nsh.theory.two_layer import Given, Independent, Quadrature, Symmetric, TwoLayer

pytestmark = pytest.mark.core

X, Y = np.ones((6, 2)), np.ones((6, 3))
BAD_NAME: Any = "v"
LABELS = np.array([0, 2, 1, 1, 0, 2])


def network():
    return TwoLayer(2, Symmetric(4), outputs=3, activation="tanh")


BAD = {
    "inputs": (lambda: TwoLayer(0, Symmetric(4)), "inputs = 0"),
    "outputs": (lambda: TwoLayer(2, Symmetric(4), outputs=0), "outputs = 0"),
    "odd": (lambda: Symmetric(3), "width = 3: must be even"),
    "width": (lambda: Independent(0), "width = 0"),
    "nodes": (lambda: Quadrature(24), "width = 24: must be an integer in 256..2097152"),
    "net": (lambda: Quadrature(3000), "width = 3000: must be a power of 2"),
    "axes": (lambda: TwoLayer(30000, Quadrature(256)), "inputs \\+ outputs = 30001.*at most 21201"),
    "trained": (lambda: TwoLayer(2, Symmetric(4), trained=BAD_NAME), "trained = 'v'.*'theta'"),
    "activation": (lambda: TwoLayer(2, Symmetric(4), activation="rely"), "activation = 'rely'"),
    "u": (lambda: Given([1.0], [[1.0]]), "u.shape = \\(1,\\)"),
    "theta": (lambda: Given([[1.0]], [[1.0], [2.0]]), "theta.shape"),
    "mass": (lambda: Given([[1.0]], [[1.0]], [0.5, 0.5]), "mass.shape"),
    "negative": (lambda: TwoLayer(1, Given([[1.0]] * 2, [[1.0]] * 2, [1.5, -0.5])), "mass.* >= 0"),
    "total": (lambda: TwoLayer(1, Given([[1.0]] * 2, [[1.0]] * 2, [1.0, 1.0])), "sum of mass = 2"),
    "given": (lambda: TwoLayer(2, Given([[1.0]], [[1.0]])), "theta.shape = \\(1, 1\\)"),
    "nan": (lambda: TwoLayer(1, Given([[np.nan]], [[1.0]])), "u = nan|u.* number"),
    "x": (lambda: network().prepare(X[:, :1], Y), "x.shape"),
    "y": (lambda: network().prepare(X, Y[:, :2]), "y.shape"),
    "label": (lambda: network().prepare(X, LABELS + 1), "y\\[1\\] = 3"),
}
BAD_HYPER = {
    "missing": ({"alpha": 1.0}, "learning_rate"),
    "unknown": ({"alpha": 1.0, "learning_rate": 0.1, "beta": 1.0}, "beta.*temperature"),
    "alpha": ({"alpha": 0.0, "learning_rate": 0.1}, "alpha.*> 0"),
    "temperature": ({"alpha": 1.0, "learning_rate": 0.1, "temperature": -1.0}, "temperature.*>= 0"),
    "nan": ({"alpha": np.nan, "learning_rate": 0.1}, "alpha"),
}


@pytest.fixture
def as_users_have_it():
    """Without the tests' own checks of annotations, which would stop wrong types earlier."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_networks_and_data_are_refused(case):
    act, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        act()


@pytest.mark.parametrize("case", BAD_HYPER)
def test_bad_hyperparameters_are_refused(case):
    hyper, message = BAD_HYPER[case]
    with pytest.raises(ValueError, match=message):
        train(network(), network().prepare(X, Y), hyper, jax.random.key(0), steps=1)
