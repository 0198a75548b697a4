"""What two-layer networks make of the digits: outputs, information, sparsity and elasticity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.wide_networks import targets
from nsh.measure import (
    Noise,
    effective_features,
    elasticity_contrast,
    elasticity_matrix,
    information,
    observe,
)
from nsh.networks.for_digits import CLASSES
from nsh.theory.two_layer import Examples, Particles, TwoLayer

PROBING = 0.01  # learning rate of the steps that local elasticity is measured by


class HiddenLayer(eqx.Module):
    """What is measured of a hidden layer, in bits or units; `norm` is the r.m.s. over digits.

    Noise is relative to the norm as it is, or `fixed`: to the start's.
    """

    input: Array
    input_fixed: Array
    label: Array
    label_fixed: Array
    features: Array
    norm: Array


def over_members(function: Callable[[Particles], Any], states: Particles) -> Any:
    """The function of each of particles [alpha, time], one at a time: quicker, and to compile."""
    return jax.lax.map(lambda course: jax.lax.map(function, course), states)


@eqx.filter_jit
def outputs(system: TwoLayer, states: Particles, x: Array) -> Array:
    """f(x) [alpha, time, n, outputs] of particles [alpha, time]."""

    def of_state(state: Particles) -> Array:
        return jax.vmap(lambda one: system.output(state, one))(x)

    return over_members(of_state, states)


@eqx.filter_jit
def watch(
    system: TwoLayer, states: Particles, x: Array, labels: Array, key: Array, noise: Array,
    samples: int,
) -> HiddenLayer:  # fmt: skip
    """What the hidden layers of particles [alpha, time] tell of these digits."""

    def one(state: Particles) -> HiddenLayer:
        hidden = observe(system, state, Examples(x, labels)).features[0]
        norm = jnp.sqrt(jnp.mean(jnp.sum(hidden**2, axis=1)))
        # of ReLU units with theta ~ N(0, 1), where |x| = 1
        start = jnp.asarray(np.sqrt(hidden.shape[1] / 2), hidden.dtype)

        def bits(unit: Array) -> Any:
            return information(
                hidden, labels, key, noise=Noise(noise * unit, 0.0), classes=CLASSES,
                samples=samples,
            )  # fmt: skip

        found = jax.lax.map(bits, jnp.stack([norm, start]))
        return HiddenLayer(
            input=found.input[0], input_fixed=found.input[1], label=found.label[0],
            label_fixed=found.label[1], features=effective_features(hidden), norm=norm / start,
        )  # fmt: skip

    return over_members(one, states)


@eqx.filter_jit
def contrast(system: TwoLayer, states: Particles, x: Array, labels: Array, key: Array) -> Array:
    """Local elasticity within over across classes, for updates towards each digit's class."""

    def one(state: Particles) -> Array:
        now = jax.vmap(lambda digit: system.output(state, digit))(x)
        examples = Examples(x, now + targets(labels))
        hyper = {"alpha": state.alpha, "learning_rate": PROBING}
        matrix = elasticity_matrix(system, state, hyper, examples, key)
        return elasticity_contrast(matrix, labels).ratio

    return over_members(one, states)
