"""Networks against plain NumPy loops, their initial statistics, and their errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.activations import ACTIVATIONS
from nsh.networks import CNN, MLP, Linear, digit_mlp

KEY = jax.random.key(0)


def with_biases(module):
    """The same module with biases that are not 0, so that a forgotten bias shows."""
    shift = lambda leaf: leaf + 0.1 * jnp.arange(leaf.size, dtype=leaf.dtype)  # noqa: E731
    return jax.tree.map(lambda leaf: shift(leaf) if leaf.ndim == 1 else leaf, module)


def close(ours, oracle):
    np.testing.assert_allclose(np.asarray(ours), oracle, rtol=2e-5, atol=2e-6)


def test_networks_for_digits_take_any_known_activation():
    gelu = ACTIVATIONS["gelu"]
    by_name, given = (digit_mlp((3,), which).make(KEY) for which in ("gelu", gelu))
    expected = MLP((64, 3, 10), gelu.function, key=KEY, gain=2.0)
    assert eqx.tree_equal(by_name, given, expected)
    with pytest.raises(ValueError, match=r"activation = 'geluu': .*did you mean gelu\?"):
        digit_mlp((3,), "geluu")


def test_mlp_forward_is_numpy_loop():
    module = with_biases(MLP((12, 5, 7, 3), jax.nn.relu, key=KEY, gain=2.0))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    h, levels = x.reshape(-1), []
    for layer in module.hidden:
        weight, bias = np.asarray(layer.weight), np.asarray(layer.bias)
        z = [sum(h[i] * weight[i, j] for i in range(len(h))) + bias[j] for j in range(len(bias))]
        h = np.maximum(np.array(z), 0)
        levels.append(h)
    features = module.features(jnp.asarray(x, float))
    assert len(features) == len(levels) == 2
    for ours, oracle in zip(features, levels, strict=True):
        close(ours, oracle)
    logits = h @ np.asarray(module.readout.weight) + np.asarray(module.readout.bias)
    close(module(jnp.asarray(x, float)), logits)


def convolve(x, weight, bias):
    """Zero-padded 3x3 cross-correlation, one output number at a time."""
    height, width, inputs = x.shape
    y = np.zeros((height, width, weight.shape[-1]))
    for a, b, o in np.ndindex(y.shape):
        y[a, b, o] = bias[o]
        for i, j, c in np.ndindex(3, 3, inputs):
            row, column = a + i - 1, b + j - 1
            if 0 <= row < height and 0 <= column < width:
                y[a, b, o] += x[row, column, c] * weight[i, j, c, o]
    return y


def pool(x):
    """Means of 2x2 blocks, of what there is of them at odd ends, one output number at a time."""
    y = np.zeros((-(-x.shape[0] // 2), -(-x.shape[1] // 2), x.shape[2]))
    for a, b, c in np.ndindex(y.shape):
        y[a, b, c] = (x[2 * a : 2 * a + 2, 2 * b : 2 * b + 2, c]).mean()
    return y


@pytest.mark.long
def test_cnn_forward_is_numpy_loop():
    module = with_biases(CNN((2, 3), 4, (4, 8), key=KEY))
    x = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    h, features = x[:, :, None], module.features(jnp.asarray(x, float))
    for block, level in zip(module.blocks, features, strict=True):
        h = pool(np.tanh(convolve(h, np.asarray(block.weight), np.asarray(block.bias))))
        close(level, h.reshape(-1))
    logits = h.reshape(-1) @ np.asarray(module.readout.weight) + np.asarray(module.readout.bias)
    close(module(jnp.asarray(x, float)), logits)


@pytest.mark.long
def test_an_image_may_come_with_a_channel_or_flat():
    module, image = CNN((2,), 3, (4, 2), key=KEY), jax.random.normal(KEY, (4, 2))
    for x in (image[:, :, None], image[None], image.reshape(-1)):
        np.testing.assert_array_equal(module(x), module(image))


@pytest.mark.parametrize(("at", "image"), [("first", (3, 5, 6)), ("last", (5, 6, 3))])
def test_cnn_of_any_size_and_channels_is_numpy_loop(at, image):
    module = with_biases(eqx.filter_jit(CNN)((2, 2, 2), 4, image, key=KEY, channels_at=at))
    x = np.random.default_rng(1).normal(size=image).astype(np.float32)
    h = np.moveaxis(x, 0, 2) if at == "first" else x
    features = eqx.filter_jit(module.features)(jnp.asarray(x, float))
    for block, level in zip(module.blocks, features, strict=True):
        h = pool(np.tanh(convolve(h, np.asarray(block.weight), np.asarray(block.bias))))
        close(level, h.reshape(-1))
    assert h.shape == (1, 1, 2)
    called = eqx.filter_jit(module)
    np.testing.assert_array_equal(
        called(jnp.asarray(x.reshape(-1), float)), called(jnp.asarray(x, float))
    )


def test_linear_features_are_the_input():
    module = with_biases(Linear(6, 3, key=KEY))
    x = jnp.arange(6.0).reshape(2, 3)
    (level,) = module.features(x)
    np.testing.assert_array_equal(level, np.arange(6.0))
    close(module(x), np.arange(6.0) @ np.asarray(module.weight) + np.asarray(module.bias))


@pytest.mark.parametrize(
    ("make", "pick", "variance"),
    [
        (lambda k: Linear(50, 40, key=k), lambda m: m.weight, 1 / 50),
        (lambda k: MLP((50, 40, 10), key=k, gain=2.0), lambda m: m.hidden[0].weight, 2 / 50),
        (lambda k: MLP((50, 40, 50), key=k, gain=2.0), lambda m: m.readout.weight, 1 / 40),
        (lambda k: CNN((16, 16), key=k, gain=3.0), lambda m: m.blocks[1].weight, 3 / (9 * 16)),
    ],
)
def test_weights_are_normal_with_variance_gain_over_fan_in(make, pick, variance):
    z = np.asarray(pick(make(KEY))).ravel() / np.sqrt(variance)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)


def test_hidden_layers_do_not_share_weights():
    module = MLP((9, 9, 9, 9), key=KEY)
    first, second = (layer.weight for layer in module.hidden)
    assert not np.allclose(first, second)
    assert not np.allclose(second, module.readout.weight)


def test_no_hidden_layer_is_the_linear_classifier():
    module = MLP((4, 3), key=KEY)
    x = jnp.arange(4.0)
    assert module.features(x) == ()
    np.testing.assert_array_equal(module(x), module.readout(x))


@pytest.mark.long
@pytest.mark.parametrize("make", [lambda k: MLP(key=k), lambda k: CNN(key=k)])
def test_jit_vmap_and_grad(make):
    module, x = make(KEY), jax.random.normal(KEY, (2, 8, 8))
    batched = eqx.filter_jit(lambda m, x: jax.vmap(m)(x))(module, x)
    for one, row in zip(x, batched, strict=True):
        np.testing.assert_allclose(module(one), row, rtol=1e-4, atol=1e-5)
    total = jax.jit(lambda x: jnp.sum(module(x)))
    _, forward = jax.jvp(total, (x[0],), (x[1],))
    np.testing.assert_allclose(jnp.sum(jax.grad(total)(x[0]) * x[1]), forward, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLP((4,), key=KEY), r"sizes = \(4,\)"),
        (lambda: MLP((4, 0, 2), key=KEY), "classes = 0"),
        (lambda: MLP((4, 3, 2), key=KEY, gain=0.0), r"gain = 0\.0"),
        (lambda: MLP((4, 3, 2), key=KEY)(jnp.zeros((5,))), r"x\.shape = \(5,\).*4 numbers"),
        (lambda: Linear(4, 2, key=KEY)(jnp.zeros((2, 3))), r"x\.shape = \(2, 3\)"),
        (lambda: Linear(True, 2, key=KEY), "inputs = True"),
        (lambda: CNN((), key=KEY), r"channels = \(\)"),
        (lambda: CNN((8, 0), key=KEY), "outputs = 0"),
        (lambda: CNN(image=(8,), key=KEY), r"image = \(8,\): must be one image"),
        (lambda: CNN(image=(3, 8, 8), key=KEY)(jnp.zeros((8, 8, 3))), r"x\.shape = \(8, 8, 3\)"),
        (lambda: CNN(image=(8, 0), key=KEY), "image = 0"),
        (lambda: CNN(key=KEY)(jnp.zeros((8, 9))), r"x\.shape = \(8, 9\).*\(8, 8\)"),
        (lambda: CNN(image=(16, 8), key=KEY)(jnp.zeros((8, 16))), r"\(8, 16\): .*\(16, 8\)"),
        (lambda: CNN(key=KEY)(jnp.zeros((4, 16))), r"x\.shape = \(4, 16\).*\(8, 8\), .*\(64,\)"),
        (lambda: CNN(key=KEY)(jnp.zeros((1, 64))), r"x\.shape = \(1, 64\)"),
        (
            lambda: CNN(key=KEY).blocks[0](jnp.zeros((8, 8, 2))),
            r"x\.shape = \(8, 8, 2\): must be \(height, width, 1\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
