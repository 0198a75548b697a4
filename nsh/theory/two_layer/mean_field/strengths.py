"""What sets the free energy: the dial, the temperature and the decays, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import is_concrete, require, require_all
from nsh.theory.two_layer.network import TwoLayer


class Strengths(NamedTuple):
    """alpha, temperature, decay_u and decay_theta; 0 where `hyper` has none."""

    alpha: Float[Array, ""]
    temperature: Float[Array, ""]
    decay_u: Float[Array, ""]
    decay_theta: Float[Array, ""]


def strengths(
    network: TwoLayer, hyper: dict[str, Any], dtype: Any, positive: Sequence[str] = ()
) -> Strengths:
    """The strengths in `hyper`; `ValueError` if it is bad, or lacks one that must be `positive`."""
    network.check(hyper, 0)
    for name in positive:
        require(name in hyper, "hyper", sorted(hyper), f"a dict with {name!r}")
        if is_concrete(hyper[name]):
            require_all(np.asarray(hyper[name]) > 0, f"hyper[{name!r}]", hyper[name], "> 0")
    return Strengths(*(jnp.asarray(hyper.get(name, 0.0), dtype) for name in Strengths._fields))
