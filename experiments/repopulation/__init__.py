"""Neural feature repopulation: the error of m units, training that alternates, and bounds.

A two-layer ReLU network learns a teacher with three hidden units. Units drawn from a trained
network with importance weights make a smaller one, whose error falls as 1 / m, with a factor that
the law of the draw decides (Fang, Dong, Zhang, arXiv 2012.13982). Then training alternates with
repopulation, with random features (u trained) and with both layers trained, against plain training
of as many steps. Last, the generalisation gap on a noisy task against Rademacher bounds.

`every`, `jitter`, `kept` and `decay` were chosen after seeing runs with random features: there,
jitter up to 0.2 left alternation worse than plain training, and no decay about as good.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key

from experiments.harness.dataset import dataset
from experiments.repopulation.claims import claims
from experiments.repopulation.config import FULL, TINY, Config
from experiments.repopulation.figure import figure
from experiments.repopulation.generalisation_gap import generalisation_gap
from experiments.repopulation.taught_networks import Silent, outputs, taught, teacher
from nsh import SaveAt, TrainingProblem, ensemble
from nsh.study.progress import Progress
from nsh.theory.two_layer import (
    Repopulating,
    approximation_bound,
    initial_variance,
    optimal_distribution,
    resample,
    sampling_variance,
)
from nsh.theory.two_layer.initializer import Independent
from nsh.theory.two_layer.network import Trained, TwoLayer
from nsh.theory.two_layer.particles import Particles
from nsh.training import FullBatch, Snapshot

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]

SAMPLED = """
    square: draw law unit [1]
    exact: law [1]
    exact_bound: [1]
    sample_error: draw drawn unit [1]
    source_error: [1]
"""
VARIANTS = ("plain, no decay", "plain", "alternating, no jitter", "alternating")
UNITS = (10, 30, 100, 300, 1000)


class Task(NamedTuple):
    """Inputs and the teacher's outputs: the `train` learned first, the test set after them."""

    x: Float[Array, "n inputs"]
    y: Float[Array, " n"]
    train: int


def make_task(config: Config) -> Task:
    """Standard normal inputs."""
    of_x, of_teacher = jax.random.split(jax.random.key(config.seed))
    count = config.samples + config.test
    x = jax.random.normal(of_x, (count * config.inputs,)).reshape(count, config.inputs)
    return Task(x, taught(teacher(of_teacher, config.inputs), x), config.samples)


class Record(NamedTuple):
    """What is recorded: errors as shares of the target's mean square, and variances of samples."""

    task: Task

    def __call__(self, now: Snapshot) -> dict[str, Array]:
        """All numbers on the test inputs, except the training error."""
        assert isinstance(now.system, Repopulating)
        network, particles = now.system.network, now.state.particles
        x, n = self.task.x, self.task.train
        error = (outputs(network, particles, x) - self.task.y) ** 2
        law = optimal_distribution(network, particles, x[:n])
        numbers = {
            "train": jnp.mean(error[:n]),
            "test": jnp.mean(error[n:]),
            "variance": sampling_variance(network, particles, x[n:]),
            "optimal": sampling_variance(network, particles, x[n:], law),
        }
        return jax.tree.map(lambda number: number / jnp.mean(self.task.y[n:] ** 2), numbers)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """All three parts."""
    task = make_task(config)
    runs = [_trained(config, task, "u", width, progress) for width in config.widths]
    features = TwoLayer(config.inputs, Silent(config.widths[-1]), trained="u")
    parts = [
        xr.concat([errors for errors, _ in runs], "width", data_vars="all"),
        _trained(config, task, "both", config.widths[-1], progress)[0],
        _samples(config, task, features, runs[-1][1]),
        generalisation_gap(config),
    ]
    return cast(xr.Dataset, xr.merge(parts).assign_coords(width=list(config.widths)))


