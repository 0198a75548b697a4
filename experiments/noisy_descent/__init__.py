"""Noisy gradient descent of a wide two-layer network, against the Gibbs law it should come to.

Thousands of particles (u, theta) with output mean of u sin(theta x) learn a few points of a wave
by gradient descent with noise and weight decay, in the mean-field scaling (alpha = 1). Fang, Dong
and Zhang (arXiv 2012.13982): their law minimises the free energy Q(p), which is convex in p, and
has the stationary distribution p* ~ exp(-(dL/dp + r) / temperature). Here p* is computed on a
grid, without sampling, and its evolution by the Fokker-Planck equation.

The step size shifts the law at rest by order of itself (2% of the outputs at the smaller of two
sizes): moments are extrapolated to none, and the figure shows both. Q of the particles needs their
entropy, which is estimated from nearest neighbours among a part of each network's particles: that
has a bias, of which the Q of the equation is free.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from experiments.harness.dataset import dataset
from experiments.noisy_descent.claims import MOMENTS, claims
from experiments.noisy_descent.config import FULL, TINY, Config
from experiments.noisy_descent.figure import figure
from nsh import TrainingProblem
from nsh.study.progress import Progress
from nsh.theory.two_layer import Examples, Independent, Particles, TwoLayer
from nsh.theory.two_layer.mean_field.entropy import entropy
from nsh.theory.two_layer.mean_field.fokker_planck import fokker_planck
from nsh.theory.two_layer.mean_field.free_energy import energy, free_energy, mean_loss
from nsh.theory.two_layer.mean_field.gibbs import gibbs, gibbs_density
from nsh.theory.two_layer.mean_field.grid import Density, Grid
from nsh.theory.two_layer.mean_field.interpolation import mixture
from nsh.training import FullBatch, SaveAt, Snapshot, ensemble

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]

REACH = (7.5, 5.0)  # of the grid, in u and in theta
SHARES = np.linspace(0, 1, 11)  # along interpolations
TABLE = f"""
    u_square theta_square amplitude: rate seed time [1]
    output: rate seed time point [1]
    end_u end_theta: seed particle [1]
    gibbs_output target: point [1]
    gibbs_mass start_mass: u theta [1]
    mixture_loss path_loss: pair share [1]
    {" ".join(f"gibbs_{name}" for name in MOMENTS)}: [1]
    gibbs_free_energy gibbs_residual gibbs_edge: [1]
    free_energy: seed time [1]
    equation: time [1]
    mixture_free_energy: share [1]
    time: time [steps x the smaller learning rate]
"""


class Task(NamedTuple):
    """The network, what it learns, and how; `hyper` has the smaller learning rate."""

    network: TwoLayer
    examples: Examples
    hyper: dict[str, Any]
    grid: Grid


def wave(config: Config) -> Task:
    """Points of a sine of frequency 2, over one and a quarter periods."""
    network = TwoLayer(1, Independent(config.particles), activation="sin")
    x = np.linspace(-2, 2, config.points)[:, None]
    examples = network.prepare(x, config.height * np.sin(2 * x[:, 0]))
    hyper = {"alpha": 1.0, "learning_rate": config.rates[1], "temperature": config.temperature}
    hyper |= {"decay_u": config.temperature, "decay_theta": config.temperature}
    low = tuple(-reach for reach in REACH)
    return Task(network, examples, hyper, Grid(low, REACH, config.cells))


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Particles through training, the Gibbs law, the law in between, and interpolations."""
    task, every = wave(config), config.steps // config.records
    theory = jax.jit(lambda hyper: _theory(task._replace(hyper=hyper), config))(task.hyper)
    hypers = {name: jnp.full(2, value) for name, value in task.hyper.items()}
    hypers["learning_rate"] = jnp.asarray(config.rates)
    with progress("noisy descent", 2 * config.seeds) as advance:
        problem = TrainingProblem(
            task.network,
            task.examples,
            hypers,
            steps=config.steps,
            sampler=FullBatch(),
            save=SaveAt(Record(task.network, task.examples, config.sample), every=every),
            grid_ndim=1,
        )
        trained = ensemble(
            problem, jax.random.key(config.seed), seeds=config.seeds, vmap_size=4, callback=advance
        )
    seen, end = trained.saved, jax.tree.map(lambda leaf: leaf[1], trained.state)
    measured = jax.jit(lambda seen, end: _measured(task, seen, end))(seen, end)
    goal = theory["gibbs_output"]
    values = {
        "u_square": seen["u_square"],
        "theta_square": seen["theta_square"],
        "amplitude": seen["output"] @ goal / jnp.sum(goal**2),
        "output": seen["output"],
        "end_u": end.u[..., 0],
        "end_theta": end.theta[..., 0],
        "target": task.examples.y[:, 0],
        **theory,
        **measured,
    }
    time = config.rates[1] * np.arange(0, config.steps + 1, every)
    axes = {"rate": list(config.rates), "time": time, "share": SHARES}
    grid = {"u": task.grid.centres(0), "theta": task.grid.centres(1)}
    made = dataset(TABLE, values, **axes, **grid)
    return made.assign_coords(x=("point", np.asarray(task.examples.x[:, 0])))


