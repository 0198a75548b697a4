"""The mean tangent kernel of random networks of finite width."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Shaped

from nsh._checks import MOST, require_integer
from nsh._shown import Shown
from nsh.theory.effective.tangent.calls import Module
from nsh.theory.effective.tangent.kernels import empirical_ntk
from nsh.theory.effective.tangent.plan import check_choices
from nsh.theory.effective.tangent.rows import Outputs


class KernelMean(Shown):
    """Mean kernel of random networks and its standard error, both as `empirical_ntk` shapes it."""

    mean: Float[Array, "..."]
    error: Float[Array, "..."]


def monte_carlo_ntk(
    make: Callable[[Key[Array, ""]], Module],
    x: Shaped[Array, "n ..."],
    z: Shaped[Array, "m ..."] | None = None,
    *,
    key: Key[Array, ""],
    samples: int,
    outputs: Outputs = "all",
    rates: PyTree | None = None,
) -> KernelMean:
    """Mean of `empirical_ntk` over networks ``make(fold_in(key, i))``, with standard error.

    One network at a time, in the memory of a few kernels. `rates` and `outputs` as in
    `empirical_ntk`, the same for all networks. `make` is compared by identity: a fresh ``lambda``
    compiles anew. Raises `ValueError` unless samples >= 2.

    Example:
        >>> from nsh.theory.effective import monte_carlo_ntk
        >>> def make(key):
        ...     return jax.tree_util.Partial(jnp.dot, jax.random.normal(key, (2,)))
        >>> monte_carlo_ntk(make, jnp.array([[1.0, 2.0]]), key=jax.random.key(0), samples=2)
        KernelMean(mean=[[5.]], error=[[0.]])
    """
    require_integer("samples", samples, 2, MOST)
    check_choices(outputs, None, None)
    return _monte_carlo(make, x, z, outputs, rates, key, samples)


@eqx.filter_jit
def _monte_carlo(
    make: Callable[[Array], Module],
    x: Array,
    z: Array | None,
    outputs: Outputs,
    rates: PyTree | None,
    key: Array,
    count: int,
) -> KernelMean:
    def kernel(number: Array) -> Array:
        module = make(jax.random.fold_in(key, number))
        return empirical_ntk(module, x, z, outputs=outputs, rates=rates)

    def add(sums: tuple[Array, Array], number: Array) -> tuple[tuple[Array, Array], None]:
        mean, squares = sums
        change = kernel(number) - mean  # Welford's updates, which do not cancel
        step = change / (number + 1).astype(mean.dtype)
        return (mean + step, squares + change * (change - step)), None

    numbers = jnp.arange(count, dtype=jnp.int32)
    shape = eqx.filter_eval_shape(kernel, numbers[0])
    start = jnp.zeros(shape.shape, shape.dtype)
    (mean, squares), _ = jax.lax.scan(add, (start, start), numbers)
    return KernelMean(mean, jnp.sqrt(squares / (count * (count - 1))))
