"""How a module is called: with a random key, with a state, with both, or on x alone.

The idea: Equinox has one convention for all its layers, ``module(x, state, key=key)``, of which a
module takes what it needs. nsh follows it, so a network is trained as it is:

- A module that has a parameter `key` gets one for each example of each step, in training.
- A module that holds an `equinox.nn.StateIndex`, such as BatchNorm, is called with its state, and
  gives the state after the call. The state of a mini-batch must be one for all its examples:
  BatchNorm takes means over the axis of the batch, of the name that the layer was made with.
- All other modules are called on x alone.

Training and inference differ: Dropout drops and BatchNorm normalises by the mini-batch in training
only. A step trains. Whatever is measured looks at ``equinox.nn.inference_mode(module)``, without a
key, and leaves the state as it is.

A module of another kind is adapted by a function ``call(module, x, state, key)`` that returns
``(outputs, state)``: `state` is None for a module without one, `key` is None in inference.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Key, PyTree

from nsh._checks import require

Call = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
INSTEAD = "give Network(..., call=(module, x, state, key) -> (outputs, state))"


class Calling(NamedTuple):
    """What a module is called with beside x; `axis`: the name of the batch's axis, if it has one.

    `own`: the user's function, in place of Equinox's convention.
    """

    key: bool
    state: bool
    axis: str | None
    own: Call | None

    def __call__(self, module: Any, x: Any, state: Any, key: Any) -> tuple[Any, Any]:
        """Outputs for one example, and the state after it."""
        if self.own is not None:
            pair = self.own(module, x, state, key)
            fits = isinstance(pair, tuple) and len(pair) == 2
            require(fits, "call(module, x, state, key)", pair, "a pair (outputs, state)")
            return pair
        named = {"key": key} if self.key else {}
        if not self.state:
            return module(x, **named), state
        pair = module(x, state, **named)
        fits = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], eqx.nn.State)
        allowed = f"a pair (outputs, state), as of Equinox's own layers; else {INSTEAD}"
        require(fits, "make(key)(x, state)", pair, allowed)
        return pair

    def batch(
        self, module: Any, x: PyTree, state: Any, keys: Key[Array, " batch"] | None
    ) -> tuple[PyTree, Any]:
        """Outputs for a mini-batch, leading axis = example, and the state after it."""
        state = copied(state)
        if not self.state and state is None:
            outputs = jax.vmap(
                lambda one, key: self(module, one, None, key)[0],
                in_axes=(0, None if keys is None else 0),
                axis_name=self.axis,
            )(x, keys)
            return outputs, None
        try:
            return jax.vmap(
                lambda one, key: self(module, one, state, key),
                in_axes=(0, None if keys is None else 0),
                out_axes=(0, None),
                axis_name=self.axis,
            )(x, keys)
        except ValueError as complaint:
            if "out_axes" not in str(complaint):
                raise
            allowed = (
                "one for the whole mini-batch: a layer that sees one example must take the mean "
                "over the batch, jax.lax.pmean(..., axis_name), with a field `axis_name`"
            )
            require(False, "state after make(key)(x, state)", "another for each example", allowed)
            raise


def calling_of(module: PyTree, own: Call | None) -> Calling:
    """Find how a module, perhaps one of shapes alone, is called.

    Raises `ValueError` for a module that cannot be called on one example.
    """
    indices = jax.tree.leaves(module, is_leaf=_is_index)
    state = any(map(_is_index, indices))
    axes = sorted({repr(name) for name in _axis_names(module)})
    allowed = "one for all layers, as a mini-batch has one axis"
    require(len(axes) <= 1, "axis_name", ", ".join(axes), allowed)
    axis = next(iter(_axis_names(module)), None)
    if own is not None:
        return Calling(True, state, axis, own)
    try:
        signature = inspect.signature(module)
    except ValueError:  # no signature to be had
        return Calling(False, state, axis, None)
    parameter = signature.parameters.get("key")
    key = parameter is not None and parameter.kind is not parameter.POSITIONAL_ONLY
    given, named = (None, None) if state else (None,), {"key": None} if key else {}
    try:
        signature.bind(*given, **named)
    except TypeError as complaint:
        taken = "x and state" if state else "x"
        allowed = f"a module that is called on {taken} and perhaps a key, but: {complaint}; "
        require(False, "make(key)", type(module).__name__, allowed + INSTEAD)
    return Calling(key, state, axis, None)


def copied(state: Any) -> Any:
    """The same state as another object: Equinox lets each be used once."""
    return jax.tree.map(lambda leaf: leaf, state)


def with_state(made: Any) -> tuple[Any, Any]:
    """The module that `make` gave, and the start of its state or None."""
    pair = isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], eqx.nn.State)
    module, state = made if pair else eqx.nn.make_with_state(lambda: made)()
    return module, state if jax.tree.leaves(state) else None


def _is_index(part: object) -> bool:
    return isinstance(part, eqx.nn.StateIndex)


def _axis_names(module: PyTree) -> set[str]:
    """The names of the batch's axis that layers were made with, at whatever depth."""
    found: set[str] = set()

    def look(part: Any) -> bool:
        name = getattr(part, "axis_name", None) if isinstance(part, eqx.Module) else None
        names = name if isinstance(name, tuple | list) else (name,)
        found.update(one for one in names if one is not None)
        return False

    jax.tree.leaves(module, is_leaf=look)
    return found
