"""The Gibbs law against SciPy's root of a plain grid, ridge regression, and its own definition."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import QUICKLY, x64
from untyped import optimize

from nsh.theory.two_layer import FromArrays, Independent, TwoLayer, softmax_cross_entropy
from nsh.theory.two_layer.mean_field.fokker_planck import fokker_planck
from nsh.theory.two_layer.mean_field.free_energy import first_variation, free_energy
from nsh.theory.two_layer.mean_field.gibbs import gibbs, gibbs_density
from nsh.theory.two_layer.mean_field.grid import Density, Grid
from nsh.theory.two_layer.mean_field.interpolation import mixture

X = np.linspace(-2, 2, 6)[:, None]
Y = 3 * np.sin(2 * X[:, 0]) + 0.5
NETWORK = TwoLayer(1, Independent(10), activation="sin")
EXAMPLES = NETWORK.prepare(X, Y)
HYPER = {"alpha": 1.5, "learning_rate": 0.1, "temperature": 0.3, "decay_u": 0.4, "decay_theta": 0.3}
THETA = Grid((-6.0,), (6.0,), (150,))
BOTH = Grid((-7.0, -5.5), (7.0, 5.5), (48, 64))


def by_scipy(hyper, slopes, features, u, theta):
    """f and E u^2, E theta^2 of exp(-(V / alpha + r) / T) at plain nodes, by SciPy's root."""
    alpha, T = hyper["alpha"], hyper["temperature"]
    r = (hyper["decay_u"] * np.sum(u**2, 1) + hyper["decay_theta"] * theta**2) / 2

    def law(f):
        V = np.sum(u * (features.T @ slopes(f)), 1) / len(f)
        log = -(V / alpha + r) / T
        p = np.exp(log - log.max())
        return p / p.sum()

    def excess(flat):
        f = flat.reshape(len(features), -1)
        return (f - alpha * features @ (law(f)[:, None] * u)).ravel()

    root = optimize.root(excess, np.zeros(len(features) * u.shape[1]), tol=1e-10)
    assert root.success
    f = root.x.reshape(len(features), -1)
    return f, law(f) @ u**2, law(f) @ theta**2


@jax.jit
def solved(hyper):
    found = gibbs(NETWORK, EXAMPLES, hyper, THETA)
    return found, found.law.second_moments()


