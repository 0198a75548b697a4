"""What is claimed of effective sample sizes, and whether it holds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import rankdata, spearmanr

from experiments.effective_sample_size.model import (
    FACTORS,
    effective_sample_size,
)
from experiments.harness.claim import Claim
from experiments.harness.statistics import Estimate, over_seeds
from experiments.rare_features import DECAY, GROWTH

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


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The model's effective sample size and what it is good for; the digits."""
    return [*_model(dataset), *_digits(dataset)]


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
    q = firing(dataset)
    spread = np.maximum(q.std("seed", ddof=1) / np.sqrt(q.sizes["seed"]), least)
    deviation = float(abs((q.mean("seed") - dataset.law) / spread).max())
    rare = Estimate(*(part.isel(batch=0, own=0, sharing=-1).item() for part in (size, error)))
    own = dataset.own.values[0]
    found = [
        Claim(
            "growth follows the effective sample size", LAW,
            "a path grows as that of a class of n_eff samples that shares nothing",
            "largest deviation of a path's mean firing from the law, over all batch sizes, own "
            "samples and degrees of sharing: at most 4 of its standard errors",
            deviation, None, deviation <= 4,
        ),
        Claim(
            "sharing counts as samples", OUTLOOK,
            f"{own} samples and full sharing make a class's path grow as many more would",
            "batch size 1: effective sample size above the number of own samples by 2 SE",
            *rare, rare.above(own),
        ),
    ]  # fmt: skip
    logit = dataset.logit.isel(batch=0, own=0)
    growth = logit.isel(step=-1) - logit.isel(step=0)
    alone, shared = (over_seeds(growth.isel(sharing=place)) for place in (0, -1))
    fades = alone.below(0)
    gained = over_seeds(growth.isel(sharing=-1) - growth.isel(sharing=0))
    found.append(Claim(
        "learnt though too rare to be learnt alone", OUTLOOK,
        f"{own} samples: the class's logit fades without sharing and grows with it",
        "batch size 1: log logit over training falls by 2 SE without sharing, rises by 2 SE with "
        "full sharing (difference shown)",
        *gained, bool(fades and shared.above(0)),
    ))  # fmt: skip
    ends = {"own": 0, "sharing": -1, "batch": [0, -1]}
    (small, large), errors = size.isel(ends).values, error.isel(ends).values
    change = Estimate(small - large, float(np.hypot(*errors)))
    return [*found, Claim(
        "sharing is worth less in large batches", LAW,
        "large batches show most features at each step, whoever has them",
        f"effective sample size, batch size {dataset.batch.values[0]} minus "
        f"{dataset.batch.values[-1]}: above 0 by 2 SE",
        *change, change.above(0),
    ), *_recall(dataset, size)]  # fmt: skip


def _recall(dataset: xr.Dataset, size: xr.DataArray) -> list[Claim]:
    recall = dataset.recall.isel(batch=0)
    found = []
    everyone, rarest = slice(None), slice(0, 1)
    for name, step, own, whom in (
        ("early", 1, everyone, "mean over numbers of own samples"),
        ("at the end", -1, everyone, "mean over numbers of own samples"),
        ("at the end, of the rarest", -1, rarest, f"{dataset.own.values[0]} own samples"),
    ):
        at = recall.isel(step=step, own=own)
        gain = over_seeds((at.isel(sharing=-1) - at.isel(sharing=0)).mean("own"))
        found.append(Claim(
            f"sharing raises recall, {name}", OUTLOOK,
            "a rare class that shares its features is recognised more often",
            f"noisy inputs, batch size 1, step {at.step.item()}, {whom}: recall with full sharing "
            "minus without, above 0 by 2 SE",
            *gain, gain.above(0),
        ))  # fmt: skip
    at = recall.isel(step=1)
    alone = at.isel(sharing=0).transpose("seed", "own").values
    wanted = size.isel(batch=0, own=0, sharing=-1).item()
    equal = [np.interp(wanted, dataset.own, row) for row in alone]
    change = over_seeds(at.isel(own=0, sharing=-1).values - np.array(equal))
    return [*found, Claim(
        "equal effective size, equal recall", LAW,
        "what grows alike is recognised alike",
        f"{dataset.own.values[0]} own samples, full sharing, step {at.step.item()}: recall minus "
        "that of an unshared class of that effective size (interpolated): within 2 SE of 0",
        *change, change.within(0, 2),
    )]  # fmt: skip


