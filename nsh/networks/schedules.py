"""Schedules of an optimiser's argument as values: their numbers are hyperparameters.

Optax's schedules look at their numbers in Python, so most fail where these are traced: in a grid,
under `vmap`, and in a hypergradient. Those here are the same functions of the step and of their
numbers, without a look at them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import DictKey, register_pytree_with_keys_class
from jaxtyping import Array, Float

from nsh._checks import is_concrete, nearest, require, require_all, require_numeric
from nsh._shown import Shown
from nsh.bounds import REALS, Interval

Count = Any  # a number of steps: Int[Array, ""], or a float in Optax's own
Function = Callable[[Count], Any]
POSITIVE: Interval = (0.0, float("inf"))


@register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Schedule:
    """A schedule of Optax with its numbers as hyperparameters: ``function(**arguments)(step)``.

    Give it in place of the optimiser's number. `function`: a schedule of Optax, all of which work
    with traced numbers here, or one of your own that does. Numbers of floating type are
    hyperparameters with names such as ``optimiser.learning_rate.peak_value``; text and booleans are
    fixed. As in Optax, except that boundaries which follow from numbers, such as ``pct_start *
    transition_steps``, are not rounded to whole steps. Differentiable in the numbers, except that
    those which say when something happens have a slope only where the value is continuous in them.
    Steps are counted in floats: exactly up to 2^24 in 32 bits.

    Raises `ValueError` for arguments that the function does not have, and for one that cannot be
    traced.

    Example:
        >>> from nsh.networks import Schedule
        >>> numbers = {"init_value": 1.0, "end_value": 0.0, "transition_steps": 4}
        >>> float(Schedule(optax.linear_schedule, **numbers)(jnp.int32(1)))
        0.75
    """

    function: Callable[..., Function]
    numbers: Mapping[str, Any]
    # what is no number, flat: text and booleans, the same for all values of the numbers
    fixed: tuple[Any, tuple[Any, ...]]

    def __init__(self, function: Callable[..., Any], **arguments: Any):
        require(
            callable(function), "function", function, "a schedule such as optax.linear_schedule"
        )
        numbers, rest = eqx.partition(arguments, _is_number)
        leaves, structure = jax.tree.flatten(rest)
        self._set(function, numbers, (structure, tuple(leaves)))
        self._check()

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments of the function, by name."""
        structure, leaves = self.fixed
        return eqx.combine(dict(self.numbers), jax.tree.unflatten(structure, leaves))

    def _check(self) -> None:
        name = getattr(self.function, "__name__", str(self.function))
        parameters = inspect.signature(self.function).parameters
        try:
            inspect.signature(self.function).bind(**self.arguments)
        except TypeError as complaint:
            unknown = [given for given in self.arguments if given not in parameters]
            hint = nearest(unknown[0], parameters) if unknown else f", but: {complaint}"
            allowed = f"those of {name}: {', '.join(parameters)}{hint}"
            require(False, "arguments", sorted(self.arguments), allowed)
        for path, leaf in jax.tree_util.tree_leaves_with_path(dict(self.numbers)):
            if is_concrete(leaf):
                field = jax.tree_util.keystr(path, simple=True, separator=".")
                require_all(np.isfinite(require_numeric(field, leaf)), field, leaf, "finite")
        try:
            numbers = jax.tree.map(jnp.asarray, self)  # or they would not be traced
            found = eqx.filter_eval_shape(lambda one: one(jnp.zeros((), jnp.int32)), numbers)
        except Exception as complaint:
            says = f"{type(complaint).__name__}: {complaint}".splitlines()[0]
            allowed = (
                "a schedule whose numbers may be traced (no Python `if` on them: use jnp.where), "
                f"but it says: {says}"
            )
            raise ValueError(f"function = {name}: must be {allowed}") from complaint
        shape = getattr(found, "shape", None)
        require(shape == (), f"shape of {name}(...)(step)", shape, "()")

    def __call__(self, count: Count) -> Array:
        """The value at the step number `count`, from 0 on."""
        own = TRACEABLE.get(self.function)
        if own is None:
            return jnp.asarray(self.function(**self.arguments)(count), float)
        floats = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, float) if _is_number(leaf) else leaf, self
        )
        return jnp.asarray(own(**floats.arguments)(jnp.asarray(count, float)))

    def bounds(self) -> dict[str, Interval]:
        """The interval of each number for tuning: values above 0, times unbounded."""
        numbers = self.numbers
        return {n: POSITIVE if n in VALUES else REALS for n, v in numbers.items() if _leaves(v)}

    def tunable(self) -> dict[str, bool]:
        """All but those that are 0, such as the start of a warm-up."""

        def moves(value: Any) -> bool:
            return all(
                not is_concrete(x) or bool(np.all(np.asarray(x) != 0)) for x in _leaves(value)
            )

        return {n: moves(v) for n, v in self.numbers.items() if _leaves(v)}

    def tree_flatten_with_keys(self) -> tuple[tuple[tuple[Any, Any], ...], Any]:
        """For JAX: the numbers are leaves."""
        children = tuple((DictKey(name), value) for name, value in self.numbers.items())
        return children, (self.function, tuple(self.numbers), self.fixed)

    @classmethod
    def tree_unflatten(cls, kept: Any, numbers: Sequence[Any]) -> Schedule:
        """For JAX: unchecked."""
        made, (function, names, fixed) = object.__new__(cls), kept
        made._set(function, dict(zip(names, numbers, strict=True)), fixed)
        return made

    def _set(self, function: Callable[..., Any], numbers: Mapping[str, Any], fixed: Any) -> None:
        for name, value in zip(
            ("function", "numbers", "fixed"), (function, numbers, fixed), strict=True
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        given = "".join(f", {name}={value}" for name, value in self.arguments.items())
        return f"Schedule({getattr(self.function, '__name__', self.function)}{given})"


class PerStep(Shown):
    """A number for each step: ``values[step]``. At least as many as there are steps.

    Shapes: values [steps]. Beyond the last step the value is NaN, so that a run is not healthy.

    Example:
        >>> from nsh.networks import PerStep
        >>> float(PerStep([0.1, 0.5])(jnp.int32(1)))
        0.5
    """

    values: Float[Array, " steps"] = eqx.field(converter=lambda v: _as_floats(v))

    def __check_init__(self):
        shape = np.shape(self.values)
        grid = len(shape) >= 1 and shape[-1] > 0
        require(grid, "values.shape", shape, "(steps,), at least one")

    def __call__(self, count: Count) -> Float[Array, ""]:
        """The value at the step number `count`, from 0 on."""
        return jnp.asarray(self.values).at[count].get(mode="fill", fill_value=jnp.nan)


def _as_floats(values: Any) -> Any:
    if isinstance(values, list | tuple):
        values = np.asarray(values)
    dtype = getattr(values, "dtype", None)
    whole = dtype is not None and not jnp.issubdtype(dtype, jnp.inexact)
    return jnp.asarray(values, float) if whole or isinstance(values, np.ndarray) else values


def _is_number(leaf: Any) -> bool:
    return (eqx.is_array_like(leaf) and not isinstance(leaf, bool)) or isinstance(
        leaf, jax.ShapeDtypeStruct
    )


def _leaves(value: Any) -> list[Any]:
    return jax.tree.leaves(value)


# Optax's own names: what these say is the size of a value
VALUES = frozenset({
    "value", "init_value", "peak_value", "end_value", "decay_rate", "power", "exponent",
    "div_factor", "final_div_factor", "boundaries_and_scales",
})  # fmt: skip


def _power(base: Array, exponent: Any) -> Array:
    """``base ** exponent`` for base >= 0, with finite slopes at 0."""
    inside = base > 0
    return jnp.where(inside, jnp.where(inside, base, 1.0) ** exponent, 0.0)


def _constant(value: Any) -> Function:
    return lambda count: value  # noqa: ARG005


def _polynomial(
    init_value: Any, end_value: Any, power: Any, transition_steps: Any, transition_begin: Any = 0.0
) -> Function:
    def schedule(count: Count) -> Array:
        begin = jnp.maximum(transition_begin, 0)
        done = jnp.clip(count - begin, 0.0, transition_steps)
        left = 1 - done / jnp.where(transition_steps > 0, transition_steps, 1)
        value = (init_value - end_value) * _power(left, power) + end_value
        return jnp.where(jnp.asarray(transition_steps) > 0, value, init_value)

    return schedule


def _linear(
    init_value: Any, end_value: Any, transition_steps: Any, transition_begin: Any = 0.0
) -> Function:
    return _polynomial(init_value, end_value, 1.0, transition_steps, transition_begin)


def _cosine_decay(
    init_value: Any, decay_steps: Any, alpha: Any = 0.0, exponent: Any = 1.0
) -> Function:
    def schedule(count: Count) -> Array:
        done = jnp.minimum(count, decay_steps) / decay_steps
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * done))
        return init_value * ((1 - alpha) * _power(cosine, exponent) + alpha)

    return schedule


