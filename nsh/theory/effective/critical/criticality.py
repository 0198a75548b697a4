"""Where a deep network neither loses nor explodes signals: the critical (C_b, C_W) of s."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.polynomial import Chebyshev

from nsh._checks import require
from nsh.activations import Activation, as_activation
from nsh.activations.gaussian import gaussian
from nsh.activations.program import Elementwise
from nsh.theory.effective.critical.near_zero_expansion import NearZeroExpansion, near_zero_expansion

Universality = Literal["scale-invariant", "K* = 0", "half-stable", "family", "none"]
LOWEST, HIGHEST, POINTS = 1e-4, 1e6, 256  # kernels searched
CLEAR = 1e-4  # departures below it may be rounding


@dataclasses.dataclass(frozen=True)
class Criticality:
    """The universality class of an activation and its critical initialisation.

    chi_par = chi_perp = 1 at the fixed point `K` of K' = C_b + C_W g(K), with g = <s^2>. The
    classes (arXiv 2106.10165, sections 5.2 and 5.3):

    - "scale-invariant": (C_b, C_W) = (0, 1/A2), and every K is fixed (`K` NaN);
    - "K* = 0": (0, 1/A2), K = 0, where variances fall with depth l as (p_K / (-a1 l))^p_K;
    - "half-stable": K > 0, approached from one side only, `stable` "from above" or "from below";
    - "family": every K is half-stable with its own (C_b, C_W), C_W = 1 / <s'^2>, as of relu(z - c)
      and soft thresholds, where s = 0 at all kinks and s'' = 0 elsewhere: <s s''> = 0 at every K
      (derived). Numbers are those of the member asked for, else NaN;
    - "none": no critical point with C_b >= 0 (all numbers NaN).

    `near_zero`: the expansion at K = 0, where there is one. `nu`: at criticality V / (n K^2), the
    relative variance of a width-n layer's kernel, grows as nu l / n: 3 rho - 1 if scale-invariant,
    (3 rho - 1) / 3 in the K* = 0 class, which is 2/3 for smooth s (where rho != 1, as for SELU,
    this is derived, not compared with networks), and C_W^2 Var(s^2) / K^2 if half-stable. In the
    K* = 0 class it holds deep down only; NaN if a1 = 0 (hard_tanh, relu6), where it would take
    exp(1/K) layers. At a given depth take `fluctuations`.
    """

    activation: Activation
    universality: Universality
    K: float
    C_b: float
    C_W: float
    stable: Literal["marginal", "from both sides", "from above", "from below"] | None
    nu: float
    near_zero: NearZeroExpansion | None

    @property
    def p_K(self) -> float:
        """At criticality K ~ l^-p_K: 1 or 2 in the K* = 0 class (NaN if no power), else 0."""
        if self.universality in ("scale-invariant", "half-stable", "family"):
            return 0.0
        if self.universality == "none" or self.near_zero is None or not self.near_zero.a1:
            return np.nan
        return 1 / self.near_zero.order

    @property
    def p_perp(self) -> float:
        """At criticality chi_perp = 1 - p_perp / l: ``p_K b1 / a1`` where K* = 0, else 0."""
        if self.p_K > 0 and self.near_zero is not None:
            return self.p_K * self.near_zero.b1 / self.near_zero.a1
        return self.p_K


def criticality(activation: str | Elementwise | Activation, K: float | None = None) -> Criticality:
    """The critical point of any activation, to a relative 1e-6 in 32-bit floats.

    Scale-invariant functions are known by their slopes; K* = 0 is critical where s(0) = 0, s has a
    slope there and K' < K just above; else chi_par / chi_perp = 1 is solved for K in
    [1e-4, 1e6], and the lowest K with C_b = K - C_W g(K) >= 0 taken. `K`: which member of a
    "family". A search on the host, done at once under `jit` too: its result depends on the
    function alone, so there is nothing to differentiate by. Raises `ValueError` as
    `as_activation`, and for a K where there is no family or its C_b would be negative.

    Example:
        >>> from nsh.theory.effective import criticality
        >>> relu, tanh = criticality("relu"), criticality("tanh")
        >>> relu.universality, round(relu.C_W, 4), round(relu.nu, 4)
        ('scale-invariant', 2.0, 5.0)
        >>> tanh.universality, round(tanh.C_W, 4), round(tanh.nu, 4)
        ('K* = 0', 1.0, 0.6667)
    """
    activation = as_activation(activation)
    found = _found(activation)
    if K is None:
        return found
    allowed = "None: only a family, in which every K is critical, has a K to choose"
    require(found.universality == "family", "K", K, allowed)
    return _member(activation, found.near_zero, K)


def _found(activation: Activation) -> Criticality:
    near_zero = near_zero_expansion(activation)
    if activation.slopes is not None:
        return _scale_invariant(activation, near_zero)
    moments = _moments(activation, np.geomspace(LOWEST, HIGHEST, POINTS))
    if near_zero is not None and _shrinks(moments, near_zero):
        # V gains (3 rho - 1) K^2 a layer and is carried on by chi_par = 1 - (1 + p_K)/l
        nu = (3 * near_zero.rho - 1) / 3 if near_zero.a1 else np.nan
        C_W = 1 / near_zero.A2
        return Criticality(activation, "K* = 0", 0.0, 0.0, C_W, "from both sides", nu, near_zero)
    if _is_family(moments):
        return _without_numbers(activation, "family", near_zero)
    return _half_stable(activation, near_zero, moments)


class _Moments(NamedTuple):
    """Expectations at each K of an array, summed in 64-bit floats."""

    K: np.ndarray
    g: np.ndarray
    parallel: np.ndarray
    perpendicular: np.ndarray
    fourth: np.ndarray


def _moments(activation: Activation, K: np.ndarray) -> _Moments:
    """K, <s^2>, <z s s'>/K, <s'^2> and <s^4>; not finite where s is not."""
    with jax.ensure_compile_time_eval():
        found = _sampled(activation, jnp.asarray(K, float))
    K, z, weight, s, slope = (np.asarray(part, np.float64) for part in found)
    with np.errstate(invalid="ignore", over="ignore"):
        g, parallel, perpendicular, fourth = (
            (weight * values).sum(-1) for values in (s**2, z * s * slope, slope**2, s**4)
        )
    return _Moments(K, g, parallel / K, perpendicular, fourth)


@jax.jit
@partial(jax.vmap, in_axes=(None, 0))
def _sampled(activation: Activation, K: Array) -> tuple[Array, ...]:
    nodes = gaussian(K, activation)
    return K, nodes.z, nodes.weight, activation(nodes.z), activation.derivative(nodes.z)


def _scale_invariant(activation: Activation, near_zero: NearZeroExpansion | None) -> Criticality:
    if near_zero is None:  # s = 0
        return _without_numbers(activation, "none", near_zero)
    return Criticality(
        activation, "scale-invariant", np.nan, 0.0, 1 / near_zero.A2, "marginal",
        3 * near_zero.rho - 1, near_zero,
    )  # fmt: skip


def _without_numbers(
    activation: Activation, universality: Universality, near_zero: NearZeroExpansion | None
) -> Criticality:
    return Criticality(activation, universality, np.nan, np.nan, np.nan, None, np.nan, near_zero)


def _is_family(moments: _Moments) -> bool:
    """Whether chi_par = chi_perp at every K where s' is seen, at some K with C_b >= 0."""
    reaches = moments.perpendicular > 1e-6 * np.nanmax(moments.perpendicular)
    K, g, parallel, perpendicular, _ = (part[reaches] for part in moments)
    equal = np.abs(parallel / perpendicular - 1) < CLEAR
    return bool(reaches.any() and equal.all() and np.any(K * perpendicular >= g))


