"""Information bottleneck: Figure 4 of the neurashed paper, and networks on the digits.

The paper (Section 3, Figure 4): level 2 first comes to tell inputs of one class apart,
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
from matplotlib.figure import Figure

from experiments import information_bottleneck_report as report
from experiments.claim import Claim
from experiments.digit_networks import ACTIVATIONS, CLASSES, mlp
from experiments.progress import Progress
from nsh import Neurashed, SaveAt, WithReplacement, ensemble
from nsh.measure import Information, Noise, information, observe
from nsh.networks import digits
from nsh.neurashed import figure4, figure4_rules
from nsh.training import Run, Snapshot

READINGS = ("shared", "own")
FIELDS = tuple(field.name for field in dataclasses.fields(Information))


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes and noise of both halves of the experiment."""

    seeds: int = 1024
    """Runs of neurashed for each reading of the 7th node."""
    steps: int = 2000
    """Steps of neurashed, mini-batches of one sample."""
    samples: int = 32
    """Monte Carlo draws for each input type."""
    noise_fixed: float = 1e-4
    """Standard deviation of the fixed part of the noise, in units of the scores."""
    noise_relative: float = 0.05
    """Standard deviation of the relative part, over the level's largest score."""
    network_seeds: int = 32
    """Networks trained for each activation."""
    network_hidden: tuple[int, ...] = (24, 12, 6)
    """Hidden widths; narrow, or every level would tell all inputs apart at any time."""
    network_steps: int = 4000
    network_batch: int = 32
    network_learning_rate: float = 0.1
    network_inputs: int = 200
    """Digits of the training set between which a level is asked to tell."""
    network_samples: int = 4
    network_noise_relative: float = 0.05
    seed: int = 0


FULL = Config(
    seeds=8192, samples=128, network_seeds=128, network_steps=40_000, network_inputs=500
)


class LevelInformation(eqx.Module):
    """What is recorded: information at every feature level, draws common to all steps."""

    examples: PyTree
    labels: Int[Array, " n"]
    key: Key[Array, ""]
    noise: Noise
    classes: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __call__(self, now: Snapshot) -> Information:
        """Information of all levels, stacked."""
        seen = observe(now.system, now.state, self.examples)
        measure = partial(
            information, noise=self.noise, classes=self.classes, samples=self.samples
        )
        levels = [
            measure(features, self.labels, self.key, log_unit=unit)
            for features, unit in zip(seen.features, seen.log_units, strict=True)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *levels)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Information against step for all seeds, levels, readings and activations."""
    parts = [_neurashed(config, reading, progress) for reading in READINGS]
    neurashed = xr.concat(parts, dim=xr.DataArray(list(READINGS), dims="reading", name="reading"))
    parts = [_network(config, name, progress) for name in ACTIVATIONS]
    names = xr.DataArray(list(ACTIVATIONS), dims="activation", name="activation")
    return xr.merge([neurashed, xr.concat(parts, dim=names)])


def figure(dataset: xr.Dataset) -> Figure:
    """The graph, information against step, and the information planes."""
    return report.figure(dataset)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What the paper says of Figure 4, for both readings, and of networks."""
    return report.claims(dataset)


def _neurashed(config: Config, reading: str, progress: Progress) -> xr.Dataset:
    graph, inputs = figure4(shared_node=reading == "shared")
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)
    run_key, noise_key = jax.random.split(jax.random.key(config.seed))
    noise = Noise(config.noise_fixed, config.noise_relative)
    labels = jnp.asarray(inputs.y)
    what = LevelInformation(examples, labels, noise_key, noise, 2, config.samples)
    # the rise takes the first tenth of a run, and is followed more closely
    early, late = max(config.steps // 200, 1), max(config.steps // 40, 1)
    times = sorted({*range(0, config.steps // 10, early), *range(0, config.steps + 1, late)})
    with progress(f"neurashed, {reading} 7th node", config.seeds) as advance:
        result = ensemble(
            system, examples, figure4_rules(graph), run_key, seeds=config.seeds,
            steps=config.steps, save=SaveAt(what, steps=times), chunk=256, advance=advance,
        )  # fmt: skip
    final = np.full(20, np.nan)
    final[: graph.nodes] = np.asarray(result.state.log_amplification).mean(0)
    saved = _as_dataset(result, prefix="")
    return saved.assign(log_amplification=("node", final, {"long_name": "mean final log lambda"}))


def _network(config: Config, activation: str, progress: Progress) -> xr.Dataset:
    system = mlp(config.network_hidden, activation)
    data = digits()
    examples = system.prepare(data.train_x, data.train_y)
    some = jax.tree.map(lambda leaf: leaf[: config.network_inputs], examples)
    run_key, noise_key = jax.random.split(jax.random.key(config.seed))
    noise = Noise(config.noise_fixed, config.network_noise_relative)
    what = LevelInformation(some, some.y, noise_key, noise, CLASSES, config.network_samples)
    times = sorted({0, 1, 3, 10, 30, 100, *range(0, config.network_steps + 1, max(config.network_steps // 20, 1))})
    with progress(f"digits, {activation} network", config.network_seeds) as advance:
        result = ensemble(
            system, examples, {"learning_rate": config.network_learning_rate}, run_key,
            seeds=config.network_seeds, steps=config.network_steps,
            sampler=WithReplacement(config.network_batch), save=SaveAt(what, steps=times),
            chunk=8, advance=advance,
        )  # fmt: skip
    return _as_dataset(result, prefix="network_")


def _as_dataset(result: Run, prefix: str) -> xr.Dataset:
    dims = [prefix + name for name in ("seed", "step", "level")]
    values = {
        f"{prefix}{name}": (
            dims,
            np.asarray(getattr(result.saved, name)),
            {} if name in ("saturated", "consistent") else {"units": "bit"},
        )
        for name in FIELDS
    }
    levels = np.arange(values[prefix + "input"][1].shape[-1]) + 1
    steps = (dims[1], np.asarray(result.steps), {"units": "backpropagations"})
    return xr.Dataset(values, {dims[1]: steps, dims[2]: levels}).assign(
        {f"{prefix}status": (dims[0], np.asarray(result.status))}
    )
