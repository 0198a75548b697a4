"""Twelve modules as people write them, with data and a task, for `Network` to take as they are."""

from types import MappingProxyType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from nsh.networks import Classification, Network, Regression

RNG = np.random.default_rng(0)
LABELS = np.arange(12) % 3
IMAGES = RNG.normal(size=(12, 1, 6, 5)) + LABELS[:, None, None, None]
VECTORS = RNG.normal(size=(12, 6)) + LABELS[:, None]
SEQUENCES = RNG.normal(size=(12, 4, 8)) + LABELS[:, None, None]
TOKENS = RNG.integers(0, 5, (12, 4)) + 5 * LABELS[:, None]


class Case(NamedTuple):
    """`make(key)`, inputs and targets; `more`: options of `Network`."""

    make: Any
    x: Any
    y: Any = LABELS
    more: Any = MappingProxyType({})

    def network(self, optimiser=optax.sgd):
        return Network(self.make, optimiser, **self.more)


class BatchNormCNN(eqx.Module):
    convolution: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    readout: eqx.nn.Linear

    def __init__(self, key, mode: Any = "batch"):
        one, two = jax.random.split(key)
        self.convolution = eqx.nn.Conv2d(1, 3, 3, key=one)
        self.norm = eqx.nn.BatchNorm(3, "batch", mode=mode)
        self.readout = eqx.nn.Linear(3, 3, key=two)

    def features(self, x, state):
        h, _ = self.norm(self.convolution(x), state)
        return (jax.nn.relu(h).mean((1, 2)),)

    def __call__(self, x, state):
        h, state = self.norm(self.convolution(x), state)
        return self.readout(jax.nn.relu(h).mean((1, 2))), state


class DropoutMLP(eqx.Module):
    hidden: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    readout: eqx.nn.Linear

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.hidden, self.dropout = eqx.nn.Linear(6, 8, key=one), eqx.nn.Dropout(0.3)
        self.readout = eqx.nn.Linear(8, 3, key=two)

    def __call__(self, x, *, key=None):
        return self.readout(self.dropout(jnp.tanh(self.hidden(x)), key=key))


class Residual(eqx.Module):
    """A block of a residual network: two convolutions, each with BatchNorm, one of each mode."""

    convolutions: list[eqx.nn.Conv2d]
    norms: list[eqx.nn.BatchNorm]
    strength: jax.Array
    readout: eqx.nn.Linear

    def __init__(self, key, strength=1.0):
        keys = jax.random.split(key, 3)
        self.convolutions = [eqx.nn.Conv2d(1, 1, 3, padding=1, key=k) for k in keys[:2]]
        modes = ("batch", "ema")
        self.norms = [eqx.nn.BatchNorm(1, "batch", mode=mode) for mode in modes]
        self.strength, self.readout = jnp.asarray(strength), eqx.nn.Linear(30, 3, key=keys[2])

    def __call__(self, x, state):
        h = x
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            h, state = norm(convolution(jnp.tanh(h)), state)
        return self.readout(jnp.ravel(x + self.strength * h)), state


class Transformer(eqx.Module):
    """A pre-LN block with dropout in the attention."""

    norms: list[eqx.nn.LayerNorm]
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.MLP
    readout: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.norms = [eqx.nn.LayerNorm(8), eqx.nn.LayerNorm(8)]
        self.attention = eqx.nn.MultiheadAttention(2, 8, dropout_p=0.2, key=keys[0])
        self.mlp = eqx.nn.MLP(8, 8, 8, 1, jnp.tanh, key=keys[1])
        self.readout = eqx.nn.Linear(8, 3, key=keys[2])

    def __call__(self, x, *, key=None):
        h = jax.vmap(self.norms[0])(x)
        x = x + self.attention(h, h, h, key=key)
        x = x + jax.vmap(lambda h: self.mlp(self.norms[1](h)))(x)
        return self.readout(jnp.mean(x, axis=0))


