"""Test errors at equal training error, exponents, and what the claims make of known data."""

import numpy as np
import pytest
import xarray as xr

from experiments.feature_learning.claims import (
    MEASURES,
    at_equal_training_error,
    change,
    claims,
    exponent,
)

ALPHAS, SEEDS, TIMES = np.array([1.0, 4.0, 16.0, 64.0]), 5, np.arange(9.0)
RANDOM = np.random.default_rng(0)


def known(power, pace, gain):
    """Changes ~ alpha^power; training error e^(-pace t); test error gain * e^(-pace t / 2)."""
    rate = pace[None, :, None] * (1 + 0.01 * RANDOM.normal(size=(SEEDS, 1, 1)))
    train = np.exp(-rate * TIMES)
    test = gain[None, :, None] * np.exp(-rate * TIMES / 2)
    found = {}
    for task in ("teacher", "digits"):
        course = (f"{task}_seed", "alpha", f"{task}_step")
        found |= {f"{task}_train": (course, train), f"{task}_test": (course, test)}
        found[f"{task}_kernel_test"] = course[::2], test[:, -1]
    shrinking = (1 + 0.01 * RANDOM.normal(size=(SEEDS, 1))) * ALPHAS**power
    signs = {"input": -1, "features": -1}
    for name in MEASURES:
        moved = np.stack([np.ones_like(shrinking), 1 + signs.get(name, 1) * shrinking], axis=-1)
        last = "when" if name == "elasticity" else "watched"
        found[name] = ("digits_seed", "alpha", last), moved
    coordinates = {"alpha": ALPHAS, "teacher_step": TIMES, "digits_step": TIMES}
    return xr.Dataset(found, coordinates, {"width": 64})


PACE = np.array([2.0, 1.5, 1.0, 1.0])


def test_test_errors_at_equal_training_error():
    data = known(-2.0, PACE, np.array([1.0, 2.0, 3.0, 3.0]))
    level = data.teacher_train.isel(teacher_step=-1).max("alpha")
    # here the test error is gain * sqrt(training error), at any time
    expected = np.sqrt(level.values)[:, None] * np.array([1.0, 2.0, 3.0, 3.0])
    found = at_equal_training_error(data, "teacher")
    assert found.dims == ("teacher_seed", "alpha")
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_exponents_of_the_lazy_end():
    data = known(-1.5, PACE, np.ones(4))
    np.testing.assert_allclose(change(data, "elasticity").mean("digits_seed")[0], 1, atol=0.02)
    slope = exponent(data, "elasticity")
    assert slope.mean == pytest.approx(-1.5, abs=1e-6)
    assert slope.standard_error < 1e-6
    # of alpha >= sqrt(64) / 2 alone
    data["elasticity"][:, 0] += 100.0
    assert exponent(data, "elasticity").mean == pytest.approx(-1.5, abs=1e-6)


def test_claims_tell_what_holds():
    good = list(claims(known(-2.0, PACE, np.array([1.0, 2.0, 3.0, 3.0]))))
    failing = [claim.name for claim in good if not claim.holds]
    assert failing == ["mean field: forgets the input, fixed noise"]
    bad = list(claims(known(-0.5, np.ones(4), np.array([3.0, 2.0, 1.0, 1.0]))))
    holding = {claim.name for claim in bad if claim.holds}
    assert not any("beats" in name or "vanishes" in name or "falls" in name for name in holding)
    assert "mean field: local elasticity grows" in holding
