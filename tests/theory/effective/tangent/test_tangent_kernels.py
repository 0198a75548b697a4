"""The empirical NTK: its fast path, its blocks and its products against plain Jacobians."""

from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from derivatives import check_three_ways
from jax.tree_util import Partial

from nsh import TrainingProblem, train
from nsh.networks import MLP, Network
from nsh.theory.effective import (
    empirical_ntk,
    mlp_rates,
    monte_carlo_ntk,
    ntk_vector_product,
)
from nsh.theory.effective.architecture import Architecture, standard_rates

X = np.random.default_rng(0).normal(size=(5, 4))
Z = np.random.default_rng(1).normal(size=(3, 4))
SIZES = (4, 7, 6, 2)


def mlp(key=0):
    return MLP(SIZES, jnp.tanh, key=jax.random.key(key))


def floats(x):
    return jnp.asarray(x, float)


@eqx.filter_jit
def jacobians(module, inputs):
    """The parameters' pytree, leaves [inputs, outputs, *parameter]."""
    parameters, rest = eqx.partition(module, eqx.is_inexact_array)
    return jax.jacrev(lambda p: jax.vmap(eqx.combine(p, rest))(inputs))(parameters)


def by_hand(module, rates=1.0):
    """The definition at (X, Z), parameter array by parameter array."""
    leaves = jax.tree.leaves(jacobians(module, floats(np.concatenate([X, Z]))))
    of_each = jax.tree.leaves(jax.tree.broadcast(rates, eqx.filter(module, eqx.is_inexact_array)))
    total = np.zeros((len(X), len(Z), 2, 2))
    for leaf, rate in zip(leaves, of_each, strict=True):
        slopes = np.asarray(leaf, float).reshape(len(leaf), 2, -1)
        rate = np.broadcast_to(np.asarray(rate, float), leaf.shape[2:]).ravel()
        total += np.einsum("nip,mjp,p->nmij", slopes[: len(X)], slopes[len(X) :], rate)
    return total


@pytest.mark.thorough
@pytest.mark.core
def test_layers_path_is_the_sum_over_parameters(relative_tolerance):
    module, x, z = mlp(), floats(X), floats(Z)
    rates = mlp_rates(
        Architecture("tanh", 3, lambda_b=[0.3, 0.5, 2.0], lambda_W=[1.0, 2.0, 0.7]), module
    )
    assert float(rates.hidden[1].weight) == pytest.approx(2.0 / 7)
    assert float(rates.readout.bias) == 2.0
    close = {"rtol": 0, "atol": 30 * relative_tolerance}
    expected = by_hand(module, eqx.filter(rates, eqx.is_array))
    np.testing.assert_allclose(empirical_ntk(module, x, z, rates=rates), expected, **close)
    both = empirical_ntk(module, floats(np.concatenate([X, Z])))
    np.testing.assert_allclose(both[: len(X), len(X) :], by_hand(module), **close)
    np.testing.assert_allclose(both, jnp.einsum("nmij->mnji", both), **close)


@pytest.mark.core
def test_standard_parametrisation_is_one_rate_for_all():
    made = Architecture("tanh", 3, SIZES[1:-1], **standard_rates(SIZES[0], SIZES[1:-1]))
    for rate in jax.tree.leaves(eqx.filter(mlp_rates(made, mlp()), eqx.is_array)):
        assert rate == pytest.approx(1.0)


def test_ntk_parametrisation_has_rates_like_variances(relative_tolerance):
    """With W = sqrt(C_W / fan_in) w and b = sqrt(C_b) v, one rate for all of w and v."""
    C_W, C_b, module = 1.7, 0.6, mlp()

    class Drawn(eqx.Module):
        inner: MLP

        def __call__(self, x):
            def scaled(layer):
                scale = (C_W / layer.weight.shape[0]) ** 0.5
                new = (scale * layer.weight, C_b**0.5 * layer.bias)
                return eqx.tree_at(lambda a: (a.weight, a.bias), layer, new)

            hidden = tuple(map(scaled, self.inner.hidden))
            readout = scaled(self.inner.readout)
            return eqx.tree_at(lambda m: (m.hidden, m.readout), self.inner, (hidden, readout))(x)

    def unscaled(layer):
        new = layer.weight / (C_W / layer.weight.shape[0]) ** 0.5
        return eqx.tree_at(lambda a: a.weight, layer, new)

    plain = eqx.tree_at(
        lambda m: (m.hidden, m.readout), module,
        (tuple(map(unscaled, module.hidden)), unscaled(module.readout)),
    )  # fmt: skip
    rates = mlp_rates(Architecture("tanh", 3, lambda_b=C_b, lambda_W=C_W), module)
    np.testing.assert_allclose(
        empirical_ntk(Drawn(plain), floats(X)), empirical_ntk(module, floats(X), rates=rates),
        rtol=0, atol=30 * relative_tolerance,
    )  # fmt: skip


