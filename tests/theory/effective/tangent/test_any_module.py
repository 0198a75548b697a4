"""Tangent kernels of modules with layers of all kinds, with a state, and in training."""

from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from nsh.networks import MLP
from nsh.theory.effective import (
    empirical_nngp,
    empirical_ntk,
    iterate_ntk_blocks,
    layer_ntks,
    ntk_diagonal,
    ntk_plan,
    ntk_vector_product,
)
from nsh.theory.effective.tangent.calls import called
from nsh.theory.effective.tangent.rows import FACTORS, JACOBIAN, PLAIN, anatomy, contracted, rows_of

KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(3, 2, 5, 4))


class Everything(eqx.Module):
    """Strides, groups, dilation, transposed convolutions, tokens, a layer used three times."""

    strided: eqx.nn.Conv2d
    grouped: eqx.nn.Conv2d
    transposed: eqx.nn.ConvTranspose2d
    tokens: eqx.nn.Linear
    shared: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    scaled: jax.Array
    tied: jax.Array

    def __init__(self, key):
        k = jax.random.split(key, 7)
        self.strided = eqx.nn.Conv2d(2, 4, 3, stride=2, padding=1, key=k[0])
        self.grouped = eqx.nn.Conv2d(4, 4, (1, 2), groups=2, dilation=2, padding=1, key=k[1])
        self.transposed = eqx.nn.ConvTranspose2d(4, 3, 2, stride=2, key=k[2])
        self.tokens = eqx.nn.Linear(3, 4, key=k[3])
        self.shared = eqx.nn.Linear(4, 4, key=k[4])
        self.norm = eqx.nn.LayerNorm(4)
        self.scaled = jax.random.normal(k[5], (4, 3))
        self.tied = jax.random.normal(k[6], (3, 3))

    def __call__(self, x):
        for layer in (self.strided, self.grouped, self.transposed):
            x = jnp.tanh(layer(x))
        x = jax.vmap(self.norm)(jnp.tanh(jax.vmap(self.tokens)(x.reshape(3, -1).T)))
        x = jnp.tanh(jax.vmap(self.shared)(jnp.tanh(jax.vmap(self.shared)(x)))).mean(0)
        x = jnp.tanh(self.shared(x)) @ (self.scaled / jnp.sqrt(4.0))
        return self.tied @ (self.tied.T @ x)  # one way and the other: no layer's matrix


LAYERS = {
    "strided.weight", "grouped.weight", "transposed.weight", "tokens.weight", "shared.weight",
    "scaled",
}  # fmt: skip


@eqx.filter_jit
def jacobian(module, x):
    """[n, outputs, parameters], of f(parameters) for all x at once."""
    parameters, rest = eqx.partition(module, eqx.is_inexact_array)
    found = jax.jacrev(lambda p: jax.vmap(eqx.combine(p, rest))(x))(parameters)
    return jnp.concatenate([a.reshape(*a.shape[:2], -1) for a in jax.tree.leaves(found)], -1)


@eqx.filter_jit
def summed(rows, outputs):
    return sum(contracted(a, a, jnp.ones(()), outputs) for a in rows)


def kernel(left, right):
    return np.einsum("nip,mjp->nmij", np.asarray(left, float), np.asarray(right, float))


@pytest.mark.core
@pytest.mark.parametrize("form", [JACOBIAN, FACTORS])
def test_layers_of_all_kinds(form, relative_tolerance):
    module, x = eqx.filter_jit(Everything)(KEY), jnp.asarray(IMAGES, float)
    whole = jacobian(module, x)
    expected = kernel(whole, whole)
    forms = dict(ntk_plan(module, x, method="layers").forms)
    assert {name for name, form in forms.items() if form != PLAIN} == LAYERS
    given = called(module, None, None, False)
    forms = tuple(form if uses else PLAIN for uses in anatomy(given, x).layers)
    rows = eqx.filter_jit(rows_of)(given, forms, x, jnp.arange(len(x)))
    close = {"rtol": 0, "atol": 30 * relative_tolerance * np.max(np.abs(expected))}
    for outputs, wanted in {
        "all": expected,
        "trace": np.einsum("nmii->nm", expected),
        "diagonal": np.einsum("nmii->nmi", expected),
    }.items():
        found = summed(rows, outputs)
        np.testing.assert_allclose(found, wanted, **close)


def mlp(outputs=3):
    return MLP((4, 6, 5, outputs), jnp.tanh, key=KEY)


X, Z = RANDOM.normal(size=(5, 4)), RANDOM.normal(size=(3, 4))


