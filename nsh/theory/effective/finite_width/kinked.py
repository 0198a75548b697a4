"""Trained networks with kinks: their outputs deviate at order 1/sqrt(width), not 1/width.

A neuron close to its kink crosses it as soon as its preactivation moves, by order 1/sqrt(n). So
many do that the tangent kernel moves by as much. The tensors R, S, T and U, which hold
s''^2, diverge; in their place is one law for one hidden layer and one training point.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from nsh._checks import as_numbers, is_concrete, require, require_all
from nsh._types import ArrayLike


def relu_width_correction(
    y: ArrayLike,
    times: ArrayLike,
    *,
    width: ArrayLike,
    C_W: ArrayLike = 2.0,
    lambda_W: ArrayLike = 1.0,
) -> Float[Array, "*times"]:
    """Compute what a finite width adds to the mean output of a trained shallow ReLU network.

    One hidden layer, no biases, one training point with |x|^2 / n_0 = 1 and target y, gradient
    flow on ``(f - y)^2 / 2``. The leading order in 1/width is::

        c E[e |e|] (phi(t)^2 - Theta int_0^t e^(-Theta (t - s)) phi(s)^2 ds) / sqrt(width)

    with ``c = lambda_W^2 C_W / 2 pi``, ``Theta = lambda_W C_W``, ``e ~ N(-y, C_W^2 / 2)`` and
    ``phi(t) = (1 - e^(-Theta t)) / Theta``. Source: derived for nsh, of networks in the sense of
    arXiv 2106.10165, section 2; held against networks of widths 256 and 1024 at y = 3. Not known
    for deeper networks and several points.

    Shapes: `times` any, infinity allowed, where it is 0. Units: of y, and time over learning rate.
    Differentiable by everything. Raises `ValueError` for negative times, and for what is no number,
    or not positive.

    Example:
        >>> from nsh.theory.effective import relu_width_correction
        >>> found = relu_width_correction(3.0, [0.25, 1.0], width=1)
        >>> [round(float(value), 3) for value in found]
        [-0.113, -0.269]
    """
    numbers = {"y": y, "width": width, "C_W": C_W, "lambda_W": lambda_W}
    arrays = {field: as_numbers(field, given, float) for field, given in numbers.items()}
    for field, value in arrays.items():
        require(value.shape == (), f"{field}.shape", value.shape, "(), one number")
        if is_concrete(value):
            good = np.isfinite(value) & (True if field == "y" else np.asarray(value) > 0)
            require_all(good, field, value, "finite" if field == "y" else "finite and > 0")
    t = as_numbers("times", times, float)
    if is_concrete(t):
        require_all(np.asarray(t) >= 0, "times", t, ">= 0 (infinity is allowed)")
    mean, C_W, lambda_W = -arrays["y"], arrays["C_W"], arrays["lambda_W"]
    Theta, deviation = C_W * lambda_W, C_W / np.sqrt(2)
    u = mean / deviation
    signed = (mean**2 + deviation**2) * (2 * norm.cdf(u) - 1) + 2 * mean * deviation * norm.pdf(u)
    ended = jnp.isinf(t)
    at = Theta * jnp.where(ended, 1.0, t)
    falls = jnp.exp(-at)
    of_time = ((1 - falls) ** 2 - (1 - falls**2) + 2 * at * falls) / Theta**2
    scale = lambda_W**2 * C_W / (2 * np.pi) / jnp.sqrt(arrays["width"])
    return jnp.where(ended, 0.0, scale * signed * of_time)
