"""The neural tangent kernel of a finite network, at whatever parameters it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, Shaped

from nsh.theory.effective.tangent.calls import Called, Module, called, checked_outputs
from nsh.theory.effective.tangent.plan import (
    NTKPlan,
    Work,
    check_choices,
    kernel_work,
    layer_of,
    paths_of,
    plan_of,
)
from nsh.theory.effective.tangent.rates import rates_of
from nsh.theory.effective.tangent.rows import Form, Outputs, contracted, rows_of

Place = tuple[slice, slice]


class Asked(NamedTuple):
    """A kernel that is asked for, checked, and how it is computed. `shape`: of one value."""

    given: Called
    x: Array
    z: Array | None
    rates: list[Array]
    outputs: Outputs
    shape: tuple[int, ...]
    plan: NTKPlan


def empirical_ntk(
    module: Module,
    x: Shaped[Array, "n ..."],
    z: Shaped[Array, "m ..."] | None = None,
    *,
    outputs: Outputs = "all",
    rates: PyTree | None = None,
    state: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    training: bool = False,
    method: str | None = None,
    block: int | None = None,
) -> Float[Array, "n m ..."]:
    """``Theta_ij(x, z) = sum_p rate_p (df_i(x) / dp) (df_j(z) / dp)``, over all parameters p.

    Source: Jacot et al., arXiv 1806.07572; with rates, arXiv 2106.10165, eq. 8.5. `module`: any
    pytree that maps one input to an array; its floating-point arrays are the parameters, so a
    function f(p, x) is ``jax.tree_util.Partial(f, p)``. At trained parameters this is the "after
    kernel". `z`: by default x.

    Result: [n, m] if the module's value is a scalar. If it is a vector, `outputs` says which pairs
    of outputs are wanted: "all" gives [n, m, outputs, outputs]; "diagonal" gives [n, m, outputs],
    those of an output with itself; "trace" gives [n, m], their sum. (The mean, which is what
    neural-tangents calls a trace, is this divided by the number of outputs.) `rates`: learning-rate
    scalings, a number or a prefix of the parameters' pytree, default 1 (see `mlp_rates`).

    The module is called as it is in inference, with `state` if it has one (BatchNorm). With
    ``training=True`` it is called as in training: example i with ``fold_in(key, i)`` if it takes a
    key (Dropout). Under BatchNorm f(x_i) then depends on all of x. The kernel is that of the
    function from parameters to the outputs of the whole batch. x and z are a batch each.

    How it is computed is chosen by estimated operations; `ntk_plan` shows the choice, and `method`
    overrules it. "layers" finds the products of dense and convolutional layers and needs one
    backward pass for each input and output (Novak et al., arXiv 2206.08720). "jacobians" contracts
    plain Jacobians. "products" takes one NTK-vector product for each column. Derivatives of at most
    `block` inputs are kept at once (default: those in 1 GB, of two blocks). Under `jit`, blocks are
    written out one after the other.

    Differentiable. Raises `ValueError` on shapes the module does not take, and without a state or
    key that it needs.

    Example:
        >>> from nsh.theory.effective import empirical_ntk
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(2))
        >>> empirical_ntk(model, jnp.array([[1.0, 2.0], [0.0, 3.0]])).tolist()  # x.z
        [[5.0, 6.0], [6.0, 9.0]]
    """
    asked = _asked(module, x, z, outputs, rates, state, key, training, method, block)
    return _whole(asked, None)


def layer_ntks(
    module: Module,
    x: Shaped[Array, "n ..."],
    z: Shaped[Array, "m ..."] | None = None,
    *,
    outputs: Outputs = "all",
    rates: PyTree | None = None,
    state: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    training: bool = False,
    block: int | None = None,
) -> dict[str, Float[Array, "n m ..."]]:
    """The part of `empirical_ntk` of each layer, by the layer's place; they sum to the kernel.

    A layer is the innermost module that holds parameter arrays, so that weights and biases are
    together. An array that is no attribute is a layer of its own. All else as `empirical_ntk`.

    Example:
        >>> from nsh.networks import MLP
        >>> from nsh.theory.effective import layer_ntks
        >>> module = MLP((2, 1, 1), key=jax.random.key(0))
        >>> parts = layer_ntks(module, jnp.zeros((1, 2)))
        >>> {name: part.ravel().tolist() for name, part in parts.items() if name == "readout"}
        {'readout': [1.0]}
    """
    asked = _asked(module, x, z, outputs, rates, state, key, training, None, block, products=False)
    names = tuple(map(layer_of, paths_of(asked.given)))
    return _whole(asked, names)


def ntk_diagonal(
    module: Module,
    x: Shaped[Array, "n ..."],
    *,
    outputs: Outputs = "all",
    rates: PyTree | None = None,
    state: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    training: bool = False,
    block: int | None = None,
) -> Float[Array, "n ..."]:
    """``Theta_ij(x, x)`` of each input with itself, without the other entries.

    [n, outputs, outputs], or as `outputs` says. The trace of the whole kernel matrix over inputs
    and outputs is the sum of ``ntk_diagonal(..., outputs="trace")``. Else as `empirical_ntk`.

    Example:
        >>> from nsh.theory.effective import ntk_diagonal
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(2))
        >>> ntk_diagonal(model, jnp.array([[1.0, 2.0], [0.0, 3.0]])).tolist()
        [5.0, 9.0]
    """
    check_choices(outputs, None, block)
    given = called(module, state, key, training)
    shape = checked_outputs(given, x=x)
    rated, n = rates_of(given, rates), len(x)
    plan = plan_of(given, x, Work(n, n, True, n), rated, outputs, None, block, products=False)
    step, forms = plan.piece, tuple(form for _, form in plan.forms)
    parts = [
        _own(_rows(given, forms, x, k, min(k + step, n), step), rated, outputs)
        for k in range(0, n, step)
    ]
    return _as_shaped(jnp.concatenate(parts), shape, 1)


def iterate_ntk_blocks(
    module: Module,
    x: Shaped[Array, "n ..."],
    z: Shaped[Array, "m ..."] | None = None,
    *,
    outputs: Outputs = "all",
    rates: PyTree | None = None,
    state: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    training: bool = False,
    method: str | None = None,
    block: int | None = None,
) -> Iterator[tuple[Place, np.ndarray]]:
    """Yield ((rows, columns), `empirical_ntk` of these) as NumPy arrays, block by block.

    For kernels that no memory holds. Of x with itself, the blocks on and above the diagonal, but
    all columns at once where `ntk_plan` says "products". Not traceable. Raises `ValueError` as
    `empirical_ntk` does.

    Example:
        >>> from nsh.theory.effective import iterate_ntk_blocks
        >>> model = jax.tree_util.Partial(jnp.dot, jnp.ones(3))
        >>> blocks = iterate_ntk_blocks(model, jnp.eye(3), block=2, method="layers")
        >>> [part.shape for _, part in blocks]
        [(2, 2), (2, 1), (1, 1)]
    """
    asked = _asked(module, x, z, outputs, rates, state, key, training, method, block)
    for place, found in _blocks(asked, None):
        yield place, np.asarray(_as_shaped(found, asked.shape, 2))


def ntk_plan(
    module: Module,
    x: Shaped[Array, "n ..."],
    z: Shaped[Array, "m ..."] | None = None,
    *,
    outputs: Outputs = "all",
    rates: PyTree | None = None,
    state: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    training: bool = False,
    method: str | None = None,
    block: int | None = None,
) -> NTKPlan:
    """Say how `empirical_ntk` would compute this kernel, why, and what it would cost.

    Nothing is computed but shapes. Arguments and errors as `empirical_ntk`.

    Example:
        >>> from nsh.networks import MLP
        >>> from nsh.theory.effective import ntk_plan
        >>> ntk_plan(MLP((4, 8, 1), key=jax.random.key(0)), jnp.ones((3, 4))).method
        'layers'
    """
    return _asked(module, x, z, outputs, rates, state, key, training, method, block).plan


def _asked(
    module: Module,
    x: Array,
    z: Array | None,
    outputs: Outputs,
    rates: PyTree | None,
    state: PyTree | None,
    key: Array | None,
    training: bool,
    method: str | None,
    block: int | None,
    *,
    products: bool = True,
) -> Asked:
    check_choices(outputs, method, block)
    given = called(module, state, key, training)
    shape = checked_outputs(given, x=x) if z is None else checked_outputs(given, x=x, z=z)
    rated, work = rates_of(given, rates), kernel_work(len(x), None if z is None else len(z))
    plan = plan_of(given, x, work, rated, outputs, method, block, products=products)
    return Asked(given, x, z, rated, outputs, shape, plan)


def _whole(asked: Asked, names: tuple[str, ...] | None) -> Any:
    """The kernel, or with `names` of parameters' layers that of each."""
    found = list(_blocks(asked, names))
    starts = sorted({rows.start for (rows, _), _ in found})
    known = {(rows.start, columns.start): part for (rows, columns), part in found}
    for (rows, columns), part in found:
        if (columns.start, rows.start) not in known and asked.z is None:
            known[columns.start, rows.start] = jax.tree.map(
                lambda a: _mirrored(a, asked.outputs), part
            )
    ends = sorted({column for _, column in known})

    def joined(*parts: Array) -> Array:
        lines = [parts[k : k + len(ends)] for k in range(0, len(parts), len(ends))]
        whole = jnp.concatenate([jnp.concatenate(line, 1) for line in lines])
        return _as_shaped(whole if parts[1:] else parts[0], asked.shape, 2)

    return jax.tree.map(joined, *(known[row, column] for row in starts for column in ends))