class Recurrent(eqx.Module):
    cell: eqx.nn.GRUCell
    readout: eqx.nn.Linear

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.cell, self.readout = eqx.nn.GRUCell(8, 5, key=one), eqx.nn.Linear(5, 3, key=two)

    def __call__(self, x):
        start = jnp.zeros(5, x.dtype)
        last, _ = jax.lax.scan(lambda h, token: (self.cell(token, h), None), start, x)
        return self.readout(last)


class Tied(eqx.Module):
    """The readout of an autoencoder is the transpose of its first layer."""

    shared: eqx.nn.Shared

    def __init__(self, key):
        one, two = jax.random.split(key)
        pair = eqx.nn.Linear(6, 4, key=one), eqx.nn.Linear(4, 6, key=two)
        self.shared = eqx.nn.Shared(pair, lambda p: p[1].weight, lambda p: p[0].weight.T)

    def __call__(self, x):
        first, second = self.shared()
        return second(jnp.tanh(first(x)))


class Trunk(eqx.Module):
    trunk: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.trunk, self.readout = eqx.nn.Linear(6, 8, key=one), eqx.nn.Linear(8, 3, key=two)

    def __call__(self, x):
        return self.readout(jnp.tanh(self.trunk(x)))


def readout_alone(module):
    nothing = jax.tree.map(lambda _: False, module)
    everything = jax.tree.map(lambda _: True, module.readout)
    return eqx.tree_at(lambda m: m.readout, nothing, everything)


def of_16_bits(key):
    mlp = eqx.nn.MLP(6, 3, 8, 1, jnp.tanh, key=key)
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16) if eqx.is_array(x) else x, mlp)


def of_32_bits(key):
    return eqx.nn.MLP(6, 3, 8, 1, jnp.tanh, key=key)


class Spectral(eqx.Module):
    layer: eqx.nn.SpectralNorm
    readout: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        linear = eqx.nn.Linear(6, 5, key=keys[0])
        self.layer = eqx.nn.SpectralNorm(linear, "weight", key=keys[1])
        self.readout = eqx.nn.Linear(5, 3, key=keys[2])

    def __call__(self, x, state):
        h, state = self.layer(x, state)
        return self.readout(jnp.tanh(h)), state


class Embedded(eqx.Module):
    embedding: eqx.nn.Embedding
    readout: eqx.nn.Linear

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.embedding = eqx.nn.Embedding(15, 4, key=one)
        self.readout = eqx.nn.Linear(4, 3, key=two)

    def __call__(self, tokens):
        return self.readout(jnp.tanh(jax.vmap(self.embedding)(tokens)).mean(0))


class OfDict(eqx.Module):
    """Inputs by name: an image and what else is known of it."""

    parts: dict[str, eqx.nn.Linear]

    def __init__(self, key):
        keys = jax.random.split(key, 2)
        self.parts = {
            "image": eqx.nn.Linear(30, 3, key=keys[0]),
            "known": eqx.nn.Linear(6, 3, key=keys[1]),
        }

    def __call__(self, x):
        return self.parts["image"](jnp.ravel(x["image"])) + self.parts["known"](x["known"])


MODULES = {
    "BatchNorm CNN": Case(BatchNormCNN, IMAGES),
    "Dropout MLP": Case(DropoutMLP, VECTORS),
    "residual block with BatchNorm": Case(Residual, IMAGES),
    "transformer with attention dropout": Case(Transformer, SEQUENCES),
    "GRU": Case(Recurrent, SEQUENCES),
    "shared weights": Case(Tied, VECTORS, VECTORS, {"task": Regression()}),
    "frozen trunk": Case(Trunk, VECTORS, more={"trainable": readout_alone}),
    "bfloat16": Case(of_16_bits, VECTORS),
    "SpectralNorm": Case(Spectral, VECTORS),
    "tokens": Case(Embedded, TOKENS),
    "several real outputs": Case(of_32_bits, VECTORS, VECTORS[:, :3], {"task": Regression()}),
    "inputs by name": Case(
        OfDict, {"image": IMAGES, "known": VECTORS}, more={"task": Classification()}
    ),
}
