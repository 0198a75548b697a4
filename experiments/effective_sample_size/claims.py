"""What is claimed of effective sample sizes, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from experiments.effective_sample_size.model import FACTORS, effective_sample_size
from experiments.harness.claim import Claim, above, also, at_most, below, beyond, claim, within
from experiments.rank_correlation import rank_correlation
from experiments.rare_features import DECAY, GROWTH
from nsh.measure import Estimate, estimate

OUTLOOK = "arXiv 2112.09741, Section 4"
LAW = "nsh; exact law of geometric rules"
PREDICTORS = {
    "pixels": "sharing of pixels",
    "rules": "sharing of the rules found in the data",
    "units": "sharing of the network's hidden units",
    "isolation": "isolation",
}
SHARING = "classes that share features with others need fewer samples of their own"
RIVAL = "a rival: classes that lie apart from the others need fewer samples"
FALL = "digits: rank correlation over the 10 classes with the fall of recall, mean over seeds"


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """The model's effective sample size and what it is good for; the digits."""
    yield from _model(dataset)
    yield from _recall(dataset)
    yield from _digits(dataset)


def firing(dataset: xr.Dataset) -> xr.DataArray:
    """Mean share of steps in which a path's factors fired, from its growth: [..., seed]."""
    steps = dataset.step.values[-1]
    growth = (dataset.path.isel(step=-1) - dataset.path.isel(step=0)) / (steps * FACTORS)
    return (growth - np.log(DECAY)) / (np.log(GROWTH) - np.log(DECAY))


