"""From the lazy to the mean-field regime: two-layer networks on one dial, over width.

erf networks learn a function on a sphere by full-batch gradient descent on squared error. Lazy
(alpha = sqrt m), from a symmetric or an independent start, they are compared with gradient descent
with the infinitely wide network's kernel, from their own initial outputs, and against their own
linearisation, both in closed form; in the mean field (alpha = 1), against the limit of infinite
width, which is followed with quasi-random particles. Then the dial itself, at one width.

The distance to the infinite width's descent has two parts: to the network's own linearisation, of
order 1 / m, and from there on, of order 1 / sqrt m. At small widths and late times they are of one
size and of opposite sign (networks whose initial kernel learns slowly have more error left to move
them, so that their kernel grows more), which is why their sum seems to fall more slowly than
1 / sqrt m there. The number of steps was chosen after seeing exponents at 4 to 256: after 256,
over these widths, that sum's is -0.40 (symmetric), and f - own linearisation's -0.85 (independent).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from scipy.stats import norm, qmc

from experiments.harness.dataset import dataset
from experiments.lazy_to_mean_field.claims import MEASURED, claims
from experiments.lazy_to_mean_field.config import FULL, TINY, Config
from experiments.lazy_to_mean_field.figure import figure
from nsh import TrainingProblem, train
from nsh.study.progress import Progress
from nsh.theory.effective.prediction.dynamics import mse_dynamics
from nsh.theory.two_layer import Examples, FromArrays, Independent, Particles, TwoLayer
from nsh.theory.two_layer.lazy.kernel import infinite_ntk, ntk
from nsh.training import FullBatch

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]

INPUTS = 3
REGIMES = ("symmetric", "independent", "mean field")
LANES = 8  # networks at once, so that they fit a processor's cache


class Task(NamedTuple):
    """The inputs that are learned come first, then those to compare functions on."""

    x: Float[Array, "all inputs"]
    y: Float[Array, " train"]

    @property
    def learned(self) -> Float[Array, "train inputs"]:
        """The inputs that are learned."""
        return self.x[: len(self.y)]


class Observed(NamedTuple):
    """Of networks at one time: f on all inputs, the NTK with those learned, u and theta."""

    f: Any
    ntk: Any
    particles: Any


def network(start: Any) -> TwoLayer:
    """The network, with any start."""
    return TwoLayer(INPUTS, start, activation="erf")


def sphere_task(config: Config) -> Task:
    """Points on the unit sphere; y = sin(4 x_1), odd as the network is."""
    x = np.random.default_rng(config.seed).normal(size=(config.train + config.test, INPUTS))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Task(jnp.asarray(x, float), jnp.asarray(np.sin(4 * x[: config.train, 0]), float))


def run(config: Config, progress: Progress) -> xr.Dataset:
    """All distances, over widths in each regime and over the dial."""
    task = sphere_task(config)
    limits = [_mean_field(config, task, number) for number in range(2)]
    limit, random = np.mean(limits, axis=0), np.random.default_rng(config.seed)
    found, dial = {}, {}
    count = len(REGIMES) * len(config.widths) + len(config.alphas)
    with progress("lazy to mean field", config.seeds * count) as advance:
        for width in config.widths:
            normal = random.normal(size=(config.seeds, width, 1 + INPUTS))
            runs = [(found, regime) for regime in REGIMES]
            runs += [(dial, alpha) for alpha in config.alphas if width == config.dial]
            for into, name in runs:
                alpha = 1.0 if name == "mean field" else math.sqrt(width)
                alpha = float(name) if into is dial else alpha
                paired = into is dial or name == "symmetric"
                starts = jnp.asarray(_symmetric(normal) if paired else normal, float)
                seen = _trained(config, task, starts, jnp.asarray(alpha, float))
                before, after = jax.device_get(seen)
                into[name, width] = _distances(config, task, before, after, limit)
                advance(config.seeds)
    values = {
        name: [[found[regime, width][name] for width in config.widths] for regime in REGIMES]
        for name in MEASURED
    }
    dialled = {
        f"dial_{name}": [dial[alpha, config.dial][name] for alpha in config.alphas]
        for name in MEASURED
    }
    table = f"""
        {" ".join(values)}: regime width seed [1]
        {" ".join(dialled)}: alpha seed [1]
        limit_error: [1]
    """
    values |= dialled | {"limit_error": _rms(config, limits[0] - limits[1]) / 2}
    axes = {"width": list(config.widths), "alpha": list(config.alphas)}
    made = dataset(table, values, regime=list(REGIMES), **axes)
    return made.assign_attrs(dial_width=config.dial)


def _symmetric(normal: np.ndarray) -> np.ndarray:
    """As the start `Symmetric`: the second half repeats the first with -u in place of u."""
    half = normal[:, : normal.shape[1] // 2]
    return np.concatenate([half, half * np.array([-1.0] + [1.0] * INPUTS)], axis=1)


@eqx.filter_jit
def _trained(config: Config, task: Task, starts: Array, alpha: Array) -> tuple[Observed, Observed]:
    """Before and after training, of each seed's particles starts[seed] = (u, theta)."""

    def one(start: Array) -> tuple[Observed, Observed]:
        system = network(FromArrays(start[:, :1], start[:, 1:]))
        hyper = {"alpha": alpha, "learning_rate": config.rate}
        key = jax.random.key(0)  # of nothing: starts are given, batches are full
        before = system.init(key, hyper)
        after = _descended(config, task, system, hyper)
        return _look(task, system, before), _look(task, system, after)

    return jax.lax.map(one, starts, batch_size=min(LANES, config.seeds))


