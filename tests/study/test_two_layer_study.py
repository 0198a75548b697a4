"""The two-layer network on the digits, by name: the problem, a grid over the dial, errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from studies import write

from nsh import TrainingProblem, ensemble
from nsh.data import digits
from nsh.study import StudyFileError, Tune, read_study, run_study
from nsh.study import run as run_module
from nsh.study.systems import two_layer
from nsh.theory.two_layer import Independent, Symmetric, TwoLayer, softmax_cross_entropy
from nsh.training import Epochs

DIAL = [0.5, 4.0]
FILE = """\
seeds = 2
steps = 4
[system]
name = "two_layer"
particle_init = { name = "symmetric", width = 6 }
activation = "tanh"
[hyper]
alpha = 1
learning_rate = 2.0
[grid]
alpha = [0.5, 4]
[batches]
name = "epochs"
size = 40
[record]
times = [4]
examples = 30
what = ["accuracy", "brier_score"]
"""
TUNE = Tune("brier_score", ("alpha",), optax.adam(0.5), iterations=3)


def scaled(images):
    """The same with loops: less the mean image, divided by the r.m.s. norm, of the training set."""
    train = np.asarray(digits().train_x, np.float64).reshape(-1, 64)
    mean = sum(train) / len(train)
    norm = (sum(sum((image - mean) ** 2) for image in train) / len(train)) ** 0.5
    return (np.asarray(images, np.float64).reshape(-1, 64) - mean) / norm


def test_the_problem():
    plain = two_layer()
    assert isinstance(plain.system, TwoLayer)
    assert isinstance(plain.system.particle_init, Symmetric)
    assert plain.system.particle_init.width == 256
    data = digits()
    np.testing.assert_allclose(plain.x.reshape(-1, 64), scaled(data.train_x), atol=1e-5)
    assert plain.test is not None
    np.testing.assert_allclose(plain.test[0].reshape(-1, 64), scaled(data.test_x), atol=1e-5)
    np.testing.assert_array_equal(plain.y, data.train_y)
    other = two_layer(
        particle_init=Independent(5), activation="erf", trained="u", loss="softmax_cross_entropy"
    ).system
    assert isinstance(other, TwoLayer)
    assert isinstance(other.particle_init, Independent)
    assert (other.particle_init.width, other.activation.name, other.trained) == (5, "erf", "u")
    assert other.loss is softmax_cross_entropy


@pytest.mark.long
def test_grid_over_the_dial_and_tuning_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "save_figure", lambda figure, directory: None)
    study = read_study(write(tmp_path, FILE))
    data = run_study(study, tmp_path / "grid")
    assert data["accuracy"].dims == ("alpha", "seed", "step")
    hyper = {"alpha": jnp.asarray(DIAL, float), "learning_rate": jnp.full(2, 2.0)}
    run = ensemble(
        TrainingProblem(
            study.problem.system,
            study.problem.examples,
            hyper,
            steps=4,
            sampler=Epochs(40),
            save=study.problem.save,
            grid_ndim=1,
        ),
        jax.random.key(0),
        seeds=2,
    )
    for name, found in run.saved.items():
        np.testing.assert_array_equal(data[name], found)
    score = data["brier_score"].values[..., 0]
    assert (score < 0.9 - 1e-3).all()  # all ten classes alike, as at the start
    assert len(set(score[:, 0].tolist())) == 2  # the dial is felt

    tuned = run_study(dataclasses.replace(study, tune=TUNE), tmp_path / "tuned")
    assert tuned["objective"].dims == tuned["tuned.alpha"].dims == ("alpha", "iteration")
    np.testing.assert_allclose(tuned["tuned.alpha"][:, 0], DIAL)
    np.testing.assert_allclose(tuned["objective"][:, 0], score.mean(1), rtol=1e-4)
    assert (tuned["objective"][:, -1] < tuned["objective"][:, 0]).all()
    assert (tuned["tuned.alpha"] > 0).all()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("width = 6", "width = 7", ["line 5: system.particle_init.width = 7", "even"]),
        (
            "width = 6",
            "widht = 6",
            ["line 5: system.particle_init.widht: unknown key", "did you mean width?"],
        ),
        ('"tanh"', '"tan"', ["line 6: system.activation = 'tan'", "one of linear, relu"]),
        (
            '"tanh"',
            '"tanh"\nloss = "hinge"',
            ["line 7: system.loss = 'hinge'", "'softmax_cross_entropy'"],
        ),
        ('"tanh"', '"tanh"\ntrained = "w"', ["line 7: system.trained = 'w'", "'theta'"]),
        ("learning_rate = 2.0", "", ["hyper = ['alpha']", "'learning_rate'"]),
        ("learning_rate = 2.0", "learning_rate = 0.0", ["line 9", "learning_rate", "> 0"]),
        ("alpha = [0.5, 4]", "alpha = [0.5, -4]", ["hyper['alpha'] = -4.0", "> 0"]),
        ("alpha = 1", "alhpa = 1", ["grid.alpha: unknown key", "did you mean alhpa?"]),
    ],
)
def test_bad_file_is_explained(tmp_path, old, new, said):
    with pytest.raises(StudyFileError) as problem:
        read_study(write(tmp_path, FILE.replace(old, new)))
    for words in said:
        assert words in str(problem.value), problem.value
