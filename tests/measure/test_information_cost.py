from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from measure_tools import KEY, measure, normal, on_a_line

from nsh.measure import Noise, information
from nsh.measure import _tools as tools

UNIT = Noise(fixed=1.0, relative=0.0)


def test_chunks_do_not_change_the_result(monkeypatch):
    features, labels = normal(0, 11, 3), jnp.arange(11) % 2

    def bits():
        function = functools.partial(information, noise=UNIT, classes=2, samples=8)
        return jax.jit(function)(features, labels, KEY)

    whole = bits()
    monkeypatch.setattr(tools, "_CHUNK", 100)
    parts = bits()
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_seeds_by_vmap_equal_seeds_one_by_one():
    features, labels = normal(0, 3, 8, 2), np.arange(8) % 2
    keys = jax.random.split(jax.random.key(1), 3)
    together = jax.vmap(lambda f, k: measure(f, labels, UNIT, k))(features, keys)
    alone = [measure(features[i], labels, UNIT, keys[i]).input for i in range(3)]
    np.testing.assert_allclose(together.input, jnp.stack(alone), rtol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_memory_is_bounded(reverse):
    def bits(features):
        return measure(features, np.arange(500) % 10, Noise(), classes=10, samples=16).input

    function = jax.jit(jax.grad(bits) if reverse else bits)
    shape = jax.ShapeDtypeStruct((500, 128), jnp.float32)
    memory = function.lower(shape).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 50e6


def test_a_new_noise_or_key_compiles_nothing():
    traces = []

    @jax.jit
    def bits(noise, key):
        traces.append(1)
        return measure(on_a_line(range(8)), np.arange(8) % 2, noise, key).input

    cases = [(Noise(0.3, 0.0), 0), (Noise(3.0, 0.0), 0), (Noise(3.0, 0.0), 1)]
    assert len({float(bits(noise, jax.random.key(seed))) for noise, seed in cases}) == 3
    assert len(traces) == 1
