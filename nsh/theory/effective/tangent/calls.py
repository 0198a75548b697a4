"""A module as a function of its parameters, called as `nsh.networks.calling` says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from nsh._checks import require, require_key
from nsh.networks.calling import Calling, calling_of, copied

Module = Callable[..., Any]


class Called(eqx.Module):
    """A module and what it is called with beside x.

    `key`: example i of x is called with ``fold_in(key, i)``, whichever other examples there are.
    `coupled`: whether examples act on each other, as under BatchNorm in training.
    """

    module: Any
    state: Any
    key: Key[Array, ""] | None
    calling: Calling = eqx.field(static=True)
    coupled: bool = eqx.field(static=True)

    @property
    def parameters(self) -> list[Array]:
        """All floating-point arrays of the module."""
        return jax.tree.leaves(self.trained)

    @property
    def trained(self) -> PyTree:
        """The module with nothing but its parameters."""
        return eqx.filter(self.module, eqx.is_inexact_array)

    def one(self, parameters: list[Array], x: Array, number: Array) -> Array:
        """The value at one example, the number-th."""
        key = None if self.key is None else jax.random.fold_in(self.key, number)
        return self.calling(self._with(parameters), x, copied(self.state), key)[0]

    def all(self, parameters: list[Array], x: Array, numbers: Array) -> Array:
        """The values at all examples together."""
        keys = None
        if self.key is not None:
            key = self.key
            keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
        return self.calling.batch(self._with(parameters), x, self.state, keys)[0]

    def _with(self, parameters: list[Array]) -> Any:
        own, rest = eqx.partition(self.module, eqx.is_inexact_array)
        return eqx.combine(jax.tree.unflatten(jax.tree.structure(own), parameters), rest)


def called(
    module: Module, state: PyTree | None, key: Key[Array, ""] | None, training: bool
) -> Called:
    """Check how a module is to be called; raises `ValueError` where state or key are missing."""
    require(callable(module), "module", module, "callable on one input")
    calling = calling_of(module, None)
    allowed = f"the equinox.nn.State of {type(module).__name__}, as eqx.nn.make_with_state gives it"
    require(state is not None or not calling.state, "state", state, allowed)
    if key is not None:
        require_key(key)
    if not training:
        return Called(eqx.nn.inference_mode(module), state, None, calling, False)
    allowed = "a JAX key, which the module is called with in training"
    require(key is not None or not calling.key, "key", key, allowed)
    return Called(module, state, key if calling.key else None, calling, calling.axis is not None)


def checked_outputs(given: Called, **inputs: Array) -> tuple[int, ...]:
    """() or (outputs,), of a module that takes all these inputs."""
    shape = ()
    for name, x in inputs.items():
        require(x.ndim >= 1 and len(x) >= 1, f"{name}.shape", x.shape, "[n, ...] with n >= 1")
        shape = traced_once(_value, given, x).shape
        require(len(shape) <= 1, "shape of the module's value", shape, "() or (outputs,)")
    return shape


def _value(given: Called, x: Any) -> jax.ShapeDtypeStruct:
    def value(given: Called, x: Array) -> Array:
        numbers = jnp.arange(len(x))
        if given.coupled:
            return given.all(given.parameters, x, numbers)[0]
        return given.one(given.parameters, x[0], numbers[0])

    return eqx.filter_eval_shape(value, given, x)


def traced_once(look: Callable[[Called, Any], Any], given: Called, x: Array) -> Any:
    """``look(given, x)`` of a function that looks at shapes alone; from call to call it is kept."""
    arrays, rest = eqx.partition((given, x), eqx.is_array)
    shapes, tree = jax.tree.flatten(arrays)
    leaves, structure = jax.tree.flatten(rest)
    shapes = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in shapes)
    try:
        return _looked(look, tree, shapes, structure, tuple(leaves))
    except TypeError as complaint:
        if "unhashable" not in str(complaint):
            raise
        return look(given, x)


@functools.lru_cache(maxsize=64)
def _looked(
    look: Callable[[Called, Any], Any],
    tree: Any,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    structure: Any,
    leaves: tuple[Any, ...],
) -> Any:
    arrays = jax.tree.unflatten(tree, shapes)
    return look(*eqx.combine(arrays, jax.tree.unflatten(structure, leaves)))
