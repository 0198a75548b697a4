"""What is found of an activation: kinks, scale invariance, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untyped import stats

from nsh.activations import ACTIVATIONS, as_activation, leaky_relu
from nsh.activations.gaussian import gaussian

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
        (lambda z: jnp.clip(z, -0.003, 0.003), (-0.003, 0.003)),
        (lambda z: jnp.clip(z, -1e-5, 1e-5), (-1e-5, 1e-5)),
        (lambda z: jnp.clip(z, -50, 50), (-50, 50)),
        (lambda z: z + jnp.clip(z - 3, -1e-4, 1e-4), (2.9999, 3.0001)),
        (lambda z: z + jnp.maximum(1e-3 - jnp.abs(z - 3), 0), (2.999, 3, 3.001)),
        (lambda z: jnp.exp(z) + jax.nn.relu(z - 0.012345), (0.012345,)),
        (jnp.sinc, ()),  # its slope is noise at 0
    ],
)
def test_kinks_are_found(function, kinks):
    np.testing.assert_allclose(as_activation(function).kinks, kinks, rtol=1e-6)


def test_kinks_close_to_each_other_count():
    """<s^2> of clip(z, -c, c) at K = 1, which was 2% off where the kinks were missed."""
    c = 0.003
    nodes = gaussian(jnp.asarray(1.0), as_activation(lambda z: jnp.clip(z, -c, c)))
    inside = stats.norm.cdf(c) - stats.norm.cdf(-c)
    exact = inside - 2 * c * stats.norm.pdf(c) + c**2 * (1 - inside)
    np.testing.assert_allclose(nodes.mean(jnp.clip(nodes.z, -c, c) ** 2), exact, rtol=1e-5)
    slope2 = nodes.mean(as_activation(lambda z: jnp.clip(z, -c, c)).derivative(nodes.z) ** 2)
    np.testing.assert_allclose(slope2, inside, rtol=1e-5)


def threshold(c):
    return as_activation(lambda z: jnp.sign(z) * jax.nn.relu(jnp.abs(z) - c))


@pytest.mark.long
def test_functions_that_compute_the_same_share_programs():
    traced = []

    @jax.jit
    def at_two(activation):
        traced.append(activation)
        return activation(jnp.asarray(2.0))

    assert threshold(0.5) == threshold(0.5)
    assert hash(threshold(0.5)) == hash(threshold(0.5))
    assert [float(at_two(threshold(c))) for c in (0.5, 0.5, 0.25)] == [1.5, 1.5, 1.75]
    assert len(traced) == 2
    table = jnp.arange(1000.0)
    first, second = (
        as_activation(lambda z, t=t: jnp.interp(z, table, t))
        for t in (table, table.at[500].set(0.0))
    )
    assert first != second


def test_two_derivatives_of_one_value_do_not_share():
    @jax.custom_jvp
    def bent(z):
        return jax.nn.relu(z)

    bent.defjvp(lambda z, dz: (jax.nn.relu(z[0]), dz[0] * jax.nn.sigmoid(z[0])))
    assert as_activation(lambda z: bent(z)) != as_activation(lambda z: jax.nn.relu(z))


@pytest.mark.parametrize("given", [lambda z: jnp.tanh(1e3 * (z - 2)), lambda z: jnp.sin(100 * z)])
def test_what_quadrature_does_not_resolve_is_told(given):
    for _ in range(2):  # also where it is known from before
        with pytest.warns(UserWarning, match="varies too fast for the quadrature"):
            as_activation(given)


def test_an_activation_that_depends_on_a_traced_number():
    with pytest.raises(ValueError, match="a number in it is traced"):
        jax.jit(lambda c: as_activation(lambda z: jnp.tanh(c * z))(c))(2.0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_known_of_named_activations_is_what_would_be_found(name):
    known = ACTIVATIONS[name]
    assert as_activation(known.function) is known
    found = as_activation(lambda z: known.function(z))
    np.testing.assert_allclose(found.kinks, known.kinks, atol=1e-4)
    assert (found.dual is None) == (known.dual is None)
    if known.slopes is not None:
        np.testing.assert_allclose(np.asarray(found.slopes), known.slopes, rtol=1e-6)


def test_what_differs_far_out_is_another_function():
    """Equal to erf in 32 bits for z < 20, and another function where K is 100 or more."""
    erf = jax.scipy.special.erf
    assert as_activation(lambda z: erf(z)).dual == ACTIVATIONS["erf"].dual
    assert as_activation(lambda z: erf(z) * (1 + jax.nn.sigmoid(z - 40))).dual is None


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
        (lambda z: jnp.where(z > 15, jnp.nan, z), r"must be finite in \[-20, 20\]"),
        (jnp.sign, "activation sign jumps at z"),
        (jnp.sum, r"activation sum = \(\): must be of shape \(2, 3\)"),
        (lambda z: z > 0, "type of activation <lambda> = 'bool': must be that of z"),
        (lambda z: z - z.mean(), "must be elementwise"),
        (lambda z: jnp.sort(z.ravel()).reshape(z.shape), "must be elementwise"),
        (lambda z: z - z.max(), "must be elementwise"),
        (jax.nn.softmax, "must be an elementwise, differentiable JAX function"),
        (np.tanh, "must be a JAX function, such as jnp.tanh"),
        (lambda z: jnp.sqrt(jnp.abs(z)), "near z = .*: must be bounded"),
        (lambda z: jnp.sqrt(jnp.abs(z - 2)) + 1, r"near z = (2\.0|1\.9999).*: must be bounded"),
        (jnp.cbrt, "near z = .*: must be bounded"),
        (lambda z: jnp.abs(z - 2 * jnp.round(z / 2)), "kinks of activation <lambda> = 199: must"),
    ],
)
@pytest.mark.usefixtures("as_users_have_it")
def test_bad_activations(given, message):
    with pytest.raises(ValueError, match=message):
        as_activation(given)


def test_bad_slope():
    with pytest.raises(ValueError, match=r"slope = inf: must be a finite number"):
        leaky_relu(float("inf"))


def test_leaky_relu_of_slope_one_is_linear():
    assert leaky_relu(1.0).kinks == ()
    assert leaky_relu(-1.0)(jnp.asarray(-3.0)) == 3
