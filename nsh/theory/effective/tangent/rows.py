"""What one kernel entry needs of each example: derivatives by parameters, whole or as products.

A parameter is kept in one of three forms. `PLAIN`: its Jacobian, by reverse mode. Of a layer's
matrix (`linear_layers`), `JACOBIAN`: the same as one matrix product, ``sum_s dy[f, s] a[c, s]``; or
`FACTORS`: dy and a themselves, from which a kernel follows without any Jacobian.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from nsh.theory.effective.tangent.calls import Called
from nsh.theory.effective.tangent.linear_layers import Use, Walk, flops_of, layers_of

PLAIN, JACOBIAN, FACTORS = "plain", "jacobian", "factors"
Form = str  # one of these
Outputs = Literal["all", "trace", "diagonal"]
PAIR_BYTES = 2**27  # of what is made for pairs of examples at once


class Factors(NamedTuple):
    """a [n, b, c, s] and dy [n, outputs, b, f, s]."""

    a: Array
    dy: Array


class Costs(NamedTuple):
    """Of the forms of one layer's matrix.

    `make`: operations for each example; `pair`: for each pair of them; `bytes`: of each example.
    """

    make: float
    pair: float
    bytes: float


class Anatomy(NamedTuple):
    """What is known of a module before anything is computed: sizes, and its layers' products."""

    outputs: int
    scalar: bool
    sizes: tuple[int, ...]
    itemsize: int
    layers: tuple[tuple[Use, ...], ...]
    flops: float
    memory: float


def anatomy(given: Called, x: Any) -> Anatomy:
    """Look at the program of one example, or of all if they act on each other."""

    def program(given: Called, x: Array) -> Any:
        nonlocal found
        closed = _program(given, given.parameters, *_unit(given, x))
        uses, _ = layers_of(closed, len(given.parameters))
        (out,) = closed.out_avals
        count = len(x) if given.coupled else 1
        arrays = given.parameters
        layers = [tuple(use for use in uses if use.parameter == p) for p in range(len(arrays))]
        memory = sum(
            math.prod(v.aval.shape) * v.aval.dtype.itemsize
            for equation in closed.jaxpr.eqns
            for v in equation.outvars
            if hasattr(v.aval, "shape")
        )
        found = Anatomy(
            out.size // count, out.ndim == (1 if given.coupled else 0),
            tuple(a.size for a in arrays), max(a.dtype.itemsize for a in arrays), tuple(layers),
            flops_of(closed.jaxpr) / count, memory / count,
        )  # fmt: skip
        return x

    found: Any = None
    eqx.filter_eval_shape(program, given, x)
    return found


def costs(uses: Sequence[Use], form: Form, outputs: int, every: bool, itemsize: int) -> Costs:
    """Of a layer's matrix in a form; `every`: for all pairs of outputs."""
    b, f, c = uses[0].groups, uses[0].outputs, uses[0].inputs
    s = sum(use.places for use in uses)
    pairs = outputs**2 if every else outputs
    if form == FACTORS:
        spread = 2.0 * b * s * s * (c + outputs * f) if s > 1 else 2.0 * b * c
        return Costs(0.0, spread + 2.0 * pairs * b * s * f, b * s * (c + outputs * f) * itemsize)
    size = outputs * b * f * c
    return Costs(2.0 * size * s, 2.0 * pairs * b * f * c, size * itemsize)


def rows_of(given: Called, forms: tuple[Form, ...], x: Array, numbers: Array) -> list[Any]:
    """The derivatives of the outputs at each example by each parameter, in its form.

    `numbers`: which examples these are. A Jacobian is [n, outputs, numbers].
    """
    parameters = given.parameters

    def of_unit(x: Array, numbers: Array) -> list[Any]:
        return _rows(given, parameters, forms, x, numbers)

    if not given.coupled:
        return jax.vmap(of_unit)(x, numbers)
    together = of_unit(x, numbers)  # Jacobians of [n x outputs] rows
    return [part.reshape(len(x), -1, part.shape[-1]) for part in together]


def program_layers(given: Called, x: Array) -> list[Use]:
    """The uses of layers' matrices in the program of one example, first to last."""
    parameters = given.parameters
    return layers_of(_program(given, parameters, *_unit(given, x)), len(parameters))[0]


def incoming_of(given: Called, x: Array, number: Array, places: tuple[int, ...]) -> list[Array]:
    """What comes to some of the uses of `program_layers`, for one example, each [b, c, s]."""
    parameters = given.parameters
    program = _program(given, parameters, x, number)
    walk = Walk()
    walk(program, parameters, layers_of(program, len(parameters))[1], x, number)
    return [walk.incoming[place]() for place in places]


