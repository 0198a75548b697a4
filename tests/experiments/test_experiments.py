"""All experiments end to end at tiny sizes, and what their claims do with known data."""

import dataclasses
import functools
import importlib
import json

import numpy as np
import pytest
import xarray as xr

from experiments import EXPERIMENTS
from experiments.harness.results import save_dataset
from nsh.study.files import save_figure
from nsh.study.progress import silent


@functools.cache
def tiny(name):
    """The module and the dataset of a tiny run."""
    module = importlib.import_module(f"experiments.{name}")
    attributes = {"configuration": json.dumps(dataclasses.asdict(module.TINY))}
    return module, module.run(module.TINY, silent).assign_attrs(attributes)


def letters(figure):
    """Of the panels that have one."""
    texts = [text for ax in figure.axes for text in ax.texts if text.get_fontweight() == "bold"]
    return {text.get_text() for text in texts if len(text.get_text()) == 1}


NAMES = [name.removeprefix("experiments.") for name in EXPERIMENTS]
# one of every theory, of those that compile fast, and those whose data other tests here use
QUICK = {"lazy_to_mean_field"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name not in QUICK)) for name in NAMES]
)
def test_runs_and_draws_and_claims(name, tmp_path):
    module, dataset = tiny(name)
    assert [str(v) for v in dataset.data_vars if "units" not in dataset[v].attrs] == []
    claims = list(module.claims(dataset))
    save_dataset(dataset, tmp_path, name)
    drawn = module.figure(dataset)
    assert letters(drawn) == set(module.figure.captions)
    save_figure(drawn, tmp_path)
    with xr.open_dataset(tmp_path / f"{name}.nc", engine="h5netcdf") as read:
        # claims can be drawn again from the data on disk, and are the same
        again = module.claims(read.load())
    np.testing.assert_equal([c.measured for c in again], [c.measured for c in claims])
    assert len({claim.name for claim in claims}) == len(claims) > 0
    assert all(np.isfinite(claim.measured) for claim in claims)
    assert (tmp_path / "figure.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    "name",
    ["lazy_to_mean_field", pytest.param("implicit_regularization", marks=pytest.mark.long)],
)
def test_a_run_again_is_the_same_to_the_bit(name):
    module, first = tiny(name)
    xr.testing.assert_equal(first, module.run(module.TINY, silent))


@pytest.mark.long
def test_bottleneck_claims_tell_a_curve_that_compresses_from_one_that_does_not():
    module, dataset = tiny("information_bottleneck")
    dataset = dataset.copy(deep=True)
    steps, seeds = dataset.sizes["step"], dataset.sizes["seed"]
    ideal = np.interp(np.linspace(0, 1, steps), [0, 0.1, 1], [0.3, 1.95, 1.02])
    label = np.interp(np.linspace(0, 1, steps), [0, 0.1, 1], [0.2, 1.0, 0.995])
    jitter = np.linspace(-0.01, 0.01, seeds)[:, None]
    at = {"level": 2, "reading": "shared"}
    dataset["input"].loc[at] = ideal + jitter
    dataset["label"].loc[at] = label
    names = (
        "starts low",
        "each run peaks",
        "the mean curve peaks",
        "compresses",
        "keeps the label",
    )
    assert _verdicts(module, dataset, names) == [True] * 5
    dataset["input"].loc[at] = ideal + jitter + 0.5
    assert _verdicts(module, dataset, names) == [False, True, True, False, True]
    dataset["input"].loc[at] = ideal + jitter - 0.3
    assert _verdicts(module, dataset, names) == [True, False, False, False, True]
    dataset["label"].loc[at] = np.where(np.arange(steps) == steps - 1, 0.9, label)
    assert not _verdicts(module, dataset, names)[-1]


def _verdicts(module, dataset, names):
    holds = {claim.name: claim.holds for claim in module.claims(dataset)}
    return [holds[f"{name} (shared 7th node)"] for name in names]
