"""Where parameters enter a network as the matrices of dense and convolutional layers.

The idea: a layer is a product ``y[b, f, s] = sum_c W[b, f, c] a[b, c, s]`` of a parameter W with
what comes to it, a: s counts places (pixels, tokens), b groups. Then ``df / dW`` is a product too,
``sum_s (df / dy)[b, f, s] a[b, c, s]``, for which df / dy is enough. Such products are found in the
program of the network, its jaxpr, whoever wrote the layer: Equinox, nsh or the user, under `vmap`
or not, used once or several times. Whatever else is done with a parameter, it has no such form.

Source: the structure is that of Novak, Sohl-Dickstein, Schoenholz, arXiv 2206.08720, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    jaxpr_as_fun,
)
from jaxtyping import Array

# what is but another view of all entries of an array
VIEWS = {
    lax.broadcast_in_dim_p,
    lax.convert_element_type_p,
    lax.reshape_p,
    lax.squeeze_p,
    lax.transpose_p,
}
SCALES = {lax.mul_p, lax.div_p}
# calls of another jaxpr that may be written out
CALLS = {"pjit", "jit", "closed_call"}


class Use(NamedTuple):
    """One product of a parameter with what comes to it.

    `layout`: how W lies in the parameter; products of one layout add up. `shape`: of y.
    """

    parameter: int
    layout: Hashable
    groups: int
    outputs: int
    inputs: int
    places: int
    shape: tuple[int, ...]
    dtype: str


class Product(NamedTuple):
    """How to read a product: a as [b, c, s], and dy as [b, f, s]."""

    use: Use
    incoming: Callable[[Array], Array]
    outgoing: Callable[[Array], Array]


class _View(NamedTuple):
    parameter: int
    layout: tuple[Hashable, ...]
    scales: tuple[tuple[Any, Any], ...]  # operations and numbers


class _Known(NamedTuple):
    value: Any
    view: _View | None = None


class Walk:
    """An evaluation of a jaxpr that adds `shifts` to what its layers make, one by one.

    After it, `products` has the layers, and `incoming` how to make what came to each as [b, c, s].
    `others`: parameters that are used in another way too. Without `shifts` nothing is added.
    """

    def __init__(self, shifts: Sequence[Array] | None = None):
        self.shifts = shifts
        self.products: list[Product] = []
        self.incoming: list[Callable[[], Array]] = []
        self.others: set[int] = set()

    def __call__(
        self, program: ClosedJaxpr, parameters: Sequence[Array], layers: set[int], *given: Any
    ) -> list[Array]:
        """Evaluate at parameters, of which those of `layers` are looked for, and other inputs."""
        known = [
            _Known(value, _View(number, (), ()) if number in layers else None)
            for number, value in enumerate(parameters)
        ]
        results = self._run(program, [*known, *(_Known(value) for value in given)])
        self.others |= {known.view.parameter for known in results if known.view}
        return [known.value for known in results]

    def _run(self, program: ClosedJaxpr, given: Sequence[_Known]) -> list[_Known]:
        jaxpr = program.jaxpr
        known = dict(zip(jaxpr.constvars, map(_Known, program.consts), strict=True))
        known |= dict(zip(jaxpr.invars, given, strict=True))

        def read(variable: Any) -> _Known:
            return _Known(variable.val) if isinstance(variable, Literal) else known[variable]

        for equation in jaxpr.eqns:
            found = self._evaluate(jaxpr, equation, [read(v) for v in equation.invars])
            known |= dict(zip(equation.outvars, found, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _evaluate(self, jaxpr: Jaxpr, equation: JaxprEqn, given: list[_Known]) -> list[_Known]:
        views = [known.view for known in given if known.view is not None]
        if views and equation.primitive.name in CALLS:
            return self._run(equation.params["jaxpr"], given)
        made = _made(jaxpr, equation, [known.value for known in given])
        if len(views) == 1:
            view = _viewed(equation, given)
            if view is not None:
                return [_Known(made[0], view)]
            product = _product(equation, given, made[0])
            if product is not None:
                return [_Known(self._noted(product, given, made[0]))]
        self.others |= {view.parameter for view in views}
        return list(map(_Known, made))

    def _noted(self, product: Product, given: list[_Known], made: Array) -> Array:
        self.products.append(product)
        value = next(known.value for known in given if known.view is None)
        scales = next(known.view.scales for known in given if known.view is not None)

        def incoming() -> Array:
            found = product.incoming(value)
            for operation, number in scales:
                found = operation(found, number)
            return found

        self.incoming.append(incoming)
        return made if self.shifts is None else made + self.shifts[len(self.products) - 1]


def _made(jaxpr: Jaxpr, equation: JaxprEqn, values: list[Any]) -> list[Any]:
    """The results of one equation of a jaxpr."""
    pairs = zip(equation.invars, values, strict=True)
    given = {v: value for v, value in pairs if not isinstance(v, Literal)}
    alone = jaxpr.replace(
        constvars=[], invars=list(given), outvars=equation.outvars, eqns=[equation],
        effects=equation.effects,
    )  # fmt: skip
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*given.values())


def _aval(variable: Any) -> Any:
    return variable.aval


def _viewed(equation: JaxprEqn, given: list[_Known]) -> _View | None:
    """What a parameter is after an equation that leaves its entries as they are, but for scale."""
    first = given[0].view
    out = _aval(equation.outvars[0])
    if equation.primitive in VIEWS and first is not None and len(given) == 1:
        before = _aval(equation.invars[0])
        floats = jnp.issubdtype(out.dtype, jnp.floating)
        if before.size != out.size or not floats:
            return None
        moved = equation.params.get("permutation", equation.params.get("broadcast_dimensions"))
        step = equation.primitive.name, before.shape, out.shape, moved
        return first._replace(layout=(*first.layout, step))
    if equation.primitive in SCALES and len(given) == 2:
        one, other = given
        if one.view is None and equation.primitive is lax.mul_p:
            one, other = other, one
        if one.view is None or other.view is not None or jnp.shape(other.value) != ():
            return None
        operation = jnp.multiply if equation.primitive is lax.mul_p else jnp.divide
        return one.view._replace(scales=(*one.view.scales, (operation, other.value)))
    return None


def _product(equation: JaxprEqn, given: list[_Known], made: Any) -> Product | None:
    if equation.primitive is lax.dot_general_p:
        return _dense(equation, given, made)
    if equation.primitive is lax.conv_general_dilated_p and given[1].view is not None:
        return _convolution(equation, given, made)
    return None


def _dense(equation: JaxprEqn, given: list[_Known], made: Any) -> Product:
    side = 0 if given[0].view is not None else 1
    contracted, batched = equation.params["dimension_numbers"]
    weight, other = (_aval(equation.invars[at]).shape for at in (side, 1 - side))
    view = given[side].view
    assert view is not None
    own_c, own_b = contracted[side], batched[side]
    c, b = contracted[1 - side], batched[1 - side]
    free = [axis for axis in range(len(other)) if axis not in (*c, *b)]
    groups, inputs, places = (math.prod(other[axis] for axis in axes) for axes in (b, c, free))
    outputs = math.prod(weight) // (groups * inputs)
    use = Use(
        view.parameter, (view.layout, own_c, own_b), groups, outputs, inputs, places,
        made.shape, str(made.dtype),
    )  # fmt: skip

    def incoming(a: Array) -> Array:
        return jnp.transpose(a, (*b, *c, *free)).reshape(groups, inputs, places)

    def outgoing(dy: Array) -> Array:
        if side == 0:  # y is [b, f, s], else [b, s, f]
            return dy.reshape(groups, outputs, places)
        return jnp.swapaxes(dy.reshape(groups, places, outputs), 1, 2)

    return Product(use, incoming, outgoing)


def _convolution(equation: JaxprEqn, given: list[_Known], made: Any) -> Product | None:
    view, settings = given[1].view, equation.params
    if settings["batch_group_count"] != 1:
        return None
    assert view is not None
    numbers, groups = settings["dimension_numbers"], settings["feature_group_count"]
    weight = _aval(equation.invars[1]).shape
    window = tuple(weight[axis] for axis in numbers.rhs_spec[2:])
    outputs, inputs = (weight[axis] for axis in numbers.rhs_spec[:2])
    inputs *= math.prod(window)
    outputs //= groups
    places = made.size // (groups * outputs)
    layout = view.layout, numbers.rhs_spec, window, groups
    use = Use(view.parameter, layout, groups, outputs, inputs, places, made.shape, str(made.dtype))

    def incoming(a: Array) -> Array:
        batch, channels, *axes = numbers.lhs_spec
        a = jnp.transpose(a, (channels, batch, *axes))
        found = jnp.stack(list(_windows(a, window, settings)), 1)  # [c, window, n, *places]
        return found.reshape(groups, inputs, places)

    def outgoing(dy: Array) -> Array:
        batch, channels, *axes = numbers.out_spec
        return jnp.transpose(dy, (channels, batch, *axes)).reshape(groups, outputs, places)

    return Product(use, incoming, outgoing)


def _windows(a: Array, window: tuple[int, ...], settings: dict[str, Any]) -> Iterator[Array]:
    """For each place in a window, what a convolution [c, n, *axes] sees there."""
    zero = jnp.zeros((), a.dtype)
    padding = [
        (low, high, dilation - 1)
        for (low, high), dilation in zip(settings["padding"], settings["lhs_dilation"], strict=True)
    ]
    padded = lax.pad(a, zero, [(0, 0, 0), (0, 0, 0), *padding])
    spread = settings["rhs_dilation"]
    for place in np.ndindex(*window):
        start = [at * d for at, d in zip(place, spread, strict=True)]
        spare = [(size - 1) * d for size, d in zip(window, spread, strict=True)]
        stop = [
            length - over + at
            for length, over, at in zip(padded.shape[2:], spare, start, strict=True)
        ]
        yield lax.slice(
            padded, (0, 0, *start), (*padded.shape[:2], *stop), (1, 1, *settings["window_strides"])
        )


def layers_of(program: ClosedJaxpr, count: int) -> tuple[list[Use], set[int]]:
    """The uses of those of the first `count` inputs that are nothing but layers' matrices."""

    def walk(*given: Any) -> list[Array]:
        return found(program, given[:count], set(range(count)), *given[count:])

    found = Walk()
    jax.eval_shape(walk, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in program.in_avals))
    layouts: dict[int, set[tuple[Hashable, ...]]] = {}
    for product in found.products:
        use = product.use
        key = use.layout, use.groups, use.outputs, use.inputs
        layouts.setdefault(use.parameter, set()).add(key)
    layers = {p for p, kinds in layouts.items() if len(kinds) == 1} - found.others
    return [product.use for product in found.products if product.use.parameter in layers], layers


def flops_of(jaxpr: Jaxpr) -> float:
    """Operations of one evaluation, roughly: products, and one for each other number made."""
    total = 0.0
    for equation in jaxpr.eqns:
        size = sum(math.prod(getattr(_aval(v), "shape", ())) for v in equation.outvars)
        inner = [_inner(value) for value in equation.params.values()]
        inner = [jaxpr for found in inner for jaxpr in found]
        if inner:
            most = max(map(flops_of, inner))  # of branches, the longest
            total += most * equation.params.get("length", 1)
        elif equation.primitive is lax.dot_general_p:
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = _aval(equation.invars[0]).shape
            total += 2.0 * size * math.prod(shape[axis] for axis in contracted)
        elif equation.primitive is lax.conv_general_dilated_p:
            shape = _aval(equation.invars[1]).shape
            outputs = shape[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2.0 * size * math.prod(shape) / outputs
        else:
            total += size
    return total


def _inner(value: Any) -> list[Jaxpr]:
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, Jaxpr):
        return [value]
    return (
        [one for part in value for one in _inner(part)] if isinstance(value, tuple | list) else []
    )
