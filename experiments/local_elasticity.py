"""Local elasticity: Figures 5 and 6 of the neurashed paper, and networks on the digits.

The paper (Section 3, Figures 5 and 6): an update at one input moves the logits of inputs of the
same class much, of a similar subclass most, and of other classes little. Deep networks show it,
linear classifiers do not, and neurashed does because similar inputs share their pathways.

Late in a run at batch size 1 neurashed loses it: which class has had more samples drifts, so one
class's logits come to dwarf the other's, and then an update in the smaller class moves the larger
class's logits more, by decay alone, than its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Int, Key, PyTree

from experiments.harness.claim import Claim, above, claim
from experiments.harness.dataset import dataset
from experiments.harness.figures import panels
from nsh import Neurashed, SaveAt, TrainingProblem, WithReplacement, ensemble
from nsh.data import digits, subclasses
from nsh.figures import curves, grouped_points, histograms
from nsh.measure import accuracy, elasticity_contrast, elasticity_matrix, observe
from nsh.networks import digit_cnn, digit_linear, digit_mlp
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import figure6, figure6_rules
from nsh.study.progress import Progress
from nsh.training import Snapshot

SOURCE = "arXiv 2112.09741, Section 3, Figures 5 and 6"
PAIRS = ("within subclass", "within class", "across classes")
MOST_SHOWN = 1.5
SYSTEMS = {
    "neurashed": "neurashed, Figure 6",
    "MLP": "MLP, digits",
    "CNN": "CNN, digits",
    "linear": "linear classifier, digits",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment."""

    seeds: int = 256
    """Runs of neurashed."""
    steps: int = 50
    """Steps of neurashed before the measurement, mini-batches of one sample."""
    late_steps: int = 300
    """Steps before it is measured once more."""
    network_seeds: int = 16
    """Runs of each network and of the linear classifier."""
    network_hidden: tuple[int, ...] = (64, 32)
    network_channels: tuple[int, ...] = (8, 16)
    network_steps: int = 1000
    network_batch: int = 32
    network_learning_rates: tuple[float, float, float] = (0.1, 0.3, 0.3)
    """Of MLP, CNN and linear classifier: with these all three come to about 96% on the test set."""
    per_subclass: int = 5
    """Training digits probed from each of the two subclasses (by k-means) of each class."""
    seed: int = 0


FULL = Config(seeds=8192, network_seeds=128, network_steps=4000, per_subclass=15)
TINY = Config(
    seeds=4, steps=10, late_steps=20, network_seeds=2, network_steps=20, per_subclass=2,
    network_channels=(2, 3), network_hidden=(8, 6),
)  # fmt: skip


