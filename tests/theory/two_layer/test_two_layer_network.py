"""`TwoLayer`: steps against plain Python, the pace of f, noise, derivatives, ensembles, errors."""

import math
import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways, x64

from nsh import SaveAt, TrainingProblem, ensemble, hyper_grid, measure, train
from nsh.theory.two_layer import (
    FromArrays,
    Independent,
    Particles,
    Quadrature,
    Symmetric,
    TwoLayer,
    softmax_cross_entropy,
    squared_error,
)
from nsh.training import FullBatch, WithReplacement

pytestmark = pytest.mark.core

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 3))
LABELS = np.array([0, 2, 1, 1, 0, 2])
HYPER = {"alpha": 2.0, "learning_rate": 0.3, "decay_u": 0.1, "decay_theta": 0.05}
START = {"u": RNG.normal(size=(5, 3)), "theta": RNG.normal(size=(5, 2))}
MASS = np.array([0.1, 0.2, 0.3, 0.15, 0.25])


def tanh_network(**options):
    start = options.pop("start", FromArrays(**START, mass=MASS))
    return TwoLayer(2, start, **{"out_size": 3, "activation": "tanh", **options})


def by_hand(y, steps, trained, slope_of_loss):
    """Gradient descent one particle, sample and number at a time."""
    u, theta = START["u"].tolist(), START["theta"].tolist()
    alpha, rate = HYPER["alpha"], HYPER["learning_rate"]
    for _ in range(steps):
        hidden = [
            [math.tanh(sum(t * v for t, v in zip(w, x, strict=True))) for w in theta] for x in X
        ]
        slopes = []
        for row, target in zip(hidden, y, strict=True):
            f = [alpha * sum(MASS[j] * u[j][k] * row[j] for j in range(5)) for k in range(3)]
            slopes.append(slope_of_loss(f, target))
        new_u, new_theta = [list(r) for r in u], [list(r) for r in theta]
        for j in range(5):
            for k in range(3):
                pull = sum(slopes[i][k] * hidden[i][j] for i in range(6)) / 6
                new_u[j][k] -= rate * (pull / alpha + HYPER["decay_u"] * u[j][k])
            for d in range(2):
                pull = 0.0
                for i in range(6):
                    inner = sum(slopes[i][k] * u[j][k] for k in range(3))
                    pull += inner * (1 - hidden[i][j] ** 2) * X[i, d] / 6
                new_theta[j][d] -= rate * (pull / alpha + HYPER["decay_theta"] * theta[j][d])
        u = new_u if trained in ("both", "u") else u
        theta = new_theta if trained in ("both", "theta") else theta
    return np.array(u), np.array(theta)


def square_slope(f, target):
    return [a - b for a, b in zip(f, target, strict=True)]


def softmax_slope(f, label):
    total = sum(math.exp(a) for a in f)
    return [math.exp(a) / total - (k == label) for k, a in enumerate(f)]


@pytest.mark.parametrize(
    ("trained", "loss", "y", "slope"),
    [
        ("both", squared_error, Y, square_slope),
        ("u", squared_error, Y, square_slope),
        ("theta", softmax_cross_entropy, LABELS, softmax_slope),
        ("both", softmax_cross_entropy, LABELS, softmax_slope),
    ],
)
def test_gradient_descent_is_that_by_hand(trained, loss, y, slope):
    with x64(True):
        network = tanh_network(trained=trained, loss=loss)
        examples = network.prepare(X, y)
        problem = TrainingProblem(network, examples, HYPER, steps=4, sampler=FullBatch())
        run = train(problem, KEY)
        u, theta = by_hand(y, 4, trained, slope)
        np.testing.assert_allclose(run.state.u, u, rtol=1e-10)
        np.testing.assert_allclose(run.state.theta, theta, rtol=1e-10)
        np.testing.assert_array_equal(run.state.mass, MASS)


def test_labels_stand_for_one_hot_targets():
    network = tanh_network()
    found = [a_step(network, network.prepare(X, y), HYPER)[1] for y in (LABELS, np.eye(3)[LABELS])]
    np.testing.assert_array_equal(found[0].u, found[1].u)


def test_outputs_and_features_are_the_formula():
    network = tanh_network()
    state, example = network.init(KEY, HYPER), network.prepare(X[:1], Y[:1])
    one = jax.tree.map(lambda leaf: leaf[0], example)
    hidden = np.tanh(START["theta"] @ X[0])
    np.testing.assert_allclose(network.features(state, one)[0], hidden, rtol=1e-5)
    f = 2.0 * (MASS * hidden) @ START["u"]
    np.testing.assert_allclose(network.outputs(state, one), f, rtol=1e-5)


