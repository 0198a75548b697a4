"""Studies that tune: what is stored is what `nsh.training.tune` and `ensemble` give."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import split
from studies import assert_same_bytes

from nsh import SaveAt, System, TrainingProblem, ensemble
from nsh.study import Study, Tune, draw, measurements, run_study


class Falling(System):
    """Gradient descent on (w - 1)^2 / 2 from a normal start: the best rate for T steps is known."""

    def prepare(self, x, y):
        return jnp.asarray(x, float)

    def init(self, key, hyper):
        return jax.random.normal(key, (), float)

    def step(self, state, batch, hyper, key):
        return state - hyper["rate"] * (state - 1) - hyper["drift"]

    def outputs(self, state, example):
        return jnp.stack([state, -state]) * example

    def features(self, state, example):
        return (jnp.stack([state, example]),)


def loss(now):
    return {"loss": (now.state - 1) ** 2 / 2, "w": now.state}


SYSTEM = Falling()
RATES = [0.1, 0.3, 1.5]


def study(**changes):
    tune = {"objective": "loss", "parameters": ("rate",), "optimiser": optax.adam(0.3),
            "iterations": 25}  # fmt: skip
    fields = {"hyper": {"rate": 0.1, "drift": 0.0}, "seeds": 5, "chunk": 5,
              "grid": {"rate": RATES}}  # fmt: skip
    tune |= {name: changes.pop(name) for name in list(changes) if name in Tune.__annotations__}
    save = changes.pop("save", SaveAt(loss, every=2))
    options = {"save": save, "steps": 4, "tune": Tune(**tune), **fields, **changes}
    problem, rest = split(SYSTEM, jnp.ones(2), **options)
    return Study(problem, **rest)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A block for each start."""
    assert study().blocks.counts == (3, 1)
    return run_study(study(), tmp_path_factory.mktemp("tuned"))


@pytest.mark.long
def test_mean_over_seeds_is_tuned_from_every_start(data):
    assert data["objective"].dims == ("rate", "iteration")
    assert data["tuned.rate"].dims == ("rate", "iteration")
    assert data["tuning_status"].dims == ("rate", "seed", "iteration")
    assert "tuned.drift" not in data
    np.testing.assert_allclose(data["tuned.rate"].values[:, 0], RATES, rtol=1e-6)
    # loss after 4 steps: (1 - rate)^8 (w - 1)^2 / 2, least at rate = 1
    distances = np.abs(data["tuned.rate"].values - 1)
    assert (distances[:, -1] < 0.6 * distances[:, 0]).all()
    assert (data["objective"][:, -1] < 0.1 * data["objective"][:, 0]).all()
    # recorded with the last hyperparameters
    last = {"rate": data["tuned.rate"].values[:, -1], "drift": np.zeros(3, np.float32)}
    last = {name: jnp.asarray(value, float) for name, value in last.items()}
    problem = TrainingProblem(
        SYSTEM, jnp.ones(2), last, steps=4, save=SaveAt(loss, every=2), grid_ndim=1
    )
    run = ensemble(problem, jax.random.key(0), seeds=5)
    np.testing.assert_array_equal(data["w"], run.saved["w"])
    np.testing.assert_allclose(
        data["objective"][:, -1], data["loss"][:, :, -1].mean("seed"), rtol=1e-4, atol=1e-9
    )


@pytest.mark.long
def test_chunks_change_nothing(data, tmp_path):
    assert study(chunk=100).blocks.counts == (1, 1)
    assert_same_bytes(run_study(study(chunk=100), tmp_path), data)


@pytest.mark.long
def test_every_seed_has_its_own(tmp_path):
    changes = {"per_seed": True, "grid": {}, "hyper": {"rate": 0.3, "drift": 0.2}, "chunk": 3,
               "parameters": ("rate", "drift"), "maximise": True, "iterations": 3}  # fmt: skip
    data = run_study(study(**changes), tmp_path / "one")
    assert study(**changes).blocks.counts == (2,)
    assert data["objective"].dims == data["tuned.drift"].dims == ("seed", "iteration")
    assert (data["objective"][:, -1] > data["objective"][:, 0]).all()
    assert len(set(data["tuned.rate"].values[:, -1].tolist())) > 1
    assert data["w"].dims == ("seed", "step")
    np.testing.assert_allclose(data["loss"][:, -1], data["objective"][:, -1], rtol=1e-4)
    assert_same_bytes(run_study(study(**(changes | {"chunk": 100})), tmp_path / "two"), data)


@pytest.mark.long
def test_bounds_hold(tmp_path):
    data = run_study(study(bounds={"rate": (0, 0.5)}, grid={}, iterations=8), tmp_path)
    assert ((data["tuned.rate"] > 0) & (data["tuned.rate"] < 0.5)).all()
    assert data["tuned.rate"][-1] > data["tuned.rate"][0]


@pytest.mark.long
def test_figure_shows_objective_and_parameters_over_iterations(data):
    figure = draw(data)
    labels = [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes]
    assert labels[:2] == [("optimiser steps", "final loss"), ("optimiser steps", "rate")]
    assert labels[2] == ("training time (steps)", "loss")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        f"first rate = {r:g}" for r in RATES
    ]


def test_what_is_constant_in_steps_is_no_objective():
    what = measurements(["accuracy", "cross_entropy"], SYSTEM, np.ones(2), np.zeros(2, int))
    said = "tune.objective = 'accuracy': must be of a slope that is not 0: cross_entropy"
    with pytest.raises(ValueError, match=said):
        study(objective="accuracy", save=SaveAt(what, every=2))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"objective": "missing"}, "tune.objective = 'missing'"),
        ({"parameters": ("missing",)}, "tune.parameters = 'missing'"),
        ({"parameters": ()}, "parameters = "),
        ({"iterations": 0}, "iterations = 0"),
        ({"bounds": {"drift": (0.0, 1.0)}}, "bounds.drift"),
        ({"bounds": {"rate": (1.0, 0.0)}}, "bounds.rate"),
        ({"bounds": {"rate": (0.0, 1.5)}}, r"hyper\['rate'\]\[2\] = 1.5: must be strictly inside"),
        ({"hyper": {"rate": 0.1, "drift": "no"}}, r"hyper\['drift'\] = 'no': must be a number"),
    ],
)
def test_bad_tuning(changes, field):
    with pytest.raises(ValueError, match=field):
        study(**changes)
