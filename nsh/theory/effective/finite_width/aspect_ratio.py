"""Depth over width as a network's effective complexity, and the ratio the theory calls optimal."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_numbers, is_concrete, require_all, require_integer
from nsh._types import ArrayLike
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.finite_width.fluctuations import fluctuations

IN_RANGE = "in the range of floats, where its square is too: nearer to criticality, or less deep"


def depth_to_width(architecture: Architecture) -> float:
    """``r = sum_l 1 / n_l`` over the hidden layers: (L - 1) / n at equal widths.

    The emergent scale of the theory, arXiv 2106.10165, sections 3.4 and 5.4.

    Example:
        >>> from nsh.theory.effective import Architecture, depth_to_width
        >>> depth_to_width(Architecture("relu", depth=3, widths=(4, 8)))
        0.375
    """
    return float(sum(1 / width for width in architecture.hidden_widths()))


def effective_complexity(architecture: Architecture, x2: ArrayLike = 1.0) -> Float[Array, ""]:
    """V / K^2 of the output, so how far networks differ from each other; of one input with x2.

    By `fluctuations`, at the depth and the initialisation given: ``nu r`` for scale-invariant
    activations (nu = 5 for ReLU, 2 for linear) and for half-stable ones from their K* on, with nu
    of `criticality`. The K* = 0 class comes to ``nu r`` only deep down: relu6 has 2.45 at depth
    51, width 100 and x2 = 1, as ReLU has, and a third of that after 10^7 layers (arXiv
    2106.10165, section 5.4).

    Much below 1 a network is close to its kernel; near 1 and above, the networks of an ensemble
    differ by as much as their mean and first-order theory fails. Off criticality K may leave the
    range of floats in deep networks. Then this raises `ValueError` (a traced result is NaN), as
    it does where `fluctuations` does. Differentiable likewise.

    Example:
        >>> from nsh.theory.effective import Architecture, effective_complexity
        >>> network = Architecture("relu", depth=3, widths=100, C_W=2.0)
        >>> round(float(effective_complexity(network)), 4)  # nu r = 5 (2 / 100)
        0.1
    """
    last = fluctuations(architecture, x2)
    K, V = last.K[-1], last.V[-1]
    if is_concrete(K):
        tiny = np.sqrt(np.finfo(K.dtype).tiny)
        require_all(np.isfinite(V) & (np.asarray(K) > tiny), "K of the output", K, IN_RANGE)
    return V / K**2


def mutual_information(v: ArrayLike, outputs: tuple[int, int] = (1, 1)) -> Float[Array, "..."]:
    """I(m1 outputs; m2 others) in nats at v = nu r = V / K^2, the two leading terms in 1/width.

    ``I = (m1 m2 / 8) [v^2 - v^3 (20 + 3 (m1 + m2)) / 6]``. Source: arXiv 2106.10165, appendix A.

    Caveat: a truncated series. It is I to its order at small v, but its maximum and its fall below
    0 are where the terms left out count: in two explicit mixtures z = sqrt(G) eps with variance v
    of G the true information has no maximum below v = 1. Differentiable by v; raises `ValueError`
    for v < 0.

    Example:
        >>> from nsh.theory.effective import mutual_information
        >>> round(float(mutual_information(0.1)), 6)  # (0.01 - 0.001 * 26 / 6) / 8
        0.000708
    """
    m1, m2 = (require_integer(f"outputs[{i}]", size, 1) for i, size in enumerate(outputs))
    v = as_numbers("v", v, float)
    if is_concrete(v):
        require_all(np.asarray(v) >= 0, "v", v, ">= 0")
    return m1 * m2 / 8 * (v**2 - v**3 * (20 + 3 * (m1 + m2)) / 6)


def optimal_aspect_ratio(nu: ArrayLike, outputs: int) -> Float[Array, "..."]:
    """``r* = 4 / [(20 + 3 n_L) nu]``, the r at which the truncated `mutual_information` is largest.

    nu as of `criticality`, n_L `outputs`. Source: arXiv 2106.10165, appendix A. The caveat of
    `mutual_information` holds: no maximum of the information itself is known to lie there, so take
    r* as the ratio up to which the two terms make sense. Raises `ValueError` for nu <= 0.

    Example:
        >>> from nsh.theory.effective import optimal_aspect_ratio
        >>> round(float(optimal_aspect_ratio(nu=5.0, outputs=10)), 4)  # 4 / (50 * 5)
        0.016
    """
    require_integer("outputs", outputs, 1)
    nu = as_numbers("nu", nu, float)
    if is_concrete(nu):
        require_all(np.asarray(nu) > 0, "nu", nu, "> 0")
    return 4 / ((20 + 3 * outputs) * nu)