def _exponential_decay(
    init_value: Any,
    transition_steps: Any,
    decay_rate: Any,
    transition_begin: Any = 0.0,
    staircase: bool = False,
    end_value: Any = None,
) -> Function:
    def schedule(count: Count) -> Array:
        past = count - jnp.maximum(transition_begin, 0)
        moves = (jnp.asarray(transition_steps) > 0) & (jnp.asarray(decay_rate) != 0)
        times = past / jnp.where(moves, transition_steps, 1)
        times = jnp.floor(times) if staircase else times
        rate = jnp.where(moves, decay_rate, 1.0)
        value = jnp.where(past <= 0, init_value, init_value * rate ** jnp.maximum(times, 0))
        if end_value is not None:
            least, most = jnp.maximum(value, end_value), jnp.minimum(value, end_value)
            value = jnp.where(rate < 1, least, most)
        return jnp.where(moves, value, init_value)

    return schedule


def _join(schedules: Sequence[Function], boundaries: Sequence[Any]) -> Function:
    def schedule(count: Count) -> Array:
        value = schedules[0](count)
        for boundary, later in zip(boundaries, schedules[1:], strict=False):
            value = jnp.where(count < boundary, value, later(count - boundary))
        return value

    return schedule


def _warmup_constant(init_value: Any, peak_value: Any, warmup_steps: Any) -> Function:
    return _linear(init_value, peak_value, warmup_steps)


