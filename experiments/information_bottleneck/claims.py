"""What the paper says of Figure 4, and what networks do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from experiments.harness.claim import Claim, above, at_least, at_most, below, claim, within
from nsh.measure import estimate

READINGS = ("shared", "own")
SOURCE = "arXiv 2112.09741, Section 3, Figure 4"
NETWORKS = "arXiv 2112.09741, Section 3 (information bottleneck)"


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """What the paper says of Figure 4, for both readings of it, and what networks do."""
    for reading in READINGS:
        yield from _of_reading(dataset.sel(level=2, reading=reading), f"({reading} 7th node)")
    mean = dataset[["input", "input_lower", "input_upper"]].mean("seed")
    # all seeds share their draws, so errors do not average out; 1e-5 bits are for rounding
    error = dataset.input_error.mean("seed") + 1e-5
    outside = np.maximum(mean.input_lower - mean.input, mean.input - mean.input_upper) / error
    violation = "largest violation over steps, levels, readings, in Monte Carlo standard errors"
    yield (
        claim("bounds hold", "Kolchinsky and Tracey, Entropy 2017")
        .says("pairwise lower bound <= I(level; input) <= pairwise upper bound")
        .test(violation, outside.max(), at_most(3))
    )
    for activation in dataset.activation.values:
        bits = dataset.network_input.sel(activation=activation).isel(network_level=-1)
        peak = int(bits.mean("network_seed").argmax("network_step"))
        drop = bits.isel(network_step=peak) - bits.isel(network_step=-1)
        yield (
            claim(f"{activation} network compresses", NETWORKS)
            .says("deep networks fit first and compress afterwards")
            .test("digits: I(last hidden layer; input), peak minus end, bits", drop, above(0.1))
        )


def _of_reading(top: xr.Dataset, where: str) -> list[Claim]:
    bits, mean_label = top.input, top.label.mean("seed").values
    at_peak = bits.isel(step=int(bits.mean("seed").argmax("step")))
    reached = int(np.argmax(mean_label >= 0.99))
    lowest = estimate(top.label.isel(step=reached + int(np.argmin(mean_label[reached:]))))
    kept = at_least(0.99, 0).of_worst("the lowest")
    rise = "the second level learns to distinguish patterns within a class, towards 2 bits"
    information = "I(level 2; input) in bits, mean"
    return [
        claim(f"starts low {where}", SOURCE)
        .says("training starts with little information")
        .test(f"{information} at step 0", bits.isel(step=0), below(0.6, 0)),
        claim(f"each run peaks {where}", SOURCE)
        .says(rise)
        .test(f"{information} of each run's largest", bits.max("step"), above(1.8, 0)),
        claim(f"the mean curve peaks {where}", SOURCE)
        .says(rise)
        .test(f"{information}, largest of all steps", at_peak, above(1.8, 0)),
        claim(f"compresses {where}", SOURCE)
        .says("the dominant node dwarfs the others: falls to 1 bit")
        .test(f"{information} at the end", bits.isel(step=-1), within(1, 0, 0.1)),
        claim(f"keeps the label {where}", SOURCE)
        .says("I(level 2; label) rises to 1 bit and stays")
        .test("I(level 2; label) in bits, mean, from where it reaches 0.99", lowest, kept),
    ]
