"""Claims of `experiments.feature_learning`: test errors over the dial, and what vanishes on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, beyond, claim, surely_within, within
from nsh.measure import Estimate

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
# what happens at alpha = 1: name, measure, sign, what is said
AT_ALPHA_1 = (
    ("local elasticity grows", "elasticity", 1, "networks that learn are locally elastic"),
    ("forgets the input", "input", -1, "networks compress: I(hidden; input) falls"),
    ("forgets the input, fixed noise", "input_fixed", -1, "the same, if noise does not grow"),
    ("learns the label", "label", 1, "I(hidden; label) rises"),
    ("becomes sparser", "features", -1, "few features dwarf the others"),
)
CANCELS = "from a symmetric start the change of order 1 / alpha cancels within pairs of units"
SHARE, TOLERANCE = 0.05, 0.3


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Who generalises better, what feature learning changes, and whether that vanishes."""
    for task in TASKS:
        yield from _errors(dataset, task)
    for name, measure, sign, statement in AT_ALPHA_1:
        moved = _mean_field(change(dataset, measure))
        quantity = f"{MEASURES[measure]}, end minus start"
        yield (
            claim(f"mean field: {name}", PHENOMENA)
            .says(statement)
            .test(f"digits, alpha = 1: {quantity}", moved, beyond(0, sign))
        )
    for name, measure in MEASURES.items():
        moved = change(dataset, name)
        share = _lazy(moved) / float(_mean_field(moved).mean())
        yield (
            claim(f"{measure}: its change vanishes in the lazy regime", DIAL)
            .says("lazy training leaves the features as they are drawn")
            .test("change, largest alpha over alpha = 1", share, surely_within(0, SHARE))
        )
    for name in ("elasticity", "input_fixed"):
        slope, near = exponent(dataset, name), within(-2, 2, TOLERANCE)
        yield (
            claim(f"{MEASURES[name]}: its change falls as alpha^-2", DIAL)
            .says(CANCELS)
            .test("log-log slope of the mean change for alpha >= sqrt(m) / 2", slope, near)
        )


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
    last, name = dataset.isel({f"{task}_step": -1}), TASKS[task]
    networks, kernel = last[f"{task}_test"], last[f"{task}_kernel_test"]
    equal, over = at_equal_training_error(dataset, task), "largest alpha over alpha = 1"
    after_equal = np.log(_lazy(networks) / _mean_field(networks))
    at_equal = np.log(_lazy(equal) / _mean_field(equal))
    to_kernel = np.log(kernel / _mean_field(networks))
    end = np.log(_lazy(networks) / kernel)
    better = "where features are learned, they adapt to the task; lazy training keeps those drawn"
    steps = "log of test errors after equal steps"
    return [
        claim(f"{name}: mean field beats lazy", DIAL)
        .says(better)
        .test(f"{steps}: {over}", after_equal, above(0)),
        claim(f"{name}: mean field beats lazy, equal training error", DIAL)
        .says(better)
        .test(f"log of test errors at equal training errors: {over}", at_equal, above(0)),
        claim(f"{name}: mean field beats kernel regression", DIAL)
        .says(better)
        .test(f"{steps}: the infinite width's kernel over alpha = 1", to_kernel, above(0)),
        claim(f"{name}: the lazy end is kernel regression", DIAL)
        .says("with infinite width the lazy end is kernel regression")
        .test(f"{steps}: largest alpha over kernel", end, within(0, 2, 0.1)),
    ]


def exponent(dataset: xr.Dataset, name: str) -> Estimate:
    """Slope of log |mean change| in log alpha at the lazy end, with its jackknife error."""
    lazy = dataset.alpha.values >= np.sqrt(dataset.attrs["width"]) / 2
    values = change(dataset, name).transpose("digits_seed", "alpha").values[:, lazy]

    def slope(means: np.ndarray) -> np.ndarray:
        return np.polyfit(np.log(dataset.alpha.values[lazy]), np.log(np.abs(means)).T, 1)[0]

    n = len(values)
    without = slope((values.sum(0) - values) / (n - 1))
    error = np.sqrt((n - 1) * np.mean((without - without.mean()) ** 2))
    return Estimate(slope(values.mean(0)[None])[0], error, n)


def _mean_field(values: xr.DataArray) -> xr.DataArray:
    return values.sel(alpha=1.0)


def _lazy(values: xr.DataArray) -> xr.DataArray:
    return values.isel(alpha=-1, drop=True)
