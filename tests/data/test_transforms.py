"""Transforms against NumPy, their laws by counting, and their derivatives."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.data import Standardise, add_noise, random_crop, random_flip, source

pytestmark = pytest.mark.core

KEYS = jax.random.split(jax.random.key(0), 900)
IMAGE = np.arange(1.0, 13.0).reshape(3, 4)


@pytest.mark.parametrize(
    ("per", "channels_at", "over"),
    [("feature", "first", 0), ("channel", "first", (0, 2, 3)), ("channel", "last", (0, 1, 2)),
     ("all", "first", None)],
)  # fmt: skip
def test_standardised_data_have_mean_0_and_deviation_1(monkeypatch, per, channels_at, over):
    monkeypatch.setattr(source, "BYTES_AT_ONCE", 7 * 8 * 24)  # in blocks of 7, and a rest
    x = np.random.default_rng(0).normal(1e3, 5, (25, 2, 3, 4))
    fitted = Standardise.of(x, per, channels_at=channels_at)
    tight = 1e-12 if jax.config.read("jax_enable_x64") else 1e-6
    kept = np.squeeze(x.mean(over, keepdims=True), 0) if over is not None else x.mean()
    np.testing.assert_allclose(fitted.mean, kept, rtol=tight)
    np.testing.assert_allclose(np.ravel(fitted.std), np.ravel(x.std(over)), rtol=tight)
    np.testing.assert_allclose(fitted(x[3]), fitted(x)[3], rtol=tight)


def test_whole_numbers_are_standardised_and_constants_keep_their_unit():
    fitted = Standardise.of(np.array([[0, 9], [4, 9]], np.uint8))
    np.testing.assert_array_equal(fitted(np.array([[4, 12]], np.uint8)), [[1, 3]])
    np.testing.assert_array_equal(fitted(np.array([4, 12], ">i4")), [1, 3])
    slope = jax.grad(lambda x: fitted(x)[0])(jnp.array([1.0, 1.0]))
    np.testing.assert_array_equal(slope, [0.5, 0])


def test_crops_are_all_displacements_alike():
    crops = jax.jit(jax.vmap(lambda key: random_crop(jnp.asarray(IMAGE), key, 1)))(KEYS)
    padded = np.pad(IMAGE, 1)
    expected = [padded[a : a + 3, b : b + 4] for a in range(3) for b in range(3)]
    counts = [np.all(np.asarray(crops) == one, axis=(1, 2)).sum() for one in expected]
    assert sum(counts) == len(KEYS)
    # 8 degrees of freedom: 32 is exceeded once in 10^4
    assert sum((count - 100) ** 2 / 100 for count in counts) < 32


def test_flips_are_as_likely_as_not():
    flips = jax.vmap(lambda key: random_flip(jnp.asarray(IMAGE), key))(KEYS)
    mirrored = np.all(np.asarray(flips) == IMAGE[:, ::-1], axis=(1, 2))
    assert np.all(mirrored | np.all(np.asarray(flips) == IMAGE, axis=(1, 2)))
    assert abs(mirrored.sum() - 450) < 4 * 15


@pytest.mark.parametrize(
    "act",
    [
        lambda x, key, at: random_crop(x, key, 2, channels_at=at),
        lambda x, key, at: random_flip(x, key, channels_at=at),
    ],
)
def test_channels_go_along(act):
    """An image of equal channels stays one, and moves as it does without channels."""
    for key in KEYS[:4]:
        one = act(jnp.asarray(IMAGE), key, "first")
        for at, axis in (("first", 0), ("last", 2)):
            found = act(jnp.stack([jnp.asarray(IMAGE)] * 2, axis), key, at)
            np.testing.assert_array_equal(found, jnp.stack([one, one], axis))


def test_slopes():
    key = jax.random.key(1)
    slope = jax.grad(lambda scale: jnp.sum(add_noise(jnp.zeros(3), key, scale)))(jnp.asarray(0.5))
    np.testing.assert_allclose(slope, jax.random.normal(key, (3,)).sum(), rtol=1e-6)
    image = jnp.asarray(IMAGE)
    moved = random_crop(image, key, 1)
    slopes = jax.grad(lambda x: random_crop(x, key, 1).sum())(image)
    np.testing.assert_array_equal(slopes, np.isin(IMAGE, np.asarray(moved)))
    assert random_flip(np.array([[2, 2]], ">i2"), key).tolist() == [[2, 2]]
    assert add_noise(np.array([1, 2], np.uint8), key, 0.0).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Standardise.of(np.array([[np.nan]])), r"x\[0, 0\] = nan"),
        (lambda: Standardise.of(np.zeros((2, 3)), "channel"), r"x\.shape = \(2, 3\)"),
        (lambda: Standardise.of(np.zeros((2, 3)), cast(Any, "row")), "per = 'row'"),
        (lambda: Standardise.of(np.zeros((2, 3)))(1.0), r"x\.shape = \(\): must be \(..., 3\)"),
        (lambda: random_crop(jnp.zeros(3), KEYS[0], 1), r"x\.shape = \(3,\)"),
        (lambda: random_crop(jnp.zeros((3, 3)), KEYS[0], -1), "padding = -1"),
        (
            lambda: random_flip(jnp.zeros((3, 3)), KEYS[0], channels_at=cast(Any, "top")),
            "channels_at = 'top'",
        ),
        (lambda: add_noise(jnp.zeros(3), KEYS[0], jnp.ones(3)), r"scale\.shape = \(3,\)"),
    ],
)
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