@eqx.filter_jit
def a_step(network, examples, hyper):
    """The start, what one step makes of it, and the outputs of that."""
    before = network.init(KEY, hyper)
    after = network.step(before, examples, hyper, KEY)
    return before, after, jax.vmap(network.outputs, (None, 0))(after, examples)


@pytest.mark.parametrize(("alpha", "width"), [(1.0, 8), (4.0, 8), (8.0, 64), (30.0, 200)])
def test_outputs_move_at_the_kernels_pace_for_every_alpha_and_width(alpha, width):
    with x64(True):
        network = TwoLayer(2, Symmetric(width), activation="tanh")
        examples = network.prepare(X, Y[:, 0])
        hyper = {"alpha": jnp.asarray(alpha), "learning_rate": jnp.asarray(1e-6)}
        before, _, moved = a_step(network, examples, hyper)
        hidden = np.tanh(np.asarray(before.theta) @ X.T)
        slope = np.asarray(before.u) * (1 - hidden**2)
        kernel = (hidden.T @ hidden + (X @ X.T) * (slope.T @ slope)) / width
        expected = 1e-6 * kernel @ Y[:, 0] / 6  # f = 0 before
        np.testing.assert_allclose(moved[:, 0], expected, rtol=1e-3)


def test_symmetric_networks_start_at_zero():
    network = TwoLayer(2, Symmetric(64), out_size=3)
    examples = network.prepare(X, Y)
    outputs = jax.vmap(network.outputs, (None, 0))(network.init(KEY, {"alpha": 8.0}), examples)
    np.testing.assert_allclose(outputs, 0, atol=1e-6)


def test_independent_networks_start_as_the_gaussian_process():
    network = TwoLayer(2, Independent(50), activation="linear")
    x = jnp.array([1.0, 2.0])

    def output(key):
        return network.output(network.init(key, {"alpha": math.sqrt(50)}), x)[0]

    f = np.asarray(jax.jit(jax.vmap(output))(jax.random.split(KEY, 4000)))
    assert abs(f.mean()) < 3 * math.sqrt(5 / 4000)
    assert abs((f**2).mean() - 5) < 3 * (f**2).std() / math.sqrt(4000)  # E (theta x)^2 = 5


