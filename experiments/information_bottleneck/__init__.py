"""Information bottleneck: Figure 4 of the neurashed paper, and networks on the digits.

The paper (Section 3, Figure 4): level 2 first learns to distinguish inputs of one class,
I(level 2; input) tending to 2 bits, and then forgets all but the class, falling to 1 bit, while
I(level 2; label) rises to 1 bit and stays. The same estimator is put to tanh and ReLU networks.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Int, Key, PyTree

from experiments.harness.dataset import dataset
from experiments.information_bottleneck.claims import READINGS, claims
from experiments.information_bottleneck.config import FULL, TINY, Config
from experiments.information_bottleneck.figure import explore, figure
from nsh import Neurashed, SaveAt, TrainingProblem, WithReplacement, ensemble
from nsh.data import digits
from nsh.measure import Information, Noise, information, observe
from nsh.networks import digit_mlp
from nsh.networks.for_digits import CLASSES
from nsh.neurashed import figure4, figure4_rules
from nsh.study.progress import Progress
from nsh.training import Run, Snapshot

__all__ = ["FULL", "TINY", "Config", "claims", "explore", "figure", "run"]

ACTIVATIONS = ("tanh", "relu")
FLAGS = ("saturated", "consistent")
BITS = tuple(f.name for f in dataclasses.fields(Information) if f.name not in FLAGS)
LOGS = """
    log_amplification: node [1] mean over seeds of final log amplification
    log_amplification_course: step node [1] log amplification of seed 0
"""


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
        observed = observe(now.system, now.state, self.examples)
        measure = partial(information, noise=self.noise, classes=self.classes, samples=self.samples)
        levels = [
            measure(features, self.labels, self.key, log_unit=unit)
            for features, unit in zip(observed.features, observed.log_units, strict=True)
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *levels)


class Record(eqx.Module):
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
            save=SaveAt(Record(what), every=max(config.steps // 100, 1)),
        )
        result = ensemble(problem, run_key, seeds=config.seeds, chunk=256, callback=advance)
    bits, amplification = result.saved
    # as many nodes as the reading with more
    logs_of_seed_0 = np.full((len(result.times), 20), np.nan)
    final = logs_of_seed_0[-1].copy()
    logs_of_seed_0[:, : graph.nodes] = amplification[0]
    final[: graph.nodes] = np.asarray(result.state.log_amplification).mean(0)
    logs = {"log_amplification": final, "log_amplification_course": logs_of_seed_0}
    return _as_dataset(dataclasses.replace(result, saved=bits), "", **logs)


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
            {"optimiser": {"learning_rate": config.network_learning_rate}},
            steps=config.network_steps,
            sampler=WithReplacement(config.network_batch),
            save=SaveAt(what, every=max(config.network_steps // 40, 1)),
        )
        result = ensemble(problem, run_key, seeds=config.network_seeds, chunk=16, callback=advance)
    return _as_dataset(result, "network_")


def _as_dataset(result: Run, prefix: str, **more: Any) -> xr.Dataset:
    seed, step, level = (prefix + name for name in ("seed", "step", "level"))
    table = f"""
        {" ".join(prefix + name for name in BITS)}: {seed} {step} {level} [bit]
        {" ".join(prefix + name for name in FLAGS)}: {seed} {step} {level} [1]
        {prefix}status: {seed} [1]
        {step}: {step} [backpropagations]
    """
    values = {prefix + name: getattr(result.saved, name) for name in (*BITS, *FLAGS)}
    values[f"{prefix}status"] = result.status
    levels = np.arange(result.saved.input.shape[-1]) + 1
    return dataset(table + LOGS * bool(more), values | more, **{step: result.times, level: levels})
