"""The optimiser of a `Network`: one of Optax's, made from hyperparameters that may be traced."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.tree_util import KeyPath
from jaxtyping import Array, Float, Key, PyTree

from nsh._checks import require
from nsh.bounds import Interval

# arguments of an optimiser by name: numbers that may be traced, or schedules
Hyper: TypeAlias = Mapping[str, Any]
Make = Callable[..., optax.GradientTransformation]
Loss = Callable[[PyTree], tuple[Float[Array, ""], PyTree]]

# of a pytree: structure, then shape and type of each leaf
Shapes: TypeAlias = tuple[Any, tuple[tuple[tuple[int, ...], str], ...]]

NOISE = 2**31  # what a run's key is folded with for the noise of its optimiser
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


def initial(make: Make, hyper: Hyper, trained: PyTree, key: Key[Array, ""]) -> PyTree:
    """The optimiser's state before its first step.

    Optax's optimisers begin with a random key that is an argument of theirs: the same for all
    seeds. Any such key is folded with one of the run's `key`, so that each seed has its own noise.
    """
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        state = _made(make, hyper).init(trained)
    own = jax.random.bits(jax.random.fold_in(key, NOISE), dtype=jnp.uint32)

    def folded(path: KeyPath, leaf: Any) -> Any:
        return jax.random.fold_in(leaf, own) if _is_key(path, leaf) else leaf

    return jax.tree_util.tree_map_with_path(folded, state)


def moved(
    make: Make, hyper: Hyper, loss: Loss, trained: PyTree, state: PyTree
) -> tuple[PyTree, PyTree, PyTree]:
    """Parameters, optimiser's state and what `loss` gives besides, after one step down its slope.

    `loss`: parameters -> (value, anything).

    The optimiser may ask for the loss too, by Optax's names for it. Hyperparameters keep their own
    type, lest a rate of 0.999 become 1 beside parameters of 16 bits; what comes out has the types
    of what went in.
    """
    (value, more), gradient = jax.value_and_grad(loss, has_aux=True)(trained)

    # line searches hand to it what they know nothing of
    def value_fn(params: PyTree, obj_fn: Any = None, grad_fn: Any = None) -> Array:  # noqa: ARG001
        return loss(params)[0]

    asked = {
        "value": value, "grad": gradient, "value_fn": value_fn, "obj_fn": value_fn,
        "grad_fn": lambda params, _: jax.grad(value_fn)(params),
    }  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):  # which Optax needs
        update = _made(make, hyper).update
        updates, after = update(gradient, state, trained, **_taken(update, asked))
        shapes, allowed = ([x.shape for x in jax.tree.leaves(t)] for t in (updates, trained))
        require(shapes == allowed, "shapes of updates", shapes, f"of parameters, {allowed}")
        moved = optax.apply_updates(trained, updates)
        return moved, jax.tree.map(_as_before, after, state), more


@functools.lru_cache(maxsize=256)  # all points of a grid look the same
def check_runs(make: Make, trained: Shapes, hyper: Shapes) -> None:
    """Raise `ValueError` unless the optimiser makes a step, traced but not computed.

    `trained`, `hyper`: shapes of parameters and of the optimiser's arguments, as `shapes_of` gives
    them. An array that fits weights of these shapes alone is broadcast over them: it is refused
    too.
    """
    numbers, weights = _tree_of(hyper), _tree_of(trained)

    def complaint_of(trained: PyTree) -> str | None:
        def step(key: Array, trained: PyTree, hyper: Hyper) -> tuple[PyTree, PyTree]:
            before = trained, initial(make, hyper, trained, key)
            return before, moved(make, hyper, _squared, *before)[:2]

        try:
            before, after = eqx.filter_eval_shape(step, jax.random.key(0), trained, numbers)
            fits = jax.tree.map(_kind, before) == jax.tree.map(_kind, after)
        except Exception as problem:  # whatever Optax or a user's function raises
            return f"{type(problem).__name__}: {problem}".splitlines()[0]
        return None if fits else "a step changes the shape of its state or of the parameters"

    complaint = complaint_of(weights)
    arrays = {
        name: leaf.shape
        for name, leaf in numbers.items()
        if isinstance(leaf, jax.ShapeDtypeStruct) and leaf.shape != ()
    }
    if complaint is None and arrays:
        most = max(max(shape) for shape in arrays.values())
        complaint = complaint_of(jax.tree.map(lambda leaf: _longer(leaf, most + 1), weights))
    if complaint is None:
        return
    for name, shape in arrays.items():
        scalar = (
            "(), a scalar, for this optimiser; for a grid of values say grid_ndim=1, for one per "
            "step nsh.networks.PerStep"
        )
        require(False, f'hyper["optimiser"][{name!r}].shape', shape, scalar)
    allowed = (
        "an Optax optimiser that steps by the parameters, the gradient and the loss of a batch "
        f"(the guide has a table of those that do), but it says: {complaint}"
    )
    require(False, "optimiser", getattr(make, "__name__", make), allowed)


def shapes_of(tree: PyTree, dtype: Any = None) -> Shapes:
    """Structure, shapes and types of a pytree of arrays and numbers, hashable."""
    leaves, structure = jax.tree.flatten(tree)
    kinds = (
        (tuple(jnp.shape(x)), str(jnp.result_type(x) if dtype is None else dtype)) for x in leaves
    )
    return structure, tuple(kinds)


def _tree_of(shapes: Shapes) -> PyTree:
    structure, kinds = shapes
    leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in kinds]
    return jax.tree.unflatten(structure, leaves)


def _is_key(path: KeyPath, leaf: Any) -> bool:
    """Whether a leaf of an optimiser's state is a random key, of either kind."""
    if not eqx.is_array(leaf):
        return False
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return True
    named = bool(path) and str(getattr(path[-1], "name", "")).endswith("key")
    return named and leaf.dtype == jnp.uint32 and leaf.shape == (2,)


def _made(make: Make, hyper: Hyper) -> optax.GradientTransformationExtraArgs:
    return optax.with_extra_args_support(make(**{n: _as_float(v) for n, v in hyper.items()}))


def _taken(update: Callable[..., Any], asked: Hyper) -> Hyper:
    """All, as Optax has it, but for an update that takes only what it names."""
    taken = inspect.signature(update).parameters
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return asked
    return {name: value for name, value in asked.items() if name in taken}


def _as_float(value: Any) -> Any:
    if callable(value):  # a schedule
        return value
    value = jnp.asarray(value)
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    return value if floating else value.astype(jnp.result_type(float))


def _as_before(after: Any, before: Any) -> Any:
    kept = not eqx.is_inexact_array(before) or after.dtype == before.dtype
    return after if kept else after.astype(before.dtype)


def _kind(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if _is_shape(leaf) else leaf


def _is_shape(leaf: object) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _longer(leaf: jax.ShapeDtypeStruct, more: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(n + more for n in leaf.shape), leaf.dtype)


def _squared(params: PyTree) -> tuple[Float[Array, ""], None]:
    """Any smooth loss."""
    return jnp.sum(jnp.stack([jnp.sum(leaf**2).real for leaf in jax.tree.leaves(params)])), None
