"""Claims of `experiments.feature_learning`: test errors over the dial, and what vanishes on it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds

DIAL, PHENOMENA = "arXiv 2012.13982 (NTK and mean-field views)", "arXiv 2112.09741, Section 3"
TASKS = {"teacher": "teacher-student", "digits": "digits"}
MEASURES = {
    "elasticity": "elasticity ratio",
    "input": "I(hidden; input)",
    "label": "I(hidden; label)",
    "input_fixed": "I(hidden; input), fixed noise",
    "label_fixed": "I(hidden; label), fixed noise",
    "features": "effective features",
}
"""By variable: what is watched of the digits."""
SHARE, TOLERANCE = 0.05, 0.3


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Who generalises better, what feature learning changes, and whether that vanishes."""
    found = [claim for task in TASKS for claim in _errors(dataset, task)]
    found += _of_feature_learning(dataset)
    found += [_vanishes(dataset, name) for name in MEASURES]
    return found + [_exponent(dataset, name) for name in ("elasticity", "input_fixed")]


def change(dataset: xr.Dataset, name: str) -> xr.DataArray:
    """End of training minus start, [seed, alpha]."""
    values = dataset[name]
    time = "when" if name == "elasticity" else "watched"
    return values.isel({time: -1}, drop=True) - values.isel({time: 0}, drop=True)


def at_equal_training_error(dataset: xr.Dataset, task: str) -> xr.DataArray:
    """Test errors [seed, alpha], each when the network had the seed's common training error.

    That is the last one of the seed's slowest network. Between recordings the test error is
    interpolated, both errors in logarithms.
    """
    train, test, step = dataset[f"{task}_train"], dataset[f"{task}_test"], f"{task}_step"
    level = train.isel({step: -1}).max("alpha")
    return xr.apply_ufunc(
        _crossing, train, test, level, input_core_dims=[[step], [step], []], vectorize=True
    )


def _crossing(train: np.ndarray, test: np.ndarray, level: float) -> float:
    """`test` where `train`, from above, first falls to `level`."""
    after = int(np.argmax(train <= level))
    around = slice(max(after - 1, 0), after + 1)
    x, y = np.log(train[around])[::-1], np.log(test[around])[::-1]
    return float(np.exp(np.interp(np.log(level), x, y)))


def _errors(dataset: xr.Dataset, task: str) -> list[Claim]:
    """Logarithms of quotients of test errors, by seed."""
    last = dataset.isel({f"{task}_step": -1})
    networks, kernel = last[f"{task}_test"], last[f"{task}_kernel_test"]
    equal = at_equal_training_error(dataset, task)
    better = "where features are learned, they adapt to the task; lazy training keeps those drawn"
    found = []
    for name, over, under, what in (
        ("mean field beats lazy", _lazy(networks), _mean_field(networks),
         "test errors after equal steps: largest alpha over alpha = 1"),
        ("mean field beats lazy, equal training error", _lazy(equal), _mean_field(equal),
         "test errors at equal training errors: largest alpha over alpha = 1"),
        ("mean field beats kernel regression", kernel, _mean_field(networks),
         "test errors after equal steps: the infinite width's kernel over alpha = 1"),
    ):  # fmt: skip
        ratio = over_seeds(np.log(over / under))
        found.append(Claim(
            f"{TASKS[task]}: {name}", DIAL, better,
            f"{what}, log above 0 by 2 SE",
            *ratio, ratio.above(0),
        ))  # fmt: skip
    ratio = over_seeds(np.log(_lazy(networks) / kernel))
    found.append(Claim(
        f"{TASKS[task]}: the lazy end is kernel regression", DIAL,
        "with infinite width the lazy end is kernel regression",
        "test errors after equal steps: largest alpha over kernel, log 0 within 0.1 + 2 SE",
        *ratio, ratio.within(0, 2, 0.1),
    ))  # fmt: skip
    return found


def _of_feature_learning(dataset: xr.Dataset) -> list[Claim]:
    """What happens at alpha = 1, with its expected sign."""
    expected = (
        ("local elasticity grows", "elasticity", 1, "networks that learn are locally elastic"),
        ("forgets the input", "input", -1, "networks compress: I(hidden; input) falls"),
        ("forgets the input, fixed noise", "input_fixed", -1, "the same, if noise does not grow"),
        ("learns the label", "label", 1, "I(hidden; label) rises"),
        ("becomes sparser", "features", -1, "few features dwarf the others"),
    )
    found = []
    for name, measure, sign, statement in expected:
        moved = over_seeds(_mean_field(change(dataset, measure)))
        word = "above" if sign > 0 else "below"
        found.append(Claim(
            f"mean field: {name}", PHENOMENA, statement,
            f"digits, alpha = 1: {MEASURES[measure]}, end minus start: {word} 0 by 2 SE",
            *moved, moved.beyond(0, sign),
        ))  # fmt: skip
    return found


def _vanishes(dataset: xr.Dataset, name: str) -> Claim:
    moved = change(dataset, name)
    share = over_seeds(_lazy(moved) / float(_mean_field(moved).mean()))
    return Claim(
        f"{MEASURES[name]}: its change vanishes in the lazy regime", DIAL,
        "lazy training leaves the features as they are drawn",
        f"change at the largest alpha over that at alpha = 1: |share| + 2 SE <= {SHARE}",
        *share, share.surely_within(0, SHARE),
    )  # fmt: skip


def _exponent(dataset: xr.Dataset, name: str) -> Claim:
    slope = exponent(dataset, name)
    return Claim(
        f"{MEASURES[name]}: its change falls as alpha^-2", DIAL,
        "from a symmetric start the change of order 1 / alpha cancels within pairs of units",
        f"log-log slope of the mean change for alpha >= sqrt(m) / 2 -2 within {TOLERANCE} + 2 SE",
        *slope, slope.within(-2, 2, TOLERANCE),
    )  # fmt: skip


def exponent(dataset: xr.Dataset, name: str) -> Estimate:
    """Slope of log |mean change| in log alpha at the lazy end, with its jackknife error."""
    lazy = dataset.alpha.values >= np.sqrt(dataset.attrs["width"]) / 2
    values = change(dataset, name).transpose("digits_seed", "alpha").values[:, lazy]

    def slope(means: np.ndarray) -> np.ndarray:
        return np.polyfit(np.log(dataset.alpha.values[lazy]), np.log(np.abs(means)).T, 1)[0]

    n = len(values)
    without = slope((values.sum(0) - values) / (n - 1))
    error = np.sqrt((n - 1) * np.mean((without - without.mean()) ** 2))
    return Estimate(float(slope(values.mean(0)[None])[0]), float(error))


def _mean_field(values: xr.DataArray) -> xr.DataArray:
    return values.sel(alpha=1.0)


def _lazy(values: xr.DataArray) -> xr.DataArray:
    return values.isel(alpha=-1, drop=True)