@pytest.mark.core
def test_outputs_and_moments_are_those_of_a_plain_grid_solved_by_scipy():
    found, (u_square, theta_square) = solved(HYPER)
    assert found.converged
    assert found.residual < 1e-4
    assert found.law.edge < 1e-4
    u, theta = (a.ravel() for a in np.meshgrid(np.linspace(-9, 9, 181), np.linspace(-6, 6, 181)))
    f, u2, theta2 = by_scipy(
        HYPER, lambda f: f - Y[:, None], np.sin(np.outer(X[:, 0], theta)), u[:, None], theta
    )
    np.testing.assert_allclose(found.output, f, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(found.output_gradient, f - Y[:, None], rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(u_square, u2, rtol=3e-4)
    np.testing.assert_allclose(theta_square, [theta2], rtol=3e-4)
    assert abs(u2[0] / 0.75 - 1) > 0.5  # far from the law without data


def test_it_is_where_the_free_energy_is_least():
    found, _ = solved(HYPER)

    @jax.jit
    def beside(found):
        law = gibbs_density(NETWORK, found, EXAMPLES, HYPER, BOTH)
        laws = [law, *(mixture(law, other, 0.05) for other in (
            Density.normal(BOTH), Density.from_log(BOTH, -jnp.sum((BOTH.nodes() - 1) ** 2, axis=1)),
        ))]  # fmt: skip
        Q = [free_energy(NETWORK, near, EXAMPLES, HYPER) for near in laws]
        return Q, law.mass, first_variation(NETWORK, law, EXAMPLES, HYPER)

    Q, mass, variation = beside(found)
    np.testing.assert_allclose(Q[0], found.free_energy, rtol=1e-4)
    assert Q[0] < Q[1]
    assert Q[0] < Q[2]
    level = variation[mass > 1e-9]
    np.testing.assert_allclose(level, np.full(level.shape, level[0]), rtol=1e-3)


@pytest.mark.long
def test_derivatives_three_ways_over_a_batch_of_temperatures():
    def moment(T):
        return solved({**HYPER, "temperature": T})[1][0][0]

    def slopes(T):
        return jax.grad(moment)(T), jax.jvp(moment, (T,), (jnp.ones_like(T),))

    h = 0.01
    near = jnp.asarray([0.3 - h, 0.3, 0.3 + h], float)
    backward, (values, forward) = jax.jit(jax.vmap(slopes))(near)
    np.testing.assert_allclose(values[1], moment(near[1]), rtol=1e-5)
    np.testing.assert_allclose(backward, forward, rtol=1e-3)
    np.testing.assert_allclose((values[2] - values[0]) / (2 * h), forward[1], rtol=2e-2)


@pytest.mark.long
def test_second_derivatives():
    """The law moves with the root, whose derivative is differentiated again: in 64 bits."""
    few = Grid((-6.0,), (6.0,), (20,))

    def energy(T):
        examples = NETWORK.prepare(X[1:2], Y[1:2])
        return gibbs(NETWORK, examples, HYPER | {"temperature": T}, few).output[0, 0]

    slope = jax.jacfwd(energy)
    with x64(True):
        h = 1e-4
        near = jnp.asarray([0.3 - h, 0.3, 0.3 + h])
        both = jax.jit(jax.vmap(lambda T: (slope(T), jax.jacfwd(slope)(T))))
        slopes, seconds = both.lower(near).compile(QUICKLY)(near)
        assert abs(seconds[1]) > 0.01
        np.testing.assert_allclose(seconds[1], (slopes[2] - slopes[0]) / (2 * h), rtol=1e-5)


@pytest.mark.long
def test_classification_with_several_outputs():
    network = TwoLayer(1, Independent(3), out_size=2, activation="tanh", loss=softmax_cross_entropy)
    labels = np.array([0, 0, 1, 1, 0, 1])
    hyper = {**HYPER, "temperature": 0.05, "decay_u": 0.1, "decay_theta": 0.05}
    examples, grid = network.prepare(X, labels), Grid((-7.0,), (7.0,), (81,))
    found = jax.jit(lambda: gibbs(network, examples, hyper, grid))()
    assert found.converged
    line, theta = np.linspace(-6, 6, 31), np.linspace(-7, 7, 41)
    a, b, theta = (m.ravel() for m in np.meshgrid(line, line, theta, indexing="ij"))

    def slopes(f):
        odds = np.exp(f)
        return odds / odds.sum(1, keepdims=True) - np.eye(2)[labels]

    u = np.stack([a, b], 1)
    f, u2, theta2 = by_scipy(hyper, slopes, np.tanh(np.outer(X[:, 0], theta)), u, theta)
    np.testing.assert_allclose(found.output, f, rtol=1e-3, atol=1e-3)
    moments = found.law.second_moments()
    np.testing.assert_allclose(moments[0], u2, rtol=1e-3)
    np.testing.assert_allclose(moments[1], [theta2], rtol=1e-3)


def test_with_thetas_kept_it_is_ridge_regression():
    theta, mass = np.array([0.5, 1.0, -1.5, 2.5]), np.array([0.1, 0.2, 0.3, 0.4])
    start = FromArrays(np.zeros((4, 1)), theta[:, None], mass)
    network = TwoLayer(1, start, activation="sin", trained="u")
    hyper = {name: HYPER[name] for name in ("alpha", "learning_rate", "temperature", "decay_u")}
    kept = network.init(jax.random.key(0), hyper)
    found = jax.jit(lambda: gibbs(network, EXAMPLES, hyper, kept=kept))()
    features = np.sin(np.outer(X[:, 0], theta))
    K = features * mass @ features.T / (len(X) * 0.4)  # the ridge does not know alpha
    f = np.linalg.solve(np.eye(len(X)) + K, K @ Y)
    np.testing.assert_allclose(found.output[:, 0], f, rtol=1e-4, atol=1e-5)
    u = features.T @ (Y - f) / len(X) / (0.4 * 1.5)
    u_square, _ = found.law.second_moments()
    np.testing.assert_allclose(u_square, [mass @ u**2 + 0.3 / 0.4], rtol=1e-4)
    # Q: its loss, its decay, and minus T times the entropy of N(., T / decay), times alpha^2
    loss, decay = np.mean((f - Y) ** 2) / 2, 0.4 * (mass @ u**2 + 0.75) / 2
    Q = loss + 1.5**2 * (decay - 0.3 * (np.log(2 * np.pi * 0.75) + 1) / 2)
    np.testing.assert_allclose(found.free_energy, Q, rtol=1e-4)


def test_with_the_law_of_u_kept_there_is_a_law_of_theta_to_each():
    u, mass = np.array([-2.0, 1.0, 3.0]), np.array([0.3, 0.5, 0.2])
    network = TwoLayer(
        1, FromArrays(u[:, None], np.zeros((3, 1)), mass), activation="sin", trained="theta"
    )
    kept = network.init(jax.random.key(0), HYPER)
    found = jax.jit(lambda: gibbs(network, EXAMPLES, HYPER, THETA, kept=kept))()
    assert found.converged
    theta = np.linspace(-6, 6, 401)
    features, r = np.sin(np.outer(X[:, 0], theta)), 0.3 * theta**2 / 2

    def law(f):
        p = np.exp(-(np.outer(u, features.T @ (f - Y)) / len(X) / 1.5 + r) / 0.3)
        return mass[:, None] * p / p.sum(1, keepdims=True)

    root = optimize.root(lambda f: f - 1.5 * features @ (u @ law(f)), np.zeros(6), tol=1e-10)
    np.testing.assert_allclose(found.output[:, 0], root.x, rtol=1e-3, atol=1e-3)
    u_square, theta_square = found.law.second_moments()
    np.testing.assert_allclose(u_square, [mass @ u**2], rtol=1e-4)
    np.testing.assert_allclose(theta_square, [law(root.x).sum(0) @ theta**2], rtol=1e-3)


def test_where_there_is_no_law_it_says_so_as_data():
    found, _ = solved({**HYPER, "temperature": jnp.nan})
    assert not found.converged


def test_it_is_at_rest_under_the_fokker_planck_equation_and_where_that_ends():
    found, _ = solved({**HYPER, "alpha": 1.0})
    law = gibbs_density(NETWORK, found, EXAMPLES, {**HYPER, "alpha": 1.0}, BOTH)

    @jax.jit
    def later(start, rate):
        hyper = {**HYPER, "alpha": 1.0, "learning_rate": rate}
        laws = fokker_planck(NETWORK, start, EXAMPLES, hyper, steps=60, every=60)
        end = Density(BOTH, laws.mass[-1])
        return end.mass, free_energy(NETWORK, end, EXAMPLES, hyper)

    np.testing.assert_allclose(later(law, 0.1)[0], law.mass, atol=1e-6)
    mass, Q = later(Density.normal(BOTH), 1.0)
    np.testing.assert_allclose(mass, law.mass, atol=1e-5)
    np.testing.assert_allclose(Q, found.free_energy, rtol=1e-4)


def test_bad_requests_are_refused_by_name(monkeypatch):
    cold = {**HYPER, "temperature": 0.0}
    loose = {name: value for name, value in HYPER.items() if name != "decay_theta"}
    kept = NETWORK.init(jax.random.key(0), HYPER)
    wider = TwoLayer(2, Independent(4)).init(jax.random.key(0), HYPER)
    of_u, of_theta = (TwoLayer(1, Independent(4), trained=part) for part in ("u", "theta"))
    for network, hyper, given, match in (
        (NETWORK, cold, {"grid": THETA}, r"hyper\['temperature'\] = 0"),
        (NETWORK, loose, {"grid": THETA}, "hyper = .*: must be a dict with 'decay_theta'"),
        (NETWORK, HYPER, {"grid": BOTH}, "axes of the grid = 2"),
        (NETWORK, HYPER, {}, "grid = None"),
        (NETWORK, HYPER, {"grid": THETA, "kept": kept}, "kept = "),
        (of_theta, HYPER, {"grid": THETA}, "kept = None"),
        (of_u, HYPER, {"grid": THETA, "kept": kept}, "grid = "),
        (of_u, HYPER, {"kept": wider}, r"kept\.theta\.shape = \(4, 2\)"),
    ):
        with pytest.raises(ValueError, match=match):
            gibbs(network, EXAMPLES, hyper, **given)  # pyright: ignore
    with pytest.raises(ValueError, match="trained = 'u'"):
        gibbs_density(of_u, solved(HYPER)[0], EXAMPLES, HYPER, BOTH)
    monkeypatch.setitem(sys.modules, "optimistix", None)
    with pytest.raises(ImportError, match=r"neurashed\[theory\]"):
        gibbs(NETWORK, EXAMPLES, HYPER, THETA)