def _unit(given: Called, x: Array) -> tuple[Array, Array]:
    numbers = jnp.arange(len(x))
    return (x, numbers) if given.coupled else (x[0], numbers[0])


def _program(given: Called, parameters: list[Array], x: Array, numbers: Array) -> Any:
    value = given.all if given.coupled else given.one
    # a function of its own: bound methods of modules are compared by their arrays
    return jax.make_jaxpr(lambda *args: value(*args))(parameters, x, numbers)


def _rows(
    given: Called, parameters: list[Array], forms: tuple[Form, ...], x: Array, numbers: Array
) -> list[Any]:
    layers = {p for p, form in enumerate(forms) if form != PLAIN}
    plain = [a for p, a in enumerate(parameters) if p not in layers]
    program = _program(given, parameters, x, numbers)
    uses = [use for use in layers_of(program, len(parameters))[0] if use.parameter in layers]
    shifts = [jnp.zeros(use.shape, use.dtype) for use in uses]

    def outputs(shifts: list[Array], plain: list[Array]) -> tuple[Array, list[Array]]:
        rest = iter(plain)
        own = [a if p in layers else next(rest) for p, a in enumerate(parameters)]
        walk = Walk(shifts)
        (value,) = walk(program, own, layers, x, numbers)
        outgoing.extend(product.outgoing for product in walk.products)
        return value.reshape(-1), [incoming() for incoming in walk.incoming]

    outgoing: list[Any] = []
    value, pull, incoming = jax.vjp(outputs, shifts, plain, has_aux=True)
    slopes, jacobians = jax.vmap(pull)(jnp.eye(value.size, dtype=value.dtype))
    rest, found = iter(jacobians), []
    for p, form in enumerate(forms):
        if form == PLAIN:
            found.append(next(rest).reshape(value.size, -1))
            continue
        mine = [k for k, use in enumerate(uses) if use.parameter == p]
        a = jnp.concatenate([incoming[k] for k in mine], -1)
        dy = jnp.concatenate([jax.vmap(outgoing[k])(slopes[k]) for k in mine], -1)
        if form == FACTORS:
            found.append(Factors(a, dy))
        else:
            found.append(_summed(dy, a).reshape(value.size, -1))
    return found


def _summed(dy: Array, a: Array) -> Array:
    if a.shape[0] > 1:
        return jnp.einsum("jbfs,bcs->jbfc", dy, a)
    # without groups, one large matrix product instead of products in a loop over one
    return dy.reshape(-1, dy.shape[-1]) @ a[0].T


def contracted(left: Any, right: Any, rate: Array, outputs: Outputs) -> Array:
    """The part of the kernel of one parameter, [n, m, ...], from what `rows_of` gives of it.

    `rate`: a number, or flat like the parameter.
    """
    if isinstance(left, Factors):
        return rate * _of_factors(left, right, outputs)
    return _of_jacobians(left * jnp.reshape(rate, (1, 1, -1)), right, outputs)


def _of_jacobians(left: Array, right: Array, outputs: Outputs) -> Array:
    if outputs == "all":
        return jnp.einsum("nip,mjp->nmij", left, right)
    if outputs == "trace":
        return left.reshape(len(left), -1) @ right.reshape(len(right), -1).T
    return jnp.einsum("nip,mip->nmi", left, right)


def _of_factors(left: Factors, right: Factors, outputs: Outputs) -> Array:
    (n, b, _, s), m, t = left.a.shape, len(right.a), right.a.shape[3]
    into = {"all": "nmij", "trace": "nm", "diagonal": "nmi"}[outputs]
    i, j = ("i", "j") if outputs == "all" else ("i", "i")
    if s == t == 1:
        inner = jnp.einsum("nbc,mbc->nmb", left.a[..., 0], right.a[..., 0])
        if b == 1:
            dy, other = left.dy[:, :, 0, :, 0], right.dy[:, :, 0, :, 0]
            found = jnp.einsum(f"n{i}f,m{j}f->{into}", dy, other)
            return inner.reshape(n, m, *[1] * (found.ndim - 2)) * found
    o, f = left.dy.shape[1], left.dy.shape[3]
    each = m * b * (s * t + o * f * s) * left.dy.dtype.itemsize
    step = max(1, int(PAIR_BYTES // each))

    def some(a: Array, dy: Array) -> Array:
        inner = jnp.einsum("nbcs,mbct->nmbst", a, right.a)
        spread = jnp.einsum("nmbst,mjbft->nmjbfs", inner, right.dy)
        return jnp.einsum(f"n{i}bfs,nm{j}bfs->{into}", dy, spread)

    parts = [some(left.a[k : k + step], left.dy[k : k + step]) for k in range(0, n, step)]
    return jnp.concatenate(parts) if len(parts) > 1 else parts[0]
