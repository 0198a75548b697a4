"""Implicit regularization: Figure 3 of the neurashed paper, and batch size on the digits.

The paper (Section 3, Figure 3): with small mini-batches only features shared by many samples keep
growing, with large ones nearly all do; so small batches give sparser pathways, late in
training less variability within classes, and better generalization.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PyTree
from matplotlib.axes import Axes

from experiments.harness.claim import Claim, above, beyond, claim, within
from experiments.harness.dataset import dataset
from experiments.harness.figures import panels
from nsh import Geometric, Neurashed, Rules, SaveAt, TrainingProblem, WithReplacement, ensemble
from nsh.data import digits
from nsh.figures import Features, draw_phase_diagram, grouped_points
from nsh.measure import (
    Estimate,
    accuracy,
    effective_features,
    effective_number,
    estimate,
    observe,
    surviving_fraction,
    system_collapse,
)
from nsh.networks import digit_mlp
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import Constant, exact, figure3
from nsh.study.progress import Progress
from nsh.training import Snapshot

SOURCE = "arXiv 2112.09741, Section 3, Figure 3"
MEASURES = {
    "effective_features": "effective number of features of the last hidden layer",
    "survivors": "share of its units above 1% of the largest mean activation",
    "nc1": "within-class over between-class variability there, NC1",
    "test_accuracy": "accuracy on the test set",
    "train_accuracy": "accuracy on the training set",
}
TABLE = """
    survivors effective_number: batch seed [features]
    typical_effective_number: batch [features]
    surviving_fraction survival_probability: batch node [1]
    critical_firing: [1]
    batch: batch [samples]
    firing_share: node [1]
"""
CONDITIONS = ("small", "large, same updates", "large, same epochs")


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment."""

    seeds: int = 2048
    """Runs of neurashed for each batch size."""
    steps: int = 60
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16)
    growth: float = 1.02
    """Factor of g+; with `decay` it makes features survive that fire in 84% of the steps."""
    decay: float = 0.9
    """Factor of g-."""
    network_seeds: int = 32
    network_hidden: tuple[int, ...] = (64, 32)
    network_learning_rate: float = 0.1
    small_batch: int = 8
    large_batch: int = 128
    network_steps: int = 1600
    """Updates, of the small batch and, at equal updates, of the large one."""
    seed: int = 0


FULL = Config(seeds=16_384, network_seeds=128, network_steps=16_000)
TINY = Config(
    seeds=64, network_seeds=2, network_steps=32, network_hidden=(12, 8), batch_sizes=(1, 8),
)  # fmt: skip


