"""Products with a random matrix that is never there are those of one matrix, with its law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsh.theory.effective.samples.conditioned_matrix import ConditionedMatrix

ROWS, COLUMNS = 5, 4
pytestmark = pytest.mark.core


def revealed(rows=ROWS, columns=COLUMNS, deviation=0.7):
    return ConditionedMatrix(jnp.asarray(deviation), jnp.ones(rows), jnp.ones(columns))


def normals(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), float)


def test_products_are_those_of_one_matrix(relative_tolerance):
    matrix, u, v = revealed(), normals(0, 2, COLUMNS), normals(1, 2, ROWS)
    fresh, other = normals(2, 5, ROWS), normals(3, 3, COLUMNS)
    forward, matrix = matrix.times(u[0], fresh[0])
    back, matrix = matrix.transposed().times(v[0], other[0])
    second, matrix = matrix.transposed().times(u[1], fresh[1])
    again, matrix = matrix.transposed().times(v[1], other[1])
    mixed, matrix = matrix.transposed().times(2 * u[0] - u[1], fresh[2])
    close = {"rtol": 0, "atol": 30 * relative_tolerance}
    np.testing.assert_allclose(mixed, 2 * forward - second, **close)
    for p, product in ((v[0], back), (v[1], again)):
        for q, image in ((u[0], forward), (u[1], second)):
            np.testing.assert_allclose(jnp.dot(p, image), jnp.dot(product, q), **close)
    nothing, _ = matrix.times(jnp.zeros(COLUMNS), fresh[3])
    np.testing.assert_array_equal(nothing, 0)


def test_law_of_a_chain_of_products():
    """y = W v, x = W^T s(y), z = W s(x): moments against explicit matrices."""
    count, v = 20_000, normals(0, COLUMNS)

    def sample(key):
        first, second, third = jax.random.split(key, 3)
        y, matrix = revealed().times(v, jax.random.normal(first, (ROWS,)))
        noise = jax.random.normal(second, (COLUMNS,))
        x, matrix = matrix.transposed().times(jnp.tanh(y), noise)
        noise = jax.random.normal(third, (ROWS,))
        return y, x, matrix.transposed().times(jnp.tanh(x), noise)[0]

    found = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), count))
    W = 0.7 * np.random.default_rng(5).normal(size=(count, ROWS, COLUMNS))
    y = W @ np.asarray(v)
    x = np.einsum("src,sr->sc", W, np.tanh(y))
    z = np.einsum("src,sc->sr", W, np.tanh(x))

    def moments(y, x, z):
        y, x, z = (np.asarray(each, float) for each in (y, x, z))
        dots = [y[:, 0] * z[:, 0], y[:, 0] * z[:, 1], x @ np.asarray(v), x[:, 0] * z[:, 0]]
        return np.stack([(x**2).sum(1), (z**2).sum(1), (z**4).sum(1), *dots], axis=1)

    a, b = moments(*found), moments(y, x, z)
    error = np.sqrt((a.var(0) + b.var(0)) / count)
    assert np.all(np.abs(a.mean(0) - b.mean(0)) < 4 * error)
    assert np.all(error < 0.1 * np.abs(b.mean(0)).max())


def test_padding_stays_empty():
    rows, columns = jnp.asarray([1.0, 1, 0]), jnp.asarray([1.0, 0, 0])
    matrix = ConditionedMatrix(jnp.asarray(1.0), rows, columns)
    image, matrix = matrix.times(columns, jnp.ones(3))
    back, _ = matrix.transposed().times(image, jnp.ones(3))
    np.testing.assert_array_equal(image[2:], 0)
    np.testing.assert_array_equal(back[1:], 0)
