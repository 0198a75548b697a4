"""An activation at small kernels: how variances and distances pass through a layer near K = 0."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from nsh.activations import Activation

STEP = 1e-8  # beside 0, where derivatives are taken from either side
TINY = 1e-4  # below which a relative difference between the two sides is rounding
NOTHING = 1e-10  # of a1: what the next order leaves at z = STEP


@dataclasses.dataclass(frozen=True)
class NearZeroExpansion:
    """With C_b = 0 and C_W = 1/A2: ``K' = K (1 + a1 K^q)`` and ``chi_perp = 1 + b1 K^q``.

    Of s(0) = 0 with slopes a-, a+ on either side, ``A2 = (a-^2 + a+^2)/2``, and `rho` is A4/A2^2
    with ``A4 = (a-^4 + a+^4)/2``. Where s is smooth, A2 = s1^2, `order` q = 1 and

    ``a1 = s3/s1 + (3/4) (s2/s1)^2,  b1 = s3/s1 + (s2/s1)^2``

    with s_p the p-th derivative at 0 (arXiv 2106.10165, section 5.3.3). Where s s'' jumps at 0
    (ELU, SELU) q = 1/2 and a1 = b1 = (s's''(0+) - s's''(0-)) sqrt(2/pi) / A2.

    Example:
        >>> from nsh.theory.effective import criticality
        >>> near_zero = criticality("tanh").near_zero
        >>> round(near_zero.A2, 4), round(near_zero.a1, 4), round(near_zero.b1, 4)
        (1.0, -2.0, -2.0)
    """

    A2: float
    rho: float
    order: float
    a1: float
    b1: float


def near_zero_expansion(activation: Activation) -> NearZeroExpansion | None:
    """The expansion about K = 0; None unless s(0) = 0 and s has a slope there.

    Derivatives are automatic, at z = +-1e-8. Runs on the host, at once, under `jit` too.
    """
    with jax.ensure_compile_time_eval():
        beside = jnp.asarray([-STEP, STEP])
        at_zero = float(activation(jnp.asarray(0.0)))
        slopes = jax.jit(lambda z: [activation.derivative(z, order) for order in (1, 2, 3)])
        a, b, c = np.asarray(slopes(beside), float)
    flat = np.all(np.abs(a) <= 10 * STEP * np.abs(b))
    if flat or abs(at_zero) > STEP * np.max(np.abs(a)):
        return None
    A2 = float(np.mean(a**2))
    rho = float(np.mean(a**4)) / A2**2
    (below, above), bend = a * b, b**2 + a * c
    jump = abs(above - below)
    if jump > TINY * (abs(above) + abs(below)) and jump > 100 * STEP * np.max(np.abs(bend)):
        both = float((above - below) * np.sqrt(2 / np.pi) / A2)
        return NearZeroExpansion(A2, rho, 0.5, both, both)
    a1, b1 = float(np.mean(a * c + 3 / 4 * b**2)) / A2, float(np.mean(bend)) / A2
    return NearZeroExpansion(A2, rho, 1.0, *(x if abs(a1) > NOTHING else 0.0 for x in (a1, b1)))
