"""Which modules are functions of x alone: no random numbers, no state."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from nsh._checks import require

CALLED = "called as module(x), without a key or state: no Dropout, no BatchNorm"
INSTEAD = "leave it out, or switch Dropout off by eqx.nn.inference_mode(module)"
WITHOUT = "it would be trained without what it does at random"


def require_plain(module: PyTree, field: str = "make(key)") -> None:
    """Raise `ValueError` unless the module is called on x alone and holds no Dropout or state.

    Dropout in inference mode, or with p = 0, does nothing and may stay.
    """
    for part in jax.tree.leaves(module, is_leaf=_does_more):
        if _does_more(part):
            name, allowed = type(part).__name__, f"a module {CALLED}: {WITHOUT} or keeps; {INSTEAD}"
            require(False, field, f"{type(module).__name__} with {name}", allowed)
    try:
        inspect.signature(module).bind(None)
    except TypeError as complaint:
        require(False, field, type(module).__name__, f"a module {CALLED}, but: {complaint}")
    except ValueError:  # no signature to be had
        pass


def require_no_use_of_key(make: Callable[[Any], Any], x: Any) -> None:
    """Raise `ValueError` where ``module(x, key=...)`` is another function than ``module(x)``.

    Taking a key is not enough: most of `equinox.nn` takes one, and few look at it. Nothing is
    computed.
    """
    if "key" not in _parameters(eqx.filter_eval_shape(make, jax.random.key(0))):
        return

    def called(key: Any, seed: Any, x: Any) -> list[Any]:
        return jax.tree.leaves(eqx.filter(make(seed)(x, key=key), eqx.is_array))

    try:
        traced = jax.make_jaxpr(called)(jax.random.key(0), jax.random.key(0), x)
    except Exception:  # so `key` is something else, such as the keys of an attention
        return
    used = _needed(traced.jaxpr, [True] * len(traced.jaxpr.outvars))[0]
    allowed = (
        f"the same whatever the key, as a module {CALLED}: {WITHOUT}; if that is meant, wrap it in "
        "a module that is called on x alone"
    )
    require(not used, "make(key)(x, key=...)", "another value than make(key)(x)", allowed)


def _needed(jaxpr: Any, wanted: list[bool]) -> list[bool]:
    """Find the inputs that the wanted outputs depend on."""
    needed = {id(v) for v, want in zip(jaxpr.outvars, wanted, strict=True) if want}
    for equation in reversed(jaxpr.eqns):
        wants = [id(v) in needed for v in equation.outvars]
        if any(wants):
            inner = getattr(equation.params.get("jaxpr"), "jaxpr", None)
            alike = inner is not None and equation.primitive.name in ("jit", "pjit")
            uses = _needed(inner, wants) if alike else [True] * len(equation.invars)
            needed |= {id(v) for v, use in zip(equation.invars, uses, strict=True) if use}
    return [id(v) in needed for v in jaxpr.invars]


def _parameters(module: Any) -> Any:
    try:
        return inspect.signature(module).parameters
    except ValueError:
        return ()


def _does_more(part: object) -> bool:
    if isinstance(part, eqx.nn.Dropout):
        return not (part.inference is True or part.p == 0)
    return isinstance(part, eqx.nn.StateIndex)
