"""Means over two correlated Gaussians by plain NumPy quadrature: the kernels' oracle."""

from functools import cache

import numpy as np

TAIL = 10.0


@cache
def legendre(nodes):
    return np.polynomial.legendre.leggauss(nodes)


def _nodes(kinks, mean, deviation, nodes):
    """Of N(mean, deviation^2) for each mean, in pieces between the kinks: [..., nodes]."""
    mean = np.asarray(mean, float)[..., None]
    edges = np.clip((np.sort([0.0, *kinks]) - mean) / deviation, -TAIL, TAIL)
    ends = np.full_like(edges[..., :1], TAIL)
    edges = np.concatenate([-ends, edges, ends], -1)
    t, weight = legendre(nodes)
    half = np.diff(edges)[..., None] / 2
    u = (edges[..., :-1, None] + half * (t + 1)).reshape(*mean.shape[:-1], -1)
    weight = (half * weight).reshape(u.shape) * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return mean + deviation * u, weight


def mean_of_product(function, kinks, K_a, K_b, K_ab, nodes=100):
    """<F(z_a) F(z_b)>, z_b given z_a inside; K_a > 0 and |K_ab| < sqrt(K_a K_b)."""
    z_a, weight_a = _nodes(kinks, 0.0, np.sqrt(K_a), nodes)
    rest = np.sqrt(K_b - K_ab**2 / K_a)
    z_b, weight_b = _nodes(kinks, K_ab / K_a * z_a, rest, nodes)
    return np.sum(weight_a * function(z_a) * np.sum(weight_b * function(z_b), -1))


def mean(function, kinks, K, nodes=200):
    """<F(z)>."""
    z, weight = _nodes(kinks, 0.0, np.sqrt(K), nodes)
    return np.sum(weight * function(z))
