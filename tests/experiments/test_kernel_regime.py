"""Networks of several widths as one program, their linearisation, and claims about exponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments.kernel_regime import claims
from experiments.wide_networks import Descent, linearised, targets
from nsh import TrainingProblem, ensemble
from nsh.networks import MLP
from nsh.training import FullBatch

RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(6, 64)), jnp.float32)
LABELS = np.arange(4, dtype=np.int32)
STEPS, RATE, WIDTHS, WIDEST = 3, 0.02, (5, 7), 9


def cut(mlp, width):
    """The network of `width` inside a wider one, by itself."""
    sizes = ((64, width), (width, width), (width, 10))
    small = MLP((64, width, width, 10), jax.nn.relu, key=jax.random.key(0))
    layers = [*mlp.hidden, mlp.readout]
    leaves = []
    for layer, (rows, columns) in zip(layers, sizes, strict=True):
        kept = np.asarray(layer.weight)[:rows, :columns]
        assert np.count_nonzero(layer.weight) == kept.size
        assert np.count_nonzero(layer.bias[columns:]) == 0
        leaves += [jnp.asarray(kept), layer.bias[:columns]]
    return jax.tree.unflatten(jax.tree.structure(small), leaves)


def descend(outputs, parameters, width):
    """Gradient descent of ``outputs(parameters, x)`` with learning rates 1 / fan_in and 1."""
    fan_in = [64, width, width]
    leaves, structure = jax.tree.flatten(parameters)
    scales = [scale for fan in fan_in for scale in (1 / fan, 1.0)]

    def loss(leaves):
        f = outputs(jax.tree.unflatten(structure, leaves), X[:4])
        return jnp.sum((f - targets(LABELS)) ** 2) / 2 / 4

    @jax.jit
    def seen_and_moved(leaves):
        moved = zip(leaves, jax.grad(loss)(leaves), scales, strict=True)
        seen = outputs(jax.tree.unflatten(structure, leaves), X)
        return seen, [w - RATE * scale * slope for w, slope, scale in moved]

    seen, final = [], leaves
    for _ in range(STEPS + 1):
        final = leaves
        now, leaves = seen_and_moved(leaves)
        seen.append(np.asarray(now))
    return np.stack(seen), jax.tree.unflatten(structure, final)


@pytest.mark.long
def test_padded_networks_and_linearisations_are_what_they_should_be():
    system = Descent(WIDEST)
    hyper = {"learning_rate": jnp.full(2, RATE), "width": jnp.asarray(WIDTHS, float)}
    problem = TrainingProblem(
        system, system.prepare(X[:4], LABELS), hyper, steps=STEPS, sampler=FullBatch(), grid_ndim=1
    )
    trained = ensemble(problem, jax.random.key(0), seeds=2).state
    linear, drift, error = linearised(
        trained, hyper, X, targets(LABELS), jnp.eye(6), RATE / 4, STEPS, 3
    )
    assert linear.shape == (2, 2, 2, 6, 10)
    assert drift.shape == error.shape == (2, 2)
    assert np.all(drift > 0)
    member = jax.tree.map(lambda leaf: leaf[0, 1], trained)
    start, end = cut(member.start, 5), cut(member.network, 5)

    def network(mlp, x):
        return jax.vmap(mlp)(x)

    outputs, final = descend(network, start, 5)
    for mine, theirs in zip(jax.tree.leaves(final), jax.tree.leaves(end), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)

    def tangent(mlp, x):
        change = jax.tree.map(jnp.subtract, mlp, start)
        value, slope = jax.jvp(lambda mlp: network(mlp, x), (start,), (change,))
        return value + slope

    straight, _ = descend(tangent, start, 5)
    np.testing.assert_allclose(linear[0, 1], straight[::3], atol=1e-5)
    assert np.abs(straight - outputs).max() > 1e-4


def with_exponents(linearisation, drift, kernel, ntk):
    """What `run` gives, with differences that are powers of the width but for some noise."""
    widths, seeds, steps = np.array([10.0, 20, 40, 80]), 6, np.array([0, 8, 16])

    def power(exponent, *shape):
        noise = np.exp(0.01 * RANDOM.normal(size=(len(widths), seeds, *shape)))
        return noise * (widths**exponent).reshape(-1, 1, *(1,) * len(shape))

    course, members = ("width", "seed", "step"), ("width", "seed")
    flat = 1 + 0.01 * RANDOM.normal(size=(len(widths), seeds, len(steps)))
    return xr.Dataset(
        {
            "linearisation": (course, power(linearisation, len(steps))),
            "kernel": (course, power(kernel, len(steps))),
            "drift": (members, power(drift)),
            "ntk": (members, power(ntk)),
            "spread": (course, flat),
            "error": (course, flat),
            "kernel_error": ("step", np.ones(len(steps))),
            "network_accuracy": (course, flat),
            "linearised_accuracy": (course, flat[:, ::-1]),
        },
        {"width": widths, "step": steps},
    )


def test_claims_tell_exponents_apart():
    expected = [claim.holds for claim in claims(with_exponents(-1.0, -1.0, -0.5, -0.5))]
    assert expected == [True] * 9
    lazy = {claim.name: claim for claim in claims(with_exponents(-0.3, -0.3, 0.0, -0.5))}
    verdicts = [claim.holds for claim in lazy.values()]
    assert verdicts == [False, False, False, False, True, False, True, True, True]
    assert next(iter(lazy.values())).measured == pytest.approx(-0.3, abs=0.05)
    doubled = with_exponents(-1.0, -1.0, -0.5, -0.5)
    doubled["spread"] = doubled["spread"] * 2
    assert [claim.holds for claim in claims(doubled)] == [True] * 6 + [False] + [True] * 2
