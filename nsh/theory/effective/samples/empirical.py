"""The neural tangent kernel of a finite network, at whatever parameters it has."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from nsh._checks import MOST, require, require_integer
from nsh._shown import Shown
from nsh.networks import MLP
from nsh.theory.effective.architecture import Architecture

JACOBIAN_BYTES = 2**27  # of the Jacobian of one block of inputs
Module = Callable[[Array], Array]


class KernelMean(Shown):
    """Mean kernel of random networks and its standard error, both as `empirical_ntk` shapes it."""

    mean: Float[Array, "..."]
    error: Float[Array, "..."]


def empirical_ntk(
    module: Module,
    x: Float[Array, "n ..."],
    z: Float[Array, "m ..."] | None = None,
    *,
    rates: PyTree | None = None,
    block: int | None = None,
) -> Float[Array, "n m ..."]:
    """``Theta_ij(x, z) = sum_p rate_p (df_i(x) / dp) (df_j(z) / dp)``, over all parameters p.

    Source: Jacot et al., arXiv 1806.07572; with rates, arXiv 2106.10165, eq. 8.5. `module`: any
    pytree that maps one input to an array; its floating-point arrays are the parameters, so a
    function f(p, x) is ``jax.tree_util.Partial(f, p)``. At trained parameters this is the "after
    kernel". Result: [n, m] if the module's value is a scalar, [n, m, outputs, outputs] if it is a
    vector. `z`: by default x. `rates`: learning-rate scalings, a number or a prefix of the
    parameters' pytree, default 1 (see `mlp_rates`).

    An `nsh.networks.MLP` with a rate for each array as a whole takes a path that never forms
    Jacobians, but sums ``(delta delta'^T) (rate_b + rate_W a a'^T)`` over layers, with a the
    layer's input and delta the derivative by its output: one backward pass for each input and
    output. Anything else contracts Jacobians of `block` inputs at a time (default: 128 MB of
    them). Differentiable. Raises `ValueError` on shapes the module does not take.

    Example:
        >>> from nsh.theory.effective import empirical_ntk
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(2))
        >>> empirical_ntk(model, jnp.array([[1.0, 2.0], [0.0, 3.0]])).tolist()  # x.z
        [[5.0, 6.0], [6.0, 9.0]]
    """
    if block is not None:
        require_integer("block", block, 1)
    return _empirical_ntk(module, x, z, rates, block)


def ntk_vector_product(
    module: Module,
    x: Float[Array, "n ..."],
    v: Float[Array, "m ..."],
    z: Float[Array, "m ..."] | None = None,
    *,
    rates: PyTree | None = None,
) -> Float[Array, "n ..."]:
    """``sum_j,z Theta_ij(x, z) v_j(z)`` without forming Theta: a forward after a reverse mode.

    As `empirical_ntk`; v is [m] or [m, outputs], the result [n] or [n, outputs]. Costs a few
    evaluations of the module on all inputs. Differentiable.

    Example:
        >>> from nsh.theory.effective import ntk_vector_product
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(2))
        >>> x = jnp.array([[1.0, 2.0], [0.0, 3.0]])
        >>> ntk_vector_product(model, x, jnp.array([1.0, 0.0])).tolist()
        [5.0, 6.0]
    """
    return _product(module, x, v, x if z is None else z, rates)


def monte_carlo_ntk(
    make: Callable[[Key[Array, ""]], Module],
    x: Float[Array, "n ..."],
    z: Float[Array, "m ..."] | None = None,
    *,
    key: Key[Array, ""],
    samples: int,
    rates: PyTree | None = None,
) -> KernelMean:
    """Mean of `empirical_ntk` over networks ``make(fold_in(key, i))``, with standard error.

    One network at a time, in the memory of a few kernels. `rates` as in `empirical_ntk`, the same
    for all networks. `make` is compared by identity: a fresh ``lambda`` compiles anew. Raises
    `ValueError` unless samples >= 2.

    Example:
        >>> from nsh.theory.effective import monte_carlo_ntk
        >>> def make(key):
        ...     return jax.tree_util.Partial(jnp.dot, jax.random.normal(key, (2,)))
        >>> monte_carlo_ntk(make, jnp.array([[1.0, 2.0]]), key=jax.random.key(0), samples=2)
        KernelMean(mean=[[5.]], error=[[0.]])
    """
    require_integer("samples", samples, 2, MOST)
    return _monte_carlo(make, x, z, rates, key, samples)


def mlp_rates(architecture: Architecture, module: MLP) -> PyTree:
    """`rates` that give `module` the architecture's: lambda_b, and lambda_W / fan_in of weights.

    Example:
        >>> from nsh.networks import MLP
        >>> from nsh.theory.effective import Architecture, mlp_rates
        >>> module = MLP((4, 8, 1), key=jax.random.key(0))
        >>> rates = mlp_rates(Architecture("tanh", 2, 8), module)
        >>> [float(rate) for rate in jax.tree.leaves(rates)]  # weights: 1 / fan_in
        [0.25, 1.0, 0.125, 1.0]
    """
    layers = (*module.hidden, module.readout)
    depth = architecture.depth
    require(len(layers) == depth, "layers of module", len(layers), f"{depth}, as the architecture")
    rated = [
        eqx.tree_at(
            lambda layer: (layer.weight, layer.bias),
            layer,
            (architecture.lambda_W[place] / layer.weight.shape[0], architecture.lambda_b[place]),
        )
        for place, layer in enumerate(layers)
    ]
    return eqx.tree_at(lambda m: (m.hidden, m.readout), module, (tuple(rated[:-1]), rated[-1]))


def _output_shape(module: Module, **inputs: Array) -> tuple[int, ...]:
    """() or (outputs,), all inputs checked."""
    require(callable(module), "module", module, "callable on one input")
    shape = ()
    for name, x in inputs.items():
        require(x.ndim >= 1 and len(x) >= 1, f"{name}.shape", x.shape, "[n, ...] with n >= 1")
        shape = eqx.filter_eval_shape(module, x[0]).shape
        require(len(shape) <= 1, "shape of the module's value", shape, "() or (outputs,)")
    return shape


def _rates(module: Module, rates: PyTree | None) -> PyTree:
    """A rate for every parameter array, broadcastable to it."""
    parameters = eqx.filter(module, eqx.is_inexact_array)
    try:
        found = jax.tree.broadcast(1.0 if rates is None else rates, parameters)
        return jax.tree.map(lambda p, rate: _rate(p, jnp.asarray(rate, p.dtype)), parameters, found)
    except ValueError as complaint:
        raise ValueError(f"rates: must be a prefix of the parameters, but {complaint}") from None


def _rate(parameter: Array, rate: Array) -> Array:
    return rate if rate.ndim == 0 else jnp.broadcast_to(rate, parameter.shape)


# what is checked in these is checked while tracing: before compiling, and once per shape
@eqx.filter_jit
def _empirical_ntk(
    module: Module, x: Array, z: Array | None, rates: PyTree | None, block: int | None
) -> Array:
    _output_shape(module, x=x, z=x if z is None else z)
    rates = _rates(module, rates)
    whole = all(rate.ndim == 0 for rate in jax.tree.leaves(rates))
    with jax.default_matmul_precision("highest"):
        if isinstance(module, MLP) and type(module) is MLP and whole:
            result = _by_layers(module, x, z, rates)
        else:
            result = _by_jacobians(module, x, x if z is None else z, rates, block)
    return result


@eqx.filter_jit
def _product(module: Module, x: Array, v: Array, z: Array, rates: PyTree | None) -> Array:
    shape = (len(z), *_output_shape(module, x=x, z=z))
    require(v.shape == shape, "v.shape", v.shape, f"{shape}, as the module's values at z")
    rates = _rates(module, rates)
    parameters, rest = eqx.partition(module, eqx.is_inexact_array)

    def outputs(parameters: PyTree, inputs: Array) -> Array:
        return jax.vmap(eqx.combine(parameters, rest))(inputs)

    _, pull = jax.vjp(lambda p: outputs(p, z), parameters)
    direction = jax.tree.map(jnp.multiply, pull(v)[0], rates)
    return jax.jvp(lambda p: outputs(p, x), (parameters,), (direction,))[1]


@eqx.filter_jit
def _monte_carlo(
    make: Callable[[Array], Module],
    x: Array,
    z: Array | None,
    rates: PyTree | None,
    key: Array,
    count: int,
) -> KernelMean:
    def kernel(number: Array) -> Array:
        module = make(jax.random.fold_in(key, number))
        return _empirical_ntk(module, x, z, rates, None)

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


def _by_jacobians(module: Module, x: Array, z: Array, rates: PyTree, block: int | None) -> Array:
    parameters, rest = eqx.partition(module, eqx.is_inexact_array)
    rate = jax.tree.map(lambda p, r: jnp.broadcast_to(r, p.shape), parameters, rates)
    rate = ravel_pytree(rate)[0]

    def jacobian(one: Array) -> Array:
        """[parameters], or [outputs, parameters]."""
        value, pull = jax.vjp(lambda p: eqx.combine(p, rest)(one), parameters)
        units = jnp.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)
        rows = jax.vmap(lambda unit: ravel_pytree(pull(unit)[0])[0])(units)
        return rows.reshape(*value.shape, -1)

    size = eqx.filter_eval_shape(jacobian, x[0])
    most = block or max(1, JACOBIAN_BYTES // (size.size * size.dtype.itemsize))

    def row(one: Array) -> Array:
        left = jacobian(one)
        left = left * jnp.broadcast_to(rate, left.shape)
        return jax.lax.map(
            lambda other: jnp.inner(left, jacobian(other)), z, batch_size=_even(len(z), most)
        )

    return jax.lax.map(row, x, batch_size=_even(len(x), most))


def _even(count: int, most: int) -> int:
    """The size of the fewest blocks of at most `most`, as equal as can be."""
    return math.ceil(count / math.ceil(count / most))


def _by_layers(module: MLP, x: Array, z: Array | None, rates: PyTree) -> Array:
    left = jax.vmap(lambda one: _factors(module, one))(x)
    right = left if z is None else jax.vmap(lambda one: _factors(module, one))(z)
    layers = (*rates.hidden, rates.readout)
    total = jnp.zeros((), x.dtype)
    for (a, delta), (b, epsilon), rate in zip(left, right, layers, strict=True):
        inner = rate.bias + rate.weight * (a @ b.T)
        total = total + inner[:, :, None, None] * jnp.einsum("nip,mjp->nmij", delta, epsilon)
    return total


def _factors(module: MLP, x: Array) -> list[tuple[Array, Array]]:
    """Of one input, for each layer: its input, and the outputs' derivatives by its output."""
    layers = (*module.hidden, module.readout)

    def outputs(shifts: list[Array]) -> tuple[Array, list[Array]]:
        value, seen = x, []
        for layer, shift in zip(layers, shifts, strict=True):
            value = value.reshape(-1) if not seen else module.activation(value)
            seen.append(value)
            value = layer(value) + shift
        return value, seen

    shifts = [jnp.zeros_like(layer.bias) for layer in layers]
    value, pull, seen = jax.vjp(outputs, shifts, has_aux=True)
    slopes = jax.vmap(pull)(jnp.eye(value.size, dtype=value.dtype))[0]
    return list(zip(seen, slopes, strict=True))
