"""Architectures as values: shapes, broadcasting, errors, derivatives by their fields."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective import Architecture, standard_rates

pytestmark = pytest.mark.core


def test_numbers_hold_for_all_layers():
    made = Architecture("tanh", 3, 10, C_W=2.0, lambda_b=[1, 2, 3])
    assert made.hidden_widths() == (10, 10)
    assert made.C_W.tolist() == [2, 2, 2]
    assert made.C_b.tolist() == [0, 0, 0]
    assert made.lambda_b.tolist() == [1, 2, 3]


def test_fields_can_be_traced_and_differentiated():
    def total(C_W):
        return jnp.sum(Architecture("relu", 4, C_W=C_W).C_W ** 2)

    assert jax.jit(jax.grad(total))(3.0) == 4 * 2 * 3.0
    several = jax.vmap(lambda C_W: Architecture("relu", 4, C_W=C_W))(jnp.arange(1.0, 4.0))
    assert several.C_W.shape == (3, 4)


def test_standard_parametrisation():
    rates = standard_rates(5, (7, 11))
    made = Architecture("relu", 3, (7, 11), **rates)
    assert made.lambda_W.tolist() == [5, 7, 11]
    assert made.lambda_b.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth = 0: must be an integer >= 1"),
        ({"widths": 0}, r"widths\[0\] = 0: must be an integer >= 1"),
        ({"widths": (4, -1)}, r"widths\[1\] = -1: must be an integer >= 1"),
        ({"widths": (4, 4, 4)}, r"widths = \(4, 4, 4\): must be 2, one for each hidden layer"),
        ({"C_b": -0.1}, "C_b = -0.1.*: must be finite and >= 0"),
        ({"C_W": [1, 2, float("inf")]}, r"C_W\[2\] = inf: must be finite and >= 0"),
        ({"lambda_W": [1, 2]}, r"lambda_W = \(2,\): must be a number, or of shape \(3,\)"),
        ({"gamma": float("nan")}, "gamma = nan: must be finite"),
        ({"C_W": 1 + 2j}, "C_W.dtype = 'complex128': must be bool, int or float"),
        ({"C_b": ["1", "2", "3"]}, "C_b.dtype = '<U1': must be bool, int or float"),
        (
            {"lambda_b": np.ma.masked_equal([1, 2, 3], 2)},
            "lambda_b = 'a masked array': must be without masked entries",
        ),
        ({"C_W": [1, [2, 3]]}, "C_W: must be an array of numbers"),
        ({"gamma": [0.5, 0.5]}, r"gamma = \(2,\): must be one number"),
    ],
)
def test_bad_fields(change, message):
    fields = {"activation": "relu", "depth": 3, "widths": 8, **change}
    with pytest.raises(ValueError, match=message):
        Architecture(**fields)


def test_widths_where_they_are_needed():
    with pytest.raises(ValueError, match="widths = None: must be given"):
        Architecture("relu", 3).hidden_widths()


def test_bad_sizes_of_the_standard_parametrisation():
    with pytest.raises(ValueError, match=r"widths\[1\] = 0"):
        standard_rates(3, (4, 0))
    with pytest.raises(ValueError, match="inputs = -3"):
        standard_rates(-3, (4,))


def test_equal_architectures_compare_equal_in_structure():
    structure = [jax.tree.structure(Architecture("gelu", 3, 8, C_W=c)) for c in (1.0, 2.0)]
    assert structure[0] == structure[1]
    np.testing.assert_array_equal(Architecture("gelu", 2, C_W=3.0).C_W, [3.0, 3.0])