def _mirrored(a: Array, outputs: Outputs) -> Array:
    a = jnp.swapaxes(a, 0, 1)
    return jnp.swapaxes(a, 2, 3) if outputs == "all" else a


def _as_shaped(found: Array, shape: tuple[int, ...], examples: int) -> Array:
    """Without the axes of outputs, where the module's value is a scalar."""
    return found.reshape(found.shape[:examples]) if shape == () else found


def _blocks(asked: Asked, names: tuple[str, ...] | None) -> Iterator[tuple[Place, Any]]:
    given, x, z, rates, outputs, _, plan = asked
    n, m, size = len(x), len(x if z is None else z), plan.block
    other = x if z is None else z
    if plan.method == "products":
        for start in range(0, m, plan.piece):
            stop = min(start + plan.piece, m)
            numbers = jnp.arange(start, stop)
            part = _columns(given, x, other[start:stop], numbers, rates, outputs)
            yield (slice(0, n), slice(start, stop)), part
        return
    forms = tuple(form for _, form in plan.forms)

    def rows(x: Array, start: int) -> list[Any]:
        return _rows(given, forms, x, start, min(start + size, len(x)), plan.piece)

    for row in range(0, n, size):
        left = rows(x, row)
        for column in range(row if z is None else 0, m, size):
            right = left if z is None and row == column else rows(other, column)
            place = slice(row, min(row + size, n)), slice(column, min(column + size, m))
            yield place, _kernel(left, right, rates, outputs, names)


