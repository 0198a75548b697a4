"""Finite networks: the exact samplers against full networks, and the sheet's reference values."""

import functools

import jax
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh.measure import Estimate
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.samples.autodiff_sampler import NetworkSamples, network_samples
from nsh.theory.effective.samples.dntk_sampler import dntk_samples
from nsh.theory.effective.samples.estimates import estimates, extrapolate, widen
from nsh.theory.effective.samples.sampler import output_samples

KEY = jax.random.key(0)
# nothing in it is alike: widths, hyperparameters, and layers narrower than the outputs are many
UNEVEN = Architecture(
    "tanh", 4, (5, 7, 3), C_b=[0.1, 0.2, 0.3, 0.4], C_W=[1.0, 1.5, 2.0, 1.2],
    lambda_b=[0.7, 0.2, 0.5, 1.0], lambda_W=[1.3, 0.6, 0.9, 1.1],
)  # fmt: skip
CHUNK = 2560


@functools.cache
def exact():
    return output_samples(UNEVEN, 0.8, KEY, seeds=2 * CHUNK, outputs=4, chunk=CHUNK)


def agree(a, b, errors=4.0):
    for name in a.keys() & b.keys():
        off = abs(a[name].mean - b[name].mean)
        assert off < errors * np.hypot(a[name].standard_error, b[name].standard_error), (
            name,
            a[name],
            b[name],
        )


@pytest.mark.long
def test_same_law_as_full_networks():
    full = network_samples(UNEVEN, 0.8, KEY, seeds=2 * CHUNK, chunk=CHUNK)
    found = estimates(exact()) | estimates(
        dntk_samples(UNEVEN, 0.8, KEY, seeds=2 * CHUNK, chunk=CHUNK)
    )
    expected = estimates(full)
    assert found.keys() == expected.keys() == {*"KVABDFPQ", "Theta"}
    agree(found, expected)
    # the raw joint law of outputs and kernel, beyond what the estimates use
    for moment in (
        lambda s: s.outputs[:, 0] ** 4,
        lambda s: s.outputs[:, 0] ** 2 * s.outputs[:, 1] ** 2,
        lambda s: s.outputs[:, 0] ** 2 * s.ntk[:, 0, 0],
        lambda s: s.outputs[:, 0] * s.outputs[:, 1] * s.ntk[:, 0, 1],
        lambda s: s.ntk[:, 0, 0] ** 2,
        lambda s: s.ntk[:, 0, 1] ** 4,
    ):
        a, b = (np.asarray(moment(samples), float) for samples in (exact(), full))
        error = np.sqrt((a.var() + b.var()) / len(a))
        assert abs(a.mean() - b.mean()) < 4 * error


def test_conditional_means_are_means():
    samples = exact()
    raw = np.asarray(samples.outputs, float) ** 2 - np.asarray(samples.variance, float)[:, None]
    values = raw.mean(1)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    pairs = np.asarray(samples.outputs[:, 0] * samples.outputs[:, 1] * samples.ntk[:, 0, 1], float)
    values = pairs - np.asarray(samples.mixed, float)
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))


@pytest.mark.long
def test_reference_values_of_relu():
    """K = 1, lambda_b = 0.5, lambda_W = 1, L = 5: V 20, A 87.5, B 60, D 35, F 20 over n."""
    narrow = Architecture("relu", 5, 48, C_W=2.0, lambda_b=0.5)
    wide = widen(narrow)
    keys = jax.random.split(KEY)
    pair = [
        estimates(output_samples(net, 0.5, key, seeds=10_240, outputs=4, padded=96))
        for net, key in zip((narrow, wide), keys, strict=True)
    ]
    for width, found in zip((48, 96), pair, strict=True):
        exactly = (1 + 5 / width) ** 4 - 1  # to all orders
        assert abs(found["V"].mean - exactly) < 4 * found["V"].standard_error
        # heavy tails: with as few seeds as here, V comes out low more often than high
        assert found["V"].standard_error < 0.06 * exactly
        assert abs(found["K"].mean - 1) < 4 * found["K"].standard_error
        assert found["Theta"].mean == pytest.approx(5, rel=0.01)
    expected = {"V": 20, "A": 87.5, "B": 60, "D": 35, "F": 20}
    agree(extrapolate(*pair), {name: Estimate(v / 48, 0.0, 2) for name, v in expected.items()}, 3.5)


def test_a_seed_is_the_same_in_any_ensemble():
    fewer = output_samples(UNEVEN, 0.8, KEY, seeds=CHUNK + 70, outputs=4, chunk=CHUNK)
    small = output_samples(UNEVEN, 0.8, KEY, seeds=130, outputs=4, chunk=64)
    for leaf, other, all_of_it in zip(*map(jax.tree.leaves, (fewer, small, exact())), strict=True):
        np.testing.assert_array_equal(leaf, all_of_it[: CHUNK + 70])
        np.testing.assert_array_equal(other, all_of_it[:130])