class NetworkMeasures(eqx.Module):
    """What is recorded of a network: `MEASURES`, by name."""

    train: PyTree
    test: PyTree

    def __call__(self, now: Snapshot) -> dict[str, Any]:
        """All measures at one moment."""
        seen = observe(now.system, now.state, self.train)
        tested = observe(now.system, now.state, self.test)
        collapse = system_collapse(now.system, now.state, self.train, self.train.y, classes=CLASSES)
        return {
            "effective_features": effective_features(seen.features[-1]),
            "survivors": surviving_fraction(seen.features[-1]),
            "nc1": collapse.nc1,
            "test_accuracy": accuracy(tested.outputs, self.test.y),
            "train_accuracy": accuracy(seen.outputs, self.train.y),
        }


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Neurashed against its exact law, and networks at both batch sizes."""
    return xr.merge([_neurashed(config, progress), _networks(config, progress)])


def _neurashed(config: Config, progress: Progress) -> xr.Dataset:
    graph, inputs = figure3()
    # one start for all: what differs in the end was made by training
    start = Constant(0.005)
    system = Neurashed(graph, amplification_init=start)
    examples = system.prepare(inputs.x, inputs.y)
    rules = Rules(Geometric(config.growth), Geometric(config.decay))
    top = graph.node_slice(2)
    growth = []
    for size in config.batch_sizes:
        with progress(f"neurashed, batch size {size}", config.seeds) as advance:
            problem = TrainingProblem(
                system, examples, rules, steps=config.steps, sampler=WithReplacement(size)
            )
            result = ensemble(
                problem, jax.random.key(config.seed), seeds=config.seeds, callback=advance
            )
        growth.append(result.state.log_amplification[:, top] - jnp.log(start.value))
    log_growth = jnp.stack(growth)
    p = exact.firing_fractions(examples, graph.nodes)[top]
    sizes, steps = jnp.asarray(config.batch_sizes, float), jnp.asarray(config.steps, float)
    factors = jnp.asarray(config.growth), jnp.asarray(config.decay)
    q = exact.batch_firing_probability(p[None, :], sizes[:, None])
    survives = exact.survival_probability(q, *factors, steps)
    typical = effective_number(exact.log_moments(q, *factors, steps).mean)
    values = {
        "survivors": (log_growth > 0).sum(-1),
        "effective_number": effective_number(log_growth),
        "typical_effective_number": typical,
        "surviving_fraction": (log_growth > 0).mean(1),
        "survival_probability": survives,
        "critical_firing": exact.critical_firing_probability(*factors),
    }
    return dataset(TABLE, values, batch=list(config.batch_sizes), firing_share=p)


def _networks(config: Config, progress: Progress) -> xr.Dataset:
    system, data = digit_mlp(config.network_hidden, "relu"), digits()
    train = system.prepare(data.train_x, data.train_y)
    what = NetworkMeasures(train, system.prepare(data.test_x, data.test_y))
    same_epochs = max(config.network_steps * config.small_batch // config.large_batch, 1)
    measured = {}
    for size in (config.small_batch, config.large_batch):
        with progress(f"digits, batch size {size}", config.network_seeds) as advance:
            problem = TrainingProblem(
                system,
                train,
                {"optimiser": {"learning_rate": config.network_learning_rate}},
                steps=config.network_steps,
                sampler=WithReplacement(size),
                save=SaveAt(what, times=(same_epochs, config.network_steps)),
            )
            result = ensemble(
                problem,
                jax.random.key(config.seed),
                seeds=config.network_seeds,
                chunk=16,
                callback=advance,
            )
        measured[size] = result.saved
    small, large = (measured[size] for size in (config.small_batch, config.large_batch))
    cases = (small, 1), (large, 1), (large, 0)
    values = {
        f"network_{name}": np.stack([saved[name][:, time] for saved, time in cases])
        for name in MEASURES
    }
    lines = [
        f"network_{name}: condition network_seed [1] {text}" for name, text in MEASURES.items()
    ]
    return dataset("\n".join(lines), values, condition=list(CONDITIONS))


CAPTIONS = (
    "Neurashed: features of the top level that survive, and their effective number.",
    "Networks on the digits: test accuracy.",
    "Neurashed: which factors grow, for batch sizes and rates.",
    "Networks: neural collapse NC1 of the last hidden layer.",
    "Networks: effective number of features.",
    "Networks: share of units that survive.",
)
LABELS = {
    "test_accuracy": "test accuracy (share right)",
    "nc1": "NC1, last hidden layer",
    "effective_features": "effective number of features",
    "survivors": "surviving units (share)",
}


@panels(2, 3, CAPTIONS, height=2.2)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Survivors against batch size, the phase diagram, and the digits' measures."""
    groups = {
        "surviving features": dataset.survivors.values.T,
        "effective number": dataset.effective_number.values.T,
    }
    sizes = [str(size) for size in dataset.batch.values]
    grouped_points(ax[0], sizes, groups, ylabel="features of the top level")
    law, typical = dataset.survival_probability.sum("node"), dataset.typical_effective_number
    places = np.arange(len(sizes))
    ax[0].plot(places, law, color="black", linewidth=0.8, label="survivors, exact law")
    ax[0].plot(places, typical, "k:", linewidth=0.8, label="effective, mean growth law")
    ax[0].set_ylim(top=20)  # room for the legend
    ax[0].legend(loc="upper left")
    ax[0].set_xlabel("batch size (samples)")
    _phase_panel(ax[2], dataset)
    names = [condition.replace(" ", "\n") for condition in CONDITIONS]
    for panel, (name, label) in zip(ax[[1, 3, 4, 5]], LABELS.items(), strict=True):
        values = dataset[f"network_{name}"].values.T
        grouped_points(panel, names, {"digits": values}, ylabel=label)
        panel.set_xlabel("batch size, digits")


def _phase_panel(ax: Axes, dataset: xr.Dataset) -> None:
    config = json.loads(dataset.attrs["configuration"])
    p = np.geomspace(0.02, 1, 120)
    sizes = np.geomspace(1, 64, 100)
    q = exact.batch_firing_probability(jnp.asarray(p)[:, None], jnp.asarray(sizes)[None, :])
    factors = jnp.asarray(config["growth"]), jnp.asarray(config["decay"])
    exponent = exact.log_moments(q, *factors, jnp.asarray(1.0)).mean
    boundary = -np.expm1(np.log1p(-dataset.critical_firing.item()) / sizes)
    share = dataset.surviving_fraction.stack(point=("batch", "node"))
    features = Features(share.firing_share.values, share.batch.values, share.values > 0.5)
    draw_phase_diagram(ax, p, sizes, exponent, boundary, features=features)


STATEMENTS = {
    "effective_features": ("sparser", "small batches give sparser pathways", -1),
    "nc1": ("collapse", "small batches: less variability within classes, late", -1),
    "test_accuracy": ("generalization", "small-batch networks generalize better", 1),
}


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Simulation against the exact law, the effect of batch size, and what networks do."""
    for size in dataset.batch.values:
        at = dataset.sel(batch=size)
        count, exact_count = estimate(at.survivors), at.survival_probability.sum().item()
        # one seed's worth of count is the least that can be resolved
        count = Estimate(count.mean, max(count.standard_error, 1 / count.count), count.count)
        yield (
            claim(f"survivors, batch size {size}", SOURCE + "; exact binomial law")
            .says(f"{exact_count:.4f} features are expected to survive")
            .test("simulated mean count", count, within(exact_count))
        )
    rises = [estimate(rise) for rise in dataset.effective_number.diff("batch")]
    least = min(rises, key=lambda rise: rise.mean)
    yield (
        claim("effective number rises with batch size", SOURCE)
        .says("small batches keep only features that many samples share")
        .test("effective number, larger batch minus next smaller (least rise)", least, above(0))
    )
    small = dataset.sel(condition=CONDITIONS[0])
    for condition, (name, (title, statement, sign)) in product(CONDITIONS[1:], STATEMENTS.items()):
        change = small[f"network_{name}"] - dataset.sel(condition=condition)[f"network_{name}"]
        yield (
            claim(f"{title}, {condition.removeprefix('large, ')}", SOURCE)
            .says(statement)
            .test(f"digits: {MEASURES[name]}, small minus large", change, beyond(0, sign))
        )
