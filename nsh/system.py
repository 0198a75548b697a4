"""The one protocol: anything that learns from mini-batches is a `System`.

The idea: a theory, a network and a model of learning differ in what a step does. They do not
differ in how one trains, repeats, measures and differentiates. So a System says the former, in
five pure functions, and everything else in nsh is written once for all Systems:

    prepare(x, y)                     data to examples, once and outside `jit`
    init(key, hyper)                  the state before training
    step(state, batch, hyper, key)    the state after one mini-batch
    outputs(state, example)           what it predicts: a classifier's logits, real numbers, ...
    features(state, example)          what its levels make of an example

Three decisions follow. A System sees one seed and one example: `vmap` adds all other axes. Its
hyperparameters are an argument, so they can be batched over and differentiated. Its state is a
pytree of arrays, so `lax.scan` can carry it and a store can hold it.

Two further types are for Systems with more structure. `Scaled` numbers leave the range of
floating point, as neurashed's scores do. A `Transition` is a step as a map: where maps compose,
a run has depth log T. Optional methods (`bounds`, `check`, `events`, ...) have defaults.

Read next: `nsh.training.problem` for what a run is, `nsh.neurashed.pathway_model` and
`nsh.networks.network` for the two main Systems.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, UInt32

from nsh._shown import Shown
from nsh.bounds import REALS


class Scaled(Shown):
    """Numbers that may leave the range of floating point: ``value * exp(log_scale)``.

    Neurashed's scores grow exponentially with training; a `System` whose numbers do that returns
    them in this form, any other returns plain arrays. Differentiable in both fields, each of which
    has the slopes of its own number.

    Shapes: `value` any, `log_scale` any prefix of it (a scalar for one example).

    Example:
        >>> nsh.Scaled(jnp.array([1.0, 2.0]), jnp.array(1000.0))
        Scaled(value=[1., 2.], log_scale=1000.)
    """

    value: Float[Array, "..."]
    log_scale: Float[Array, "..."]


class Transition(eqx.Module):
    """Steps as maps of the state that can be composed before they are applied to one.

    Composition must be associative, as that of affine maps is: then T steps have depth log T.

    Example:
        The map of two steps in which everything fires, so that g+(x) = x + 1 is applied twice:

        >>> graph, inputs = nsh.neurashed.figure2()
        >>> system = nsh.Neurashed(graph, nsh.Constant(1.0))
        >>> rules = nsh.Rules(nsh.Additive(1.0), nsh.Additive(-1.0))
        >>> batch, key = system.prepare(inputs.x, inputs.y), jax.random.key(0)
        >>> step = system.transition(batch, rules, jnp.int32(0), key)
        >>> twice = step.then(step)(system.init(key, rules))
        >>> round(float(jnp.exp(twice.log_amplification[0])), 3)
        3.0
    """

    @abc.abstractmethod
    def then(self, later: Any) -> Any:
        """This map followed by a later one of the same kind."""

    @abc.abstractmethod
    def __call__(self, state: PyTree) -> PyTree:
        """The state that the map takes `state` to."""


class System(eqx.Module):
    """A learner from mini-batches: one seed and one example at a time, every method pure.

    `hyper` is a pytree of arrays handed in as an argument, so that each hyperparameter can be
    vmapped and differentiated. The ensemble alone adds axes for seeds and hyperparameters.
    """

    @property
    def predicts(self) -> Literal["classes", "labels", "numbers", "anything"]:
        """What `outputs` say, so that measures which mean nothing for it can refuse.

        "classes": logits of classes, of which each example has one, which is the default. "labels":
        logits of labels, of which each example may have several. "numbers": real targets.
        "anything": not known.
        """
        return "classes"

    @property
    def classifies(self) -> bool:
        """Whether `outputs` are the logits of classes and targets labels."""
        return self.predicts == "classes"

    @property
    def class_names(self) -> tuple[Any, ...] | None:
        """The names of the classes, for stores and plots, or None, which is the default."""
        return None

    settle_every: ClassVar[int | None] = None
    """After how many steps `settled` is called; None for never."""

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
    def outputs(self, state: PyTree, example: PyTree) -> PyTree:
        """What is predicted of one example (no leading axis), without a look at its target.

        The logits [classes] of a classifier, which may be `Scaled`; of other learners any arrays.
        """

    @abc.abstractmethod
    def features(
        self, state: PyTree, example: PyTree
    ) -> tuple[Float[Array, " width"] | Scaled, ...]:
        """One vector per level, lowest first: what the system makes of one example."""

    def update_at(
        self, state: PyTree, example: PyTree, hyper: PyTree, key: Key[Array, ""]
    ) -> PyTree:
        """One update at one example alone (no leading axis), as local elasticity asks for it.

        By default `step` on a mini-batch of this example. A system whose examples act on each other
        within a mini-batch, as under BatchNorm, says what it means for one.
        """
        return self.step(state, jax.tree.map(lambda leaf: leaf[None], example), hyper, key)

    def convert(self, x: Any, y: Any) -> PyTree:  # noqa: ARG002
        """Turn rows of data into examples as `prepare` does, without checks; may be traced.

        For data that are read batch by batch. `x`: rows [n, ...] as they are in the file; `y`: what
        `targets` made of the targets of these rows. Raises `ValueError` by default.
        """
        allowed = "prepare(x, y) with all data in memory"
        raise ValueError(f"{type(self).__name__} cannot read data batch by batch: use {allowed}")

    def targets(self, y: Any) -> Any:
        """Targets as measures see them, such as labels 0, 1, ... for names; by default as given."""
        return y

    def masked(self, batch: PyTree, present: Bool[Array, " batch"]) -> PyTree:  # noqa: ARG002
        """The mini-batch of which only the examples `present` count; the others repeat some.

        For mini-batches whose size is a traced number. Raises `ValueError` by default.
        """
        allowed = "a sampler of one size, such as WithReplacement"
        raise ValueError(f"{type(self).__name__} has no mini-batches of traced size: use {allowed}")

    def transition(
        self,
        batch: PyTree,  # noqa: ARG002
        hyper: PyTree,  # noqa: ARG002
        iteration: Int[Array, ""],  # noqa: ARG002
        key: Key[Array, ""],  # noqa: ARG002
    ) -> Transition:
        """The step number `iteration` on `batch` as a map of the state: `step`, to be composed.

        Raises `ValueError` if steps do not compose, which is the default.
        """
        raise ValueError(f"steps of {type(self).__name__} do not compose: it has no `transition`")

    def events(self, batch: PyTree) -> UInt32[Array, " words"]:  # noqa: ARG002
        """List the events of a step on `batch`, one bit an event, packed 32 to a word.

        For a system whose state depends on the batches only through how often each event happened,
        in whatever order. The events depend on which samples the batch holds, not on order or
        repetition. Raises `ValueError` if the system has none, which is the default.
        """
        raise ValueError(f"{type(self).__name__} has no `events` to count")

    def state_from_counts(
        self,
        start: PyTree,  # noqa: ARG002
        counts: Int[Array, " events"],  # noqa: ARG002
        steps: Int[Array, ""] | int,  # noqa: ARG002
        hyper: PyTree,  # noqa: ARG002
    ) -> PyTree:
        """The state `steps` steps after `start`, from how often each event happened in them.

        Raises `ValueError` if `hyper` does not allow it (or, by default, the system).
        """
        raise ValueError(f"{type(self).__name__} has no `state_from_counts`")

    def bounds(self, hyper: PyTree) -> PyTree:  # noqa: ARG002
        """The open interval (low, high) each leaf of `hyper` must stay in: a prefix of `hyper`.

        For `nsh.bounds` and `nsh.training.tune`; by default all real numbers.
        """
        return REALS

    def tunable(self, hyper: PyTree) -> PyTree:  # noqa: ARG002
        """Mark leaves of `hyper` that `nsh.training.tune` moves unless told: a prefix of `hyper`.

        True or False for each; by default all that are of floating type.
        """
        return True

    def check(self, hyper: PyTree, steps: int) -> None:
        """Raise `ValueError` if `hyper` cannot serve for `steps` steps; concrete values only."""

    def check_grid(self, hyper: PyTree, steps: int, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if some point of a grid cannot serve for `steps` steps.

        The concrete leaves of `hyper` have `shape` as leading axes. By default `check` is called at
        every point, with NumPy arrays; a system whose `check` is slow can do better.
        """
        host = jax.tree.map(_in_numpy, hyper)
        for index in np.ndindex(*shape):
            self.check(jax.tree.map(lambda leaf, index=index: leaf[index], host), steps)

    def check_fit(self, num_examples: int, hyper: PyTree) -> None:
        """Raise `ValueError` unless `hyper` can serve for so many examples; by default nothing.

        Leaves may be traced, and `hyper` is that of one point.
        """

    def check_examples(self, examples: PyTree) -> None:
        """Raise `ValueError` for examples that cannot be this system's; by default nothing.

        Called before training and by `nsh.measure.observe`; leaves may be traced.
        """

    def is_finite(self, state: PyTree) -> Bool[Array, ""]:
        """Whether all numbers of a state are finite, so that training can go on from it."""
        leaves = [leaf for leaf in jax.tree.leaves(state) if eqx.is_inexact_array(leaf)]
        return jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))

    def settled(self, state: PyTree) -> PyTree:
        """The same state in the form that rounding harms least, for sums kept in two floats.

        Called after every `settle_every` steps, for systems that name so many, and of every state
        that is recorded or returned. As it is by default. Differentiable.
        """
        return state

    def stalled(self, state: PyTree, hyper: PyTree) -> Bool[Array, ""]:  # noqa: ARG002
        """Whether rounding keeps steps from moving a state that they should move.

        False by default.
        """
        return jnp.zeros((), bool)


