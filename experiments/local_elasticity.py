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
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Int, Key, PyTree
from matplotlib.figure import Figure

from experiments.harness.claim import Claim
from experiments.harness.progress import Progress
from experiments.harness.statistics import over_seeds
from nsh import Neurashed, SaveAt, TrainingProblem, WithReplacement, ensemble
from nsh.figures import curves, grouped_points, histograms, new_figure, panel_label, style
from nsh.measure import accuracy, elasticity_contrast, elasticity_matrix, observe
from nsh.networks import digit_cnn, digit_linear, digit_mlp, digits, subclasses
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import figure6, figure6_rules
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
        logits = observe(now.system, now.state, self.test).logits
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
    dims = ("neurashed_seed", "neurashed_step", "pairs")
    found = _as_dataset("neurashed", matrices[:, at], accuracies[:, at], labels, inputs.subclass)
    found["neurashed_over_time"] = dims, over_time, {"units": "1"}
    found["neurashed_step"] = dims[1], result.times, {"units": "backpropagations"}
    return found


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
    found = []
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
                {"learning_rate": rate},
                steps=config.network_steps,
                sampler=WithReplacement(config.network_batch),
                save=SaveAt(what, times=(config.network_steps,)),
            )
            result = ensemble(
                problem, run_key, seeds=config.network_seeds, chunk=16, callback=advance
            )
        matrices, accuracies = (leaf[:, 0] for leaf in result.saved)
        found.append(_as_dataset(name, matrices, accuracies, data.train_y[chosen], groups[chosen]))
    return found


def _contrast(matrices: Any, labels: Any, groups: Any) -> tuple[np.ndarray, ...]:
    """Mean elasticity of the three kinds of pairs, and the ratio, for each matrix."""
    classes, subgroups = jnp.asarray(labels), jnp.asarray(groups)
    contrast = jax.vmap(lambda m: elasticity_contrast(m, classes, subgroups))(jnp.asarray(matrices))
    return tuple(np.asarray(part) for part in jax.tree.leaves(contrast))


def _as_dataset(name: str, matrices: Any, accuracies: Any, labels: Any, groups: Any) -> xr.Dataset:
    *means, ratio = _contrast(matrices, labels, groups)
    seed, updated, probe = f"{name}_seed", f"{name}_updated", f"{name}_probe"
    plain = {"units": "1"}
    return xr.Dataset(
        {
            f"{name}_elasticity": ((seed, updated, probe), np.asarray(matrices), plain),
            f"{name}_contrast": ((seed, "pairs"), np.stack(means, axis=-1), plain),
            f"{name}_ratio": (seed, ratio, plain),
            f"{name}_accuracy": (seed, np.asarray(accuracies), plain),
        },
        {
            "pairs": list(PAIRS),
            f"{name}_class": (probe, np.asarray(labels)),
            f"{name}_subclass": (probe, np.asarray(groups)),
        },
    )


def figure(dataset: xr.Dataset) -> Figure:
    """Histograms of local elasticity for each kind of pair, its course, and the ratios."""
    with style():
        drawn, axes = new_figure(2, 3, width="double", height=4.2)
        ax = axes.ravel()
        for panel, name in zip((ax[0], *ax[3:]), SYSTEMS, strict=True):
            groups = _by_pairs(dataset, name)
            clipped = {pairs: np.minimum(values, MOST_SHOWN) for pairs, values in groups.items()}
            histograms(
                panel, clipped, np.linspace(0, MOST_SHOWN, 41),
                xlabel=f"local elasticity (last bin: ≥ {MOST_SHOWN})",
            )  # fmt: skip
            panel.set_title(SYSTEMS[name])
            panel.set_ylabel("density")
            if panel is not ax[0]:
                panel.get_legend().remove()  # the first panel's serves for all
        ax[0].get_legend().set_loc((0.08, 0.4))  # between the peaks
        over_time = dataset.neurashed_over_time
        kinds = {pairs: over_time.sel(pairs=pairs).values for pairs in PAIRS}
        curves(ax[1], dataset.neurashed_step, kinds, ylabel="mean local elasticity")
        ax[1].set_yscale("log")
        ax[1].set_title("neurashed, through training")
        ratios = {name: dataset[f"{name}_ratio"].values[:, None] for name in list(SYSTEMS)[1:]}
        values = {"digits": np.concatenate(list(ratios.values()), axis=1)}
        grouped_points(ax[2], list(ratios), values, ylabel="elasticity, within / across")
        for panel, letter in zip(ax, "abcdef", strict=True):
            panel_label(panel, letter)
    return drawn


def _by_pairs(dataset: xr.Dataset, name: str) -> dict[str, np.ndarray]:
    values = dataset[f"{name}_elasticity"].values
    labels, groups = dataset[f"{name}_class"].values, dataset[f"{name}_subclass"].values
    same_class, same_group = labels[:, None] == labels, groups[:, None] == groups
    different = ~np.eye(len(labels), dtype=bool)
    masks = (same_group & different, same_class & ~same_group, ~same_class)
    return {pairs: values[:, mask].ravel() for pairs, mask in zip(PAIRS, masks, strict=True)}


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The order of pairs in every system, and networks against the linear classifier."""
    found = []
    for name in ("neurashed", "MLP", "CNN"):
        found += _order(name, dataset[f"{name}_contrast"])
    late = dataset.neurashed_over_time.isel(neurashed_step=-1)
    found += _order(f"neurashed at step {late.neurashed_step.item()}", late)
    for name in ("MLP", "CNN"):
        change = over_seeds(dataset[f"{name}_ratio"].values - dataset["linear_ratio"].values)
        found.append(Claim(
            f"{name} more elastic than linear", SOURCE,
            "deep networks are locally elastic, linear classifiers are not",
            "digits: ratio within / across classes minus the linear classifier's above 0 by 2 SE",
            *change, change.above(0),
        ))  # fmt: skip
    return found


def _order(name: str, means: xr.DataArray) -> list[Claim]:
    found = []
    for closer, farther in pairwise(PAIRS):
        change = over_seeds(means.sel(pairs=closer) - means.sel(pairs=farther))
        found.append(Claim(
            f"{name}: {closer} > {farther}", SOURCE,
            "local elasticity is the larger, the more alike the inputs",
            "difference of mean local elasticity above 0 by more than 2 SE",
            *change, change.above(0),
        ))  # fmt: skip
    return found
