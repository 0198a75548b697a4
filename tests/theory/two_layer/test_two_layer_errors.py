"""`TwoLayer`: every error names the field, the value and what is allowed."""

# wrong types are the point here
# pyright: reportArgumentType=false
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh import TrainingProblem
from nsh.theory.two_layer import (
    Density,
    FromArrays,
    Grid,
    Independent,
    Particles,
    Quadrature,
    Symmetric,
    TwoLayer,
    approximation_bound,
    clipped_squared_error,
    empirical_rademacher,
    energy,
    entropy,
    feature_kernel,
    feature_norms,
    fokker_planck,
    generalisation_bound,
    gibbs,
    initial_variance,
    mean_loss,
    mixture,
    ntk,
    optimal_distribution,
    path_norm,
    potential,
    rademacher_bound,
    random_features,
    representation_cost,
    resample,
    ridge_regression,
    sampling_variance,
    softmax_cross_entropy,
    squared_error,
)

pytestmark = pytest.mark.core

X, Y = np.ones((6, 2)), np.ones((6, 3))
BAD_NAME: Any = "v"
LABELS = np.array([0, 2, 1, 1, 0, 2])


def network():
    return TwoLayer(2, Symmetric(4), out_size=3, activation="tanh")


BAD = {
    "inputs": (lambda: TwoLayer(0, Symmetric(4)), "in_size = 0"),
    "outputs": (lambda: TwoLayer(2, Symmetric(4), out_size=0), "out_size = 0"),
    "odd": (lambda: Symmetric(3), "width = 3: must be even"),
    "width": (lambda: Independent(0), "width = 0"),
    "nodes": (lambda: Quadrature(24), "width = 24: must be an integer in 256..2097152"),
    "net": (lambda: Quadrature(3000), "width = 3000: must be a power of 2"),
    "axes": (lambda: TwoLayer(30000, Quadrature(256)), "inputs \\+ outputs = 30001.*at most 21201"),
    "trained": (lambda: TwoLayer(2, Symmetric(4), trained=BAD_NAME), "trained = 'v'.*'theta'"),
    "activation": (lambda: TwoLayer(2, Symmetric(4), activation="rely"), "activation = 'rely'"),
    "u": (lambda: FromArrays([1.0], [[1.0]]), "u.shape = \\(1,\\)"),
    "theta": (lambda: FromArrays([[1.0]], [[1.0], [2.0]]), "theta.shape"),
    "mass": (lambda: FromArrays([[1.0]], [[1.0]], [0.5, 0.5]), "mass.shape"),
    "negative": (
        lambda: TwoLayer(1, FromArrays([[1.0]] * 2, [[1.0]] * 2, [1.5, -0.5])),
        "mass.* >= 0",
    ),
    "total": (
        lambda: TwoLayer(1, FromArrays([[1.0]] * 2, [[1.0]] * 2, [1.0, 1.0])),
        "sum of mass = 2",
    ),
    "given": (lambda: TwoLayer(2, FromArrays([[1.0]], [[1.0]])), "theta.shape = \\(1, 1\\)"),
    "nan": (lambda: TwoLayer(1, FromArrays([[np.nan]], [[1.0]])), "u = nan|u.* number"),
    "x": (lambda: network().prepare(X[:, :1], Y), "x.shape"),
    "y": (lambda: network().prepare(X, Y[:, :2]), "y.shape"),
    "label": (lambda: network().prepare(X, LABELS + 1), "y\\[1\\] = 3"),
}


def relu(inputs=2):
    return TwoLayer(inputs, Symmetric(4), activation="relu")


def units(inputs=2, seeds=()):
    """Particles that fit, of one network or of several."""
    full = lambda *shape: jnp.ones((*seeds, *shape))  # noqa: E731
    return Particles(full(4, 1), full(4, inputs), full(4) / 4, full())


ROWS = np.ones((3, 2))
HYPER = {"alpha": 1.0, "learning_rate": 0.1, "temperature": 0.5, "decay_u": 1.0, "decay_theta": 1.0}
GRID = Grid((-1.0,) * 3, (1.0,) * 3, (2,) * 3)
NORMAL = Density.normal(GRID)
COURSE = Density(GRID, jnp.stack([NORMAL.mass] * 2))  # as `fokker_planck` gives it
EXAMPLES = relu().prepare(ROWS, np.ones(3))
OTHERS = relu(3).prepare(np.ones((3, 3)), np.ones(3))
KEY = jax.random.key(0)
LAW = np.full(4, 0.25)


