"""How good the predictions ``softmax(logits)`` are, and how honest."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from nsh._checks import require_integer
from nsh.measure._tools import checked_predictions, nan_with, where_labelled
from nsh.measure.recorded import Variable, recorded


@recorded("cross_entropy", cross_entropy=Variable("cross-entropy", "nats"))
def cross_entropy(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Mean of ``-ln softmax(logits)[label]``, in nats; finite for any finite logits.

    Raises `ValueError` on bad labels or shapes; NaN on traced labels out of range. Differentiable.

    Example:
        >>> from nsh.measure import cross_entropy
        >>> round(float(cross_entropy(jnp.zeros((3, 2)), jnp.array([0, 1, 1]))), 4)  # log 2
        0.6931
    """
    logits, labels, inside = checked_predictions(logits, labels)
    # Without the shift, log-sum-exp of huge logits rounds away what the smaller ones add.
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=1, keepdims=True))
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(shifted, labels)
    return where_labelled(jnp.mean(losses), inside)


@recorded("accuracy", accuracy=Variable("accuracy", "1", differentiable=False))
def accuracy(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Share of examples whose largest logit (the first of equals) is the label's.

    NaN if a logit is. Raises `ValueError` on bad labels or shapes; NaN on traced labels out of
    range. Not differentiable.

    Example:
        >>> from nsh.measure import accuracy
        >>> float(accuracy(jnp.array([[2.0, 1.0], [0.0, 3.0]]), jnp.array([0, 0])))
        0.5
    """
    logits, labels, inside = checked_predictions(logits, labels)
    share = jnp.mean(_decisions(logits, labels) == labels, dtype=logits.dtype)
    return where_labelled(nan_with(share, logits), inside)


@recorded(
    "class_accuracy",
    class_accuracy=Variable("accuracy of each class", "1", ("class",), differentiable=False),
)
def class_accuracy(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"]
) -> Float[Array, " classes"]:
    """Accuracy among the examples of each class, also called recall; NaN of one without example.

    Their mean is the balanced accuracy. Errors as of `accuracy`. Not differentiable.

    Example:
        >>> from nsh.measure import class_accuracy
        >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [0.0, 3.0]])
        >>> class_accuracy(logits, jnp.array([0, 0, 1])).tolist()
        [0.5, 1.0]
    """
    logits, labels, inside = checked_predictions(logits, labels)
    right = (_decisions(logits, labels) == labels).astype(logits.dtype)
    members = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    count = jnp.sum(members, axis=0)
    share = jnp.sum(members * right[:, None], axis=0) / jnp.where(count > 0, count, jnp.nan)
    return where_labelled(nan_with(share, logits), inside)


@recorded(
    "calibration_error",
    calibration_error=Variable("expected calibration error", "1", differentiable=False),
)
def expected_calibration_error(
    logits: Float[Array, "n classes"], labels: Int[Array, " n"], bins: int = 15
) -> Float[Array, ""]:
    """Mean gap between confidence and accuracy, over bins of confidence.

    ``sum_b (n_b / n) |accuracy_b - confidence_b|``, the confidence being the largest probability
    and the bins ``((b-1)/B, b/B]``: Guo et al., "On calibration of modern neural networks" (ICML
    2017), eq. 3. Raises `ValueError` on bad labels or no bin; NaN on traced labels out of range.
    Not differentiable: it jumps where the decision or the bin changes.

    Example:
        Always wrong, and sure by one half:

        >>> from nsh.measure import expected_calibration_error
        >>> float(expected_calibration_error(jnp.zeros((3, 2)), jnp.array([1, 1, 1])))
        0.5
    """
    logits, labels, inside = checked_predictions(logits, labels)
    require_integer("bins", bins, 1)
    confidence = jnp.max(jax.nn.softmax(logits), axis=1)
    correct = (_decisions(logits, labels) == labels).astype(logits.dtype)
    which = jnp.clip(jnp.ceil(confidence * bins).astype(jnp.int32) - 1, 0, bins - 1)
    gaps = jax.ops.segment_sum(correct - confidence, which, num_segments=bins)
    return where_labelled(jnp.sum(jnp.abs(gaps)) / logits.shape[0], inside)


@recorded("brier_score", brier_score=Variable("Brier score", "1"))
def brier_score(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """Mean squared distance of the probabilities from the label's one-hot vector: 0..2.

    ``mean_i sum_c (p_ic - [y_i = c])^2``: Brier (Monthly Weather Review 1950). Raises `ValueError`
    on bad labels; NaN on traced labels out of range. Differentiable.

    Example:
        >>> from nsh.measure import brier_score
        >>> float(brier_score(jnp.zeros((3, 2)), jnp.array([0, 1, 1])))
        0.5
    """
    logits, labels, inside = checked_predictions(logits, labels)
    target = jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    score = jnp.mean(jnp.sum((jax.nn.softmax(logits) - target) ** 2, axis=1))
    return where_labelled(score, inside)


def _decisions(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Int[Array, " n"]:
    """The class of the largest logit, in the labels' type."""
    return jnp.argmax(logits, axis=1).astype(labels.dtype)