def _warmup_cosine_decay(
    init_value: Any,
    peak_value: Any,
    warmup_steps: Any,
    decay_steps: Any,
    end_value: Any = 0.0,
    exponent: Any = 1.0,
) -> Function:
    peak = jnp.asarray(peak_value)
    alpha = jnp.where(peak == 0, 0.0, end_value / jnp.where(peak == 0, 1, peak))
    decay = _cosine_decay(peak_value, decay_steps - warmup_steps, alpha, exponent)
    return _join([_linear(init_value, peak_value, warmup_steps), decay], [warmup_steps])


def _warmup_exponential_decay(
    init_value: Any,
    peak_value: Any,
    warmup_steps: Any,
    transition_steps: Any,
    decay_rate: Any,
    transition_begin: Any = 0.0,
    staircase: bool = False,
    end_value: Any = None,
) -> Function:
    decay = _exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return _join([_linear(init_value, peak_value, warmup_steps), decay], [warmup_steps])


def _piecewise_constant(init_value: Any, boundaries_and_scales: Any = None) -> Function:
    def schedule(count: Count) -> Array:
        value = init_value
        for boundary, scale in sorted((boundaries_and_scales or {}).items()):
            value = jnp.where(count < boundary, value, scale * value)
        return value

    return schedule


def _interpolated(
    cosine: bool, init_value: Any, boundaries: Sequence[Any], scales: Sequence[Any]
) -> Function:
    def schedule(count: Count) -> Array:
        value, before, found = init_value, 0.0, init_value
        for boundary, scale in zip(boundaries, scales, strict=True):
            after = value * scale
            done = (count - before) / jnp.maximum(boundary - before, 1)
            share = 0.5 * (1 - jnp.cos(jnp.pi * done)) if cosine else done
            found = jnp.where(count >= before, value + (after - value) * share, found)
            found = jnp.where(count >= boundary, after, found)
            value, before = after, boundary
        return found

    return schedule


def _piecewise_interpolate(
    interpolate_type: str, init_value: Any, boundaries_and_scales: Any = None
) -> Function:
    known = interpolate_type in ("linear", "cosine")
    require(known, "interpolate_type", interpolate_type, "'linear' or 'cosine'")
    pairs = sorted((boundaries_and_scales or {}).items())
    boundaries, scales = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return _interpolated(interpolate_type == "cosine", init_value, boundaries, scales)


def _linear_onecycle(
    transition_steps: Any,
    peak_value: Any,
    pct_start: Any = 0.3,
    pct_final: Any = 0.85,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
) -> Function:
    times = pct_start * transition_steps, pct_final * transition_steps, transition_steps
    scales = div_factor, 1 / div_factor, 1 / final_div_factor
    return _interpolated(False, peak_value / div_factor, times, scales)


def _cosine_onecycle(
    transition_steps: Any,
    peak_value: Any,
    pct_start: Any = 0.3,
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
) -> Function:
    times = pct_start * transition_steps, transition_steps
    scales = div_factor, 1 / (div_factor * final_div_factor)
    return _interpolated(True, peak_value / div_factor, times, scales)


def _sgdr(cosine_kwargs: Sequence[Mapping[str, Any]]) -> Function:
    cycles, boundaries, step = [], [], 0.0
    for arguments in cosine_kwargs:
        cycles.append(_warmup_cosine_decay(**arguments))
        step = step + arguments["decay_steps"]
        boundaries.append(step)
    return _join(cycles, boundaries[:-1])


TRACEABLE: Mapping[Callable[..., Any], Callable[..., Function]] = {
    optax.constant_schedule: _constant,
    optax.cosine_decay_schedule: _cosine_decay,
    optax.cosine_onecycle_schedule: _cosine_onecycle,
    optax.exponential_decay: _exponential_decay,
    optax.join_schedules: _join,
    optax.linear_onecycle_schedule: _linear_onecycle,
    optax.linear_schedule: _linear,
    optax.piecewise_constant_schedule: _piecewise_constant,
    optax.piecewise_interpolate_schedule: _piecewise_interpolate,
    optax.polynomial_schedule: _polynomial,
    optax.sgdr_schedule: _sgdr,
    optax.warmup_constant_schedule: _warmup_constant,
    optax.warmup_cosine_decay_schedule: _warmup_cosine_decay,
    optax.warmup_exponential_decay_schedule: _warmup_exponential_decay,
}
