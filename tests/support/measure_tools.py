"""Shared by the tests of nsh.measure: small systems and mixtures with closed forms."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from nsh.measure import information
from nsh.system import Scaled, System

KEY = jax.random.key(0)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), float)


@functools.partial(jax.jit, static_argnames=("classes", "samples"))
def compiled(features, labels, key, noise, log_unit, classes, samples):
    return information(
        features, labels, key, noise=noise, log_unit=log_unit, classes=classes, samples=samples
    )


def measure(features, labels, noise, key=KEY, log_unit=0.0, classes=3, samples=64):
    return compiled(features, jnp.asarray(labels), key, noise, log_unit, classes, samples)


def on_a_line(values):
    """Points of the given places on a line in two dimensions."""
    return jnp.asarray(values, float)[:, None] * jnp.array([[0.6, 0.8]])


class Linear(System):
    """Softmax regression without bias, trained by gradient descent."""

    classes: int = eqx.field(static=True)

    def prepare(self, x, y):
        return {"x": jnp.asarray(x, float), "y": jnp.asarray(y)}

    def init(self, key, hyper):
        return jnp.zeros((self.classes, 4))

    def step(self, state, batch, hyper, key):
        scores = jax.nn.softmax(batch["x"] @ state.T)
        error = jax.nn.one_hot(batch["y"], self.classes, dtype=state.dtype) - scores
        return state + hyper * (error.T @ batch["x"]) / batch["x"].shape[0]

    def outputs(self, state, example):
        return state @ example["x"]

    def features(self, state, example):
        return (example["x"], jnp.outer(example["x"], example["x"]))


class Growing(System):
    """Logits ``e^(s + example's unit) W x``; a step adds x to the label's row and `hyper` to s."""

    def prepare(self, x, y):
        return {"x": jnp.asarray(x, float), "y": jnp.asarray(y)}

    def init(self, key, hyper):
        return {"weights": jnp.ones((3, 4)), "log_scale": jnp.zeros(())}

    def step(self, state, batch, hyper, key):
        rows = jax.nn.one_hot(batch["y"], 3, dtype=state["weights"].dtype)
        weights = state["weights"] + rows.T @ batch["x"]
        return {"weights": weights, "log_scale": state["log_scale"] + hyper}

    def outputs(self, state, example):
        return Scaled(state["weights"] @ example["x"], state["log_scale"] + example["unit"])

    def features(self, state, example):
        return (Scaled(example["x"], state["log_scale"] + example["unit"]),)


def gaussian_mixture_information(centres, labels, points=20001):
    """I(T; X) and I(T; Y) in bits of 1-D unit-variance Gaussians, by quadrature in float64."""
    centres = np.asarray(centres, np.float64)
    grid = np.linspace(centres.min() - 12, centres.max() + 12, points)
    each = np.exp(-((grid[None] - centres[:, None]) ** 2) / 2) / np.sqrt(2 * np.pi)

    def entropy(density):
        logs = np.log2(np.where(density > 0, density, 1))
        return -np.trapezoid(density * logs, grid)

    whole = entropy(each.mean(axis=0))
    noise = np.mean([entropy(density) for density in each])
    labels = np.asarray(labels)
    per_label = [(labels == y).mean() * entropy(each[labels == y].mean(0)) for y in set(labels)]
    return whole - noise, whole - sum(per_label)