def measured_size(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Effective sample size of mean growth over seeds, and its standard error, [batch, ...]."""
    q, count, batch = firing(dataset), dataset["count"].item(), dataset.batch
    mean, error = q.mean("seed"), q.std("seed", ddof=1) / np.sqrt(q.sizes["seed"])
    size = mean.copy(data=effective_sample_size(mean, batch.values[:, None, None], count))
    slope = count / batch * (1 - mean) ** (1 / batch - 1)
    return size, slope * error


def _model(dataset: xr.Dataset) -> list[Claim]:
    size, error = measured_size(dataset)
    least = 1 / (dataset.step.values[-1] * dataset.sizes["seed"])
    q = estimate(firing(dataset).transpose("seed", ...), 0)
    deviation = np.abs((q.mean - dataset.law) / np.maximum(q.standard_error, least)).max()
    own, (small, *_, large) = dataset.own.values[0], dataset.batch.values
    ends = {"own": 0, "sharing": -1, "batch": [0, -1]}
    sizes, errors = size.isel(ends).values, error.isel(ends).values
    rare = Estimate(sizes[0], errors[0], q.count)
    change = Estimate(sizes[0] - sizes[1], np.hypot(*errors), q.count)
    logit = dataset.logit.isel(batch=0, own=0)
    growth = logit.isel(step=-1) - logit.isel(step=0)
    alone, shared = growth.isel(sharing=0), growth.isel(sharing=-1)
    both = also("without sharing", alone, below(0)) & also("with full", shared, above(0))
    return [
        claim("growth follows the effective sample size", LAW)
        .says("a path grows as that of a class of n_eff samples that shares nothing")
        .test("mean firing of paths minus the law's, in SE, largest", deviation, at_most(4)),
        claim("sharing counts as samples", OUTLOOK)
        .says(f"{own} samples and full sharing make a class's path grow as many more would")
        .test("batch size 1: effective sample size", rare, above(own)),
        claim("learnt though too rare to be learnt alone", OUTLOOK)
        .says(f"{own} samples: the class's logit fades without sharing and grows with it")
        .test("batch size 1, growth of log logit (difference shown)", shared - alone, both),
        claim("sharing is worth less in large batches", LAW)
        .says("large batches show most features at each step, whoever has them")
        .test(f"effective sample size, batch size {small} minus {large}", change, above(0)),
    ]


def _recall(dataset: xr.Dataset) -> Iterator[Claim]:
    recall, own = dataset.recall.isel(batch=0), dataset.own.values[0]
    everyone = "mean over numbers of own samples"
    for name, step, some, whom in (
        ("early", 1, slice(None), everyone),
        ("at the end", -1, slice(None), everyone),
        ("at the end, of the rarest", -1, slice(0, 1), f"{own} own samples"),
    ):
        at = recall.isel(step=step, own=some)
        gain = (at.isel(sharing=-1) - at.isel(sharing=0)).mean("own")
        where = f"noisy inputs, batch size 1, step {at.step.item()}, {whom}"
        yield (
            claim(f"sharing raises recall, {name}", OUTLOOK)
            .says("a rare class that shares its features is recognised more often")
            .test(f"{where}: recall with full sharing minus without", gain, above(0))
        )
    at = recall.isel(step=1)
    alone = at.isel(sharing=0).transpose("seed", "own").values
    wanted = measured_size(dataset)[0].isel(batch=0, own=0, sharing=-1).item()
    equal = np.array([np.interp(wanted, dataset.own, row) for row in alone])
    change = at.isel(own=0, sharing=-1).values - equal
    where = f"{own} own samples, full sharing, step {at.step.item()}"
    unshared = "that of an unshared class of that effective size (interpolated)"
    yield (
        claim("equal effective size, equal recall", LAW)
        .says("what grows alike is recognised alike")
        .test(f"{where}: recall minus {unshared}", change, within(0, 2))
    )


def falls(dataset: xr.Dataset, system: str) -> np.ndarray:
    """Recall of each class with none thinned minus with it thinned: [seed, class]."""
    return dataset[system].values[:, 0] - dataset[system].values[:, 1]


def at_equal(per_seed: np.ndarray, predictor: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Partial `rank_correlation` of each seed with a predictor when another is held fixed."""
    plain, first = (rank_correlation(per_seed, other) for other in (predictor, fixed))
    second = rank_correlation(predictor, fixed)
    rest = (1 - first**2) * (1 - second**2)
    return (plain - first * second) / np.sqrt(np.maximum(rest, 1e-6))


def _digits(dataset: xr.Dataset) -> Iterator[Claim]:
    network, model = falls(dataset, "network"), falls(dataset, "neurashed")
    for name, lost in (("MLP", network), ("neurashed", model)):
        yield (
            claim(f"a thinned class is recognised less, {name}", "nsh")
            .says("a tenth of a class's samples costs recall")
            .test("digits: recall lost when thinned, mean over classes", lost.mean(1), above(0))
        )
    for name, text in PREDICTORS.items():
        statement = RIVAL if name == "isolation" else SHARING
        systems = {"MLP": network} | ({"neurashed": model} if name == "rules" else {})
        for system, lost in systems.items():
            title = f"{text} saves a thinned class, {system}"
            yield _predicts(title, statement, lost, dataset[name].values, -1)
    partial = at_equal(network, dataset.rules.values, dataset.isolation.values)
    yield (
        claim("sharing of rules saves at equal isolation, MLP", OUTLOOK)
        .says(SHARING)
        .test(f"{FALL}, isolation held fixed (added after seeing the others)", partial, below(0))
    )
    statement = "neurashed on the digits loses the classes that the network loses"
    yield _predicts("neurashed tells which class falls, MLP", statement, network, model, 1)


def _predicts(
    name: str, statement: str, lost: np.ndarray, predictor: np.ndarray, sign: int
) -> Claim:
    means = predictor.reshape(-1, predictor.shape[-1]).mean(axis=0)
    statistic, p = np.asarray(spearmanr(lost.mean(axis=0), means))
    over_classes = f"p over classes of that of the mean falls ({statistic:.2f}, p = {p:.2g})"
    return (
        claim(name, OUTLOOK if statement == SHARING else "nsh")
        .says(statement)
        .test(
            FALL,
            rank_correlation(lost, predictor),
            beyond(0, sign) & also(over_classes, p, below(0.05)),
        )
    )
