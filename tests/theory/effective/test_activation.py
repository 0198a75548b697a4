"""What is found of an activation: kinks, scale invariance, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective import ACTIVATIONS, as_activation, leaky_relu

pytestmark = pytest.mark.core


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        (jnp.tanh, ()),
        (lambda z: jnp.tanh(20 * z), ()),  # steep, not kinked
        (jax.nn.elu, ()),  # only its second derivative jumps
        (jax.nn.relu, (0.0,)),
        (jax.nn.hard_tanh, (-1.0, 1.0)),
        (jax.nn.relu6, (0.0, 6.0)),
        (lambda z: jnp.maximum(z - 0.3, 0), (0.3,)),
    ],
)
def test_kinks_are_found(function, kinks):
    np.testing.assert_allclose(as_activation(function).kinks, kinks, atol=1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_known_of_named_activations_is_what_would_be_found(name):
    known, found = ACTIVATIONS[name], as_activation(ACTIVATIONS[name].function)
    np.testing.assert_allclose(found.kinks, known.kinks, atol=1e-4)
    assert (found.slopes is None) == (known.slopes is None)
    if known.slopes is not None:
        np.testing.assert_allclose(np.asarray(found.slopes), known.slopes, rtol=1e-6)


def test_nearly_straight_is_not_scale_invariant():
    assert as_activation(lambda z: jnp.tanh(z / 1000)).slopes is None
    assert as_activation(lambda z: 3 * z).slopes == (3, 3)


def test_derivatives_of_a_polynomial(relative_tolerance):
    cube = as_activation(lambda z: z**3)
    z = jnp.asarray([-2.0, 0.5, 3.0])
    for order, exact in enumerate((z**3, 3 * z**2, 6 * z, jnp.full(3, 6.0))):
        np.testing.assert_allclose(cube.derivative(z, order), exact, rtol=relative_tolerance)


def test_second_derivative_at_a_kink_is_zero():
    assert ACTIVATIONS["relu"].derivative(jnp.asarray([-1.0, 0.0, 1.0]), 2).tolist() == [0, 0, 0]


def test_functions_are_taken_inside_a_trace_too():
    value = jax.jit(lambda z: as_activation(lambda x: jnp.maximum(x, 0))(z))(jnp.asarray(-1.0))
    assert value == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("foo", "activation = 'foo': must be one of linear, relu"),
        (3, "activation = 3: must be a name"),
        (jnp.log, "value of activation log at z"),
        (lambda z: jnp.where(z > 15, jnp.nan, z), "must be finite everywhere"),
        (jnp.sign, "activation sign jumps at z"),
        (jnp.sum, r"activation sum = \(\): must be of shape"),
    ],
)
def test_bad_activations(given, message):
    with pytest.raises(ValueError, match=message):
        as_activation(given)


def test_bad_slope():
    with pytest.raises(ValueError, match=r"slope = inf: must be a finite number"):
        leaky_relu(float("inf"))


def test_leaky_relu_of_slope_one_is_linear():
    assert leaky_relu(1.0).kinks == ()
    assert leaky_relu(-1.0)(jnp.asarray(-3.0)) == 3
