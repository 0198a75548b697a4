"""What extensions of the model share: a system around another, a state around its state."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree

from nsh._checks import is_concrete, require, require_all, require_scalar
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.bounds import Interval
from nsh.neurashed.graph import Graph
from nsh.neurashed.pathway_model import PathwayModel
from nsh.neurashed.prepared import Pathways
from nsh.neurashed.state import NeurashedState
from nsh.system import Scaled, System


class Extended(Shown):
    """State of an extension: the inner system's, and what the extension adds (None: nothing).

    Example:
        >>> from nsh.neurashed.extensions import Extended
        >>> Extended(inner=jnp.array([1.0, 2.0]), own=None)
        Extended(inner=[1., 2.], own=None)
    """

    inner: PyTree
    own: PyTree


class Extension(Shown, System):
    """A system that changes how `inner` is trained; its logits and features are those of `inner`.

    `hyper` holds the inner system's hyperparameters as `hyper.inner`, beside its own.
    """

    settle_every: ClassVar[int | None] = PathwayModel.settle_every
    inner: eqx.AbstractVar[PyTree]
    place: ClassVar[int]
    """An extension may wrap extensions of equal or lower order, each at most once."""
    kind: ClassVar[type]
    """Of its hyperparameters."""

    def __check_init__(self):
        layers = [type(layer) for layer in _layers(self.inner)]
        given = "(".join(layer.__name__ for layer in layers) + ")" * (len(layers) - 1)
        allowed = "Neurashed or EdgeFiring, or an extension of one"
        require(issubclass(layers[-1], PathwayModel), "inner", given, allowed)
        for layer in layers[:-1]:
            name = layer.__name__
            require(layer is not type(self), "inner", given, f"without another {name}")
            allowed = f"without {name}: {type(self).__name__} goes inside it"
            require(layer.place <= self.place, "inner", given, allowed)

    def prepare(self, x: object, y: object) -> Pathways:
        """See the inner system."""
        return self.inner.prepare(x, y)

    def check_examples(self, examples: Pathways) -> None:
        """See the inner system."""
        self.inner.check_examples(examples)

    def init(self, key: Key[Array, ""], hyper: PyTree) -> Extended:
        """The inner system's start, drawn by the very same key."""
        return Extended(self.inner.init(key, hyper.inner), None)

    def masked(self, batch: Pathways, present: Bool[Array, " batch"]) -> Pathways:
        """See the inner system."""
        return self.inner.masked(batch, present)

    def outputs(self, state: Extended, example: Pathways) -> Scaled:
        """See the inner system."""
        return self.inner.outputs(state.inner, example)

    def features(self, state: Extended, example: Pathways) -> tuple[Scaled, ...]:
        """See the inner system."""
        return self.inner.features(state.inner, example)

    def is_finite(self, state: Extended) -> Bool[Array, ""]:
        """See the inner system."""
        return self.inner.is_finite(state.inner)

    def settled(self, state: Extended) -> Extended:
        """See the inner system."""
        return Extended(self.inner.settled(state.inner), state.own)

    def stalled(self, state: Extended, hyper: PyTree) -> Bool[Array, ""]:
        """See the inner system."""
        return self.inner.stalled(state.inner, hyper.inner)

    def bounds(self, hyper: PyTree) -> PyTree:
        """Those of the inner system's hyperparameters, and of its own (`intervals`)."""
        names = ["inner", *hyper.intervals]
        values = [self.inner.bounds(hyper.inner), *hyper.intervals.values()]
        return eqx.tree_at(lambda h: [getattr(h, name) for name in names], hyper, values)

    def check(self, hyper: PyTree, steps: int) -> None:
        """Raise `ValueError` for hyperparameters of another kind or shape, and as the inner."""
        require(isinstance(hyper, self.kind), "hyper", type(hyper).__name__, self.kind.__name__)
        for name in hyper.intervals:
            require_scalar(name, getattr(hyper, name))
        self.inner.check(hyper.inner, steps)

    def check_grid(self, hyper: Any, steps: int, shape: tuple[int, ...]) -> None:
        """See `System.check_grid`: numbers of its own have no bad values, so one point will do."""
        first = (0,) * len(shape)
        self.check(jax.tree.map(lambda leaf: np.asarray(leaf)[first], hyper), steps)
        self.inner.check_grid(hyper.inner, steps, shape)


class ExtensionHyper(Shown):
    """Hyperparameters of an extension: those of the inner system, and numbers of its own."""

    inner: eqx.AbstractVar[PyTree]
    intervals: ClassVar[dict[str, Interval]]
    """The open interval of each number of its own."""


def number(value: ArrayLike) -> Float[Array, "..."]:
    """A hyperparameter as a float array."""
    return jnp.asarray(value, dtype=float)


def check_number(field: str, value: object, low: float, high: float, allowed: str) -> None:
    """Raise `ValueError` unless low <= value <= high, if concrete."""
    if is_concrete(value):
        values = np.asarray(value)
        require_all((values >= low) & (values <= high), field, values, allowed)


def model(system: Any) -> PathwayModel:
    """The model inside all extensions."""
    return list(_layers(system))[-1]


def model_state(state: PyTree) -> NeurashedState:
    """The model's own state, from a state of any extension of it.

    Example:
        >>> from nsh.neurashed.extensions import RandomPathways, RandomPathwaysHyper, model_state
        >>> system = RandomPathways(nsh.Neurashed(nsh.neurashed.figure4().graph))
        >>> hyper = RandomPathwaysHyper(nsh.Rules(nsh.Geometric(1.1), nsh.Geometric(0.9)), rate=0.5)
        >>> int(model_state(system.init(jax.random.key(0), hyper)).iteration)
        0
    """
    while isinstance(state, Extended):
        state = state.inner
    return state


def on_graph(system: Any, graph: Graph) -> Any:
    """The same system on another graph of the same shape."""
    return eqx.tree_at(lambda layers: model(layers).graph, system, graph)


def own_key(key: Key[Array, ""], system: Extension) -> Key[Array, ""]:
    """A key of this kind of extension; the inner system uses `key` itself.

    Example:
        >>> from nsh.neurashed.extensions import RandomPathways, own_key
        >>> system = RandomPathways(nsh.Neurashed(nsh.neurashed.figure4().graph))
        >>> key = jax.random.key(0)
        >>> bool(own_key(key, system) == key)
        False
    """
    # not fold_in, which would hash once more and take half of the compile time of a step
    mark = np.uint32(zlib.crc32(type(system).__name__.encode()))
    marked = jax.random.key_data(key) ^ mark
    return jax.random.wrap_key_data(marked, impl=jax.random.key_impl(key))


def _layers(system: Any) -> Iterator[Any]:
    """The system and what is inside it, outermost first."""
    while isinstance(system, Extension):
        yield system
        system = system.inner
    yield system