def _member(activation: Activation, near_zero: NearZeroExpansion | None, K: float) -> Criticality:
    require(np.ndim(K) == 0 and np.isfinite(K) and K > 0, "K", K, "a finite number > 0")
    around = _moments(activation, float(K) * np.asarray([0.99, 1.0, 1.01]))
    _, g, _, perpendicular, fourth = (float(part[1]) for part in around)
    allowed = "one at which s' is seen: <s'^2> > 0"
    require(np.all(np.isfinite(around)) and perpendicular > 0, "K", K, allowed)
    C_W = 1 / perpendicular
    C_b = float(K) - C_W * g
    require(C_b >= 0, "K", K, f"one whose critical C_b is not negative; here it is {C_b:.6g}")
    stable = "from below" if around.perpendicular[2] > around.perpendicular[0] else "from above"
    nu = C_W**2 * (fourth - g**2) / float(K) ** 2
    return Criticality(activation, "family", float(K), C_b, C_W, stable, nu, near_zero)


def _shrinks(moments: _Moments, near_zero: NearZeroExpansion) -> bool:
    """Whether K' < K at the smallest K at which they differ clearly, with C_W = 1/A2."""
    departure = moments.g / (near_zero.A2 * moments.K) - 1
    clear = np.flatnonzero(np.abs(departure) > CLEAR)
    return bool(clear.size and departure[clear[0]] < 0)


def _half_stable(
    activation: Activation, near_zero: NearZeroExpansion | None, moments: _Moments
) -> Criticality:
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = moments.parallel / moments.perpendicular - 1
        crossings = np.flatnonzero(excess[:-1] * excess[1:] <= 0)
    for place in crossings:
        found = _crossing(activation, moments.K[place], moments.K[place + 1])
        if found is not None:
            K, C_b, C_W, rising, nu = found
            side = "from below" if rising else "from above"
            return Criticality(activation, "half-stable", K, C_b, C_W, side, nu, near_zero)
    return _without_numbers(activation, "none", near_zero)


def _crossing(
    activation: Activation, low: float, high: float
) -> tuple[float, float, float, bool, float] | None:
    """K, C_b, C_W where chi_par = chi_perp = 1, whether chi_par rises there, and nu.

    Polynomials in log K through very many points average rounding errors away.
    """
    moments = _moments(activation, np.geomspace(low / 1.1, high * 1.1, POINTS))
    if not np.all(np.isfinite(moments)):
        return None
    x = np.log(moments.K)
    g, parallel, perpendicular, fourth = (Chebyshev.fit(x, part, 8) for part in moments[1:])
    roots = (parallel - perpendicular).roots()
    roots = roots[np.isreal(roots)].real
    roots = roots[(np.log(low) <= roots) & (roots <= np.log(high))]
    if roots.size == 0:
        return None
    root = roots[0]
    K, C_W = float(np.exp(root)), float(1 / perpendicular(root))
    C_b = float(K - C_W * g(root))
    slope = float((parallel - perpendicular).deriv()(root)) * C_W
    if C_b < 0 or abs(slope) < CLEAR:
        return None
    nu = float(C_W**2 * (fourth(root) - g(root) ** 2) / K**2)
    return K, C_b, C_W, bool(parallel.deriv()(root) > 0), nu
