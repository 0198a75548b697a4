"""What a network is trained for, as a value: which targets there are, and the loss.

A task checks the targets before training, turns them into arrays, and gives the loss of a
mini-batch. All losses may have hyperparameters: ``hyper["loss"]`` are their keyword arguments.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from nsh._checks import nearest, require, require_all, require_labels, require_numeric
from nsh.networks.losses import (
    Loss,
    binary_cross_entropy_loss,
    checked_loss,
    cross_entropy_loss,
    known_label,
    squared_error_loss,
    warn_of_no_slope,
)


class Task(eqx.Module):
    """What a `Network` is trained for. Abstract: `Classification`, `Regression`, ..., `Custom`.

    Example:
        >>> from nsh.networks import Classification, Regression
        >>> Classification().predicts, Regression().predicts
        ('classes', 'numbers')
    """

    loss: eqx.AbstractVar[Loss]
    predicts: ClassVar[Literal["classes", "labels", "numbers", "anything"]] = "anything"

    @property
    def class_names(self) -> tuple[Any, ...] | None:
        """The names of the classes, or None."""
        return None

    def __check_init__(self):
        require(callable(self.loss), "loss", self.loss, "callable")

    @property
    def whole_batches(self) -> bool:
        """Whether the loss is one of a mini-batch, not a mean over its examples."""
        return False

    @abc.abstractmethod
    def prepare(self, y: Any, count: int, outputs: PyTree) -> PyTree:
        """Check the targets of `count` examples, and turn them into arrays; outside `jit`.

        `outputs`: the shapes of a network's outputs for one example.
        """

    @abc.abstractmethod
    def check_outputs(self, outputs: PyTree) -> None:
        """Raise `ValueError` unless outputs of these shapes can be trained by this task."""

    def targets(self, y: Any) -> Any:
        """Targets in the form that measures take."""
        return y

    def example_loss(self, outputs: PyTree, target: PyTree, hyper: Mapping[str, Any]) -> Array:
        """The loss of one example."""
        return checked_loss(self.loss, outputs, target, hyper)

    def mean_loss(
        self,
        outputs: PyTree,
        targets: PyTree,
        hyper: Mapping[str, Any],
        weights: Float[Array, " batch"] | None = None,
        present: Bool[Array, " batch"] | None = None,
    ) -> Float[Array, ""]:
        """``mean_i weights_i loss_i`` over the examples of a mini-batch that are present."""
        losses = jax.vmap(lambda one, target: self.example_loss(one, target, hyper))(
            outputs, targets
        )
        if weights is not None:
            losses = weights.astype(losses.dtype) * losses
        if present is None:
            return jnp.mean(losses)
        count = jnp.sum(present, dtype=losses.dtype)
        return jnp.sum(jnp.where(present, losses, 0)) / count

    def check_hyper(self, names: list[str]) -> None:
        """Raise `ValueError` unless the loss takes hyperparameters of these names."""
        require_arguments(self.loss, names, 'hyper["loss"]', given=2)


class Classification(Task):
    """Classes: outputs are logits [classes], targets are labels 0..classes-1.

    `loss(logits, label)` of one example; default: the softmax cross-entropy, which takes
    `label_smoothing` and `class_weights` [classes] as hyperparameters. `classes`: an
    `nsh.data.Classes`, for labels of other kinds, such as names; without, labels are whole numbers
    from 0 on. A label that is no class, which `prepare` refuses, makes the loss NaN.

    Example:
        >>> from nsh.networks import Classification
        >>> task = Classification()
        >>> float(task.loss(jnp.zeros(2), jnp.int32(1), class_weights=jnp.array([1.0, 0.0])))
        0.0
    """

    loss: Loss = eqx.field(static=True, default=cross_entropy_loss)
    classes: Any = eqx.field(static=True, default=None)
    predicts = "classes"

    @property
    def class_names(self) -> tuple[Any, ...] | None:
        """See `Task.class_names`."""
        return None if self.classes is None else tuple(self.classes.names)

    def __check_init__(self):
        fits = self.classes is None or hasattr(self.classes, "encode")
        require(fits, "classes", self.classes, "nsh.data.Classes.of(labels), or None")

    def prepare(self, y: Any, count: int, outputs: PyTree) -> PyTree:
        """See `Task.prepare`: labels as int32."""
        self.check_outputs(outputs)
        size = outputs.shape[0]
        if self.classes is not None:
            many = f"{size}, the logits of the module"
            require(len(self.classes) == size, "number of classes", len(self.classes), many)
        return jnp.asarray(require_labels(self.targets(y), count, size))

    def targets(self, y: Any) -> Any:
        """See `Task.targets`: labels as whole numbers."""
        return y if self.classes is None else self.classes.encode(y)

    def check_outputs(self, outputs: PyTree) -> None:
        """See `Task.check_outputs`: one vector of logits."""
        vector = isinstance(outputs, jax.ShapeDtypeStruct) and len(outputs.shape) == 1
        allowed = "one vector of logits [classes]; else Network(..., task=Regression()) or Custom"
        require(vector, "make(key)(x)", outputs, allowed)
        label = jax.ShapeDtypeStruct((), jnp.int32)
        eqx.filter_eval_shape(lambda one, y: self.example_loss(one, y, {}), outputs, label)
        warn_of_no_slope(self.loss, outputs)

    def example_loss(self, outputs: PyTree, target: PyTree, hyper: Mapping[str, Any]) -> Array:
        """See `Task.example_loss`."""
        value = checked_loss(self.loss, outputs, target, hyper)
        return known_label(value, outputs, target)


class Regression(Task):
    """Real targets of the shape of the outputs.

    `loss(outputs, target)` of one example; default: the mean of ``(f - y)^2`` over its outputs.
    Targets [n] may stand for [n, 1].

    Example:
        >>> from nsh.networks import Regression
        >>> float(Regression().loss(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])))
        2.0
    """

    loss: Loss = eqx.field(static=True, default=squared_error_loss)
    predicts = "numbers"

    def prepare(self, y: Any, count: int, outputs: PyTree) -> PyTree:
        """See `Task.prepare`: targets as floats."""
        self.check_outputs(outputs)
        return _as_outputs(y, count, outputs.shape)

    def check_outputs(self, outputs: PyTree) -> None:
        """See `Task.check_outputs`: one array."""
        allowed = "one array of outputs; for a pytree Network(..., task=Custom(loss))"
        require(isinstance(outputs, jax.ShapeDtypeStruct), "make(key)(x)", outputs, allowed)
        eqx.filter_eval_shape(lambda one: self.example_loss(one, one, {}), outputs)


class MultiLabel(Task):
    """Several labels of each example, each there or not: targets [n, labels] of 0 and 1.

    Outputs are logits [labels]: the chance of a label is their sigmoid. `loss(logits, target)` of
    one example; default: the mean binary cross-entropy, which takes `label_smoothing` and
    `label_weights` [labels] as hyperparameters.

    Example:
        >>> from nsh.networks import MultiLabel
        >>> round(float(MultiLabel().loss(jnp.zeros(2), jnp.array([0.0, 1.0]))), 4)  # log 2
        0.6931
    """

    loss: Loss = eqx.field(static=True, default=binary_cross_entropy_loss)
    predicts = "labels"

    def prepare(self, y: Any, count: int, outputs: PyTree) -> PyTree:
        """See `Task.prepare`: targets as floats."""
        self.check_outputs(outputs)
        targets = _as_outputs(y, count, outputs.shape)
        require_all((targets == 0) | (targets == 1), "y", targets, "0 or 1 for each label")
        return targets

    def check_outputs(self, outputs: PyTree) -> None:
        """See `Task.check_outputs`: one vector of logits."""
        vector = isinstance(outputs, jax.ShapeDtypeStruct) and len(outputs.shape) == 1
        require(vector, "make(key)(x)", outputs, "one vector of logits [labels]")
        eqx.filter_eval_shape(lambda one: self.example_loss(one, one, {}), outputs)


class Custom(Task):
    """Any targets and any loss: ``loss(outputs, target, **hyper["loss"])``.

    Targets: a pytree of arrays with the examples as leading axis. `per_batch`: the loss is a
    function of all outputs and targets of a mini-batch, such as a contrastive one; then examples
    have no weights.

    Example:
        >>> from nsh.networks import Custom
        >>> def loss(outputs, target, power):
        ...     return jnp.sum(jnp.abs(outputs - target) ** power)
        >>> task = Custom(loss)
        >>> float(task.mean_loss(jnp.ones((3, 2)), jnp.zeros((3, 2)), {"power": 3.0}))
        2.0
    """

    loss: Loss = eqx.field(static=True)
    per_batch: bool = eqx.field(static=True, default=False)

    @property
    def whole_batches(self) -> bool:
        """See `Task.whole_batches`."""
        return self.per_batch

    def prepare(self, y: Any, count: int, outputs: PyTree) -> PyTree:  # noqa: ARG002
        """See `Task.prepare`: numbers as floats or whole numbers, as they are."""
        return jax.tree.map(lambda leaf: _as_array(leaf, count), y)

    def check_outputs(self, outputs: PyTree) -> None:
        """See `Task.check_outputs`: any arrays will do."""

    def mean_loss(
        self,
        outputs: PyTree,
        targets: PyTree,
        hyper: Mapping[str, Any],
        weights: Float[Array, " batch"] | None = None,
        present: Bool[Array, " batch"] | None = None,
    ) -> Float[Array, ""]:
        """See `Task.mean_loss`."""
        if not self.per_batch:
            return super().mean_loss(outputs, targets, hyper, weights, present)
        alone = weights is None and present is None
        allowed = "given to the loss of one example: this loss is of a mini-batch"
        require(alone, "weights of examples", "an array", allowed)
        return checked_loss(self.loss, outputs, targets, hyper)


def _as_outputs(y: Any, count: int, shape: tuple[int, ...]) -> Array:
    numbers = require_numeric("y", y)
    if shape == (1,) and numbers.shape == (count,):
        numbers = numbers[:, None]
    allowed = f"{(count, *shape)}, as the outputs of {count} examples"
    require(numbers.shape == (count, *shape), "y.shape", numbers.shape, allowed)
    with np.errstate(over="ignore"):  # as they will be: large numbers may overflow
        numbers = numbers.astype(jnp.result_type(float))
    require_all(np.isfinite(numbers), "y", numbers, f"finite, as {numbers.dtype}")
    return jnp.asarray(numbers)


def _as_array(leaf: Any, count: int) -> Array:
    numbers = require_numeric("y", leaf)
    fits = numbers.ndim >= 1 and len(numbers) == count
    require(fits, "y.shape", numbers.shape, f"({count}, ...), one target per example")
    if numbers.dtype.kind == "f":
        require_all(np.isfinite(numbers), "y", numbers, "finite")
        return jnp.array(numbers, jnp.result_type(float))
    return jnp.array(numbers, bool if numbers.dtype == bool else jnp.int32)


def require_arguments(
    function: Callable[..., Any], names: list[str], field: str, given: int
) -> None:
    """Raise `ValueError` unless a function takes `given` values and arguments of these names."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # no signature to be had
        return
    try:
        inspect.signature(function).bind(*(None,) * given, **dict.fromkeys(names))
    except TypeError as complaint:
        known = list(parameters)[given:]
        unknown = [name for name in names if name not in known]
        hint = nearest(unknown[0], known) if unknown else f", but: {complaint}"
        called = getattr(function, "__name__", function)
        allowed = f"the arguments of {called}: {', '.join(known) or 'it has none'}{hint}"
        require(False, field, names, allowed)
