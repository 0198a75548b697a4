"""All experiments end to end at tiny sizes, and what their claims do with known data."""

import dataclasses
import functools
import importlib
import json

import numpy as np
import pytest
import xarray as xr

from experiments.captions import CAPTIONS
from experiments.harness.progress import silent
from experiments.harness.results import save_dataset, save_figure
from experiments.harness.statistics import over_seeds

TINY = {
    "information_bottleneck": {
        "seeds": 4, "steps": 40, "samples": 4, "network_seeds": 2, "network_steps": 20,
        "network_inputs": 20, "network_samples": 2,
    },
    "implicit_regularization": {
        "seeds": 64, "network_seeds": 2, "network_steps": 32, "network_hidden": (12, 8),
        "batch_sizes": (1, 8),
    },
    "local_elasticity": {
        "seeds": 4, "steps": 10, "late_steps": 20, "network_seeds": 2, "network_steps": 20,
        "per_subclass": 2, "network_channels": (2, 3), "network_hidden": (8, 6),
    },
    "criticality": {"activations": ("relu", "tanh"), "depth": 10, "width": 32, "seeds": 4},
    "finite_width": {
        "depths": (2,), "width": 4, "seeds": 64, "dntk_seeds": 64, "outputs": 2, "chunk": 64,
    },
    "aspect_ratio": {
        "families": (("relu", 4), ("tanh", 4)), "layers": (1, 2, 4), "networks": 50, "seeds": 3,
        "steps": 5,
    },
    "kernel_regime": {
        "widths": (4, 8), "seeds": 2, "train": 12, "test": 10, "steps": 8, "every": 4,
    },
    "lazy_to_mean_field": {
        "widths": (8, 16), "alphas": (2, 8), "dial": 8, "seeds": 3, "train": 5, "test": 4,
        "steps": 4, "particles": 16,
    },
    "noisy_descent": {
        "particles": 64, "seeds": 4, "steps": 8, "records": 4, "sample": 32, "points": 4,
        "cells": (12, 16),
    },
    "repopulation": {
        "inputs": 3, "samples": 8, "test": 6, "widths": (4,), "seeds": 2, "steps": 8, "every": 2,
        "record": 4, "draws": 4, "gap_samples": (4, 8), "gap_seeds": 8, "gap_width": 4,
        "gap_steps": 4, "gap_test": 16,
    },
    "feature_learning": {
        "alphas": (1.0, 4.0, 16.0), "width": 8, "teacher_seeds": 2, "teacher_train": 12,
        "teacher_test": 28, "teacher_steps": 8, "digits_seeds": 2, "digits_train": 12,
        "digits_test": 28, "digits_steps": 8, "times": 4, "probes": 28, "inputs": 10, "samples": 2,
    },
    "correspondence": {
        "seeds": 2, "hidden": (8, 6), "clusters": (3, 4), "fan_in": 2, "steps": 8, "records": 2,
        "test": 12, "per_class": 1,
    },
    "digit_rules": {
        "seeds": 2, "iterations": 1, "conjunctions": 8, "slope_seeds": 1, "slope_directions": 1,
    },
    "elasticity_fit": {
        "seeds": 2, "fit_seeds": 2, "steps": 10, "batch": 4, "hidden": (8, 6), "conjunctions": 20,
        "typical": 4, "probes": 1, "tune_seeds": 1, "iterations": 2, "permutations": 1,
    },
    "lottery_ticket": {
        "seeds": 3, "steps": 20, "batch_sizes": (1, 4), "network_seeds": 2,
        "network_hidden": (8, 6), "network_steps": 20, "kept_shares": (0.5, 0.2),
    },
    "effective_sample_size": {
        "seeds": 3, "count": 24, "own": (3, 6), "sharing": (0.0, 0.5, 1.0), "batch_sizes": (1, 4),
        "steps": 20, "every": 10, "test": 8, "digits_seeds": 2, "digits_hidden": (8,),
        "digits_steps": 20, "digits_batch": 8, "neurashed_steps": 20,
    },
    "data_augmentation": {
        "seeds": 3, "each": 8, "crops": (0.0, 0.5, 1.0), "batch_sizes": (1, 4), "steps": 20,
        "every": 10, "test": 4, "digits_seeds": 2, "digits_hidden": (8,), "digits_steps": 20,
        "digits_batch": 8, "digits_test": 20, "neurashed_steps": 20,
    },
    "extensions": {
        "seeds": 4, "steps": 10, "bottleneck_steps": 20, "records": 2, "samples": 2,
        "rewirings": 2,
    },
    "scaling_law": {
        "seeds": 6, "sizes": (60, 120), "depths": (3,), "sharings": (0.0, 0.25),
        "batch_sizes": (1, 2), "size": 60, "times": (5, 20, 40), "early": 20,
    },
}  # fmt: skip


@functools.cache
def tiny(name):
    """The module, the configuration and the dataset of a tiny run."""
    module = importlib.import_module(f"experiments.{name}")
    config = dataclasses.replace(module.Config(), **TINY[name])
    attributes = {"configuration": json.dumps(dataclasses.asdict(config))}
    return module, config, module.run(config, silent).assign_attrs(attributes)


def letters(figure):
    """Of the panels that have one."""
    texts = [text for ax in figure.axes for text in ax.texts if text.get_fontweight() == "bold"]
    return {text.get_text() for text in texts if len(text.get_text()) == 1}


# one of every theory, of those that compile fast, and those whose data other tests here use
QUICK = {
    "criticality", "implicit_regularization", "information_bottleneck", "lazy_to_mean_field",
    "noisy_descent",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name not in QUICK)) for name in TINY]
)
def test_runs_and_draws_and_claims(name, tmp_path):
    module, _, dataset = tiny(name)
    assert [str(v) for v in dataset.data_vars if "units" not in dataset[v].attrs] == []
    claims = module.claims(dataset)
    save_dataset(dataset, tmp_path, name)
    drawn = module.figure(dataset)
    assert letters(drawn) == set(CAPTIONS[name])
    save_figure(drawn, tmp_path)
    with xr.open_dataset(tmp_path / f"{name}.nc", engine="h5netcdf") as read:
        # claims can be drawn again from the data on disk, and are the same
        again = module.claims(read.load())
    np.testing.assert_equal([c.measured for c in again], [c.measured for c in claims])
    assert len({claim.name for claim in claims}) == len(claims) > 5
    assert all(np.isfinite(claim.measured) for claim in claims)
    assert (tmp_path / "figure.png").stat().st_size > 20_000


def test_a_run_again_is_the_same_to_the_bit():
    module, config, first = tiny("implicit_regularization")
    xr.testing.assert_equal(first, module.run(config, silent))


def test_bottleneck_claims_tell_a_curve_that_compresses_from_one_that_does_not():
    module, _, dataset = tiny("information_bottleneck")
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


@pytest.mark.core
def test_estimate_over_seeds():
    values = [1.0, 2.0, 4.0, 5.0]
    found = over_seeds(values)
    assert found.mean == 3.0
    assert found.error == pytest.approx(np.sqrt(10 / 3) / 2)
    assert found.above(1.0)
    assert not found.above(1.5)
    assert np.isnan(over_seeds([1.0]).error)
    assert not over_seeds([1.0]).above(0.0)
