"""Training that alternates with repopulation, as a System."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from nsh import TrainingProblem, ensemble, train
from nsh.theory.two_layer import Independent, Repopulating, TwoLayer, optimal_distribution
from nsh.training import FullBatch, SaveAt

NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(6, 2))
Y = np.sin(X[:, 0])
WIDTH, EVERY, STEPS = 8, 3, 7
NETWORK = TwoLayer(2, Independent(WIDTH), activation="tanh")
SYSTEM = Repopulating(NETWORK, EVERY)
EXAMPLES = SYSTEM.prepare(X, Y)
PLAIN = {"alpha": 1.0, "learning_rate": 0.3}
SAVE = SaveAt(every=1)


def ran(**own):
    hyper = PLAIN | own
    problem = TrainingProblem(SYSTEM, EXAMPLES, hyper, steps=STEPS, sampler=FullBatch(), save=SAVE)
    return train(problem, jax.random.key(1))


@pytest.fixture(scope="module")
def course():
    return ran(kept=0.0, jitter=0.0).saved


@pytest.mark.long
def test_between_repopulations_it_is_the_network(course):
    hyper = {name: jnp.asarray(value) for name, value in PLAIN.items()}
    step = jax.jit(lambda p: NETWORK.step(p, EXAMPLES, hyper, jax.random.key(0)))
    assert course.steps.tolist() == list(range(STEPS + 1))
    for now in range(STEPS):
        before, after = (
            jax.tree.map(lambda a, t=t: a[t], course.particles) for t in (now, now + 1)
        )
        plain = step(before)
        same = np.allclose(after.u, plain.u, atol=1e-6)
        assert same == ((now + 1) % EVERY != 0)
        if not same:  # every unit is one of the trained ones, and has its share of the law
            norms = jnp.abs(after.theta[:, None] - plain.theta[None]).max(-1)
            assert norms.min(axis=1).max() < 1e-6
            law = optimal_distribution(NETWORK, after, EXAMPLES.x)
            np.testing.assert_allclose(law, 1 / WIDTH, rtol=1e-4)


def test_without_jitter_copies_stay_together_and_with_it_they_do_not(course):
    def distinct(theta):
        return len(np.unique(np.round(np.asarray(theta), 6), axis=0))

    counts = [distinct(theta) for theta in course.particles.theta]
    assert counts[EVERY - 1] == WIDTH > counts[EVERY] >= counts[STEPS]
    assert distinct(ran(kept=0.0, jitter=0.5).state.particles.theta) == WIDTH


def test_all_kept_is_plain_training():
    found = ran(kept=1.0, jitter=0.5).state.particles
    problem = TrainingProblem(NETWORK, EXAMPLES, PLAIN, steps=STEPS, sampler=FullBatch())
    plain = train(problem, jax.random.key(1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, plain.state)


def test_repopulation_keeps_the_outputs_on_average_and_bounds_weights():
    now = NETWORK.init(jax.random.key(2), PLAIN)
    exact = jax.vmap(NETWORK.output, (None, 0))(now, EXAMPLES.x)

    @jax.jit
    @jax.vmap
    def outputs(key):
        drawn = SYSTEM.repopulated(now, EXAMPLES.x, {"kept": 0.2}, key)
        largest = jnp.max(jnp.abs(drawn.u)) / jnp.max(jnp.abs(now.u))
        return jax.vmap(NETWORK.output, (None, 0))(drawn, EXAMPLES.x), largest

    f, largest = outputs(jax.random.split(jax.random.key(3), 2000))
    error = np.std(f, axis=0, ddof=1) / np.sqrt(len(f))
    assert np.all(np.abs(np.mean(f, axis=0) - exact) < 4 * error)
    assert largest.max() <= 1 / 0.2 + 1e-4


def test_jitter_keeps_the_law_of_the_start():
    wide = TwoLayer(2, Independent(4000), activation="tanh")
    now = wide.init(jax.random.key(0), PLAIN)
    # all copies of one unit, and so jittered to a known mean and spread
    one = jnp.zeros(4000).at[0].set(1)
    now = type(now)(now.u * one[:, None], now.theta, now.mass, now.alpha)
    drawn = jax.jit(lambda key: Repopulating(wide, 1).repopulated(
        now, EXAMPLES.x, {"jitter": 0.6}, key
    ))(jax.random.key(1))  # fmt: skip
    theta = np.asarray(drawn.theta)
    np.testing.assert_array_equal(theta[0], now.theta[0])
    np.testing.assert_allclose(theta[1:].mean(0), 0.8 * now.theta[0], atol=4 * 0.6 / 4000**0.5)
    np.testing.assert_allclose(theta[1:].std(0), 0.6, rtol=4 / 8000**0.5)


def test_ensembles():
    hyper = PLAIN | {"kept": jnp.array([0.0, 1.0]), "jitter": jnp.zeros(2)}
    hyper = {name: jnp.broadcast_to(jnp.asarray(a, float), 2) for name, a in hyper.items()}
    problem = TrainingProblem(
        SYSTEM, EXAMPLES, hyper, steps=EVERY, sampler=FullBatch(), grid_ndim=1
    )
    many = ensemble(problem, jax.random.key(0), seeds=3)
    assert many.state.particles.u.shape == (2, 3, WIDTH, 1)
    assert not np.any(np.asarray(many.status))
    assert not np.allclose(many.state.particles.u[0], many.state.particles.u[1])


@pytest.mark.long
def test_derivatives_at_fixed_draws():
    start = SYSTEM.init(jax.random.key(1), PLAIN)

    def loss(jitter):
        hyper = PLAIN | {"jitter": jitter, "kept": 0.1}
        state, _ = jax.lax.scan(
            lambda state, _: (SYSTEM.step(state, EXAMPLES, hyper, jax.random.key(2)), None),
            start, length=STEPS,
        )  # fmt: skip
        f = jax.vmap(SYSTEM.network.output, (None, 0))(state.particles, EXAMPLES.x)
        return jnp.mean((f - EXAMPLES.y) ** 2)

    at = jnp.asarray(0.3)
    forward = jax.jit(jax.vmap(lambda j: jax.jvp(loss, (j,), (jnp.ones(()),))))
    (_, above, below), slopes = forward(at + jnp.array([0, 0.01, -0.01]))
    # small enough that the same units are drawn
    np.testing.assert_allclose(slopes[0], (above - below) / 0.02, rtol=0.03)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(at), slopes[0], rtol=1e-4)


@pytest.mark.core
def test_readings_are_those_of_the_network_and_bad_input():
    state = SYSTEM.init(jax.random.key(0), PLAIN)
    one = jax.tree.map(lambda a: a[0], EXAMPLES)
    np.testing.assert_array_equal(SYSTEM.outputs(state, one), NETWORK.outputs(state.particles, one))
    np.testing.assert_array_equal(
        SYSTEM.features(state, one)[0], NETWORK.features(state.particles, one)[0]
    )
    assert SYSTEM.is_finite(state)
    assert SYSTEM.bounds(PLAIN | {"jitter": 0.1})["jitter"] == (0.0, 1.0)
    for own, message in (
        ({"jitter": 1.5}, r"hyper\['jitter'\] = 1.5"),
        ({"kept": -0.1}, r"hyper\['kept'\] = -0.1"),
        ({"width": 3.0}, "hyper = 'width'"),
        ({"alpha": -1.0}, r"hyper\['alpha'\] = -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            SYSTEM.check(PLAIN | own, 1)
    with pytest.raises(ValueError, match="hyper = 3"):
        SYSTEM.check(3, 1)
    with pytest.raises(ValueError, match="every = 0"):
        Repopulating(NETWORK, 0)
    with pytest.raises((ValueError, TypeCheckError), match="network"):
        Repopulating(SYSTEM, 2)  # pyright: ignore[reportArgumentType]