@pytest.mark.core
@pytest.mark.parametrize("method", ["layers", "jacobians", "products"])
def test_trace_and_diagonal_of_outputs_by_all_methods(method, relative_tolerance):
    module, x, z = mlp(), jnp.asarray(X, float), jnp.asarray(Z, float)
    expected = kernel(jacobian(module, x), jacobian(module, z))
    close = {"rtol": 0, "atol": 30 * relative_tolerance * np.max(np.abs(expected))}
    given = {"method": method, "block": 2}
    np.testing.assert_allclose(empirical_ntk(module, x, z, **given), expected, **close)
    trace = empirical_ntk(module, x, z, outputs="trace", **given)
    np.testing.assert_allclose(trace, np.einsum("nmii->nm", expected), **close)
    found = empirical_ntk(module, x, z, outputs="diagonal", **given)
    np.testing.assert_allclose(found, np.einsum("nmii->nmi", expected), **close)
    same = empirical_ntk(module, x, **given)  # its blocks below the diagonal are mirrored
    whole = jacobian(module, x)
    np.testing.assert_allclose(same, kernel(whole, whole), **close)


def test_parts_blocks_and_diagonal_are_those_of_the_kernel():
    module, x, z = mlp(), jnp.asarray(X, float), jnp.asarray(Z, float)
    whole = np.asarray(empirical_ntk(module, x, z))
    parts = layer_ntks(module, x, z, rates=2.0)
    assert set(parts) == {"hidden[0]", "hidden[1]", "readout"}
    np.testing.assert_allclose(sum(parts.values()), 2 * whole, rtol=1e-4, atol=1e-4)
    hidden = np.asarray(jax.vmap(lambda one: module.features(one)[-1])(x))
    others = np.asarray(jax.vmap(lambda one: module.features(one)[-1])(z))
    readout = 2 * (hidden @ others.T + 1)[:, :, None, None] * np.eye(3)
    np.testing.assert_allclose(parts["readout"], readout, rtol=1e-4, atol=1e-4)
    square = np.asarray(empirical_ntk(module, x))
    filled = np.full_like(square, np.nan)
    for place, block in iterate_ntk_blocks(module, x, block=2, method="layers"):
        filled[place] = block
    above = np.triu(np.ones((5, 5), bool))
    np.testing.assert_allclose(filled[above], square[above], rtol=1e-4, atol=1e-4)
    diagonal = ntk_diagonal(module, x, block=2)
    np.testing.assert_allclose(diagonal, np.einsum("nnij->nij", square), rtol=1e-4, atol=1e-4)
    trace = np.sum(ntk_diagonal(module, x, outputs="trace"))
    assert trace == pytest.approx(np.einsum("nnii->", square), rel=1e-4)


@pytest.mark.long
def test_second_derivatives_by_inputs():
    """Through a layer's factors and its Jacobian, against those of plain Jacobians."""
    layers = [
        eqx.nn.Conv1d(2, 2, 2, key=KEY), eqx.nn.Lambda(jnp.tanh), eqx.nn.Lambda(jnp.ravel),
        eqx.nn.Linear(6, 1, key=KEY),
    ]  # fmt: skip
    module, x = eqx.nn.Sequential(layers), jnp.asarray(RANDOM.normal(size=(2, 2, 4)), float)
    assert ntk_plan(module, x).method == "layers"

    def along(t, method):
        return empirical_ntk(module, x * (1 + t), method=method)[0, 1, 0, 0]

    def second(method):
        slope = jax.grad(lambda t: along(t, method))
        return jax.jit(lambda t: jax.jvp(slope, (t,), (jnp.ones(()),)))(jnp.zeros(()))

    np.testing.assert_allclose(second(None), second("jacobians"), rtol=1e-4, atol=1e-5)


def test_kernel_of_features():
    module, x, z = mlp(), jnp.asarray(X, float), jnp.asarray(Z, float)
    for layer, level in ((None, 1), ("readout", 1), ("hidden[1]", 0)):
        a, b = (np.asarray(jax.vmap(module.features)(inputs)[level]) for inputs in (x, z))
        found = empirical_nngp(module, x, z, layer=layer)
        np.testing.assert_allclose(found, a @ b.T / a.shape[1], rtol=1e-4, atol=1e-6)
    # of a convolution: over channels, window and places, where the padding counts as zeros
    convolution = eqx.nn.Conv1d(2, 3, 2, padding=1, key=KEY)
    signals = jnp.asarray(RANDOM.normal(size=(3, 2, 4)), float)
    padded = np.pad(signals, ((0, 0), (0, 0), (1, 1)))
    windows = np.stack([padded[:, :, k : k + 2] for k in range(5)], 1).reshape(3, -1)
    flat = eqx.nn.Sequential([convolution, eqx.nn.Lambda(jnp.ravel)])
    found = empirical_nngp(flat, signals)
    np.testing.assert_allclose(found, windows @ windows.T / windows.shape[1], rtol=1e-4, atol=1e-6)


