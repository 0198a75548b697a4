"""Spectra of tangent kernels without the matrix, from products with vectors."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse.linalg import lobpcg_standard
from jaxtyping import Array, Float, Key, PyTree, Shaped

from nsh._checks import require, require_integer, require_key
from nsh._estimate import Estimate, estimate
from nsh._extras import extra
from nsh._shown import Shown
from nsh.theory.effective.tangent.calls import Called, Module, called, checked_outputs
from nsh.theory.effective.tangent.rates import rates_of
from nsh.theory.effective.tangent.vector_products import product

ITERATIONS = 200
PART = 5  # the iteration needs a matrix of more than so many times the eigenvalues wanted


class NTKEigenvalues(Shown):
    """The largest eigenvalues, with what is left of ``Theta v - value v`` for each.

    `values` [count], largest first. `vectors` [count, n] or [count, n, outputs], of length 1.
    `error` [count]: the length of what is left; some eigenvalue is within it.

    Example:
        >>> from nsh.theory.effective import ntk_eigenvalues
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(2))
        >>> found = ntk_eigenvalues(model, jnp.diag(jnp.array([2.0, 1.0])), 1)
        >>> jnp.abs(found.vectors).round(4).tolist()
        [[1.0, 0.0]]
    """

    values: Float[Array, " count"]
    vectors: Float[Array, "count n ..."]
    error: Float[Array, " count"]


class SpectralDensity(Shown):
    """A random quadrature of the spectrum: for each probe, weights at nodes, which sum to 1.

    The share of eigenvalues in an interval is the mean weight of nodes within it.

    Example:
        >>> from nsh.theory.effective import ntk_spectral_density
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(3))
        >>> found = ntk_spectral_density(model, jnp.eye(3), key=jax.random.key(0), steps=1)
        >>> found.nodes[0].round(4).tolist(), found.weights[0].tolist()  # the identity's
        ([1.0], [1.0])
    """

    nodes: Float[Array, "probes steps"]
    weights: Float[Array, "probes steps"]

    def mean(self, function: Callable[[Array], Array]) -> Estimate:
        """The mean of a function over all eigenvalues, with its standard error over probes.

        ``function=lambda value: value`` gives the trace divided by the matrix's size.
        """
        return estimate(np.asarray(jnp.sum(self.weights * function(self.nodes), -1)))


def ntk_eigenvalues(
    module: Module,
    x: Shaped[Array, "n ..."],
    count: int,
    *,
    rates: PyTree | None = None,
    state: PyTree | None = None,
    iterations: int = ITERATIONS,
) -> NTKEigenvalues:
    """Find the largest eigenvalues of `empirical_ntk` at x, of all inputs and outputs together.

    By LOBPCG (Knyazev 2001) on NTK-vector products: the memory is that of a few vectors for each
    eigenvalue, and an eigenvalue that occurs several times is found as often. A matrix of at most
    ``5 count`` rows is formed and solved directly. The `error` says how far `iterations` came: in
    32 bits some 1e-5 of the largest eigenvalue can be reached. The module is called as in
    inference. Not differentiable. Raises `ValueError` unless 1 <= count <= n x outputs.

    Example:
        >>> from nsh.theory.effective import ntk_eigenvalues
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(2))
        >>> ntk_eigenvalues(model, jnp.array([[2.0, 0.0], [0.0, 1.0]]), 2).values.tolist()
        [4.0, 1.0]
    """
    given = called(module, state, None, False)
    shape = (len(x), *checked_outputs(given, x=x))
    require_integer("count", count, 1)
    allowed = f"at most {int(np.prod(shape))}, the numbers of all outputs"
    require(count <= np.prod(shape), "count", count, allowed)
    require_integer("iterations", iterations, 1)
    return _eigenvalues(given, x, rates_of(given, rates), shape, count, iterations)


def ntk_spectral_density(
    module: Module,
    x: Shaped[Array, "n ..."],
    *,
    key: Key[Array, ""],
    probes: int = 10,
    steps: int = 30,
    rates: PyTree | None = None,
    state: PyTree | None = None,
) -> SpectralDensity:
    """Estimate the density of eigenvalues of `empirical_ntk` at x by stochastic Lanczos quadrature.

    Each random probe of signs has `steps` Lanczos steps, with full reorthogonalisation (Ubaru,
    Chen, Saad 2017), by Matfree. Means of polynomials up to degree 2 steps - 1 are off by nothing
    but the choice of probes. Exact sums over all eigenvalues are the sums over `ntk_diagonal`.
    The module is called as in inference. Needs the extra `theory`. Differentiable. Raises
    `ValueError` unless steps is at most n x outputs.

    Example:
        >>> from nsh.theory.effective import ntk_spectral_density
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(3))
        >>> found = ntk_spectral_density(model, 2 * jnp.eye(3), key=jax.random.key(0), steps=1)
        >>> round(float(found.mean(jnp.sqrt).mean), 4)  # all eigenvalues are 4
        2.0
    """
    given = called(module, state, None, False)
    shape = (len(x), *checked_outputs(given, x=x))
    require_key(key)
    require_integer("probes", probes, 1)
    require_integer("steps", steps, 1)
    allowed = f"at most {int(np.prod(shape))}, the numbers of all outputs"
    require(steps <= np.prod(shape), "steps", steps, allowed)
    with extra("theory", "a spectral density"):
        importlib.import_module("matfree.decomp")
    return _density(given, x, rates_of(given, rates), shape, key, probes, steps)


@eqx.filter_jit
def _eigenvalues(
    given: Called, x: Array, rates: list[Array], shape: tuple[int, ...], count: int, most: int
) -> NTKEigenvalues:
    size, dtype = int(np.prod(shape)), jnp.result_type(*given.parameters)

    def times(vectors: Array) -> Array:
        """[size, k] -> [size, k]."""
        made = jax.vmap(lambda v: product(given, x, v.reshape(shape), x, rates).reshape(-1))
        return made(vectors.T).T

    if size <= PART * count:
        matrix = times(jnp.eye(size, dtype=dtype))
        values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
        values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    else:
        start = jax.random.normal(jax.random.key(0), (size, count), dtype)
        values, vectors, _ = lobpcg_standard(times, start, most)
    left = times(vectors) - vectors * values[None]
    return NTKEigenvalues(values, vectors.T.reshape(count, *shape), jnp.linalg.norm(left, axis=0))


@eqx.filter_jit
def _density(
    given: Called,
    x: Array,
    rates: list[Array],
    shape: tuple[int, ...],
    key: Array,
    probes: int,
    steps: int,
) -> SpectralDensity:
    size, dtype = int(np.prod(shape)), jnp.result_type(*given.parameters)
    factored = importlib.import_module("matfree.decomp").tridiag_sym(steps)

    def times(v: Array) -> Array:
        return product(given, x, v.reshape(shape), x, rates).reshape(-1)

    def one(key: Array) -> tuple[Array, Array]:
        signs = jax.random.rademacher(key, (size,), dtype)
        nodes, vectors = jnp.linalg.eigh(factored(times, signs).J_small)
        return nodes, vectors[0] ** 2

    return SpectralDensity(*jax.lax.map(one, jax.random.split(key, probes)))