def falls(dataset: xr.Dataset, system: str) -> np.ndarray:
    """Recall of each class with none thinned minus with it thinned: [seed, class]."""
    return dataset[system].values[:, 0] - dataset[system].values[:, 1]


def rank_correlations(per_seed: np.ndarray, predictor: np.ndarray) -> np.ndarray:
    """Of each seed's values [seed, class] with a predictor [class] or [seed, class]: [seed]."""
    both = [rankdata(v, axis=1) for v in (per_seed, np.broadcast_to(predictor, per_seed.shape))]
    a, b = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in both)
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return (a * b).sum(axis=1) / np.maximum(norm, 1e-12)


def at_equal(per_seed: np.ndarray, predictor: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """`rank_correlations` with a predictor when another is held fixed."""
    values = np.broadcast_to(predictor, per_seed.shape)
    plain, first = (rank_correlations(per_seed, other) for other in (predictor, fixed))
    second = rank_correlations(values, fixed)
    rest = (1 - first**2) * (1 - second**2)
    return (plain - first * second) / np.sqrt(np.maximum(rest, 1e-6))


def _digits(dataset: xr.Dataset) -> list[Claim]:
    network, model = falls(dataset, "network"), falls(dataset, "neurashed")
    found = []
    for name, values in (("MLP", network), ("neurashed", model)):
        fall = over_seeds(values.mean(axis=1))
        found.append(Claim(
            f"a thinned class is recognised less, {name}", "nsh",
            "a tenth of a class's samples costs recall",
            "digits: recall with equal classes minus with the class thinned, mean over classes, "
            "above 0 by 2 SE",
            *fall, fall.above(0),
        ))  # fmt: skip
    for name, text in PREDICTORS.items():
        said = RIVAL if name == "isolation" else SHARING
        per_system = {"MLP": network} if name != "rules" else {"MLP": network, "neurashed": model}
        for system, values in per_system.items():
            title = f"{text} saves a thinned class, {system}"
            found.append(_predicts(title, said, values, dataset[name].values, -1))
    apart = over_seeds(at_equal(network, dataset.rules.values, dataset.isolation.values))
    found.append(Claim(
        "sharing of rules saves at equal isolation, MLP", OUTLOOK, SHARING,
        "digits: partial rank correlation over the 10 classes with the fall of recall, isolation "
        "held fixed, mean over seeds, below 0 by 2 SE (added after the others had been seen)",
        *apart, apart.below(0),
    ))  # fmt: skip
    said = "neurashed on the digits loses the classes that the network loses"
    title = "neurashed tells which class falls, MLP"
    return [*found, _predicts(title, said, network, model, 1)]


def _predicts(
    name: str, statement: str, per_seed: np.ndarray, predictor: np.ndarray, sign: int
) -> Claim:
    found = over_seeds(rank_correlations(per_seed, predictor))
    means = predictor.reshape(-1, predictor.shape[-1]).mean(axis=0)
    statistic, p = np.asarray(spearmanr(per_seed.mean(axis=0), means))
    right = bool(found.beyond(0, sign) and p < 0.05)
    words = "above" if sign > 0 else "below"
    return Claim(
        name, OUTLOOK if statement == SHARING else "nsh", statement,
        "digits: rank correlation over the 10 classes with the fall of recall, mean over seeds, "
        f"{words} 0 by 2 SE, and that of the mean falls has p < 0.05 over classes "
        f"(it is {statistic:.2f}, p = {p:.2g})",
        *found, right,
    )  # fmt: skip
