"""Neural collapse of the last layer: Papyan, Han and Donoho, arXiv 2008.08186 (PNAS 2020)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from nsh._checks import is_concrete, require, require_integer
from nsh._shown import Shown
from nsh.measure._tools import (
    checked_labels,
    checked_rows,
    mean_over_pairs,
    nan_with,
    require_classes,
    require_levels,
    safe_norm,
    where_labelled,
)
from nsh.measure.observe import observe
from nsh.measure.recorded import Variable, recorded
from nsh.system import System


class Collapse(Shown):
    """The four signs of neural collapse: each is 0 when collapse is complete.

    `nc1` variability within classes beside that between them; `nc2_norms` and `nc2_angles`
    distance of the class means from a simplex (equal norms, equal and largest angles); `nc3`
    distance of the classifier from the class means; `nc4` disagreement of the classifier with the
    nearest class mean.
    """

    nc1: Float[Array, ""]
    nc2_norms: Float[Array, ""]
    nc2_angles: Float[Array, ""]
    nc3: Float[Array, ""]
    nc4: Float[Array, ""]


def neural_collapse(
    features: Float[Array, "n d"],
    labels: Int[Array, " n"],
    weights: Float[Array, "classes d"],
    bias: Float[Array, " classes"] | None = None,
    *,
    classes: int,
) -> Collapse:
    """NC1 to NC4 of features h_i under the classifier ``W h + b`` (Papyan et al., PNAS 2020).

    M = centred class means as rows, mu_G = mean of the class means, K = number of classes:
    NC1 ``tr(S_W pinv(S_B)) / K`` with ``S_W = mean_c mean_{i in c} (h_i - mu_c)(h_i - mu_c)^T``
    and ``S_B = M^T M / K``; NC2 norms ``std_c |M_c| / mean_c |M_c|``, angles
    ``mean_{c != c'} |cos(M_c, M_c') + 1 / (K-1)|``; NC3 ``|W / |W|_F - M / |M|_F|_F``; NC4 the
    share of examples where ``argmax_c (W h + b)_c`` is not ``argmin_c |h - mu_c|``. Every class
    weighs the same: the paper's formulas where classes are balanced, as they are there.

    No unit of features or weights matters. NC1 to NC3 are NaN if all class means coincide (NC3
    also if W = 0); all are NaN if a feature is. Raises `ValueError` on fewer than 2 classes, bad
    labels or shapes, or a class without example (all NaN where labels are traced). NC1 to NC3 are
    differentiable as long as the rank of M does not change (a pseudo-inverse jumps there); NC2 and
    NC3 have a kink at collapse, with slope 0 given; NC4 is piecewise constant.

    Example:
        Features that are the corners of a simplex, read by themselves, have collapsed:

        >>> from nsh.measure import neural_collapse
        >>> corners = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> collapse = neural_collapse(corners, jnp.array([0, 1]), corners, classes=2)
        >>> [round(float(value), 3) for value in vars(collapse).values()]
        [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    require_integer("classes", classes, 2)
    features, weights = checked_rows(features, "features"), checked_rows(weights, "weights")
    numbers, inside = checked_labels(labels, len(features), classes)
    _check_all_present(labels, classes)
    shape = (classes, features.shape[1])
    require(weights.shape == shape, "weights.shape", weights.shape, f"{shape}, classes first")
    if bias is not None:
        require(jnp.shape(bias) == (classes,), "bias.shape", jnp.shape(bias), f"({classes},)")
    unit = jax.lax.stop_gradient(jnp.max(jnp.abs(features)))
    scaled = features / jnp.where(unit > 0, unit, 1)
    members = jax.nn.one_hot(numbers, classes, dtype=features.dtype)
    means = _product(members.T, scaled) / jnp.sum(members, axis=0)[:, None]
    centre = jnp.mean(means, axis=0, keepdims=True)
    centred = means - centre
    deviations = scaled - _product(members, means)
    # Means no further apart than rounding are the same: without this, noise would pass for signal.
    rounding = 10 * math.sqrt(centred.size) * jnp.finfo(centred.dtype).eps
    distinct = jnp.where(safe_norm(centred) > rounding, centred, jnp.nan)
    spread_norms, spread_angles = _simplex_distance(distinct)
    decisions = _product(features, weights.T) + (0 if bias is None else bias[None])
    found = Collapse(
        nc1=_within_beside_between(deviations, distinct, members),
        nc2_norms=spread_norms,
        nc2_angles=spread_angles,
        nc3=safe_norm(weights / safe_norm(weights) - distinct / safe_norm(distinct)),
        nc4=_disagreement(decisions, scaled - centre, centred),
    )
    return where_labelled(found, inside)


def readout(
    features: Float[Array, "n d"], logits: Float[Array, "n classes"]
) -> tuple[Float[Array, "classes d"], Float[Array, " classes"]]:
    """Weights and bias of the affine map from features to logits, by least squares.

    ``W = (pinv(H - mean H) (Z - mean Z))^T``, ``b = mean z - W mean h``: of all best fits the one
    of least norm, so it is exact if logits are affine in the features, up to parts of W that no
    example's feature touches (those come out 0). Directions whose singular value is below
    ``max(n, d)`` machine epsilons of the largest count as not touched. Raises `ValueError` on
    shapes that do not fit. Differentiable as long as the rank of the centred features does not
    change.

    Example:
        >>> from nsh.measure import readout
        >>> features = jnp.array([[0.0], [1.0], [2.0]])
        >>> weights, bias = readout(features, 3 * features + 1)
        >>> round(weights.item(), 3), round(bias.item(), 3)
        (3.0, 1.0)
    """
    features, logits = checked_rows(features, "features"), checked_rows(logits, "logits")
    alike, allowed = len(logits) == len(features), f"({len(features)}, classes)"
    require(alike, "logits.shape", logits.shape, allowed)
    feature_mean, logit_mean = jnp.mean(features, axis=0), jnp.mean(logits, axis=0)
    rtol = float(max(features.shape) * jnp.finfo(features.dtype).eps)
    inverse = jnp.linalg.pinv(features - feature_mean[None], rtol=rtol)
    weights = _product(inverse, logits - logit_mean[None]).T
    return weights, logit_mean - _product(weights, feature_mean)


@recorded(
    "collapse",
    nc1=Variable("NC1", "1"),
    nc2_norms=Variable("NC2 NORMS", "1"),
    nc2_angles=Variable("NC2 ANGLES", "1"),
    nc3=Variable("NC3", "1"),
    nc4=Variable("NC4", "1", differentiable=False),
)
def system_collapse(
    system: System, state: PyTree, examples: PyTree, labels: Int[Array, " n"], *, classes: int
) -> Collapse:
    """`neural_collapse` of a system's top level, its last layer read off by `readout`.

    Exact if the system's logits are affine in its top features. Raises as `neural_collapse` does.

    Example:
        >>> from nsh.measure import system_collapse
        >>> from nsh.networks import Linear, Network
        >>> network = Network(lambda key: Linear(2, 2, key=key), optax.sgd)
        >>> x, y = jnp.array([[1.0, 0.0], [-1.0, 0.0]]), jnp.array([0, 1])
        >>> state = network.init(jax.random.key(0), {"optimiser": {"learning_rate": 0.1}})
        >>> collapse = system_collapse(network, state, network.prepare(x, y), y, classes=2)
        >>> round(float(collapse.nc1), 3)
        0.0
    """
    require_classes(system)
    seen = observe(system, state, examples)
    require_levels(seen.features)
    weights, bias = readout(seen.features[-1], seen.outputs)
    return neural_collapse(seen.features[-1], labels, weights, bias, classes=classes)


def _product(a: Float[Array, "*left"], b: Float[Array, "*right"]) -> Float[Array, "*result"]:
    return jnp.matmul(a, b, precision="highest")


def _check_all_present(labels: Int[Array, " n"], classes: int) -> None:
    if is_concrete(labels):
        missing = sorted(set(range(classes)) - set(np.asarray(labels).tolist()))
        require(not missing, "labels", f"without class {missing}", "at least one of every class")


def _within_beside_between(
    deviations: Float[Array, "n d"],
    centred: Float[Array, "classes d"],
    members: Float[Array, "n classes"],
) -> Float[Array, ""]:
    # With S_B = M^T M / K, tr(S_W pinv(S_B)) / K is the mean of |deviation pinv(M)|^2: no d x d
    # matrix, and no rank to guess beyond M's own, whose rows sum to 0.
    size = safe_norm(centred)
    rtol = float(10 * centred.shape[0] * jnp.finfo(centred.dtype).eps)
    coordinates = _product(deviations / size, jnp.linalg.pinv(centred / size, rtol=rtol))
    balance = members / jnp.sum(members, axis=0)[None] / members.shape[1]
    return jnp.sum(jnp.sum(coordinates**2, axis=1) * jnp.sum(balance, axis=1))


def _simplex_distance(
    centred: Float[Array, "classes d"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Spread of the class means' norms, and mean distance of their cosines from -1/(K-1)."""
    classes = centred.shape[0]
    norms = jax.vmap(safe_norm)(centred)
    mean = jnp.mean(norms)
    spread = safe_norm(norms - mean) / math.sqrt(classes) / mean
    directions = centred / norms[:, None]
    distances = jnp.abs(_product(directions, directions.T) + 1 / (classes - 1))
    return spread, mean_over_pairs(distances, jnp.ones((classes, classes), bool))


def _disagreement(
    decisions: Float[Array, "n classes"],
    features: Float[Array, "n d"],
    means: Float[Array, "classes d"],
) -> Float[Array, ""]:
    # |h - mu|^2 less |h|^2, which all classes share.
    distances = jnp.sum(means**2, axis=1)[None] - 2 * _product(features, means.T)
    differ = jnp.argmax(decisions, axis=1) != jnp.argmin(distances, axis=1)
    share = jnp.mean(differ, dtype=features.dtype)
    return nan_with(share, jnp.concatenate([decisions, distances]))