def _trained(
    config: Config, task: Task, trained: Trained, width: int, progress: Progress
) -> tuple[xr.Dataset, Particles]:
    """Four variants of training, and the first seed's particles after plain training with decay.

    Plain training is alternation with kept = 1: one program for all four.
    """
    network = TwoLayer(config.inputs, Silent(width), trained=trained)
    one = jnp.ones(len(VARIANTS))
    hyper = {
        "alpha": one,
        "learning_rate": config.learning_rate * one,
        "decay_u": config.decay * jnp.array([0.0, 1.0, 1.0, 1.0]),
        "kept": jnp.array([1.0, 1.0, config.kept, config.kept]),
        "jitter": jnp.array([0.0, 0.0, 0.0, config.jitter]),
    }
    with progress(f"{trained} trained, width {width}", len(VARIANTS) * config.seeds) as advance:
        problem = TrainingProblem(
            Repopulating(network, config.every),
            network.prepare(task.x[: task.train], task.y[: task.train]),
            hyper,
            steps=config.steps,
            sampler=FullBatch(),
            save=SaveAt(Record(task), every=config.record),
            grid_ndim=1,
        )
        ran = ensemble(
            problem, jax.random.key(config.seed + 1), seeds=config.seeds, callback=advance
        )
    values = {f"{trained}_{name}": numbers for name, numbers in ran.saved.items()}
    table = f"{' '.join(values)}: way seed step [1]\nstep: step [steps]"
    errors = dataset(table, values, way=list(VARIANTS), step=ran.times)
    return errors, jax.tree.map(lambda leaf: leaf[1, 0], ran.state.particles)


def _samples(config: Config, task: Task, network: TwoLayer, particles: Particles) -> xr.Dataset:
    """``m ||f_m - f||^2`` of samples of a trained network, and of starts; their exact means."""
    x, y, most = task.x[task.train :], task.y[task.train :], max(UNITS)
    first = (jnp.arange(most)[None] < jnp.array(UNITS)[:, None]).astype(x.dtype)
    units = jnp.sum(first, axis=1)[:, None]
    laws = jnp.stack(
        [particles.mass, optimal_distribution(network, particles, task.x[: task.train])]
    )
    fresh = TwoLayer(config.inputs, Independent(most))
    f = outputs(network, particles, x)

    def sampled(drawn: Particles) -> Array:
        """Outputs of the first 10, 30, ... of the units, which are as many independent draws."""
        return first @ (network.activation(drawn.theta @ x.T) * drawn.u) / units

    def one(key: Key[Array, ""]) -> tuple[Array, Array]:
        drawn = [sampled(resample(particles, law, key, most)) for law in laws]
        start = sampled(fresh.init(key, {"alpha": 1.0}))
        aims = [f, f, jnp.zeros_like(f), y, y]
        errors = jnp.stack([*drawn, start, *drawn]) - jnp.stack(aims)[:, None]
        squares = jnp.mean(errors**2, axis=-1)
        return squares[:3] * units.T, squares[3:]

    @jax.jit
    def everything(keys: Key[Array, " draws"]) -> tuple[Array, ...]:
        square, error = jax.lax.map(one, keys)
        exact = [sampling_variance(network, particles, x, law) for law in laws]
        exact.append(initial_variance(fresh, x, 1.0))
        bound = approximation_bound(network, particles, x)
        results = (square, error, jnp.stack(exact), jnp.mean((f - y) ** 2), bound)
        return tuple(number / jnp.mean(y**2) for number in results)

    keys = jax.random.split(jax.random.key(config.seed + 2), config.draws)
    square, error, exact, end, bound = map(np.asarray, everything(keys))
    values = {
        "square": square,
        "exact": exact,
        "exact_bound": bound,
        "sample_error": error,
        "source_error": end,
    }
    names = {"law": ["own", "optimal", "start"], "drawn": ["own", "optimal"]}
    return dataset(SAMPLED, values, **names, unit=list(UNITS))
