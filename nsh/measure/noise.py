"""The noise that makes a deterministic representation's mutual information finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require_all
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.measure._tools import checked_rows


class Noise(Shown):
    """Two independent Gaussian noises: ``sigma^2 = fixed^2 + (relative * max |feature|)^2``.

    The maximum is over all inputs and units of the level. The fixed part hides features that have
    not grown yet; the relative part, features dwarfed by others. Both are scalars >= 0 (else
    `ValueError`) and differentiable.

    Example:
        >>> from nsh.measure import Noise
        >>> Noise(fixed=0.5, relative=0.0)
        Noise(fixed=0.5, relative=0.0)
    """

    fixed: float | Float[Array, ""] = 1e-4
    relative: float | Float[Array, ""] = 0.05

    def __check_init__(self) -> None:
        for field, value in (("fixed", self.fixed), ("relative", self.relative)):
            if is_concrete(value):
                require_all(np.asarray(value) >= 0, f"noise.{field}", value, "a number >= 0")


def noise_level(
    features: Float[Array, "n d"], noise: Noise, log_unit: float | Float[Array, ""] = 0.0
) -> Float[Array, ""]:
    """The noise's standard deviation, in the features' units of ``exp(log_unit)``.

    ``sigma^2 = (fixed exp(-log_unit))^2 + (relative max |f|)^2``, but at least machine epsilon
    times the largest feature (below, rounding is the noise), and finite whatever the unit: a fixed
    part that would overflow is cut to a size beside which the features vanish. Differentiable.

    Example:
        >>> from nsh.measure import Noise, noise_level
        >>> round(float(noise_level(jnp.array([[2.0], [10.0]]), Noise(fixed=3.0, relative=0.4))), 4)
        5.0
    """
    features = checked_rows(features, "features")
    scale, sigma = scaled_noise_level(features, noise, log_unit)
    return scale * sigma


def scaled_noise_level(
    features: Float[Array, "n d"], noise: Noise, log_unit: ArrayLike
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """``(scale, sigma)``, the noise being ``scale * sigma``: features / scale / sigma is finite.

    The scale is the largest |feature| (1 if all are 0), held constant in derivatives, which are
    those of the product.
    """
    dtype = features.dtype
    fixed, relative, log_unit = (
        jnp.asarray(x, dtype) for x in (noise.fixed, noise.relative, log_unit)
    )
    largest = jnp.max(jnp.abs(features))
    some = largest > 0
    scale = jax.lax.stop_gradient(jnp.where(some, largest, 1))
    limit = jnp.log(jnp.finfo(dtype).max) / 3
    unit = jnp.exp(jnp.minimum(-log_unit - jnp.log(scale), limit))
    share = largest / scale  # 1, but not in derivatives
    variance = (fixed * unit) ** 2 + (relative * share) ** 2
    least = jnp.finfo(dtype).eps * jnp.where(some, share, 1)
    return scale, jnp.sqrt(jnp.maximum(variance, least**2))