@pytest.mark.long
def test_derivative_by_hyperparameters():
    def samples(C_W, lambda_W, x2):
        net = Architecture("tanh", 3, (3, 2), C_b=0.1, C_W=C_W, lambda_W=lambda_W)
        return output_samples(net, x2, KEY, seeds=2)

    check_three_ways(samples, np.array([1.0, 1.2, 1.5]), np.array(0.8), np.array(0.9))


def test_skips_of_full_networks():
    """Without weights after layer 1, all that is left of z is gamma's share."""
    net = Architecture("tanh", 2, 2, C_W=[1.0, 0.0], lambda_b=0.0, gamma=0.5)
    found = network_samples(net, 4.0, KEY, seeds=64)
    z = np.asarray(found.outputs) / 0.5
    assert 2.5 < z.var() < 6
    # H: of layer 1's weights lambda x2 = 4, passed on by the skip, and of layer 2's mean s^2
    expected = 0.25 * 4 + np.mean(np.tanh(z) ** 2, axis=1, keepdims=True)
    diagonal = np.diagonal(found.ntk, axis1=1, axis2=2)
    np.testing.assert_allclose(diagonal, np.broadcast_to(expected, (64, 2)), rtol=1e-4)


@pytest.mark.core
def test_estimates_from_the_definitions():
    random = np.random.default_rng(0)
    z, h, d = (random.normal(size=(6, 3, 3, 3)[: 1 + k]) for k in (1, 2, 3))
    found = estimates(NetworkSamples(*(jax.numpy.asarray(x, float) for x in (z, h, d))))
    K, theta = (z**2).mean(), np.mean([h[:, a, a] for a in range(3)])
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    values = {
        "V": [(z[:, a] ** 2 - K) * (z[:, b] ** 2 - K) for a, b in pairs],
        "A": [(h[:, a, a] - theta) * (h[:, b, b] - theta) for a, b in pairs],
        "B": [h[:, a, b] ** 2 for a, b in pairs],
        "D": [(z[:, a] ** 2 - K) * (h[:, b, b] - theta) for a, b in pairs],
        "F": [z[:, a] * z[:, b] * h[:, a, b] for a, b in pairs],
        "P": [d[:, a, b, b] * z[:, a] for a, b in pairs],
        "Q": [d[:, a, a, b] * z[:, b] for a, b in pairs],
    }
    for name, value in values.items():
        each = np.mean(value, axis=0)
        expected = each.mean(), each.std(ddof=1) / np.sqrt(6)
        np.testing.assert_allclose(
            (found[name].mean, found[name].standard_error), expected, 1e-4, 1e-6, err_msg=name
        )


@pytest.mark.core
def test_extrapolation_removes_the_second_order():
    def at(n):
        return {"V": Estimate(3 / n + 5 / n**2, 0.1, 2), "K": Estimate(1.0, 0.1, 2)}

    found = extrapolate(at(10), at(20))
    assert found.keys() == {"V"}
    assert found["V"].mean == pytest.approx(0.3)
    assert found["V"].standard_error == pytest.approx(0.1 * np.sqrt(17))
    assert widen(UNEVEN).widths == (10, 14, 6)


@pytest.mark.core
def test_bad_input():
    for complaint, call in {
        "depth = 1": lambda: output_samples(Architecture("tanh", 1, 3), 1.0, KEY, seeds=2),
        "widths = None": lambda: output_samples(Architecture("tanh", 3), 1.0, KEY, seeds=2),
        "gamma = 0.5": lambda: dntk_samples(
            Architecture("tanh", 3, 3, gamma=0.5), 1.0, KEY, seeds=2
        ),
        "x2 = -1.0": lambda: dntk_samples(UNEVEN, -1.0, KEY, seeds=2),
        r"x2\.shape": lambda: output_samples(UNEVEN, jax.numpy.ones(2), KEY, seeds=2),
        "seeds = 0": lambda: output_samples(UNEVEN, 1.0, KEY, seeds=0),
        "outputs = 1": lambda: network_samples(UNEVEN, 1.0, KEY, seeds=2, outputs=1),
        "padded = 6": lambda: output_samples(UNEVEN, 1.0, KEY, seeds=2, padded=6),
        "chunk = 0": lambda: output_samples(UNEVEN, 1.0, KEY, seeds=2, chunk=0),
        "widths": lambda: network_samples(
            Architecture("tanh", 3, (3, 4), gamma=0.5), 1.0, KEY, seeds=2
        ),
    }.items():
        with pytest.raises(ValueError, match=complaint):
            call()
    with pytest.raises(TypeError, match="samples"):
        estimates(3)