class Elasticity(eqx.Module):
    """What is recorded: local elasticity between all probes, and accuracy on the test set."""

    probes: PyTree
    test: PyTree
    test_labels: Int[Array, " test"]
    key: Key[Array, ""]

    def __call__(self, now: Snapshot) -> tuple[Array, Array]:
        """The matrix (row = updated example, column = probe) and the accuracy."""
        matrix = elasticity_matrix(now.system, now.state, now.hyper, self.probes, self.key)
        logits = observe(now.system, now.state, self.test).outputs
        return matrix, accuracy(logits, self.test_labels)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Matrices of local elasticity for all seeds of all systems, and what they come to."""
    return xr.merge([_neurashed(config, progress), *_networks(config, progress)])


def _neurashed(config: Config, progress: Progress) -> xr.Dataset:
    graph, inputs = figure6()
    system = Neurashed(graph)
    examples, labels = system.prepare(inputs.x, inputs.y), jnp.asarray(inputs.y)
    rules = figure6_rules(graph)
    run_key, step_key = jax.random.split(jax.random.key(config.seed))
    what = Elasticity(examples, examples, labels, step_key)
    every = max(config.late_steps // 12, 1)
    times = sorted({*range(0, config.late_steps, every), config.steps, config.late_steps})
    with progress("elasticity, neurashed", config.seeds) as advance:
        problem = TrainingProblem(
            system, examples, rules, steps=times[-1], save=SaveAt(what, times=times)
        )
        result = ensemble(problem, run_key, seeds=config.seeds, callback=advance)
    matrices, accuracies = result.saved
    at = times.index(config.steps)
    *means, _ = _contrast(matrices.reshape(-1, *matrices.shape[2:]), labels, inputs.subclass)
    over_time = np.stack(means, axis=-1).reshape(*matrices.shape[:2], 3)
    made = _as_dataset("neurashed", matrices[:, at], accuracies[:, at], labels, inputs.subclass)
    table = """
        neurashed_over_time: neurashed_seed neurashed_step pairs [1]
        neurashed_step: neurashed_step [backpropagations]
    """
    values = {"neurashed_over_time": over_time}
    return made.merge(dataset(table, values, neurashed_step=result.times))


def _networks(config: Config, progress: Progress) -> list[xr.Dataset]:
    systems = {
        "MLP": digit_mlp(config.network_hidden, "relu"),
        "CNN": digit_cnn(config.network_channels),
        "linear": digit_linear(),
    }
    data = digits()
    groups = subclasses(data.train_x, data.train_y)
    chosen = np.concatenate(
        [np.flatnonzero(groups == group)[: config.per_subclass] for group in range(2 * CLASSES)]
    )
    run_key, step_key = jax.random.split(jax.random.key(config.seed))
    made = []
    rates = config.network_learning_rates
    for (name, system), rate in zip(systems.items(), rates, strict=True):
        examples = system.prepare(data.train_x, data.train_y)
        test = system.prepare(data.test_x, data.test_y)
        probes = jax.tree.map(lambda leaf: leaf[chosen], examples)
        what = Elasticity(probes, test, test.y, step_key)
        with progress(f"elasticity, {name}", config.network_seeds) as advance:
            problem = TrainingProblem(
                system,
                examples,
                {"optimiser": {"learning_rate": rate}},
                steps=config.network_steps,
                sampler=WithReplacement(config.network_batch),
                save=SaveAt(what, times=(config.network_steps,)),
            )
            result = ensemble(
                problem, run_key, seeds=config.network_seeds, chunk=16, callback=advance
            )
        matrices, accuracies = (leaf[:, 0] for leaf in result.saved)
        made.append(_as_dataset(name, matrices, accuracies, data.train_y[chosen], groups[chosen]))
    return made


def _contrast(matrices: Any, labels: Any, groups: Any) -> tuple[np.ndarray, ...]:
    """Mean elasticity of the three kinds of pairs, and the ratio, for each matrix."""
    classes, subgroups = jnp.asarray(labels), jnp.asarray(groups)
    contrast = jax.vmap(lambda m: elasticity_contrast(m, classes, subgroups))(jnp.asarray(matrices))
    return tuple(np.asarray(part) for part in jax.tree.leaves(contrast))


def _as_dataset(name: str, matrices: Any, accuracies: Any, labels: Any, groups: Any) -> xr.Dataset:
    *means, ratio = _contrast(matrices, labels, groups)
    table = f"""
        {name}_elasticity: {name}_seed {name}_updated {name}_probe [1]
        {name}_contrast: {name}_seed pairs [1]
        {name}_ratio {name}_accuracy: {name}_seed [1]
    """
    values = (matrices, np.stack(means, axis=-1), ratio, accuracies)
    names = (f"{name}_{of}" for of in ("elasticity", "contrast", "ratio", "accuracy"))
    made = dataset(table, dict(zip(names, values, strict=True)), pairs=list(PAIRS))
    kinds = {"class": labels, "subclass": groups}
    probe = f"{name}_probe"
    return made.assign_coords({f"{name}_{of}": (probe, np.asarray(v)) for of, v in kinds.items()})


CAPTIONS = (
    "Neurashed: density of local elasticity for each kind of pair.",
    "Neurashed: mean local elasticity through training.",
    "Networks on the digits: elasticity within classes over that across.",
    "MLP: density of local elasticity.",
    "CNN: density of local elasticity.",
    "Linear classifier: density of local elasticity.",
)


@panels(2, 3, CAPTIONS, height=2.1)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Histograms of local elasticity for each kind of pair, its course, and the ratios."""
    bins, xlabel = np.linspace(0, MOST_SHOWN, 41), f"local elasticity (last bin: ≥ {MOST_SHOWN})"
    for panel, name in zip((ax[0], *ax[3:]), SYSTEMS, strict=True):
        groups = _by_pairs(dataset, name)
        clipped = {pairs: np.minimum(values, MOST_SHOWN) for pairs, values in groups.items()}
        histograms(panel, clipped, bins, xlabel=xlabel)
        panel.set(title=SYSTEMS[name], ylabel="density")
        if panel is not ax[0]:
            panel.get_legend().remove()  # the first panel's serves for all
    ax[0].get_legend().set_loc((0.08, 0.4))  # between the peaks
    kinds = {pairs: dataset.neurashed_over_time.sel(pairs=pairs).values for pairs in PAIRS}
    curves(ax[1], dataset.neurashed_step, kinds, ylabel="mean local elasticity")
    ax[1].set_yscale("log")
    ax[1].set_title("neurashed, through training")
    ratios = {name: dataset[f"{name}_ratio"].values[:, None] for name in list(SYSTEMS)[1:]}
    values = {"digits": np.concatenate(list(ratios.values()), axis=1)}
    grouped_points(ax[2], list(ratios), values, ylabel="elasticity, within / across")


def _by_pairs(dataset: xr.Dataset, name: str) -> dict[str, np.ndarray]:
    values = dataset[f"{name}_elasticity"].values
    labels, groups = dataset[f"{name}_class"].values, dataset[f"{name}_subclass"].values
    same_class, same_group = labels[:, None] == labels, groups[:, None] == groups
    different = ~np.eye(len(labels), dtype=bool)
    masks = (same_group & different, same_class & ~same_group, ~same_class)
    return {pairs: values[:, mask].ravel() for pairs, mask in zip(PAIRS, masks, strict=True)}


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """The order of pairs in every system, and networks against the linear classifier."""
    late = dataset.neurashed_over_time.isel(neurashed_step=-1)
    means = {name: dataset[f"{name}_contrast"] for name in ("neurashed", "MLP", "CNN")}
    means[f"neurashed at step {late.neurashed_step.item()}"] = late
    for (name, mean), (closer, farther) in product(means.items(), pairwise(PAIRS)):
        change = mean.sel(pairs=closer) - mean.sel(pairs=farther)
        yield (
            claim(f"{name}: {closer} > {farther}", SOURCE)
            .says("local elasticity is the larger, the more alike the inputs")
            .test("difference of mean local elasticity", change, above(0))
        )
    quantity = "digits: ratio within / across classes minus the linear classifier's"
    for name in ("MLP", "CNN"):
        change = dataset[f"{name}_ratio"].values - dataset["linear_ratio"].values
        yield (
            claim(f"{name} more elastic than linear", SOURCE)
            .says("deep networks are locally elastic, linear classifiers are not")
            .test(quantity, change, above(0))
        )
