"""Samples of all layers against networks with weights, and what is known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.samples.forward_samples import forward_samples

WIDTHS, INPUTS, SEEDS = (3, 5), 4, 4000
X = np.array([0.4, -1.0, 0.3, 0.8])
X2 = float(X @ X) / INPUTS
ORTHOGONAL = np.array([1.0, 0.4, 0.0, 0.0])
RATES = {"C_b": 0.3, "C_W": np.array([1.0, 1.4, 1.6]), "lambda_b": 0.7, "lambda_W": 1.3}


def network(**more):
    return Architecture("tanh", 3, WIDTHS, **{**RATES, **more})


def with_weights(net, seeds):
    """Of real networks: z_1^2, H_11 and the squared slope along `ORTHOGONAL`, of later layers."""
    sizes = (INPUTS, *WIDTHS, 2)

    def neuron(parameters, x, layer):
        z = x
        for place, (b, W) in enumerate(parameters[: layer + 1]):
            z = b + W @ (z if place == 0 else jnp.tanh(z))
        return z[0]

    def one(key):
        parameters = []
        for place, k in enumerate(jax.random.split(key, 3)):
            noise = jax.random.normal(k, (sizes[place + 1], sizes[place] + 1))
            scale = jnp.sqrt(net.C_W[place] / sizes[place])
            parameters.append((jnp.sqrt(net.C_b[place]) * noise[:, 0], scale * noise[:, 1:]))
        found = []
        x = jnp.asarray(X, float)
        for layer in (1, 2):
            both = jax.value_and_grad(neuron, (0, 1))
            z, (slopes, along) = both(parameters, x, layer)
            H = sum(
                net.lambda_b[p] * jnp.sum(b**2) + net.lambda_W[p] / sizes[p] * jnp.sum(W**2)
                for p, (b, W) in enumerate(slopes)
            )
            found.append(jnp.stack([z**2, H, (along @ jnp.asarray(ORTHOGONAL, float)) ** 2]))
        return jnp.stack(found, axis=1)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(7), seeds))


@pytest.mark.long
def test_means_are_those_of_networks_with_weights():
    net = network()
    real = np.asarray(with_weights(net, SEEDS), float)
    samples = forward_samples(net, X2, jax.random.key(0), seeds=SEEDS, padded=8)
    unit = float(net.C_W[0]) * float(ORTHOGONAL @ ORTHOGONAL) / INPUTS
    drawn = np.stack([samples.kernel, samples.tangent, unit * np.exp(samples.log_distance)], axis=1)
    drawn = drawn[..., 1:]
    difference = drawn.mean(0) - real.mean(0)
    error = np.hypot(drawn.std(0), real.std(0)) / np.sqrt(SEEDS)
    assert np.all(np.abs(difference) < 4 * error)
    assert np.all(error < 0.1 * real.mean(0))


def test_exact_moments_of_relu_and_dead_layers():
    depth, width = 5, 16

    def sampled(width):
        net = Architecture("relu", depth, width, C_W=2.0)
        samples = forward_samples(net, 0.5, jax.random.key(1), seeds=SEEDS, padded=16)
        return jax.tree.map(np.asarray, samples)

    samples = sampled(width)
    for found, exact in (
        (samples.kernel**2, (1 + 5 / width) ** np.arange(depth)),
        (samples.tangent, 1.5 * np.arange(1, depth + 1)),
        (np.exp(samples.log_distance), np.ones(depth)),
    ):
        error = found.std(0) / np.sqrt(SEEDS)
        assert np.all(np.abs(found.mean(0) - exact) < 4 * error + 1e-5)
    narrow = sampled(1)
    dead = narrow.kernel[:, -1] == 0
    # a layer of one neuron dies with probability 1/2
    assert abs(dead.mean() - 15 / 16) < 4 * np.sqrt(15 / 16**2 / SEEDS)
    np.testing.assert_array_equal(narrow.log_distance[dead, -1], -np.inf)
    np.testing.assert_allclose(narrow.tangent[dead, -1], 1)


@pytest.mark.long
def test_derivatives():
    def means(C_W, x2):
        net = Architecture("tanh", 3, WIDTHS, C_b=0.1, C_W=C_W)
        samples = forward_samples(net, x2, jax.random.key(4), seeds=2)
        return jax.tree.map(lambda part: part[:, -1], samples)

    check_three_ways(means, np.asarray(1.3), np.asarray(0.6))


@pytest.mark.core
def test_bad_input():
    with pytest.raises(ValueError, match="padded = 4"):
        forward_samples(network(), X2, jax.random.key(0), seeds=1, padded=4)
    with pytest.raises(ValueError, match="x2"):
        forward_samples(network(), -1.0, jax.random.key(0), seeds=1)
    with pytest.raises(ValueError, match="gamma"):
        forward_samples(network(gamma=0.5), X2, jax.random.key(0), seeds=1)
