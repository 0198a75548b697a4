"""Information bottleneck: Figure 4 of the neurashed paper, and networks on the digits.

The paper (Section 3, Figure 4): level 2 first learns to distinguish inputs of one class,
I(level 2; input) tending to 2 bits, and then forgets all but the class, falling to 1 bit, while
I(level 2; label) rises to 1 bit and stays. The same estimator is put to tanh and ReLU networks.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Int, Key, PyTree

from experiments.harness.claim import Claim
from experiments.harness.progress import Progress
from experiments.harness.statistics import over_seeds
from experiments.information_bottleneck.figure import explore, figure
from nsh import Neurashed, SaveAt, TrainingProblem, WithReplacement, ensemble
from nsh.measure import Information, Noise, information, observe
from nsh.networks import digit_mlp, digits
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import figure4, figure4_rules
from nsh.training import Run, Snapshot

__all__ = ["FULL", "TINY", "Config", "claims", "explore", "figure", "run"]

READINGS = ("shared", "own")
ACTIVATIONS = ("tanh", "relu")
FIELDS = tuple(field.name for field in dataclasses.fields(Information))
FLAGS = ("saturated", "consistent")
SOURCE = "arXiv 2112.09741, Section 3, Figure 4"


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of both halves of the experiment, and the noise they share."""

    seeds: int = 256
    """Runs of neurashed for each reading of the 7th node."""
    steps: int = 2000
    """Steps of neurashed, mini-batches of one sample."""
    samples: int = 32
    """Monte Carlo draws for each of neurashed's inputs."""
    noise_fixed: float = 1e-4
    """Standard deviation of the noise's fixed part, in units of the scores."""
    noise_relative: float = 0.05
    """Standard deviation of its relative part, over the level's largest score."""
    network_seeds: int = 16
    """Networks trained for each activation."""
    network_hidden: tuple[int, ...] = (24, 12, 6)
    """Hidden widths; narrow, or every level would distinguish all inputs at any time."""
    network_steps: int = 4000
    network_batch: int = 32
    network_learning_rate: float = 0.1
    network_inputs: int = 200
    """Digits of the training set between which a level is to tell."""
    network_samples: int = 4
    """Monte Carlo draws for each of these digits."""
    seed: int = 0


FULL = Config(seeds=8192, samples=128, network_seeds=128, network_steps=40_000, network_inputs=500)
TINY = Config(
    seeds=4, steps=40, samples=4, network_seeds=2, network_steps=20, network_inputs=20,
    network_samples=2,
)  # fmt: skip


class LevelInformation(eqx.Module):
    """What is recorded: information at every feature level, with draws common to all steps."""

    examples: PyTree
    labels: Int[Array, " n"]
    key: Key[Array, ""]
    noise: Noise
    classes: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __call__(self, now: Snapshot) -> Information:
        """Information of all levels, stacked."""
        seen = observe(now.system, now.state, self.examples)
        measure = partial(information, noise=self.noise, classes=self.classes, samples=self.samples)
        levels = [
            measure(features, self.labels, self.key, log_unit=unit)
            for features, unit in zip(seen.features, seen.log_units, strict=True)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *levels)


class Course(eqx.Module):
    """What is recorded of neurashed: information, and what a moving picture of the graph needs."""

    information: LevelInformation

    def __call__(self, now: Snapshot) -> tuple[Information, Array]:
        """Information of all levels, and log amplification factors."""
        return self.information(now), now.state.log_amplification


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Information against step for all seeds, levels, readings and activations."""
    parts = [_neurashed(config, reading, progress) for reading in READINGS]
    neurashed = xr.concat(parts, dim=xr.Variable("reading", list(READINGS)))
    parts = [_network(config, name, progress) for name in ACTIVATIONS]
    networks = xr.concat(parts, dim=xr.Variable("activation", list(ACTIVATIONS)))
    return xr.merge([neurashed, networks])


def _neurashed(config: Config, reading: str, progress: Progress) -> xr.Dataset:
    graph, inputs = figure4(shared_node=reading == "shared")
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)
    run_key, noise_key = jax.random.split(jax.random.key(config.seed))
    noise, labels = Noise(config.noise_fixed, config.noise_relative), jnp.asarray(inputs.y)
    what = LevelInformation(examples, labels, noise_key, noise, 2, config.samples)
    with progress(f"neurashed, {reading} 7th node", config.seeds) as advance:
        problem = TrainingProblem(
            system,
            examples,
            figure4_rules(graph),
            steps=config.steps,
            save=SaveAt(Course(what), every=max(config.steps // 100, 1)),
        )
        result = ensemble(problem, run_key, seeds=config.seeds, chunk=256, callback=advance)
    bits, amplification = result.saved
    course = np.full((len(result.times), 20), np.nan)  # as many nodes as the reading with more
    final = course[-1].copy()
    course[:, : graph.nodes] = amplification[0]
    final[: graph.nodes] = np.asarray(result.state.log_amplification).mean(0)
    attributes = {"long_name": "mean over seeds of final log amplification", "units": "1"}
    one_run = {"long_name": "log amplification of seed 0", "units": "1"}
    return _as_dataset(dataclasses.replace(result, saved=bits), "").assign(
        log_amplification=("node", final, attributes),
        log_amplification_course=(("step", "node"), course, one_run),
    )


def _network(config: Config, activation: str, progress: Progress) -> xr.Dataset:
    system, data = digit_mlp(config.network_hidden, activation), digits()
    examples = system.prepare(data.train_x, data.train_y)
    some = jax.tree.map(lambda leaf: leaf[: config.network_inputs], examples)
    run_key, noise_key = jax.random.split(jax.random.key(config.seed))
    noise = Noise(config.noise_fixed, config.noise_relative)
    what = LevelInformation(some, some.y, noise_key, noise, CLASSES, config.network_samples)
    with progress(f"digits, {activation} network", config.network_seeds) as advance:
        problem = TrainingProblem(
            system,
            examples,
            {"learning_rate": config.network_learning_rate},
            steps=config.network_steps,
            sampler=WithReplacement(config.network_batch),
            save=SaveAt(what, every=max(config.network_steps // 40, 1)),
        )
        result = ensemble(problem, run_key, seeds=config.network_seeds, chunk=16, callback=advance)
    return _as_dataset(result, "network_")


def _as_dataset(result: Run, prefix: str) -> xr.Dataset:
    dims = [prefix + name for name in ("seed", "step", "level")]
    dataset = xr.Dataset(
        {prefix + name: (dims, np.asarray(getattr(result.saved, name))) for name in FIELDS}
    )
    for name in FIELDS:
        dataset[prefix + name].attrs["units"] = "1" if name in FLAGS else "bit"
    dataset[prefix + "status"] = dims[0], np.asarray(result.status), {"units": "1"}
    steps = (dims[1], np.asarray(result.times), {"units": "backpropagations"})
    return dataset.assign_coords({dims[1]: steps, dims[2]: np.arange(dataset.sizes[dims[2]]) + 1})


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What the paper says of Figure 4, for both readings of it, and what networks do."""
    found = [claim for reading in READINGS for claim in _claims_on(dataset, reading)]
    found.append(_sandwich(dataset))
    return found + [_network_claim(dataset, str(name)) for name in dataset.activation.values]