def test_quadrature_starts_with_the_moments_of_normal_particles():
    draw = jax.jit(jax.vmap(lambda key: Quadrature(2048).draw(key, 2, 1)))
    u, theta, mass = map(np.asarray, draw(jax.random.split(KEY, 8)))
    assert mass.shape == (8, 2048)
    np.testing.assert_allclose(mass.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(u[:, :1024], -u[:, 1024:])
    np.testing.assert_array_equal(theta[:, :1024], theta[:, 1024:])
    square, mixed = u[..., 0] ** 2, theta[..., 0] ** 4 * theta[..., 1] ** 2
    for values, exact, deviation in ((square, 1, math.sqrt(2)), (mixed, 3, math.sqrt(105 * 3 - 9))):
        means = values.mean(1)
        error = means.std(ddof=1) / math.sqrt(8)
        assert abs(means.mean() - exact) < 4 * error
        assert error < deviation / math.sqrt(8 * 1024) / 3  # of so many drawn units


@pytest.mark.parametrize("loss", [squared_error, softmax_cross_entropy])
def test_a_label_that_is_no_class_gives_nan(loss):
    slope = jax.jit(jax.value_and_grad(loss))
    for label, inside in ((0, True), (2, True), (3, False), (-1, False)):
        value, gradient = slope(jnp.array([0.1, 0.2, 0.3]), jnp.array(label))
        assert np.isfinite(value) == inside
        assert np.isfinite(gradient).all() == inside


def test_given_particles_have_equal_masses_unless_said():
    given = FromArrays(START["u"], START["theta"])
    np.testing.assert_allclose(given.draw(KEY, 2, 3)[2], 0.2)


@pytest.mark.parametrize("trained", ["both", "u", "theta"])
def test_noise_has_the_variance_of_langevin_steps(trained):
    network = TwoLayer(2, Independent(20_000), trained=trained)
    hyper = {"alpha": 1.0, "learning_rate": 0.02, "temperature": 0.7}
    examples = network.prepare(X, 0 * Y[:, 0])
    state, noiseless, _ = a_step(network, examples, {k: hyper[k] for k in list(hyper)[:2]})
    noisy = eqx.filter_jit(network.step)(state, examples, hyper, jax.random.key(1))
    for name, count in (("u", 20_000), ("theta", 40_000)):
        noise = np.asarray(getattr(noisy, name) - getattr(noiseless, name), float)
        if trained in ("both", name):
            expected = 2 * 0.02 * 0.7
            assert abs((noise**2).mean() - expected) < 4 * expected * math.sqrt(2 / count)
            assert abs(noise.mean()) < 4 * math.sqrt(expected / count)
        else:
            np.testing.assert_array_equal(noise, 0)


def test_randomness_comes_from_the_key_where_there_is_noise():
    network = tanh_network()
    examples = network.prepare(X, Y)
    state, step = a_step(network, examples, HYPER)[0], eqx.filter_jit(network.step)

    def moved(seed, **more):
        return step(state, examples, HYPER | more, jax.random.key(seed)).u

    np.testing.assert_array_equal(moved(0), moved(1))
    assert np.all(moved(0, temperature=0.1) != moved(1, temperature=0.1))


@pytest.mark.long
def test_derivatives_by_all_hyperparameters_three_ways():
    def loss(hyper):
        network = tanh_network(start=Symmetric(6), out_size=1)
        examples = network.prepare(X, Y[:, 0])
        problem = TrainingProblem(network, examples, hyper, steps=20, sampler=WithReplacement(3))
        run = train(problem, KEY)
        f = jax.vmap(network.outputs, (None, 0))(run.state, examples)
        return jnp.mean((f - examples.y) ** 2)

    hyper = HYPER | {"temperature": 0.05}
    check_three_ways(loss, {k: np.float64(v) for k, v in hyper.items()})


@pytest.mark.long
def test_ensembles_repeat_single_runs_and_compile_once(caplog):
    network = TwoLayer(2, Independent(7))
    examples = network.prepare(X, Y[:, 0])
    options: dict[str, Any] = {"steps": 5, "sampler": WithReplacement(2)}

    def runs(alphas):
        hyper = hyper_grid(
            lambda alpha: {"alpha": alpha, "learning_rate": 0.1, "temperature": 0.1}, alpha=alphas
        )
        problem = TrainingProblem(network, examples, hyper, grid_ndim=1, **options)
        return ensemble(problem, KEY, seeds=3)

    many = runs([1.0, 2.0])
    assert many.state.u.shape == (2, 3, 7, 1)
    hyper = {"alpha": 2.0, "learning_rate": 0.1, "temperature": 0.1}
    problem = TrainingProblem(network, examples, hyper, **options)
    one = train(problem, jax.random.fold_in(KEY, 1))
    np.testing.assert_allclose(many.state.theta[1, 1], one.state.theta, rtol=1e-5)
    with jax.log_compiles():
        runs([3.0, 4.0])
    assert not re.findall("_train_some", caplog.text)


def test_is_measured_like_every_system():
    network = tanh_network(loss=softmax_cross_entropy)
    examples, labels = network.prepare(X, LABELS), jnp.asarray(LABELS)
    problem = TrainingProblem(
        network,
        examples,
        HYPER,
        steps=50,
        sampler=FullBatch(),
        save=SaveAt(
            lambda now: measure.accuracy(
                jax.vmap(network.outputs, (None, 0))(now.state, examples), labels
            ),
            every=25,
        ),
    )
    run = train(problem, KEY)
    assert run.saved[-1] >= run.saved[0]
    seen = measure.observe(network, run.state, examples)
    assert seen.features[0].shape == (6, 5)
    matrix = measure.elasticity_matrix(network, run.state, HYPER, examples, KEY)
    assert matrix.shape == (6, 6)
    assert np.all(np.isfinite(matrix))


def test_a_diverged_network_is_reported():
    network = TwoLayer(2, Symmetric(6), activation="linear")
    examples = network.prepare(X, Y[:, 0])
    problem = TrainingProblem(network, examples, {"alpha": 1.0, "learning_rate": 1e6}, steps=30)
    run = train(problem, KEY)
    assert run.status == 1


def test_particles_are_a_pytree_of_four_arrays():
    state = tanh_network().init(KEY, HYPER)
    assert isinstance(state, Particles)
    assert len(jax.tree.leaves(state)) == 4
    assert eqx.tree_equal(jax.jit(lambda s: s)(state), state)
