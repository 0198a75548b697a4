"""What a system makes of a set of examples: the arrays that the other measurements take."""

from __future__ import annotations

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from nsh.system import Scaled, System, finite_logits, in_common_unit


class Observation(eqx.Module):
    """Logits and features of n examples at one state.

    `logits` [n, classes] are plain finite numbers; `features[l]` [n, d_l] of level l are in units
    of ``exp(log_units[l])`` (1 for a system whose features are plain arrays).
    """

    logits: Float[Array, "n classes"]
    features: tuple[Float[Array, "n _"], ...]
    log_units: tuple[Float[Array, ""], ...]


def observe(system: System, state: PyTree, examples: PyTree) -> Observation:
    """The logits and the features of all levels, for every example of the leading axis.

    A level's feature of one example is flattened to a vector; levels are `Scaled` to one unit over
    the examples (`nsh.system.in_common_unit`). Differentiable as far as the system is.
    """
    logits = jax.vmap(lambda example: finite_logits(system.logits(state, example)))(examples)
    levels = jax.vmap(lambda example: system.features(state, example))(examples)
    features, log_units = zip(*map(_flat_in_common_unit, levels), strict=True)
    return Observation(logits, features, log_units)


def _flat_in_common_unit(
    level: Float[Array, "n ..."] | Scaled,
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    values, log_unit = in_common_unit(level)
    return values.reshape(values.shape[0], -1), log_unit