def _descended(config: Config, task: Task, system: TwoLayer, hyper: dict[str, Any]) -> Particles:
    problem = TrainingProblem(
        system,
        Examples(task.learned, task.y[:, None]),
        hyper,
        steps=config.steps,
        sampler=FullBatch(),
    )
    return train(problem, jax.random.key(0)).state


def _look(task: Task, system: TwoLayer, state: Particles) -> Observed:
    f = jax.vmap(system.output, (None, 0))(state, task.x)[:, 0]
    place = jnp.concatenate([state.u, state.theta], axis=1)
    return Observed(f, ntk(system, state, task.x, task.learned), place)


def _mean_field(config: Config, task: Task, number: int) -> np.ndarray:
    """f on all inputs at infinite width, by a randomly shifted net of Sobol' points.

    As `Quadrature`, but particles (u, theta) and (-u, -theta) are one, erf being odd: u > 0 is
    enough, and half of the particles do.
    """
    points = qmc.Sobol(1 + INPUTS, scramble=False).random(config.particles)
    shift = np.random.default_rng([config.seed, number]).random(1 + INPUTS)
    normal = norm.ppf((points + shift) % 1)
    system = network(FromArrays(np.abs(normal[:, :1]), normal[:, 1:]))
    hyper = {"alpha": 1.0, "learning_rate": config.rate}
    state = _descended(config, task, system, hyper)
    return np.asarray(jax.vmap(system.output, (None, 0))(state, task.x)[:, 0])


def _distances(
    config: Config, task: Task, before: Observed, after: Observed, limit: np.ndarray
) -> dict[str, np.ndarray]:
    """Everything `MEASURED`, for each seed."""
    exact = np.asarray(infinite_ntk(network(Independent(1)), task.x, task.learned))
    linearised = np.asarray(_descents(config, task, before.ntk, before.f))
    kernel = np.asarray(_descents(config, task, np.broadcast_to(exact, before.ntk.shape), before.f))
    n = config.train
    return {
        "movement": _relative(after.particles, before.particles),
        "drift": _relative(after.ntk[:, :n], before.ntk[:, :n]),
        "kernel": _relative(before.ntk[:, :n], exact[:n]),
        "linearised": _rms(config, after.f - linearised),
        "lazy_limit": _rms(config, after.f - kernel),
        "between": _rms(config, linearised - kernel),
        "field_limit": _rms(config, after.f - limit),
        "alignment": _cosine(config, after.f - linearised, linearised - kernel),
    }


@eqx.filter_jit
def _descents(config: Config, task: Task, kernels: Any, starts: Any) -> Array:
    """f on all inputs after descent with each constant kernel from each start."""
    n, rate = config.train, config.rate / config.train

    def one(kernel: Array, start: Array) -> Array:
        course = mse_dynamics(
            kernel[:n], kernel[n:], task.y, float(config.steps), learning_rate=rate,
            start_train=start[:n], start_test=start[n:],
        )  # fmt: skip
        return jnp.concatenate([course.train, course.test])

    return jax.vmap(one)(jnp.asarray(kernels), jnp.asarray(starts))


def _relative(now: np.ndarray, then: np.ndarray) -> np.ndarray:
    """``|now - then| / |then|``, of each seed."""
    change, size = ((a**2).sum(axis=(-2, -1)) for a in (now - then, then))
    return np.sqrt(change / size)


def _rms(config: Config, values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.mean(values[..., config.train :] ** 2, axis=-1))


def _cosine(config: Config, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    both = np.mean((a * b)[..., config.train :], axis=-1)
    return both / (_rms(config, a) * _rms(config, b))
