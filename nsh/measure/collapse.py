"""Neural collapse of the last layer: Papyan, Han and Donoho, arXiv 2008.08186 (PNAS 2020)."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from nsh._checks import is_concrete, require, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.measure._sums import ClassMeans, product
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
    check_all_present(labels, classes)
    shape = (classes, features.shape[1])
    require(weights.shape == shape, "weights.shape", weights.shape, f"{shape}, classes first")
    if bias is not None:
        require(jnp.shape(bias) == (classes,), "bias.shape", jnp.shape(bias), f"({classes},)")
    sums = ClassMeans.zero(classes, features).add(features, numbers)
    head = weights, jnp.zeros(classes, weights.dtype) if bias is None else bias
    found = Deviations.zero(sums, head).add(features, numbers).result()
    return where_labelled(found, inside)


class Deviations(eqx.Module):
    """Sums over the deviations of features from the means of their classes, which are known.

    The second half of `neural_collapse`: of each block of examples, after all class means.
    """

    means: ClassMeans
    weights: Float[Array, "classes d"]
    bias: Float[Array, " classes"]
    within: Float[Array, ""]
    differ: Float[Array, ""]

    @classmethod
    def zero(
        cls, means: ClassMeans, head: tuple[Float[Array, "classes d"], Float[Array, " classes"]]
    ) -> Deviations:
        """That of no example. `head`: weights and bias of the classifier."""
        nothing = jnp.zeros((), means.total.dtype)
        return cls(means, *head, nothing, nothing)

    def add(
        self, features: Float[Array, "n d"], labels: Int[Array, " n"], log_unit: ArrayLike = 0.0
    ) -> Deviations:
        """The same with the examples of one more block."""
        log_unit = jnp.asarray(log_unit, features.dtype)
        scaled = self.means.unit.of(features, log_unit)
        centre, centred = self._centred()
        members = jax.nn.one_hot(labels, len(self.bias), dtype=features.dtype)
        deviations = scaled - product(members, self.means.result())
        balance = product(members, 1 / self.means.count[:, None])[:, 0] / len(self.bias)
        features = features * jnp.exp(log_unit - self.means.unit.log_unit)
        decisions = product(features, self.weights.T) + self.bias[None]
        within = _within_beside_between(deviations, _distinct(centred), balance)
        differ = _disagreement(decisions, scaled - centre, centred)
        new = self.within + within, self.differ + differ
        return eqx.tree_at(lambda sums: (sums.within, sums.differ), self, new)

    def result(self) -> Collapse:
        """The collapse of all examples added."""
        distinct, weights = _distinct(self._centred()[1]), self.weights
        spread_norms, spread_angles = _simplex_distance(distinct)
        return Collapse(
            nc1=self.within,
            nc2_norms=spread_norms,
            nc2_angles=spread_angles,
            nc3=safe_norm(weights / safe_norm(weights) - distinct / safe_norm(distinct)),
            nc4=self.differ / jnp.sum(self.means.count),
        )

    def _centred(self) -> tuple[Float[Array, "1 d"], Float[Array, "classes d"]]:
        means = self.means.result()
        centre = jnp.mean(means, axis=0, keepdims=True)
        return centre, means - centre


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
    centred = features - feature_mean[None], logits - logit_mean[None]
    return best_affine(*centred, feature_mean, logit_mean, examples=len(features))


def best_affine(
    features: Float[Array, "n d"],
    logits: Float[Array, "n classes"],
    feature_mean: Float[Array, " d"],
    logit_mean: Float[Array, " classes"],
    *,
    examples: int,
) -> tuple[Float[Array, "classes d"], Float[Array, " classes"]]:
    """`readout` of centred features and logits, which a rotation of the examples leaves alone."""
    rtol = float(max(examples, features.shape[1]) * jnp.finfo(features.dtype).eps)
    weights = product(jnp.linalg.pinv(features, rtol=rtol), logits).T
    return weights, logit_mean - product(weights, feature_mean)


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


def check_all_present(labels: Int[Array, " n"], classes: int) -> None:
    """Raise `ValueError` if a class has no example, as far as known now."""
    if is_concrete(labels):
        missing = sorted(set(range(classes)) - set(np.asarray(labels).tolist()))
        require(not missing, "labels", f"without class {missing}", "at least one of every class")


def _distinct(centred: Float[Array, "classes d"]) -> Float[Array, "classes d"]:
    """Centred class means, or NaN where they all coincide."""
    # Means no further apart than rounding are the same: without this, noise would pass for signal.
    rounding = 10 * math.sqrt(centred.size) * jnp.finfo(centred.dtype).eps
    return jnp.where(safe_norm(centred) > rounding, centred, jnp.nan)


def _within_beside_between(
    deviations: Float[Array, "n d"], centred: Float[Array, "classes d"], balance: Float[Array, " n"]
) -> Float[Array, ""]:
    # With S_B = M^T M / K, tr(S_W pinv(S_B)) / K is the mean of |deviation pinv(M)|^2: no d x d
    # matrix, and no rank to guess beyond M's own, whose rows sum to 0.
    size = safe_norm(centred)
    rtol = float(10 * centred.shape[0] * jnp.finfo(centred.dtype).eps)
    coordinates = product(deviations / size, jnp.linalg.pinv(centred / size, rtol=rtol))
    return jnp.sum(jnp.sum(coordinates**2, axis=1) * balance)


def _simplex_distance(
    centred: Float[Array, "classes d"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Spread of the class means' norms, and mean distance of their cosines from -1/(K-1)."""
    classes = centred.shape[0]
    norms = jax.vmap(safe_norm)(centred)
    mean = jnp.mean(norms)
    spread = safe_norm(norms - mean) / math.sqrt(classes) / mean
    directions = centred / norms[:, None]
    distances = jnp.abs(product(directions, directions.T) + 1 / (classes - 1))
    return spread, mean_over_pairs(distances, jnp.ones((classes, classes), bool))


def _disagreement(
    decisions: Float[Array, "n classes"],
    features: Float[Array, "n d"],
    means: Float[Array, "classes d"],
) -> Float[Array, ""]:
    """In how many examples the classifier and the nearest class mean differ."""
    # |h - mu|^2 less |h|^2, which all classes share.
    distances = jnp.sum(means**2, axis=1)[None] - 2 * product(features, means.T)
    differ = jnp.argmax(decisions, axis=1) != jnp.argmin(distances, axis=1)
    count = jnp.sum(differ, dtype=features.dtype)
    return nan_with(count, jnp.concatenate([decisions, distances]))
