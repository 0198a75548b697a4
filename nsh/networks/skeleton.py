"""What of a module is not in its state: structure, functions, types, what is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from nsh._checks import require
from nsh.networks.optimisers import Shapes


class Skeleton(NamedTuple):
    """A module without its arrays, hashable.

    `structure`, `rest`: the pytree with its leaves that are no arrays, flat, for modules that hold
    lists and dicts have no hash. `flags`: which arrays are trained. `types`: of all arrays, as the
    module has them. `half`: the one type of 16 bits that the module computes in, or None.
    """

    structure: Any
    rest: tuple[Any, ...]
    flags: tuple[bool, ...]
    types: tuple[str, ...]
    half: str | None
    trained: Shapes

    @classmethod
    def of(cls, module: PyTree, trainable: Callable[[Any], PyTree] | None) -> Skeleton:
        """The skeleton of a module of shapes; raises `ValueError` if nothing is trained."""
        arrays = [leaf for leaf in jax.tree.leaves(module) if _is_shape(leaf)]
        chosen = {id(leaf) for leaf in arrays}
        if trainable is None and callable(getattr(module, "trainable", None)):
            trainable = type(module).trainable
        if trainable is not None:
            allowed = "a function module -> filter, as equinox.partition takes it"
            require(callable(trainable), "trainable", trainable, allowed)
            try:
                kept, _ = eqx.partition(module, trainable(module))
            except Exception as complaint:
                says = f"{type(complaint).__name__}: {complaint}".splitlines()[0]
                require(False, "trainable", trainable, f"{allowed}, but it says: {says}")
                raise
            chosen = {id(leaf) for leaf in jax.tree.leaves(kept) if _is_shape(leaf)}
        flags = tuple(id(leaf) in chosen and _is_inexact(leaf) for leaf in arrays)
        allowed = "a module with floating-point arrays to train"
        require(any(flags), "make(key)", module, allowed)
        leaves, structure = jax.tree.flatten(eqx.filter(module, _is_shape, inverse=True))
        types = tuple(_name(leaf) for leaf in arrays)
        floats = {name for leaf, name in zip(arrays, types, strict=True) if _is_inexact(leaf)}
        low = len(floats) == 1 and jnp.finfo(next(iter(floats))).bits < 32
        tree = jax.tree.structure(eqx.filter(module, _is_shape))
        kinds = tuple(
            (tuple(leaf.shape), _at_least_32(name))
            for leaf, name, flag in zip(arrays, types, flags, strict=True)
            if flag
        )
        weights = jax.tree.unflatten(
            tree, [leaf if f else None for leaf, f in zip(arrays, flags, strict=True)]
        )
        trained = jax.tree.structure(weights), kinds
        return cls(structure, tuple(leaves), flags, types, min(floats) if low else None, trained)

    def kept(self, params: PyTree) -> PyTree:
        """Arrays as a state keeps them: those that are trained in 32 bits at least."""
        leaves, structure = jax.tree.flatten(params)
        kept = [
            leaf.astype(_at_least_32(_name(leaf))) if flag else leaf
            for leaf, flag in zip(leaves, self.flags, strict=True)
        ]
        return jax.tree.unflatten(structure, kept)

    def partition(self, params: PyTree) -> tuple[PyTree, PyTree]:
        """The arrays that are trained, and the others."""
        leaves, structure = jax.tree.flatten(params)
        pairs = list(zip(leaves, self.flags, strict=True))
        return tuple(  # pyright: ignore[reportReturnType]
            jax.tree.unflatten(structure, [leaf if flag is side else None for leaf, flag in pairs])
            for side in (True, False)
        )

    def module(self, params: PyTree) -> Any:
        """The module with these arrays, in its own types."""
        leaves, structure = jax.tree.flatten(params)
        own = [
            leaf.astype(name) if flag and _name(leaf) != name else leaf
            for leaf, name, flag in zip(leaves, self.types, self.flags, strict=True)
        ]
        whole = jax.tree.unflatten(self.structure, self.rest)
        return eqx.combine(jax.tree.unflatten(structure, own), whole)

    def cast(self, x: PyTree) -> PyTree:
        """Inputs in the type that the module computes in."""
        if self.half is None:
            return x
        return jax.tree.map(lambda leaf: leaf.astype(self.half) if _is_inexact(leaf) else leaf, x)

    def uncast(self, outputs: PyTree) -> PyTree:
        """Outputs in 32 bits at least."""

        def one(leaf: Any) -> Any:
            low = eqx.is_array_like(leaf) and _is_inexact(jnp.asarray(leaf))
            return leaf.astype(_at_least_32(_name(leaf))) if low else leaf

        return jax.tree.map(one, outputs) if self.half is not None else outputs


def _at_least_32(name: str) -> str:
    return "float32" if jnp.issubdtype(name, jnp.floating) and jnp.finfo(name).bits < 32 else name


def _name(leaf: Any) -> str:
    return str(leaf.dtype)


def _is_shape(leaf: object) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _is_inexact(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)
