"""How good predictions of real targets are."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from nsh._checks import as_numbers, is_concrete, require, require_all
from nsh.measure._tools import safe_norm
from nsh.measure.recorded import Variable, recorded


@recorded("r_squared", r_squared=Variable("R²", "1"))
def r_squared(predictions: Float[Array, "n ..."], targets: Num[Array, "n ..."]) -> Float[Array, ""]:
    """Coefficient of determination R², the mean over outputs: 1 for perfect predictions.

    ``1 - sum_i (f_ik - y_ik)^2 / sum_i (y_ik - mean_i y_ik)^2`` of each output k: 0 for the mean of
    the targets as a prediction, negative for worse. Each output weighs the same, as in
    scikit-learn's ``r2_score``.

    Raises `ValueError` on shapes that differ, and on targets of which an output never varies: R² is
    not defined then (NaN where targets are traced). NaN if a number is. Differentiable.

    Example:
        >>> from nsh.measure import r_squared
        >>> float(r_squared(jnp.array([1.0, 2.0, 2.0]), jnp.array([1.0, 2.0, 3.0])))
        0.5
    """
    predictions, targets = checked_targets(predictions, targets)
    if is_concrete(targets):
        known = np.asarray(targets)
        varies = (known != known[:1]).any(axis=0)
        allowed = "another one in some example, for R²; else measure root_mean_squared_error"
        require_all(varies, "targets[0]", known[0], allowed)
    residual = _sizes(predictions - targets)
    # of one target that never varies, rounding of its mean would pass for spread
    varies = jnp.any(targets != targets[:1], axis=0)
    total = jnp.where(varies, _sizes(targets - jnp.mean(targets, axis=0)[None]), jnp.nan)
    return jnp.mean(1 - (residual / total) ** 2)


@recorded("root_mean_squared_error", root_mean_squared_error=Variable("RMSE", "1"))
def root_mean_squared_error(
    predictions: Float[Array, "n ..."], targets: Num[Array, "n ..."]
) -> Float[Array, ""]:
    """Root of the mean squared error over examples and outputs, in the targets' unit.

    ``sqrt(mean_ik (f_ik - y_ik)^2)``. Raises `ValueError` on shapes that differ; NaN if a number
    is. Differentiable, with slope 0 (not NaN) where all predictions are perfect.

    Example:
        >>> from nsh.measure import root_mean_squared_error
        >>> float(root_mean_squared_error(jnp.array([3.0, 1.0]), jnp.array([0.0, 1.0 - 3.0])))
        3.0
    """
    predictions, targets = checked_targets(predictions, targets)
    return safe_norm(predictions - targets) / math.sqrt(targets.size)


@recorded(
    "gaussian_negative_log_likelihood",
    gaussian_negative_log_likelihood=Variable("negative log likelihood", "nats"),
)
def gaussian_negative_log_likelihood(
    predictions: Float[Array, "n ..."],
    targets: Num[Array, "n ..."],
    variance: float | Num[Array, "..."] | None = None,
) -> Float[Array, ""]:
    """Mean of ``-ln p(y | f)`` per example, in nats, for independent Gaussian outputs around f.

    ``mean_i sum_k [ln(2 pi s_k) + (f_ik - y_ik)^2 / s_k] / 2``: Bishop, "Pattern Recognition and
    Machine Learning" (2006), eqs 3.8 and 3.10. `variance` s: one number > 0, or one of the shape of
    the outputs. Default: the most likely one, ``s_k = mean_i (f_ik - y_ik)^2`` (Bishop's eq. 3.21),
    of the same examples: the result is then ``sum_k [ln(2 pi s_k) + 1] / 2``.

    Raises `ValueError` on shapes that differ and variances not above 0. NaN if a number is; with
    the default -inf where an output is perfect. Differentiable.

    Example:
        >>> from nsh.measure import gaussian_negative_log_likelihood
        >>> f, y = jnp.array([1.0, 3.0]), jnp.array([1.0, 3.0])
        >>> found = gaussian_negative_log_likelihood(f, y, variance=1.0)
        >>> round(float(found), 4)  # log(2 pi) / 2
        0.9189
    """
    predictions, targets = checked_targets(predictions, targets)
    residual = predictions - targets
    if variance is None:
        log_variance = 2 * jnp.log(_sizes(residual) / math.sqrt(len(targets)))
        return jnp.sum(math.log(2 * math.pi) + log_variance + 1) / 2
    given = as_numbers("variance", variance, residual.dtype)
    shape = targets.shape[1:]
    fits = given.shape in ((), shape)
    require(fits, "variance.shape", given.shape, f"() or {shape}, as the outputs")
    if is_concrete(given):
        require_all(np.asarray(given) > 0, "variance", given, "above 0")
    given = jnp.broadcast_to(given, shape)
    squares = jnp.mean((residual / jnp.sqrt(given)[None]) ** 2, axis=0)
    return jnp.sum(jnp.log(2 * math.pi * given) + squares) / 2


@recorded("label_accuracy", label_accuracy=Variable("share of labels", "1", differentiable=False))
def label_accuracy(
    label_logits: Float[Array, "n labels"], targets: Num[Array, "n labels"]
) -> Float[Array, ""]:
    """Share of all labels of all examples that are decided right, where each has several.

    A label is decided to be there where its logit is above 0. 1 less the Hamming loss. Raises
    `ValueError` on shapes that differ and targets other than 0 and 1 (NaN where they are traced);
    NaN if a logit is. Not differentiable.

    Example:
        >>> from nsh.measure import label_accuracy
        >>> logits, targets = jnp.array([[2.0, -1.0], [1.0, 1.0]]), jnp.array([[1, 0], [1, 0]])
        >>> float(label_accuracy(logits, targets))
        0.75
    """
    return jnp.mean(_right_labels(label_logits, targets))


@recorded("exact_match", exact_match=Variable("share with all labels", "1", differentiable=False))
def exact_match(
    label_logits: Float[Array, "n labels"], targets: Num[Array, "n labels"]
) -> Float[Array, ""]:
    """Share of examples of which all labels are decided right, also called subset accuracy.

    See `label_accuracy`.

    Example:
        >>> from nsh.measure import exact_match
        >>> logits, targets = jnp.array([[2.0, -1.0], [1.0, 1.0]]), jnp.array([[1, 0], [1, 0]])
        >>> float(exact_match(logits, targets))
        0.5
    """
    return jnp.mean(jnp.min(_right_labels(label_logits, targets), axis=1))


def checked_targets(
    predictions: Any, targets: Any, field: str = "predictions"
) -> tuple[Float[Array, "n ..."], Float[Array, "n ..."]]:
    """Predictions and targets as floats of one shape; targets [n] may stand for [n, 1]."""
    for name, given in ((field, predictions), ("targets", targets)):
        allowed = "one array; measure each leaf of a pytree for itself"
        one = isinstance(given, list) or jax.tree_util.all_leaves([given])
        require(one, name, type(given).__name__, allowed)
    predictions = as_numbers(field, predictions, None)
    targets = as_numbers("targets", targets, predictions.dtype)
    shape = predictions.shape
    require(len(shape) > 0 and predictions.size > 0, f"{field}.shape", shape, "(n, ...), n >= 1")
    if targets.shape == shape[:1] and shape[1:] == (1,):
        targets = targets[:, None]
    allowed = f"{shape}, as the {field}; for an ensemble use jax.vmap"
    require(targets.shape == shape, "targets.shape", targets.shape, allowed)
    return predictions, targets


def _sizes(numbers: Float[Array, "n ..."]) -> Float[Array, " k"]:
    """Root of the sum of squares over examples, of each output."""
    return jax.vmap(safe_norm, in_axes=1)(numbers.reshape(len(numbers), -1))


def _right_labels(logits: Any, targets: Any) -> Float[Array, "n labels"]:
    """1 where a label is decided right, 0 where not; NaN where that is not known."""
    logits, targets = checked_targets(logits, targets, "label_logits")
    allowed = "two axes, (n, labels)"
    require(logits.ndim == 2, "label_logits.shape", logits.shape, allowed)
    known = (targets == 0) | (targets == 1)
    if is_concrete(targets):
        require_all(known, "targets", targets, "0 or 1 for each label")
    right = ((logits > 0) == (targets == 1)).astype(logits.dtype)
    return jnp.where(known & ~jnp.isnan(logits), right, jnp.nan)