def _rows(
    given: Called, forms: tuple[Form, ...], x: Array, start: int, stop: int, piece: int
) -> list[Any]:
    """Of the examples from start to stop, `piece` of them at a time."""
    if given.coupled or (start == 0 and len(x) == stop <= piece):
        return _some_rows(given, forms, jnp.asarray(x), np.arange(len(x)))
    parts = []
    for k in range(start, stop, piece):
        # the last piece is filled up, for there to be one program
        most = k + piece if k > start else min(k + piece, stop)
        places = np.minimum(np.arange(k, most), stop - 1)
        found = _some_rows(given, forms, jnp.asarray(x[places]), places)
        parts.append(jax.tree.map(lambda a, k=k: a[: stop - k], found))
    return jax.tree.map(lambda *a: jnp.concatenate(a), *parts) if parts[1:] else parts[0]


@eqx.filter_jit
def _some_rows(
    given: Called, forms: tuple[Form, ...], x: Array, numbers: np.ndarray | Array
) -> list[Any]:
    with jax.default_matmul_precision("highest"):
        return rows_of(given, forms, x, jnp.asarray(numbers))


@eqx.filter_jit
def _kernel(
    left: list[Any],
    right: list[Any],
    rates: list[Array],
    outputs: Outputs,
    names: tuple[str, ...] | None,
) -> Any:
    with jax.default_matmul_precision("highest"):
        parts = [
            contracted(a, b, jnp.ravel(rate) if rate.ndim else rate, outputs)
            for a, b, rate in zip(left, right, rates, strict=True)
        ]
    if names is None:
        return sum(parts[1:], parts[0])
    found: dict[str, Array] = {}
    for name, part in zip(names, parts, strict=True):
        found[name] = found[name] + part if name in found else part
    return found


@eqx.filter_jit
def _own(rows: list[Any], rates: list[Array], outputs: Outputs) -> Array:
    """Of each example with itself."""

    def one(rows: list[Any]) -> Array:
        alone = jax.tree.map(lambda a: a[None], rows)
        return _kernel(alone, alone, rates, outputs, None)[0, 0]

    return jax.vmap(one)(rows)


@eqx.filter_jit
def _columns(
    given: Called, x: Array, z: Array, numbers: Array, rates: list[Array], outputs: Outputs
) -> Array:
    """All rows of the columns of z, by one product for each."""
    parameters, firsts = given.parameters, jnp.arange(len(x))

    def values(parameters: list[Array]) -> Array:
        found = jax.vmap(lambda one, number: given.one(parameters, one, number))(x, firsts)
        return found.reshape(len(x), -1)

    def pulled(one: Array, number: Array) -> list[Array]:
        value, pull = jax.vjp(lambda p: given.one(p, one, number).reshape(-1), parameters)
        return jax.vmap(lambda unit: pull(unit)[0])(jnp.eye(value.size, dtype=value.dtype))

    with jax.default_matmul_precision("highest"):
        directions = jax.vmap(pulled)(z, numbers)
        directions = [
            d * (rate[None, None] if rate.ndim else rate)
            for d, rate in zip(directions, rates, strict=True)
        ]
        forward = jax.linearize(values, parameters)[1]
        found = jax.vmap(jax.vmap(forward))(directions)  # [m, j, n, i]
    if outputs == "all":
        return jnp.einsum("mjni->nmij", found)
    same = jnp.einsum("mini->nmi", found)
    return jnp.sum(same, -1) if outputs == "trace" else same
