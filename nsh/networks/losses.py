"""Losses of one example or of a mini-batch: those of the tasks, and anybody's own, checked."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from nsh._checks import is_concrete, require

Loss = Callable[..., Array]


def cross_entropy_loss(
    logits: Float[Array, " classes"],
    label: Int[Array, ""],
    *,
    label_smoothing: float | Float[Array, ""] | None = None,
    class_weights: Float[Array, " classes"] | None = None,
) -> Float[Array, ""]:
    """``-w_y sum_c q_c ln softmax(logits)_c``, q the label's one-hot vector, perhaps smoothed.

    ``q = (1 - s) onehot(y) + s / classes`` with s the `label_smoothing` (Szegedy et al., arXiv
    1512.00567, Section 7); `class_weights` w: a factor for each class, on the examples of it.
    """
    if label_smoothing is None:
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, label)
    else:
        smoothing = jnp.asarray(label_smoothing, logits.dtype)
        of_all = -jnp.mean(jax.nn.log_softmax(logits))
        of_label = optax.losses.softmax_cross_entropy_with_integer_labels(logits, label)
        loss = (1 - smoothing) * of_label + smoothing * of_all
    if class_weights is None:
        return loss
    weights = jnp.asarray(class_weights, logits.dtype)
    shape = weights.shape
    require(shape == logits.shape, "class_weights.shape", shape, f"{logits.shape}, one per class")
    return weights[label] * loss


def squared_error_loss(outputs: Float[Array, "..."], target: Float[Array, "..."]) -> Array:
    """``mean_k (f_k - y_k)^2`` over the outputs of one example."""
    return jnp.mean((outputs - target) ** 2)


def binary_cross_entropy_loss(
    logits: Float[Array, " labels"],
    target: Float[Array, " labels"],
    *,
    label_smoothing: float | Float[Array, ""] = 0.0,
    label_weights: Float[Array, " labels"] | None = None,
) -> Float[Array, ""]:
    """``-mean_k w_k (q_k ln p_k + (1 - q_k) ln (1 - p_k))`` with ``p = sigmoid(logits)``.

    ``q = (1 - s) y + s / 2`` with s the `label_smoothing`.
    """
    smoothing = jnp.asarray(label_smoothing, logits.dtype)
    smoothed = (1 - smoothing) * target + smoothing / 2
    losses = optax.losses.sigmoid_binary_cross_entropy(logits, smoothed)
    if label_weights is None:
        return jnp.mean(losses)
    weights = jnp.asarray(label_weights, logits.dtype)
    shape = weights.shape
    require(shape == logits.shape, "label_weights.shape", shape, f"{logits.shape}, one per label")
    return jnp.mean(weights * losses)


def checked_loss(loss: Loss, outputs: PyTree, target: PyTree, hyper: Mapping[str, Any]) -> Array:
    """``loss(outputs, target, **hyper)``; raises `ValueError` unless it is one real number."""
    try:
        value = loss(outputs, target, **hyper)
    except Exception as complaint:
        says = f"{type(complaint).__name__}: {complaint}".splitlines()[0]
        named = "".join(f", {name}" for name in hyper)
        allowed = (
            f"a function (outputs, target{named}) of outputs {_shapes(outputs)} and target "
            f"{_shapes(target)}, but it says: {says}"
        )
        raise ValueError(f"loss = {_name(loss)}: must be {allowed}") from complaint
    shape = getattr(value, "shape", None)  # of a vector, its mean would pass for the loss
    require(shape == (), "shape of loss(outputs, target)", shape, "(), one number")
    real = jnp.issubdtype(value.dtype, jnp.floating)
    require(real, "dtype of loss(outputs, target)", str(value.dtype), "a real floating type")
    return value


def known_label(value: Array, logits: Float[Array, " classes"], label: Int[Array, ""]) -> Array:
    """`value`; NaN, with slopes of NaN, for a label that is no class."""
    known = (label >= 0) & (label < logits.shape[0])
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
            stacklevel=5,
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


def _shapes(tree: PyTree) -> str:
    shapes = [list(jnp.shape(leaf)) for leaf in jax.tree.leaves(tree)]
    return str(shapes[0] if len(shapes) == 1 else shapes)
