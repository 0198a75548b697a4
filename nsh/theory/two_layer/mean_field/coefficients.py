"""What sets the free energy: the dial, the temperature and the decays, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all
from nsh._types import DTypeLike
from nsh.theory.two_layer.network import Hyper, TwoLayer


class Coefficients(NamedTuple):
    """alpha, temperature, decay_u and decay_theta; 0 where `hyper` has none."""

    alpha: Float[Array, ""]
    temperature: Float[Array, ""]
    decay_u: Float[Array, ""]
    decay_theta: Float[Array, ""]


def coefficients_of(
    network: TwoLayer, hyper: Hyper, dtype: DTypeLike, positive: Sequence[str] = ()
) -> Coefficients:
    """The coefficients in `hyper`; `ValueError` if bad, or without one of `positive`."""
    network.check(hyper, 0)
    for name in positive:
        require(name in hyper, "hyper", sorted(hyper), f"a dict with {name!r}")
        if is_concrete(hyper[name]):
            require_all(np.asarray(hyper[name]) > 0, f"hyper[{name!r}]", hyper[name], "> 0")
    return Coefficients(
        *(jnp.asarray(hyper.get(name, 0.0), dtype) for name in Coefficients._fields)
    )