def _in_numpy(leaf: Any) -> Any:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # which only JAX can hold
    return leaf if is_key else np.asarray(leaf)


def in_common_unit(
    numbers: Float[Array, "..."] | Scaled,
) -> tuple[Float[Array, "..."], Float[Array, ""]]:
    """Numbers brought to one unit: ``(values, log_unit)`` with true number = value * e^log_unit.

    Plain arrays keep the unit 1 (log_unit 0). For `Scaled` ones the largest scale is the unit, so
    values stay finite and the smallest may underflow to 0. Differentiable; where several scales
    are the largest, the slope of the unit is the mean of theirs.

    Example:
        >>> values, unit = nsh.in_common_unit(nsh.Scaled(jnp.ones(2), jnp.array([0.0, 1000.0])))
        >>> values.tolist(), float(unit)
        ([0.0, 1.0], 1000.0)
    """
    if not isinstance(numbers, Scaled):
        return numbers, jnp.zeros((), numbers.dtype)
    unit = jnp.max(numbers.log_scale)
    shift = jnp.exp(numbers.log_scale - unit)
    trailing = numbers.value.ndim - shift.ndim
    return numbers.value * shift.reshape(shift.shape + (1,) * trailing), unit


def finite_logits(logits: Float[Array, "*n classes"] | Scaled) -> Float[Array, "*n classes"]:
    """Logits as plain numbers that never overflow, with the same argmax and softmax.

    A scale beyond ``max_float ** (1/3)`` is cut to that size: there, softmax is 0 or 1 already, up
    to differences that floating point cannot hold. Differentiable (zero slope in a cut scale).

    Example:
        >>> nsh.finite_logits(nsh.Scaled(jnp.array([1.0, 3.0]), jnp.array(0.0))).tolist()
        [1.0, 3.0]
    """
    if not isinstance(logits, Scaled):
        return logits
    cap = jnp.log(jnp.finfo(logits.value.dtype).max) / 3
    return logits.value * jnp.exp(jnp.minimum(logits.log_scale, cap))[..., None]


def log_probabilities(
    logits: Float[Array, "*n classes"] | Scaled,
) -> Float[Array, "*n classes"]:
    """log softmax of the logits, finite whatever their size (`finite_logits`). Differentiable.

    Example:
        >>> round(float(nsh.log_probabilities(jnp.zeros(2))[0]), 4)  # log 1/2
        -0.6931
    """
    return jax.nn.log_softmax(finite_logits(logits))
