"""Growth and decay as maps that can be composed: shifts of log x, and clipped affine maps of x."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from nsh.neurashed.logspace import LEAST, Compensated, plus
from nsh.neurashed.rule import Rule
from nsh.neurashed.state import NeurashedState
from nsh.system import Scaled, Transition


class Step(eqx.Module):
    """One step ``x -> max(a x + c, 0)`` of each node; no c if it is 0 for all."""

    log_factor: Float[Array, "..."]
    step: Float[Array, "..."] | None

    def __call__(self, log_x: Compensated) -> Compensated:
        """The map on log x."""
        moved = log_x.moved(self.log_factor)
        return moved if self.step is None else plus(moved, self.step)

    def composable(self) -> Maps:
        """The same map, to be composed with others."""
        if self.step is None:
            return Shift(self.log_factor)
        zero = jnp.zeros_like(self.log_factor)
        return ClippedAffine(self.log_factor, Scaled(self.step, zero), Scaled(zero, zero))


def affine_step(fired: Bool[Array, " nodes"], growth: Rule, decay: Rule) -> Step | None:
    """The affine growth of nodes that fire and decay of the others; None if a rule is not affine.

    For rules after `Rule.at`.
    """
    if_fired, if_not = growth.affine(), decay.affine()
    if if_fired is None or if_not is None:
        return None
    (grown, raised), (shrunk, lowered) = if_fired, if_not
    log_factor = jnp.where(fired, grown, shrunk)
    if raised is None and lowered is None:
        return Step(log_factor, None)
    return Step(log_factor, jnp.where(fired, *(0.0 if c is None else c for c in (raised, lowered))))


class Shift(eqx.Module):
    """x -> e^s x: geometric rules."""

    log_factor: Float[Array, "..."]

    def then(self, later: Shift) -> Shift:
        """e^(s2) e^(s1) x."""
        return Shift(self.log_factor + later.log_factor)

    def __call__(self, log_x: Compensated) -> Compensated:
        """The map on log x."""
        return log_x.moved(self.log_factor).settled()


class ClippedAffine(eqx.Module):
    """x -> max(e^s x + shift, floor) on x >= 0, with floor >= 0: closed under composition.

    ``max(a2 max(a1 x + c1, d1) + c2, d2) = max(a2 a1 x + (a2 c1 + c2), max(a2 d1 + c2, d2))``.
    Shift and floor are `Scaled`, each with its own scale, so that none over- or underflows.
    """

    log_factor: Float[Array, "..."]
    shift: Scaled
    floor: Scaled

    def then(self, later: ClippedAffine) -> ClippedAffine:
        """This map, then `later`."""
        return ClippedAffine(
            self.log_factor + later.log_factor,
            _add(_grown(self.shift, later.log_factor), later.shift),
            _larger(_add(_grown(self.floor, later.log_factor), later.shift), later.floor),
        )

    def __call__(self, log_x: Compensated) -> Compensated:
        """The map on log x."""
        moved = plus(log_x.moved(self.log_factor), self.shift.value, self.shift.log_scale)
        positive = self.floor.value > 0
        log_floor = self.floor.log_scale + jnp.log(jnp.where(positive, self.floor.value, 1))
        above = ~positive | (moved.total >= log_floor)
        rest = jnp.where(above, moved.rest, log_floor - moved.value)
        return Compensated(moved.value, rest).settled()


Maps = Shift | ClippedAffine


class NeurashedTransition(Transition):
    """Steps of `Neurashed` composed: a map for nodes, one for class weights, how many steps."""

    nodes: Maps
    weights: Maps
    steps: Int[Array, "..."]

    def then(self, later: NeurashedTransition) -> NeurashedTransition:
        """See `Transition.then`."""
        return NeurashedTransition(
            self.nodes.then(later.nodes),  # pyright: ignore[reportArgumentType]
            self.weights.then(later.weights),  # pyright: ignore[reportArgumentType]
            self.steps + later.steps,
        )

    def __call__(self, state: NeurashedState) -> NeurashedState:
        """The `NeurashedState` after these steps."""
        return type(state)(
            self.nodes(state.amplification),
            self.weights(state.weight),
            state.iteration + self.steps,
        )


def _grown(number: Scaled, log_factor: Float[Array, "..."]) -> Scaled:
    return Scaled(number.value, number.log_scale + log_factor)


def _common_scale(a: Scaled, b: Scaled) -> tuple[Float[Array, "..."], Array, Array]:
    """The larger scale, that of a zero being ignored, and both values in units of it."""
    scale = jnp.where(a.value == 0, b.log_scale, jnp.maximum(a.log_scale, b.log_scale))
    scale = jax.lax.stop_gradient(jnp.where(b.value == 0, a.log_scale, scale))
    # a zero in units of a far smaller number: cut, so that its derivative stays finite
    in_a, in_b = (n.value * jnp.exp(jnp.minimum(n.log_scale - scale, -LEAST)) for n in (a, b))
    return scale, in_a, in_b


def _add(a: Scaled, b: Scaled) -> Scaled:
    scale, in_a, in_b = _common_scale(a, b)
    total = in_a + in_b
    size = jax.lax.stop_gradient(jnp.abs(total))
    size = jnp.where(size > 0, size, 1)
    return Scaled(total / size, scale + jnp.log(size))


def _larger(a: Scaled, b: Scaled) -> Scaled:
    _, in_a, in_b = _common_scale(a, b)
    first = in_a >= in_b
    return Scaled(jnp.where(first, a.value, b.value), jnp.where(first, a.log_scale, b.log_scale))
