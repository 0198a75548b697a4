"""The loss of a `Network`: anybody's function of one example's logits and label, checked."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh._checks import is_concrete, require

Loss = Callable[[Array, Array], Array]


def checked_loss(loss: Loss, logits: Float[Array, " classes"], y: Int[Array, ""]) -> Array:
    """``loss(logits, y)``; NaN, with slopes of NaN, for a label that is no class.

    Raises `ValueError` unless it is one real number.
    """
    try:
        value = loss(logits, y)
    except Exception as complaint:
        says = f"{type(complaint).__name__}: {complaint}".splitlines()[0]
        allowed = (
            f"a function of one example's logits [{logits.shape[0]}] and label, a whole number, "
            f"but it says: {says}"
        )
        raise ValueError(f"loss = {_name(loss)}: must be {allowed}") from complaint
    shape = getattr(value, "shape", None)  # of a vector, its mean would pass for the loss
    allowed = "(), of one example's logits [classes]"
    require(shape == (), "shape of loss(logits, y)", shape, allowed)
    real = jnp.issubdtype(value.dtype, jnp.floating)
    require(real, "dtype of loss(logits, y)", str(value.dtype), "a real floating type")
    known = (y >= 0) & (y < logits.shape[0])
    # a factor: NaN put in the loss's place would have slopes of 0, and pass unseen
    return value * jnp.where(known, 1, jnp.nan).astype(value.dtype)


def warn_of_no_slope(loss: Loss, logits: jax.ShapeDtypeStruct) -> None:
    """Warn if examples of class 0 train nothing, as by a loss that wants one-hot rows.

    Such a loss multiplies by the label instead of choosing by it.
    """
    if not _has_slope(loss, logits.shape[0], str(logits.dtype)):
        warnings.warn(
            f"loss = {_name(loss)}: slope 0 in all logits for label 0, so that examples of class 0 "
            "train nothing. Labels are whole numbers, not one-hot rows, as "
            "optax.losses.softmax_cross_entropy_with_integer_labels takes them",
            stacklevel=4,
        )


@functools.lru_cache(maxsize=256)
def _has_slope(loss: Loss, classes: int, dtype: str) -> bool:
    # class 0 has the least of the logits, so that no margin is kept, and none of them is 0
    with jax.ensure_compile_time_eval():  # `prepare` may be called inside jit
        logits = jnp.arange(1, classes + 1, dtype=dtype) / classes
        slope = jax.jit(jax.grad(loss))(logits, jnp.int32(0))  # else one program an operation
    return not is_concrete(slope) or bool(np.any(np.asarray(slope) != 0))


def _name(loss: object) -> str:
    return repr(getattr(loss, "__name__", loss))
