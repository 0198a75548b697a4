"""Depth over width as a network's effective complexity, and the ratio the theory calls optimal."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all, require_integer
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.critical.criticality import criticality


def depth_to_width(architecture: Architecture) -> float:
    """``r = sum_l 1 / n_l`` over the hidden layers: (L - 1) / n at equal widths.

    The emergent scale of the theory, arXiv 2106.10165, sections 3.4 and 5.4.
    """
    return float(sum(1 / width for width in architecture.hidden_widths()))


def effective_complexity(architecture: Architecture) -> float:
    """``nu r``: at criticality V / K^2 of the output, so how far networks differ from each other.

    nu is the activation's growth of fluctuations, of `criticality`: 3 rho - 1 if it is
    scale-invariant (ReLU 5, linear 2), 2/3 for tanh, sin, erf (arXiv 2106.10165, section 5.4).

    Much below 1 a network is close to its kernel; near 1 and above, the networks of an ensemble
    differ by as much as their mean and first-order theory fails. Raises `ValueError` for
    activations without critical point and without widths.
    """
    nu = criticality(architecture.activation).nu
    name = architecture.activation.name
    require(np.isfinite(nu), "activation", name, "one that has a critical initialisation")
    return nu * depth_to_width(architecture)


def mutual_information(v: Any, outputs: tuple[int, int] = (1, 1)) -> Float[Array, "..."]:
    """I(m1 outputs; m2 others) in nats at v = nu r = V / K^2, the two leading terms in 1/width.

    ``I = (m1 m2 / 8) [v^2 - v^3 (20 + 3 (m1 + m2)) / 6]``. Source: arXiv 2106.10165, appendix A.

    Caveat: a truncated series. It is I to its order at small v, but its maximum and its fall below
    0 are where the terms left out count: in two explicit mixtures z = sqrt(G) eps with variance v
    of G the true information has no maximum below v = 1. Differentiable by v; raises `ValueError`
    for v < 0.
    """
    m1, m2 = (require_integer(f"outputs[{i}]", size, 1) for i, size in enumerate(outputs))
    v = jnp.asarray(v, float)
    if is_concrete(v):
        require_all(np.asarray(v) >= 0, "v", v, ">= 0")
    return m1 * m2 / 8 * (v**2 - v**3 * (20 + 3 * (m1 + m2)) / 6)


def optimal_aspect_ratio(nu: Any, outputs: int) -> Float[Array, "..."]:
    """``r* = 4 / [(20 + 3 n_L) nu]``, the r at which the truncated `mutual_information` is largest.

    nu as of `criticality`, n_L `outputs`. Source: arXiv 2106.10165, appendix A. The caveat of
    `mutual_information` holds: no maximum of the information itself is known to lie there, so take
    r* as the ratio up to which the two terms make sense. Raises `ValueError` for nu <= 0.
    """
    require_integer("outputs", outputs, 1)
    nu = jnp.asarray(nu, float)
    if is_concrete(nu):
        require_all(np.asarray(nu) > 0, "nu", nu, "> 0")
    return 4 / ((20 + 3 * outputs) * nu)