def _theory(task: Task, config: Config) -> dict[str, Array]:
    """The Gibbs law, the law on its way there, and Q along a mixture of the first and the last."""
    network, examples, hyper, grid = task
    fine = Grid((-REACH[1],), (REACH[1],), (4 * config.cells[1],))
    rest = gibbs(network, examples, hyper, fine)
    last, start = gibbs_density(network, rest, examples, hyper, grid), Density.normal(grid)
    every = config.steps // config.records
    course = fokker_planck(network, start, examples, hyper, steps=config.steps, every=every)
    u_square, theta_square = rest.law.second_moments()

    def Q(law: Density) -> Array:
        return free_energy(network, law, examples, hyper)

    mixed = jax.vmap(lambda share: Q(mixture(start, last, share)))(jnp.asarray(SHARES, float))
    return {
        "equation": jax.vmap(Q)(course),
        "gibbs_u_square": u_square[0],
        "gibbs_theta_square": theta_square[0],
        "gibbs_amplitude": jnp.ones(()),
        "gibbs_free_energy": rest.free_energy,
        "gibbs_residual": rest.residual,
        "gibbs_edge": rest.law.edge,
        "gibbs_output": rest.output[:, 0],
        "gibbs_mass": last.mass,
        "start_mass": start.mass,
        "mixture_free_energy": mixed,
    }


class Record(eqx.Module):
    """What is recorded of the particles."""

    network: TwoLayer
    examples: Examples
    sample: int = eqx.field(static=True)

    def __call__(self, now: Snapshot) -> dict[str, Array]:
        """Second moments, outputs, energy, and the places of some particles."""
        network, particles = self.network, now.state
        return {
            "u_square": jnp.mean(particles.u**2),
            "theta_square": jnp.mean(particles.theta**2),
            "output": jax.vmap(network.output, (None, 0))(particles, self.examples.x)[:, 0],
            "energy": energy(network, particles, self.examples, now.hyper),
            "u": particles.u[: self.sample],
            "theta": particles.theta[: self.sample],
        }


def _measured(task: Task, seen: dict[str, Array], end: Particles) -> dict[str, Array]:
    """Q of the particles; L between pairs of trained networks, mixed or moved across."""

    def disorder(u: Array, theta: Array) -> Array:
        mass = jnp.full(len(u), 1 / len(u), u.dtype)
        return entropy(task.network, Particles(u, theta, mass, jnp.ones(())), neighbours=1)

    def mixed(p: Particles, q: Particles, share: Array) -> Array:
        return mean_loss(task.network, mixture(p, q, share), task.examples)

    def moved(p: Particles, q: Particles, share: Array) -> Array:
        between = jax.tree.map(lambda a, b: (1 - share) * a + share * b, p, q)
        return mean_loss(task.network, between, task.examples)

    disorders = jax.vmap(jax.vmap(disorder))(seen["u"][1], seen["theta"][1])
    first, second = (jax.tree.map(lambda leaf, k=k: leaf[k::2], end) for k in (0, 1))
    shares = jnp.asarray(SHARES, float)

    def over_pairs(loss: Callable[..., Array]) -> Array:
        return jax.vmap(jax.vmap(loss, (None, None, 0)), (0, 0, None))(first, second, shares)

    Q = seen["energy"][1] - task.hyper["temperature"] * disorders  # alpha is 1
    return {"free_energy": Q, "mixture_loss": over_pairs(mixed), "path_loss": over_pairs(moved)}
