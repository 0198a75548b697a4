"""The System of the page that shows how to write one keeps the contract that nsh's own keep."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from snippets import names_of

from nsh import FullBatch, System, TrainingProblem, train
from nsh.bounds import constrain, unconstrain
from nsh.training import Sequential

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "own_system.md"


@pytest.fixture(scope="module")
def page():
    return names_of(PAGE)


@pytest.mark.long
def test_trains_in_ensembles_and_is_measured(page):
    assert isinstance(page["system"], System)
    assert page["run"].status == 0
    assert page["runs"].state.shape == (3, 8, 3, 2)
    assert (np.asarray(page["runs"].status) == 0).all()
    # seed i of the ensemble is the run with this key, whatever else is trained beside it
    alone = train(page["problem"], jax.random.fold_in(jax.random.key(0), 2))
    np.testing.assert_allclose(page["runs"].state[1, 2], alone.state, rtol=1e-4, atol=1e-6)


def test_a_step_is_what_the_page_says(page):
    x, y, start = page["x"], page["y"], np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]])
    expected = start.copy()
    for i, label in enumerate(y):
        expected[label] += 0.3 / len(x) * (x[i] - start[label])
    found = page["system"].step(
        jax.numpy.asarray(start), page["examples"], {"rate": 0.3}, jax.random.key(0)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    example = jax.tree.map(lambda leaf: leaf[4], page["examples"])
    distance = ((x[4] - start) ** 2).sum(axis=1)
    np.testing.assert_allclose(page["system"].outputs(start, example), -distance, rtol=1e-5)


def test_steps_compose(page):
    np.testing.assert_allclose(page["parallel"].state, page["run"].state, rtol=1e-4, atol=1e-5)


def test_composing_is_more_than_one_step_repeated(page):
    """A composition that lost a factor would pass on a state that has come to rest."""

    def end(system, method):
        problem = TrainingProblem(
            system, page["examples"], {"rate": 0.9}, steps=3, sampler=FullBatch()
        )
        return train(problem, jax.random.key(1), method=method)

    one = end(page["system"], Sequential())
    other = end(page["composed"], page["ParallelInTime"]())
    np.testing.assert_allclose(one.state, other.state, rtol=1e-4, atol=1e-5)


def test_differentiates_by_its_hyperparameter(page):
    def value(rate):
        key = jax.random.fold_in(jax.random.key(0), 0)
        problem = dataclasses.replace(page["problem"], hyper={"rate": rate})
        return page["loss"](train(problem, key))

    differences = (value(0.105) - value(0.095)) / 0.01
    assert differences != 0
    np.testing.assert_allclose(page["found"].gradient["rate"][0], differences, rtol=0.05)


def test_hyperparameters_have_bounds(page):
    hyper = {"rate": jax.numpy.asarray(0.25)}
    bounds = page["composed"].bounds(hyper)
    free = unconstrain(hyper, bounds)
    np.testing.assert_allclose(constrain(free, bounds)["rate"], 0.25, rtol=1e-5)
    assert constrain({"rate": free["rate"] + 100}, bounds)["rate"] <= 1


def test_bad_data_is_refused(page):
    with pytest.raises(ValueError, match=r"x\.shape = \(4, 3\)"):
        page["system"].prepare(np.zeros((4, 3)), np.zeros(4, int))


def test_a_network_is_one_too(page):
    assert isinstance(page["network"], System)
    assert [level.shape for level in page["seen"].features] == [(30, 16), (30, 16)]
