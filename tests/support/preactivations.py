"""Finite networks at initialisation, in plain NumPy: given a layer, the next one is Gaussian."""

import numpy as np


def relu(z):
    return np.maximum(z, 0)


def kernels(activation, widths, K1, *, C_b=0.0, C_W=1.0, gamma=0.0, networks=20_000, seed=0):
    """(G, z): the outputs' variance given the last hidden layer, and that layer, of each network.

    At infinite width G is K of the last layer; over networks Cov of the squares of two outputs is
    Var G exactly (without skips).
    """
    random = np.random.default_rng(seed)
    G, z = np.full(networks, K1), 0.0
    for width in widths:
        z = np.sqrt(G)[:, None] * random.normal(size=(networks, width)) + (
            gamma * z if gamma else 0
        )
        G = C_b + C_W * np.mean(activation(z) ** 2, axis=1)
    return G, z


def mean_and_error(samples):
    """Mean and its standard error."""
    return np.mean(samples), np.std(samples) / np.sqrt(len(samples))


def variance_and_error(samples):
    """Variance and its standard error (of heavy tails too, as far as the sample shows them)."""
    return mean_and_error((samples - np.mean(samples)) ** 2)