def test_jacobian_path_in_any_blocks(relative_tolerance):
    module, x, z = mlp(), floats(X), floats(Z)
    # a rate for each weight, which no layer's closed form covers
    weights = jax.tree.map(jnp.cos, eqx.filter(module, eqx.is_inexact_array))
    expected = by_hand(module, weights)
    for block in (None, 2):
        found = empirical_ntk(module, x, z, rates=weights, block=block)
        np.testing.assert_allclose(found, expected, rtol=0, atol=relative_tolerance * 30)


def test_any_module_and_any_function_of_parameters():
    x, z, inner = floats(X), floats(Z), X @ Z.T
    linear = eqx.nn.Linear(4, 2, key=jax.random.key(0))
    expected = (inner + 1)[:, :, None, None] * np.eye(2)
    np.testing.assert_allclose(empirical_ntk(linear, x, z), expected, rtol=1e-4, atol=1e-5)

    def line(p, x):
        return jnp.dot(p["a"], x) + p["b"]

    given = Partial(line, {"a": floats([1.0, 2.0, 3.0, 4.0]), "b": floats(0.5)})
    rates = Partial(line, {"a": 2.0, "b": 3.0})
    found = empirical_ntk(given, x, z, rates=rates)
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found, 2 * inner + 3, rtol=1e-5, atol=1e-5)
    v = np.array([1.0, -2.0, 0.5])
    product = ntk_vector_product(given, x, floats(v), z, rates=rates)
    np.testing.assert_allclose(product, (2 * inner + 3) @ v, rtol=1e-4, atol=1e-5)


def test_product_is_the_matrix_times_the_vector():
    module, v = mlp(), np.random.default_rng(3).normal(size=(3, 2))
    product = ntk_vector_product(module, floats(X), floats(v), floats(Z))
    expected = np.einsum("nmij,mj->ni", by_hand(module), v)
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-5)


def test_derivative_by_inputs_and_parameters():
    parameters, rest = eqx.partition(mlp(), eqx.is_inexact_array)
    parameters = jax.tree.map(lambda p: np.asarray(p, np.float64), parameters)

    def kernel(x, parameters):
        return empirical_ntk(eqx.combine(parameters, rest), x)

    check_three_ways(kernel, X[:2], parameters)


def test_kernel_after_training():
    system = Network(mlp_of, optax.sgd)
    examples = system.prepare(X, np.array([0, 1, 0, 1, 1]))
    problem = TrainingProblem(system, examples, {"optimiser": {"learning_rate": 0.5}}, steps=20)
    run = train(problem, jax.random.key(0))
    before, after = mlp_of(jax.random.key(0)), system.module(run.state)
    kernel = empirical_ntk(after, floats(X), floats(Z))
    np.testing.assert_allclose(kernel, by_hand(after), rtol=1e-4, atol=1e-4)
    assert np.max(np.abs(kernel - by_hand(before))) > 0.1


def mlp_of(key):
    return MLP(SIZES, jnp.tanh, key=key)


def test_mean_over_random_networks():
    x, key = floats(X[:2]), jax.random.key(5)
    found = monte_carlo_ntk(mlp_of, x, key=key, samples=3)
    kernels = [empirical_ntk(mlp_of(jax.random.fold_in(key, i)), x) for i in range(3)]
    np.testing.assert_allclose(found.mean, np.mean(kernels, 0), rtol=1e-4, atol=1e-5)
    errors = np.std(kernels, 0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found.error, errors, rtol=1e-3, atol=1e-5)


@pytest.mark.core
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_input():
    module, x = mlp(), floats(X)
    for complaint, call in {
        "module = 3": lambda: empirical_ntk(cast(Any, 3), x),
        r"x\.shape": lambda: empirical_ntk(module, x[:0]),
        "numbers in all": lambda: empirical_ntk(module, x[:, :3]),
        "block = 0": lambda: empirical_ntk(module, x, block=0),
        "rates": lambda: empirical_ntk(module, x, rates={"a": 1.0}),
        r"v\.shape": lambda: ntk_vector_product(module, x, x),
        "value": lambda: empirical_ntk(Partial(jnp.outer, floats([1.0])), x),
        "samples = 1": lambda: monte_carlo_ntk(mlp_of, x, key=jax.random.key(0), samples=1),
        "layers of module": lambda: mlp_rates(Architecture("tanh", 2), module),
    }.items():
        with pytest.raises(ValueError, match=complaint):
            call()
