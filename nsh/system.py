"""The one protocol: anything that learns from mini-batches is a `System`."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree


class Scaled(eqx.Module):
    """Numbers that may leave the range of floating point: ``value * exp(log_scale)``.

    Neurashed's scores grow exponentially with training; a `System` whose numbers do that returns
    them in this form, any other returns plain arrays. Differentiable in both fields.

    Shapes: `value` any, `log_scale` any prefix of it (a scalar for one example).
    """

    value: Float[Array, "..."]
    log_scale: Float[Array, "..."]


class System(eqx.Module):
    """What learns from mini-batches; one seed and one example at a time, every method pure.

    `hyper` is a pytree of arrays handed in as an argument, so that each hyperparameter can be
    vmapped and differentiated. The ensemble alone adds axes for seeds and hyperparameters.
    """

    @abc.abstractmethod
    def prepare(self, x: Any, y: Any) -> PyTree:
        """Data to `examples`, once per data set: a pytree of arrays, leading axis = sample.

        Raises `ValueError` on bad data; called outside `jit`.
        """

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], hyper: PyTree) -> PyTree:
        """The state before training: an immutable pytree of arrays."""

    @abc.abstractmethod
    def step(self, state: PyTree, batch: PyTree, hyper: PyTree, key: Key[Array, ""]) -> PyTree:
        """One backpropagation on one mini-batch (`examples` with the batch as leading axis)."""

    @abc.abstractmethod
    def logits(self, state: PyTree, example: PyTree) -> Float[Array, " classes"] | Scaled:
        """The logits of one example (no leading axis), which must not look at its label."""

    @abc.abstractmethod
    def features(
        self, state: PyTree, example: PyTree
    ) -> tuple[Float[Array, " width"] | Scaled, ...]:
        """One vector per level, lowest first: what the system makes of one example."""

    def check(self, hyper: PyTree, steps: int) -> None:
        """Raise `ValueError` if `hyper` cannot serve for `steps` steps; concrete values only."""

    def healthy(self, state: PyTree) -> Bool[Array, ""]:
        """Whether a state is one training can go on from: by default, all its numbers finite."""
        leaves = [leaf for leaf in jax.tree.leaves(state) if eqx.is_inexact_array(leaf)]
        return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def in_common_unit(
    numbers: Float[Array, "..."] | Scaled,
) -> tuple[Float[Array, "..."], Float[Array, ""]]:
    """Numbers brought to one unit: ``(values, log_unit)`` with true number = value * e^log_unit.

    Plain arrays keep the unit 1 (log_unit 0). For `Scaled` ones the largest scale is the unit, so
    values stay finite and the smallest may underflow to 0. Differentiable.
    """
    if not isinstance(numbers, Scaled):
        return numbers, jnp.zeros((), numbers.dtype)
    unit = jax.lax.stop_gradient(jnp.max(numbers.log_scale))
    shift = jnp.exp(numbers.log_scale - unit)
    trailing = numbers.value.ndim - shift.ndim
    return numbers.value * shift.reshape(shift.shape + (1,) * trailing), unit


def finite_logits(logits: Float[Array, "*n classes"] | Scaled) -> Float[Array, "*n classes"]:
    """Logits as plain numbers that never overflow, with the same argmax and softmax.

    A scale beyond ``max_float ** (1/3)`` is cut to that size: there, softmax is 0 or 1 already, up
    to differences that floating point cannot hold. Differentiable (zero slope in a cut scale).
    """
    if not isinstance(logits, Scaled):
        return logits
    cap = jnp.log(jnp.finfo(logits.value.dtype).max) / 3
    return logits.value * jnp.exp(jnp.minimum(logits.log_scale, cap))[..., None]


def log_probabilities(
    logits: Float[Array, "*n classes"] | Scaled,
) -> Float[Array, "*n classes"]:
    """log softmax of the logits, finite whatever their size (`finite_logits`). Differentiable."""
    return jax.nn.log_softmax(finite_logits(logits))
