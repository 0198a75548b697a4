"""The generalisation gap of two-layer networks on a noisy task, and bounds on it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import xarray as xr
from jaxtyping import Array, Key

from experiments.harness.dataset import dataset
from experiments.repopulation.config import Config
from experiments.repopulation.taught_networks import Silent, outputs, taught, teacher
from nsh import PerPoint, PerSeed, Subset, TrainingProblem, ensemble, hyper_grid
from nsh.theory.two_layer import (
    Particles,
    clipped_squared_error,
    empirical_rademacher,
    generalisation_bound,
    path_norm,
    rademacher_bound,
)
from nsh.theory.two_layer.network import Examples, TwoLayer
from nsh.training import FullBatch

LARGEST = 1.0  # of the clipped loss
NOISE = 0.5  # standard deviation of the noise in the targets
CIRCLE = 512  # directions in the plane


TABLE = """
    gap train_loss path_norm rademacher rademacher_bound deviation: data n [1]
    gap_bound_signs gap_bound: data n [1]
"""


def generalisation_gap(config: Config) -> xr.Dataset:
    """Clipped losses of networks trained on data sets of several sizes, and bounds on the gap.

    Inputs are normal in the plane, where the directions of the Rademacher complexity are a circle.
    A small data set is repeated to the size of the largest, which changes no mean over it.
    """
    key, most = jax.random.key(config.seed + 3), config.gap_samples[-1]
    network = TwoLayer(2, Silent(config.gap_width))
    hyper = {"alpha": jnp.asarray(1.0), "learning_rate": jnp.asarray(0.5)}
    angle = jnp.linspace(0, 2 * jnp.pi, CIRCLE, endpoint=False)
    circle = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    of_data, of_test, of_teacher = jax.random.split(key, 3)
    of_start = jax.random.fold_in(key, 0)
    theta = teacher(of_teacher, 2)

    def data(key: Key[Array, ""], count: int) -> tuple[Array, Array]:
        numbers = jax.random.normal(key, (3 * count,)).reshape(count, 3)
        return numbers[:, :2], taught(theta, numbers[:, :2]) + NOISE * numbers[:, 2]

    test_x, test_y = data(of_test, config.gap_test)

    counts = jnp.array(config.gap_samples)
    indices = jnp.arange(most)[None] % counts[:, None]

    def trained(x: Array, y: Array) -> Particles:
        """The networks of all data sets: [sizes, data sets, ...]."""
        problem = TrainingProblem(
            network,
            PerSeed(Examples(x, y[..., None])),
            hyper_grid(lambda size: hyper, size=config.gap_samples),  # noqa: ARG005
            steps=config.gap_steps,
            sampler=Subset(FullBatch(), PerPoint(indices)),
            grid_ndim=1,
        )
        return ensemble(problem, of_start, seeds=len(x)).state

    def judged(
        particles: Particles, index: Array, x: Array, y: Array
    ) -> tuple[Array, Array, Array]:
        def loss(x: Array, y: Array) -> Array:
            return jnp.mean(clipped_squared_error(outputs(network, particles, x), y, LARGEST))

        return loss(x[index], y[index]), loss(test_x, test_y), path_norm(particles)

    def complexity(key: Key[Array, ""], size: Array) -> tuple[Array, Array, Array]:
        # rows of zeros add nothing to a sum, as relu(0) = 0; a mean over them is one over the rest
        x = jnp.where(jnp.arange(most)[:, None] < size, data(key, most)[0], 0)
        signed = jnp.mean(empirical_rademacher(network, x, circle, key, 32))
        mean = jnp.mean(network.activation(x @ circle.T), axis=0)
        whole = most / size.astype(x.dtype)
        # E relu(z) = 1 / sqrt(2 pi) for z ~ N(0, 1)
        deviation = jnp.max(jnp.abs(mean * whole - 1 / jnp.sqrt(2 * jnp.pi)))
        return signed * whole, rademacher_bound(network, x) * whole, deviation

    keys = jax.random.split(of_data, config.gap_seeds)

    loss_range = {"largest": LARGEST, "lipschitz": (2 * LARGEST) ** 0.5}

    @jax.jit
    def everything(keys: Key[Array, " data"]) -> tuple[Array, ...]:
        x, y = jax.vmap(lambda key: data(key, most))(keys)
        by_set = jax.vmap(judged, (0, None, 0, 0), out_axes=0)
        by_size = jax.vmap(by_set, (0, 0, None, None), out_axes=1)
        complexities = jax.lax.map(
            lambda key: jax.vmap(complexity, (None, 0))(key, counts), keys, batch_size=8
        )
        results = *by_size(trained(x, y), indices, x, y), *complexities
        *_, norm, signed, analytic, _ = results
        for complexities in (signed, analytic):
            bounds = [
                generalisation_bound(norm[:, i], complexities[:, i], size, **loss_range)
                for i, size in enumerate(config.gap_samples)
            ]
            results += (jnp.stack(bounds, axis=1),)
        return results

    train_loss, test_loss, norm, signed, analytic, deviation, *bounds = everything(keys)
    values = {
        "gap": test_loss - train_loss,
        "train_loss": train_loss,
        "path_norm": norm,
        "rademacher": signed,
        "rademacher_bound": analytic,
        "deviation": deviation,
        "gap_bound_signs": bounds[0],
        "gap_bound": bounds[1],
    }
    return dataset(TABLE, values, n=list(config.gap_samples))