RHO, SIZES, AXES = np.ones((4, 1)), np.ones(4), np.eye(2)


def norms(law=LAW, rho=RHO, sizes=SIZES):
    return representation_cost(rho, law, sizes)


def bound(**changes):
    options = {"lipschitz": 1.0, "largest": 1.0, **changes}
    return generalisation_bound(jnp.ones(()), jnp.ones(()), 5, **options)


def rademacher(x=ROWS, directions=AXES, key=KEY):
    return empirical_rademacher(relu(), x, directions, key, 3)


NAN = np.array([[1.0, np.nan]])
X_SHAPE = r"x\.shape = \(3, 3\): must be \(n, 2\)"
BAD |= {
    "rademacher_bound x": (lambda: rademacher_bound(relu(), np.ones((3, 3))), X_SHAPE),
    "rademacher_bound one row": (lambda: rademacher_bound(relu(), ROWS[0]), r"x\.shape = \(2,\)"),
    "rademacher_bound NaN": (lambda: rademacher_bound(relu(), NAN), r"x\[0, 1\] = nan"),
    "empirical_rademacher x": (lambda: rademacher(np.ones((3, 3))), X_SHAPE),
    "empirical_rademacher NaN": (lambda: rademacher(NAN), r"x\[0, 1\] = nan"),
    "directions": (lambda: rademacher(directions=np.eye(3)), r"directions\.shape = \(3, 3\)"),
    "direction NaN": (lambda: rademacher(directions=NAN), r"directions\[0, 1\] = nan"),
    "rademacher key": (lambda: rademacher(key=0), "key = 0: must be a JAX key"),
    "approximation_bound x": (
        lambda: approximation_bound(relu(), units(), np.ones((3, 3))), X_SHAPE,
    ),
    "approximation_bound units": (
        lambda: approximation_bound(relu(), units(3), ROWS),
        r"theta\.shape = \(4, 3\): must be \(4, 2\)",
    ),
    "initial_variance x": (lambda: initial_variance(relu(), np.ones((3, 3)), 1.0), X_SHAPE),
    "initial_variance alphas": (
        lambda: initial_variance(relu(), ROWS, np.ones(3)), r"alpha\.shape = \(3,\)",
    ),
    "initial_variance alpha": (lambda: initial_variance(relu(), ROWS, -1.0), "alpha = -1.0"),
    "path_norm of an ensemble": (lambda: path_norm(units(seeds=(5,))), r"mass\.shape = \(5, 4\)"),
    "path_norm of a state": (lambda: path_norm(ROWS), "particles = ndarray: must be Particles"),
    "clipped: largest": (lambda: clipped_squared_error(ROWS, ROWS, np.inf), "largest = inf"),
    "clipped: y": (lambda: clipped_squared_error(ROWS, ROWS[:, :1], 1.0), r"y\.shape = \(3, 1\)"),
    "bound: largest": (lambda: bound(largest=np.nan), "largest = nan|largest.* NaN"),
    "bound: lipschitz": (lambda: bound(lipschitz=0.0), "lipschitz = 0.0"),
    "feature_norms x": (lambda: feature_norms(relu(), units(), np.ones((3, 3))), X_SHAPE),
    "optimal_distribution NaN": (
        lambda: optimal_distribution(relu(), units(), NAN), r"x\[0, 1\] = nan",
    ),
    "cost law": (lambda: norms(law=np.ones(1)), r"law\.shape = \(1,\): must be \(4,\)"),
    "cost norms": (lambda: norms(sizes=np.ones((4, 1))), r"norms\.shape = \(4, 1\)"),
    "cost negative": (lambda: norms(law=-LAW), r"law\[0\] = -0.25"),
    "cost rho": (lambda: norms(rho=np.ones(4)), r"rho\.shape = \(4,\)"),
    "variance x": (lambda: sampling_variance(relu(), units(), np.ones((3, 3))), X_SHAPE),
    "variance law": (
        lambda: sampling_variance(relu(), units(), ROWS, 2 * LAW), "sum of law = 2.0",
    ),
    "resample law": (lambda: resample(units(), 2 * LAW, KEY, 4), "sum of law = 2.0"),
    "resample key": (lambda: resample(units(), LAW, 0, 4), "key = 0: must be a JAX key"),
    "resample ensemble": (lambda: resample(units(seeds=(4,)), LAW, KEY, 4), r"mass\.shape"),
    "random_features units": (
        lambda: random_features(relu(), units(3), ROWS), r"theta\.shape = \(4, 3\)",
    ),
    "ntk units": (lambda: ntk(relu(), units(3), ROWS), r"theta\.shape = \(4, 3\)"),
    "feature_kernel x": (lambda: feature_kernel("relu", 1.0), r"x\.shape = \(\)"),
    "predict": (
        lambda: ridge_regression(ROWS, np.ones(3)).predict(np.ones((3, 1))),
        r"features\.shape = \(3, 1\)",
    ),
    "log_p": (lambda: Density.from_log(GRID, np.ones(7)), r"log_p\.shape = \(7,\): must be \(8,\)"),
    "entropy of a course": (lambda: entropy(relu(), COURSE), r"mass\.shape = \(2, 2, 2, 2\)"),
    "entropy of rows": (lambda: entropy(relu(), ROWS), "law = 'ndarray'"),
    "energy of a course": (
        lambda: energy(relu(), COURSE, EXAMPLES, HYPER), r"mass\.shape = \(2, 2, 2, 2\)",
    ),
    "mean_loss of others": (
        lambda: mean_loss(relu(), units(), OTHERS), r"examples\.x\.shape = \(3, 3\)",
    ),
    "potential of others": (
        lambda: potential(relu(), units(), OTHERS, HYPER), r"examples\.x\.shape = \(3, 3\)",
    ),
    "fokker_planck from a course": (
        lambda: fokker_planck(relu(), COURSE, EXAMPLES, HYPER, steps=1), r"mass\.shape",
    ),
    "fokker_planck of others": (
        lambda: fokker_planck(relu(), NORMAL, OTHERS, HYPER, steps=1), r"examples\.x\.shape",
    ),
    "fokker_planck without a rate": (
        lambda: fokker_planck(relu(), NORMAL, EXAMPLES, {"alpha": 1.0}, steps=1), "'learning_rate'",
    ),
    "gibbs of others": (lambda: gibbs(relu(), OTHERS, HYPER, GRID), r"examples\.x\.shape"),
    "mixture: shares": (lambda: mixture(NORMAL, NORMAL, np.ones(2)), r"share\.shape = \(2,\)"),
    "mixture: ensembles": (
        lambda: mixture(units(seeds=(5,)), units(seeds=(5,)), 0.5), r"mass\.shape = \(5, 4\)",
    ),
    "softmax_cross_entropy of targets": (
        lambda: softmax_cross_entropy(jnp.ones(2), jnp.ones(2)),
        "y.dtype = 'float(32|64)': .*labels",
    ),
    "squared_error of other targets": (
        lambda: squared_error(jnp.ones(3), jnp.ones(1)), r"y\.shape = \(1,\): must be \(3,\)",
    ),
}  # fmt: skip
WHOLE = np.array([[1, 2], [3, -1]])


@pytest.mark.usefixtures("as_users_have_it")
def test_whole_numbers_are_no_other_numbers():
    """Arrays of integers were drawn signs of, or multiplied, in their own type."""
    for act in (
        lambda x: rademacher_bound(relu(), x),
        rademacher,
        lambda x: initial_variance(relu(), x, 1),
        lambda x: feature_norms(relu(), units(), x),
        lambda x: clipped_squared_error(x, x[::-1], 1),
    ):
        np.testing.assert_allclose(act(WHOLE), act(jnp.asarray(WHOLE, float)), rtol=1e-6)


BAD_HYPER = {
    "missing": ({"alpha": 1.0}, "learning_rate"),
    "unknown": ({"alpha": 1.0, "learning_rate": 0.1, "beta": 1.0}, "beta.*temperature"),
    "alpha": ({"alpha": 0.0, "learning_rate": 0.1}, "alpha.*> 0"),
    "temperature": ({"alpha": 1.0, "learning_rate": 0.1, "temperature": -1.0}, "temperature.*>= 0"),
    "nan": ({"alpha": np.nan, "learning_rate": 0.1}, "alpha"),
}


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
        TrainingProblem(network(), network().prepare(X, Y), hyper, steps=1)
