"""The optimiser of a `Network`: one of Optax's, made from hyperparameters that may be traced."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from nsh._checks import require
from nsh.bounds import Interval

Make = Callable[..., optax.GradientTransformation]
Loss = Callable[[PyTree], Float[Array, ""]]

POSITIVE: Interval = (0.0, math.inf)
SHARE: Interval = (0.0, 1.0)
# Optax's own names: an argument means much the same in all of its optimisers
BOUNDS: dict[str, Interval] = {
    **dict.fromkeys(("learning_rate", "max_learning_rate", "adam_learning_rate"), POSITIVE),
    **dict.fromkeys(("weight_decay", "weight_decay_rate", "adam_weight_decay"), POSITIVE),
    **dict.fromkeys(("step_size", "scaling", "trust_coefficient"), POSITIVE),
    **dict.fromkeys(("b1", "b2", "b3", "adam_b1", "adam_b2", "beta"), SHARE),
    **dict.fromkeys(("momentum", "decay", "decay_rate", "rho", "eta_minus"), SHARE),
    "eta_plus": (1.0, math.inf),
}
# what keeps the arithmetic sound, or says how to begin: an optimum of these says nothing
NOT_TUNED = frozenset({
    "eps", "eps_root", "adam_eps_root", "atol", "rtol", "min_norm", "min_scale", "min_step_size",
    "initial_scale", "initial_accumulator_value", "s_init", "estim_lr0", "f_min", "lower_bound",
    "threshold", "clip_threshold", "clipping_threshold",
})  # fmt: skip


def initial(make: Make, hyper: dict[str, Any], trained: PyTree) -> PyTree:
    """The optimiser's state before its first step."""
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        return _made(make, hyper).init(trained)


def moved(
    make: Make, hyper: dict[str, Any], loss: Loss, trained: PyTree, state: PyTree
) -> tuple[PyTree, PyTree]:
    """Parameters and optimiser's state after one step down the gradient of `loss`.

    The optimiser may ask for the loss too, by Optax's names for it. Hyperparameters keep their own
    type, lest a rate of 0.999 become 1 beside parameters of 16 bits; what comes out has the types
    of what went in.
    """
    value, gradient = jax.value_and_grad(loss)(trained)

    # line searches hand to it what they know nothing of
    def value_fn(params: PyTree, obj_fn: Any = None, grad_fn: Any = None) -> Array:  # noqa: ARG001
        return loss(params)

    asked = {
        "value": value, "grad": gradient, "value_fn": value_fn, "obj_fn": loss,
        "grad_fn": lambda params, _: jax.grad(loss)(params),
    }  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        update = _made(make, hyper).update
        updates, after = update(gradient, state, trained, **_taken(update, asked))
        shapes, allowed = ([x.shape for x in jax.tree.leaves(t)] for t in (updates, trained))
        require(shapes == allowed, "shapes of updates", shapes, f"of parameters, {allowed}")
        return optax.apply_updates(trained, updates), jax.tree.map(_as_before, after, state)


@functools.lru_cache(maxsize=256)  # all points of a grid look the same
def check_runs(
    make: Make,
    module: Callable[[Array], Any],
    numbers: tuple[tuple[str, tuple[int, ...]], ...],
) -> None:
    """Raise `ValueError` unless the optimiser makes a step, traced but not computed.

    ``module(key)`` gives what is trained; `numbers`: name and shape of each hyperparameter.
    """

    def step(key: Array, hyper: dict[str, Any]) -> tuple[PyTree, PyTree]:
        trained = eqx.filter(module(key), eqx.is_inexact_array)
        before = trained, initial(make, hyper, trained)
        return before, moved(make, hyper, _squared, *before)

    dtype = jnp.result_type(float)
    hyper = {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in numbers}
    complaint = "a step changes the shape of its state or of the parameters"
    try:
        before, after = eqx.filter_eval_shape(step, jax.random.key(0), hyper)
        fits = jax.tree.map(_kind, before) == jax.tree.map(_kind, after)
    except Exception as problem:  # whatever Optax or a user's function raises
        fits, complaint = False, f"{type(problem).__name__}: {problem}".splitlines()[0]
    if fits:
        return
    for name, shape in numbers:
        scalar = "(), a scalar, for this optimiser; for a grid of values say grid=1"
        require(shape == (), f"hyper[{name!r}].shape", shape, scalar)
    allowed = (
        "an Optax optimiser that steps by the parameters, the gradient and the loss of a batch "
        f"(the guide has a table of those that do), but it says: {complaint}"
    )
    require(False, "optimiser", getattr(make, "__name__", make), allowed)


def _made(make: Make, hyper: dict[str, Any]) -> optax.GradientTransformationExtraArgs:
    return optax.with_extra_args_support(make(**{n: _as_float(v) for n, v in hyper.items()}))


def _taken(update: Callable[..., Any], asked: dict[str, Any]) -> dict[str, Any]:
    """All, as Optax has it, but for an update that takes only what it names."""
    taken = inspect.signature(update).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return asked
    return {name: value for name, value in asked.items() if name in taken}


def _as_float(value: Any) -> Array:
    value = jnp.asarray(value)
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    return value if floating else value.astype(jnp.result_type(float))


def _as_before(after: Any, before: Any) -> Any:
    kept = not eqx.is_inexact_array(before) or after.dtype == before.dtype
    return after if kept else after.astype(before.dtype)


def _kind(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf


def _squared(params: PyTree) -> Float[Array, ""]:
    """Any smooth loss."""
    return jnp.sum(jnp.stack([jnp.sum(leaf**2).real for leaf in jax.tree.leaves(params)]))