def _claims_on(dataset: xr.Dataset, reading: str) -> list[Claim]:
    top = dataset.sel(level=2, reading=reading)
    bits, label = top.input, top.label
    where = f" ({reading} 7th node)"
    start, end = over_seeds(bits.isel(step=0)), over_seeds(bits.isel(step=-1))
    peak_step = int(bits.mean("seed").argmax("step"))
    of_mean, of_runs = over_seeds(bits.isel(step=peak_step)), over_seeds(bits.max("step"))
    mean_label = label.mean("seed").values
    reached = int(np.argmax(mean_label >= 0.99))
    worst = reached + int(np.argmin(mean_label[reached:]))
    lowest = over_seeds(label.isel(step=worst))
    rise = "the second level learns to distinguish patterns within a class, towards 2 bits"
    return [
        Claim("starts low" + where, SOURCE, "training starts with little information",
              "mean I(level 2; input) at step 0 < 0.6 bits", *start, start.below(0.6, 0)),
        Claim("each run peaks" + where, SOURCE, rise,
              "mean over seeds of each run's largest I(level 2; input) >= 1.8 bits",
              *of_runs, of_runs.above(1.8, 0)),
        Claim("the mean curve peaks" + where, SOURCE, rise,
              "largest mean over seeds of I(level 2; input) at one step >= 1.8 bits",
              *of_mean, of_mean.above(1.8, 0)),
        Claim("compresses" + where, SOURCE, "the dominant node dwarfs the others: falls to 1 bit",
              "mean I(level 2; input) at the end within 0.1 of 1 bit",
              *end, end.within(1, 0, 0.1)),
        Claim("keeps the label" + where, SOURCE, "I(level 2; label) rises to 1 bit and stays",
              "mean I(level 2; label) reaches 0.99 bits; its lowest value afterwards >= 0.99",
              *lowest, bool(mean_label.max() >= 0.99 and lowest.mean >= 0.99)),
    ]  # fmt: skip


def _sandwich(dataset: xr.Dataset) -> Claim:
    """The worst place of the pairwise bounds against Monte Carlo, in its standard errors."""
    mean = dataset[["input", "input_lower", "input_upper"]].mean("seed")
    # all seeds share their draws, so errors do not average out; 1e-5 bits are for rounding
    error = dataset.input_error.mean("seed") + 1e-5
    outside = np.maximum(mean.input_lower - mean.input, mean.input - mean.input_upper) / error
    return Claim(
        "bounds hold", "Kolchinsky and Tracey, Entropy 2017",
        "pairwise lower bound <= I(level; input) <= pairwise upper bound",
        "largest violation over steps, levels, readings <= 3 Monte Carlo standard errors",
        outside.max(), None, outside.max() <= 3,
    )  # fmt: skip


def _network_claim(dataset: xr.Dataset, activation: str) -> Claim:
    last = dataset.network_level[-1]
    bits = dataset.network_input.sel(activation=activation, network_level=last)
    peak = int(bits.mean("network_seed").argmax("network_step"))
    drop = over_seeds(bits.isel(network_step=peak) - bits.isel(network_step=-1))
    return Claim(
        f"{activation} network compresses", "arXiv 2112.09741, Section 3 (information bottleneck)",
        "deep networks fit first and compress afterwards",
        "digits: mean I(last hidden layer; input) ends > 0.1 bits and > 2 SE below its peak",
        *drop, drop.above(0.1),
    )  # fmt: skip
