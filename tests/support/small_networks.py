"""Data and a module for the tests of `Network`: 24 inputs of 2 x 3 numbers, 4 classes."""

import jax
import numpy as np

from nsh.networks import Linear

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 2, 3)), RNG.integers(0, 4, 24)


def make_linear(key):
    return Linear(6, 4, key=key)


def at_rate(learning_rate, **more):
    """Hyperparameters of a network: the optimiser's arguments."""
    return {"optimiser": {"learning_rate": learning_rate, **more}}
