"""Mutual information of a level with the input and with the label, by Monte Carlo.

The representation is ``T = f(x_i) + sigma * eps``, eps standard normal: X is the sample's index i,
uniform over n inputs, and Y its label. All information is in bits.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh._checks import require_integer, require_key
from nsh._shown import Shown
from nsh.measure._tools import (
    checked_labels,
    checked_rows,
    map_rows,
    require_levels,
    where_labelled,
)
from nsh.measure.bounds import Bounds, Overlaps
from nsh.measure.noise import Noise, scaled_noise_level
from nsh.measure.observe import observe
from nsh.system import System

_SATURATION = 0.99
_STANDARD_ERRORS = 3


class Information(Shown):
    """I(T; X) (`input`) and I(T; Y) (`label`) in bits, with standard errors and bounds.

    `saturated`: I(T; X) is at least 99% of H(X) = log2 n. The estimate then says no more than that
    the inputs can be told apart at this noise.
    `consistent`: ``0 <= I(T; Y) <= I(T; X) <= H(X)`` and both lie between their bounds, within
    three standard errors and rounding. A sound estimate fails it a few times in a thousand.
    """

    input: Float[Array, ""]
    input_error: Float[Array, ""]
    input_lower: Float[Array, ""]
    input_upper: Float[Array, ""]
    label: Float[Array, ""]
    label_error: Float[Array, ""]
    label_lower: Float[Array, ""]
    label_upper: Float[Array, ""]
    saturated: Bool[Array, ""]
    consistent: Bool[Array, ""]


def information(
    features: Float[Array, "n d"],
    labels: Int[Array, " n"],
    key: Key[Array, ""],
    *,
    noise: Noise,
    log_unit: float | Float[Array, ""] = 0.0,
    classes: int,
    samples: int = 64,
) -> Information:
    """Mutual information of noisy features with the input and with the label, in bits.

    ``I(T; X) = log2 n - E H(X | T = t)`` and ``I(T; Y) = H(Y) - E H(Y | T = t)``, the posterior's
    entropy averaged over `samples` draws of t around each input (stratified, and less noisy than
    the log density ratio, of which it is the Rao-Blackwell form). The bounds are those of
    `information_bounds`. Features are in units of ``exp(log_unit)``.

    The draws depend on `key` alone: with one key at all training steps they are common random
    numbers, and curves over training are smooth. Independent errors need different keys.

    Raises `ValueError` on labels outside 0..classes-1 (NaN, and neither `saturated` nor
    `consistent`, where they are traced) or fewer than 2 samples. Differentiable in `features`,
    `noise` and `log_unit` (reparametrised draws), the errors too; flags carry no gradient. Time
    n^2 * samples * d, memory a few MB (in chunks) plus n * samples.

    Example:
        Four inputs far apart beside the noise, of two classes:

        >>> from nsh.measure import Noise, information
        >>> features, labels = 100 * jnp.eye(4), jnp.array([0, 0, 1, 1])
        >>> noise = Noise(fixed=1.0, relative=0.0)
        >>> found = information(features, labels, jax.random.key(0), noise=noise, classes=2)
        >>> round(float(found.input), 3), round(float(found.label), 3), bool(found.saturated)
        (2.0, 1.0, True)
    """
    features = checked_rows(features, "features")
    n, d = features.shape
    labels, inside = checked_labels(labels, n, classes)
    require_integer("samples", samples, 2)
    require_key(key)
    scale, sigma = scaled_noise_level(features, noise, log_unit)

    def around(i: Int[Array, ""]) -> PyTree:
        one = Around.zero(features[i], labels[i], i, key, samples=samples, classes=classes)
        return one.add(features, labels, (scale, sigma)).found()

    found = map_rows(around, jnp.arange(n), n * (d + samples) + samples * d)
    return where_labelled(gathered(found, labels, classes), inside)


class Around(eqx.Module):
    """Sums over inputs j, of one input i and draws of T around it: what the information needs.

    Of the posterior ``p_j ~ exp(-|t - f_j|^2 / 2)`` at each draw, with the largest logarithm so far
    as unit, so that sums neither overflow nor vanish.
    """

    feature: Float[Array, " d"]
    label: Int[Array, ""]
    draws: Float[Array, "samples d"]
    largest: Float[Array, " samples"]
    total: Float[Array, " samples"]
    logs: Float[Array, " samples"]
    of_class: Float[Array, "samples classes"]
    overlaps: Overlaps

    @classmethod
    def zero(
        cls,
        feature: Float[Array, " d"],
        label: Int[Array, ""],
        number: Int[Array, ""],
        key: Key[Array, ""],
        *,
        samples: int,
        classes: int,
    ) -> Around:
        """Those of the input of this number with no other."""
        dtype, size = feature.dtype, feature.size
        # drawn in one row: the same numbers, many times faster to compile on CPUs
        draws = jax.random.normal(jax.random.fold_in(key, number), (samples * size,), dtype)
        nothing = jnp.zeros(samples, dtype)
        return cls(
            feature=feature,
            label=label,
            draws=draws.reshape(samples, size),
            largest=jnp.full(samples, -jnp.inf, dtype),
            total=nothing,
            logs=nothing,
            of_class=jnp.zeros((samples, classes), dtype),
            overlaps=Overlaps.zero(dtype),
        )

    def add(
        self,
        features: Float[Array, "m d"],
        labels: Int[Array, " m"],
        noise: tuple[Float[Array, ""], Float[Array, ""]],
    ) -> Around:
        """The same with more inputs. `noise`: of `scaled_noise_level`, of all features."""
        scale, sigma = noise
        # Differences before division: coincident inputs stay at distance 0 exactly, and near ones
        # far from the origin keep their digits.
        offsets = (features - self.feature[None]) / scale / sigma
        squared = jnp.sum(offsets**2, axis=1)
        logs = jnp.matmul(self.draws, offsets.T, precision="highest") - squared[None] / 2
        largest = jax.lax.stop_gradient(jnp.maximum(self.largest, jnp.max(logs, axis=1)))
        # of what there was: nothing at first, which -inf less -inf would turn into NaN
        fall = jnp.where(self.total > 0, self.largest - largest, 0)
        before, logs = jnp.exp(fall), logs - largest[:, None]
        weights = jnp.exp(logs)
        members = jax.nn.one_hot(labels, self.of_class.shape[1], dtype=features.dtype)
        of_class = jnp.matmul(weights, members, precision="highest")
        return Around(
            feature=self.feature,
            label=self.label,
            draws=self.draws,
            largest=largest,
            total=self.total * before + jnp.sum(weights, axis=1),
            logs=(self.logs + self.total * fall) * before + jnp.sum(weights * logs, axis=1),
            of_class=self.of_class * before[:, None] + of_class,
            overlaps=self.overlaps.add(squared, labels == self.label),
        )

    def found(self) -> tuple[Float[Array, " samples"], Float[Array, " samples"], Overlaps]:
        """H(X | t) and H(Y | t) in nats at the draws, and the overlaps with other inputs."""
        of_input = jnp.log(self.total) - self.logs / self.total
        return of_input, _entropy(self.of_class / self.total[:, None]), self.overlaps


def gathered(
    found: tuple[Float[Array, "n samples"], Float[Array, "n samples"], Overlaps],
    labels: Int[Array, " n"],
    classes: int,
) -> Information:
    """The information, from what `Around.found` gives for each of n inputs."""
    input_loss, label_loss, overlaps = found
    n = len(labels)
    members = jax.nn.one_hot(labels, classes, dtype=input_loss.dtype)
    input_bits, input_error = _gain(jnp.asarray(math.log(n), members.dtype), input_loss)
    label_bits, label_error = _gain(_entropy(jnp.mean(members, axis=0)), label_loss)
    bounds = overlaps.bounds()
    return Information(
        input=input_bits,
        input_error=input_error,
        input_lower=bounds.input_lower,
        input_upper=bounds.input_upper,
        label=label_bits,
        label_error=label_error,
        label_lower=bounds.label_lower,
        label_upper=bounds.label_upper,
        saturated=input_bits >= _SATURATION * math.log2(n),
        consistent=_consistent(input_bits, input_error, label_bits, label_error, bounds, n),
    )


def level_information(
    system: System,
    state: PyTree,
    examples: PyTree,
    labels: Int[Array, " n"],
    key: Key[Array, ""],
    *,
    level: int,
    classes: int,
    noise: Noise,
    samples: int = 64,
) -> Information:
    """`information` of one level (1 = lowest) of a system about n equally likely examples.

    Raises `ValueError` if there is no such level, or as `information` does.

    Example:
        At the start of training no class is told from another:

        >>> from nsh.measure import Noise, level_information
        >>> graph, inputs = nsh.neurashed.figure4()
        >>> system = nsh.Neurashed(graph)
        >>> state = system.init(jax.random.key(0), nsh.neurashed.figure4_rules(graph))
        >>> examples, noise = system.prepare(inputs.x, inputs.y), Noise(fixed=1.0, relative=0.0)
        >>> key, options = jax.random.key(1), {"level": 2, "classes": 2, "noise": noise}
        >>> y = jnp.asarray(inputs.y)
        >>> found = level_information(system, state, examples, y, key, **options)
        >>> round(abs(float(found.label)), 2), bool(found.consistent)
        (0.0, True)
    """
    seen = observe(system, state, examples)
    require_levels(seen.features)
    place = require_integer("level", level, 1, len(seen.features)) - 1
    return information(
        seen.features[place],
        labels,
        key,
        noise=noise,
        log_unit=seen.log_units[place],
        classes=classes,
        samples=samples,
    )


def _entropy(probabilities: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    """Entropy in nats, with 0 log 0 = 0 and no NaN in its derivative."""
    possible = probabilities > jnp.finfo(probabilities.dtype).tiny
    logs = jnp.log(jnp.where(possible, probabilities, 1))
    return -jnp.sum(probabilities * logs, axis=-1)


def _gain(
    prior: Float[Array, ""], posterior: Float[Array, "n samples"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Entropy lost on seeing T, in bits, and the standard error of stratified sampling."""
    n, samples = posterior.shape
    variance = jnp.sum(jnp.var(posterior, axis=1, ddof=1)) / samples
    spread = variance > 0  # or the slope of the root would be infinite
    error = jnp.where(spread, jnp.sqrt(jnp.where(spread, variance, 1)), variance) / n
    return (prior - jnp.mean(posterior)) / math.log(2), error / math.log(2)


def _consistent(
    input_bits: Float[Array, ""],
    input_error: Float[Array, ""],
    label_bits: Float[Array, ""],
    label_error: Float[Array, ""],
    bounds: Bounds,
    n: int,
) -> Bool[Array, ""]:
    rounding = 1e3 * jnp.finfo(input_bits.dtype).eps
    input_slack = _STANDARD_ERRORS * input_error + rounding
    label_slack = _STANDARD_ERRORS * label_error + rounding
    return (
        (label_bits >= -label_slack)
        & (label_bits <= input_bits + input_slack + label_slack)
        & (input_bits <= math.log2(n) + input_slack)
        & (input_bits >= bounds.input_lower - input_slack)
        & (input_bits <= bounds.input_upper + input_slack)
        & (label_bits >= bounds.label_lower - label_slack)
        & (label_bits <= bounds.label_upper + label_slack)
    )