def test_plan_says_what_it_chose_and_why():
    module = mlp()
    plan = ntk_plan(module, jnp.asarray(X, float))
    assert plan.method == "layers"
    assert dict(plan.forms)["readout.weight"] == FACTORS
    assert dict(plan.forms)["readout.bias"] == PLAIN
    assert "jacobians" in plan.reason
    # a layer with more places than weights: derivatives by weights are the smaller thing
    convolution = eqx.nn.Sequential(
        [eqx.nn.Conv2d(1, 2, 3, padding=1, key=KEY), eqx.nn.Lambda(lambda h: h.mean((1, 2)))]
    )
    assert dict(ntk_plan(convolution, jnp.ones((4, 1, 16, 16))).forms)["layers[0].weight"] == (
        JACOBIAN
    )
    # 10 outputs: the traced kernel needs a tenth of the products of pairs, and of the memory
    many = (
        ntk_plan(mlp(10), jnp.ones((1000, 4))),
        ntk_plan(mlp(10), jnp.ones((1000, 4)), outputs="trace"),
    )
    assert many[1].flops < many[0].flops / 5
    # all outputs of a matrix that is used within a loop, where no layers are looked for
    looped = Partial(
        lambda w, x: jax.lax.scan(lambda h, _: (jnp.tanh(w @ h), None), x, length=2)[0],
        jnp.eye(40),
    )
    plan = ntk_plan(looped, jnp.ones((30, 40)))
    assert plan.method == "products"
    assert "no parameter" in plan.reason


class Normed(eqx.Module):
    layer: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout

    def __call__(self, x, state, *, key=None):
        x, state = self.norm(self.layer(x), state)
        return self.dropout(jnp.tanh(x), key=key), state


def normed():
    return eqx.nn.make_with_state(
        lambda: Normed(
            eqx.nn.Linear(4, 2, key=KEY),
            eqx.nn.BatchNorm(2, "batch", mode="batch"),
            eqx.nn.Dropout(0.5),
        )
    )()


def test_state_and_key_in_inference_and_in_training():
    """By the formula of BatchNorm: running means in inference, the batch's in training."""
    (module, state), x, key = normed(), jnp.asarray(X, float), jax.random.key(3)
    masks = jnp.stack([
        eqx.nn.Dropout(0.5)(jnp.ones(2), key=jax.random.fold_in(key, i)) for i in range(len(x))
    ])  # fmt: skip

    def by_hand(parameters, training):
        weight, bias, gain, shift = parameters
        y = x @ weight.T + bias[None]
        mean, variance = jnp.zeros((1, 2)), jnp.ones((1, 2))
        if training:
            mean, variance = y.mean(0, keepdims=True), y.var(0, keepdims=True)
        y = jnp.tanh((y - mean) / jnp.sqrt(variance + module.norm.eps) * gain[None] + shift[None])
        return y * masks if training else y

    parameters = module.layer.weight, module.layer.bias, module.norm.weight, module.norm.bias
    for training in (False, True):
        found = jax.jacrev(by_hand)(parameters, training)
        rows = np.concatenate([a.reshape(len(x), 2, -1) for a in found], -1)
        given = {"state": state, "training": training, "key": key if training else None}
        with jax.numpy_dtype_promotion("standard"):  # which BatchNorm needs
            result = empirical_ntk(module, x, **given)
        np.testing.assert_allclose(result, kernel(rows, rows), rtol=1e-3, atol=1e-4)
        v = RANDOM.normal(size=(len(x), 2))
        with jax.numpy_dtype_promotion("standard"):
            product = ntk_vector_product(module, x, jnp.asarray(v, float), **given)
        wanted = np.einsum("nmij,mj->ni", kernel(rows, rows), v)
        np.testing.assert_allclose(product, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.core
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_input_of_calls():
    (module, state), x = normed(), jnp.asarray(X, float)
    for complaint, call in {
        "state = None": lambda: empirical_ntk(module, x),
        "key = None": lambda: empirical_ntk(module, x, state=state, training=True),
        "outputs = 'mean'": lambda: empirical_ntk(mlp(), x, outputs=cast(Any, "mean")),
        "method = 'fast'": lambda: empirical_ntk(mlp(), x, method="fast"),
        "method = 'products'.*act on each other": lambda: empirical_ntk(
            module, x, state=state, training=True, key=KEY, method="products"
        ),
        r"layer = 'hidden\[3\]'.*hidden\[0\]": lambda: empirical_nngp(mlp(), x, layer="hidden[3]"),
        "module = 'Partial'": lambda: empirical_nngp(Partial(jnp.multiply, jnp.ones(4)), x),
        "block = 0": lambda: ntk_diagonal(mlp(), x, block=0),
    }.items():
        with pytest.raises(ValueError, match=complaint):
            call()
