"""Study files with a module, a loss and data files of one's own."""

from typing import Any

import numpy as np
import pytest

from nsh.networks import Schedule
from nsh.study import open_study, read_study, run_study
from nsh.study.tables import StudyFileError

MODULE = """
import equinox as eqx
import jax


class Net(eqx.Module):
    convolution: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    readout: eqx.nn.Linear

    def __init__(self, key, gain=1.0):
        one, two = jax.random.split(key)
        self.convolution = eqx.nn.Conv2d(1, 2, 3, key=one)
        self.norm = eqx.nn.BatchNorm(2, "batch", mode="batch")
        linear = eqx.nn.Linear(2, 2, key=two)
        self.readout = eqx.tree_at(lambda m: m.weight, linear, gain * linear.weight)

    def __call__(self, x, state):
        h, state = self.norm(self.convolution(x[None] / 255), state)
        return self.readout(jax.nn.relu(h).mean((1, 2))), state


def power(outputs, target, exponent):
    return abs(outputs[0] - target) ** exponent


def final(now):
    return now.step


def brighter(x, key, contrast):
    return x * (1 + contrast * jax.random.normal(key))
"""
FILE = """
seeds = 2
steps = 4
[system]
name = "network"
module = "own:Net"
task = "classification"
name_classes = true
augment = "own:brighter"
data = { name = "idx", x = "x.idx", y = "y.idx", test_x = "x.idx", test_y = "y.idx" }
[hyper.optimiser.learning_rate]
schedule = "cosine_decay_schedule"
init_value = 0.1
decay_steps = 4
[hyper.loss]
label_smoothing = 0.1
[hyper.data]
contrast = 0.1
[hyper.start]
gain = 0.5
[grid]
loss.label_smoothing = [0.0, 0.2]
[batches]
name = "with_replacement"
size = 4
[record]
every = 2
what = ["accuracy", "cross_entropy", "test_accuracy"]
"""
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (12, 5, 4)).astype(np.uint8), np.arange(12) % 2 + 1


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def module_of(folder):
    """One name for each test: Python imports a module once."""
    return folder / f"own_{folder.name}.py"


@pytest.fixture
def folder(tmp_path):
    module_of(tmp_path).write_text(MODULE)
    (tmp_path / "x.idx").write_bytes(idx(IMAGES))
    (tmp_path / "y.idx").write_bytes(idx(LABELS))
    return tmp_path


def study_of(folder, *changes):
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    text = text.replace('"own:', f'"{module_of(folder).stem}:')
    (folder / "study.toml").write_text(text)
    return read_study(folder / "study.toml")


def network_of(study) -> Any:
    return study.problem.system


@pytest.mark.long
def test_a_study_of_ones_own_network_runs_and_streams(folder):
    study = study_of(folder)
    assert isinstance(study.problem.hyper["optimiser"]["learning_rate"], Schedule)
    assert network_of(study).task.classes.names == (1, 2)
    run_study(study, folder / "whole")
    whole = open_study(folder / "whole").load()
    assert whole.accuracy.dims == ("loss.label_smoothing", "seed", "step")
    np.testing.assert_array_equal(whole.status, 0)
    streamed = study_of(folder, ("name_classes", "streamed = true\nname_classes"))
    run_study(streamed, folder / "streamed")
    again = open_study(folder / "streamed").load()
    np.testing.assert_array_equal(again.cross_entropy, whole.cross_entropy)
    np.testing.assert_array_equal(again.test_accuracy, whole.test_accuracy)


def test_a_loss_of_ones_own_and_a_number_per_step(folder):
    module_of(folder).write_text(MODULE.replace("Linear(2, 2,", "Linear(2, 1,"))
    study = study_of(
        folder,
        ("name_classes = true\n", ""),
        ('"classification"', '{ name = "custom", loss = "own:power" }'),
        ("label_smoothing = 0.1", "exponent = 2.0"),
        ("loss.label_smoothing = [0.0, 0.2]", "loss.exponent = [1.5, 2.0]"),
        ('schedule = "cosine_decay_schedule"', "per_step = [0.1, 0.1, 0.05, 0.05]"),
        ("init_value = 0.1\ndecay_steps = 4\n", ""),
        ('["accuracy", "cross_entropy", "test_accuracy"]', '["own:final"]'),
    )
    hyper = study.problem.hyper
    assert hyper["loss"] == {"exponent": 2.0}
    assert hyper["optimiser"]["learning_rate"].values.shape == (4,)
    assert network_of(study).task.loss.__name__ == "power"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"own:Net"', '"own:Nett"'), "line 6: system.module = 'own_.*:Nett': must be a function"),
        (('"own:Net"', '"Net"'), 'a function of your own, "module:function"'),
        (('x = "x.idx", y', 'x = "z.idx", y'), "z.idx"),
        (('"classification"', '"clasification"'), "did you mean classification"),
        (("label_smoothing = 0.1", "smoothing = 0.1"), "label_smoothing"),
        (("gain = 0.5", "gainn = 0.5"), "gain"),
        (("contrast = 0.1", "contrst = 0.1"), "contrast"),
        (('"cosine_decay_schedule"', '"cosine_decay"'), "did you mean cosine_decay_schedule"),
        (("name_classes = true", ""), r"y.* = 2: must be a class in 0..1; of labels that count"),
        (('name = "idx"', 'name = "ids"'), "one of idx, cifar, npz, zarr"),
    ],
)
def test_bad_networks_are_explained(folder, change, message):
    with pytest.raises((StudyFileError, FileNotFoundError), match=message):
        study_of(folder, change)
