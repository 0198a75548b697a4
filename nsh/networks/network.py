"""Any Equinox module, trained by any Optax optimiser, as a `System`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from nsh._checks import (
    checked_levels,
    is_concrete,
    nearest,
    require,
    require_all,
    require_label_type,
    require_labels,
    require_numeric,
)
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.bounds import REALS, Interval
from nsh.networks.losses import checked_loss, warn_of_no_slope
from nsh.networks.optimisers import BOUNDS, NOT_TUNED, Hyper, check_runs, initial, moved
from nsh.networks.plain import CALLED, require_no_use_of_key, require_plain
from nsh.system import System

Module = Callable[[Array], Array]
Probe = Callable[[Any, Array], tuple[Array, ...]]


class NetworkExamples(Shown):
    """Inputs and class labels; without the leading axis, one example.

    Shapes: x [n, ...], y [n].

    Example:
        >>> from nsh.networks import digit_linear
        >>> digit_linear().prepare(np.zeros((2, 64)), np.array([3, 7])).y.tolist()
        [3, 7]
    """

    x: Float[Array, "..."]
    y: Int[Array, "..."]


class NetworkState(Shown):
    """All arrays of the module (those of floating-point type are trained), and the optimiser's.

    Example:
        >>> from nsh.networks import Linear, Network
        >>> network = Network(lambda key: Linear(1, 2, key=key), optax.sgd)
        >>> network.init(jax.random.key(0), {"learning_rate": 0.5}).params.bias.tolist()
        [0.0, 0.0]
    """

    params: PyTree
    optimiser_state: PyTree


class Network(System):
    """A network trained by gradient descent on ``mean_i loss(module(x_i), y_i)`` over the batch.

    `make(key)` gives the module: any Equinox module that maps one example x to logits [classes].
    `optimiser(**hyper)` gives the Optax transformation, e.g. `optax.sgd` with `hyper` =
    ``{"learning_rate": 0.1, "momentum": 0.9}``; fix what is no real number, such as
    ``nesterov=True``, in the function. `loss(logits [classes], label)` gives a scalar. A label
    that is no class, which `prepare` refuses, makes the loss NaN: such a run is not healthy.
    `features(module, x)` gives one array per level; default: the module's own ``features(x)``, and
    without either no levels: `nsh.measure.observe` then gives logits alone, and measurements of a
    level refuse.

    Modules are called as ``module(x)``, without a key or a state. Dropout and BatchNorm are
    refused, and so is a module whose value depends on a ``key`` that it can be given. LayerNorm is
    fine.

    Functions are compared by identity: Networks made from the same ones share compilations, and
    a fresh ``lambda`` or ``partial`` compiles anew. Cross `jit` as an argument of
    `equinox.filter_jit` or `jax.jit`.

    Any optimiser of Optax that steps by parameters, gradient and loss; `hyper` keep their types.
    One that draws noise has a random key in its state: the run's own key is folded into it.
    Differentiable in `hyper` through any number of steps, except that Adam and its kin have no
    derivative where a gradient is exactly 0 (the weight of a pixel that is always blank: the
    slope of sqrt at 0 is infinite) and give NaN; hyper ``eps_root`` > 0, e.g. 1e-16, cures it.
    The guide has a table of all of Optax's optimisers.

    Raises `ValueError` for functions that are not callable or not hashable, and for a module with
    nothing to train or that needs more than x.

    Example:
        One step from 0 down the mean cross-entropy of a single example x = 1 of class 1:

        >>> import equinox as eqx
        >>> from nsh.networks import Linear, Network
        >>> def make(key):
        ...     return jax.tree.map(jnp.zeros_like, Linear(1, 2, key=key))
        >>> network, hyper = Network(make, optax.sgd), {"learning_rate": 0.5}
        >>> batch, key = network.prepare(np.array([[1.0]]), np.array([1])), jax.random.key(0)
        >>> network.step(network.init(key, hyper), batch, hyper, key).params.bias.tolist()
        [-0.25, 0.25]
    """

    make: Callable[[Array], Any] = eqx.field(static=True)
    optimiser: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    loss: Callable[[Array, Array], Array] = eqx.field(static=True)
    probe: Probe | None = eqx.field(static=True)
    rest: tuple[Any, Any] = eqx.field(static=True)

    def __init__(
        self,
        make: Callable[[Array], Any],
        optimiser: Callable[..., optax.GradientTransformation],
        loss: Callable[
            [Array, Array], Array
        ] = optax.losses.softmax_cross_entropy_with_integer_labels,
        *,
        features: Probe | None = None,
    ):
        _check_functions(make, optimiser, loss)
        shapes = eqx.filter_eval_shape(make, jax.random.key(0))
        require(callable(shapes), "make(key)", shapes, "a module, callable on one example")
        require_plain(shapes)
        trained = [leaf for leaf in jax.tree.leaves(shapes) if _is_trained(leaf)]
        require(trained, "make(key)", shapes, "a module with floating-point arrays to train")
        self.make, self.optimiser, self.loss, self.probe = make, optimiser, loss, features
        # flat, for modules that hold lists and dicts, which have no hash
        leaves, structure = jax.tree.flatten(eqx.filter(shapes, _is_shape, inverse=True))
        self.rest = structure, tuple(leaves)
        for name in ("make", "optimiser", "loss", "probe", "rest"):
            _require_hashable(name, getattr(self, name))

    @property
    def skeleton(self) -> Any:
        """The parts of the module that are no arrays."""
        return jax.tree.unflatten(*self.rest)

    def prepare(self, x: ArrayLike, y: ArrayLike) -> NetworkExamples:
        """Finite inputs x [n, ...] as floats, labels y [n] as int32 in 0..classes-1.

        Raises `ValueError` on anything else, where the module does not take one example, and where
        the loss is no scalar. Warns of a loss without slope for label 0: it may want one-hot rows.
        """
        x = require_numeric("x", x)
        require(x.ndim >= 1 and len(x) >= 1, "x.shape", x.shape, "[n, ...] with n >= 1")
        # as it will be: a large number may overflow
        with np.errstate(over="ignore"):
            x = x.astype(jnp.result_type(float))
        require_all(np.isfinite(x), "x", x, f"finite, as {x.dtype}")
        x = jnp.asarray(x)
        return NetworkExamples(x, jnp.asarray(require_labels(y, len(x), self._classes(x))))

    def _classes(self, x: Float[Array, "n ..."]) -> int:
        example = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
        logits = eqx.filter_eval_shape(
            lambda key, one: _taken(self.make(key), one, x.shape), jax.random.key(0), example
        )
        require_no_use_of_key(self.make, example)
        vector = _is_shape(logits) and len(logits.shape) == 1
        require(vector, "make(key)(x)", logits, "one vector of logits [classes]")
        label = jax.ShapeDtypeStruct((), jnp.int32)
        eqx.filter_eval_shape(lambda one, y: checked_loss(self.loss, one, y), logits, label)
        warn_of_no_slope(self.loss, logits)
        return logits.shape[0]

    def check(self, hyper: PyTree, steps: int) -> None:  # noqa: ARG002
        """Raise `ValueError` unless `hyper` holds finite numbers that the optimiser can step by."""
        require(isinstance(hyper, dict), "hyper", hyper, "a dict of the optimiser's arguments")
        for name, value in hyper.items():
            if is_concrete(value):
                numbers = require_numeric(f"hyper[{name!r}]", value)
                require(numbers.dtype != bool, f"hyper[{name!r}]", value, "a number")
                require_all(np.isfinite(numbers), f"hyper[{name!r}]", numbers, "finite")
        self._check_names(sorted(hyper))
        shapes = ((name, np.shape(value)) for name, value in sorted(hyper.items()))
        check_runs(self.optimiser, self.make, tuple(shapes))

    def check_examples(self, examples: NetworkExamples) -> None:
        """Raise `ValueError` unless examples are `NetworkExamples` with one label each."""
        # or a plain (x, y) would fail as having no attribute x
        allowed = "NetworkExamples: give network.prepare(x, y)"
        require(isinstance(examples, NetworkExamples), "examples", type(examples).__name__, allowed)
        require_label_type(examples.y, len(examples.x), "y")

    def bounds(self, hyper: Hyper) -> dict[str, Interval]:
        """By Optax's names: rates above 0, decay rates of averages in (0, 1), others unbounded."""
        return {name: BOUNDS.get(name, REALS) for name in hyper}

    def tunable(self, hyper: Hyper) -> dict[str, bool]:
        """All but those that keep an optimiser's arithmetic sound, such as ``eps_root``."""
        return {name: name not in NOT_TUNED for name in hyper}

    def _check_names(self, names: list[str]) -> None:
        signature = inspect.signature(self.optimiser)
        try:
            signature.bind(**dict.fromkeys(names))
        except TypeError as complaint:
            known = list(signature.parameters)
            unknown = [name for name in names if name not in known]
            hint = nearest(unknown[0], known) if unknown else f", but: {complaint}"
            require(False, "hyper", names, f"among {', '.join(known)}{hint}")

    def init(self, key: Key[Array, ""], hyper: Hyper) -> NetworkState:
        """The module `make(key)` and the optimiser's state before its first step."""
        return self.started(eqx.filter(self.make(key), eqx.is_array), hyper, key)

    def started(self, params: PyTree, hyper: Hyper, key: Key[Array, ""]) -> NetworkState:
        """The state with these parameters and the optimiser's state before its first step.

        `key`: of the run, for an optimiser that draws noise.
        """
        trained = eqx.filter(params, eqx.is_inexact_array)
        return NetworkState(params, initial(self.optimiser, hyper, trained, key))

    def module(self, state: NetworkState) -> Any:
        """The Equinox module in this state."""
        return eqx.combine(state.params, self.skeleton)

    def step(
        self,
        state: NetworkState,
        batch: NetworkExamples,
        hyper: Hyper,
        key: Key[Array, ""],  # noqa: ARG002
    ) -> NetworkState:
        """One optimiser step down the gradient of the batch's mean loss; `key` is not used."""
        self.check_examples(batch)
        trained, rest = eqx.partition(state.params, eqx.is_inexact_array)

        def mean_loss(trained: PyTree) -> Float[Array, ""]:
            module = eqx.combine(trained, rest, self.skeleton)

            def one(sample: NetworkExamples) -> Float[Array, ""]:
                logits = _taken(module, sample.x, batch.x.shape)
                return checked_loss(self.loss, logits, sample.y)

            return jnp.mean(jax.vmap(one)(batch))

        trained, after = moved(self.optimiser, hyper, mean_loss, trained, state.optimiser_state)
        return NetworkState(eqx.combine(trained, rest), after)

    def outputs(self, state: NetworkState, example: NetworkExamples) -> Float[Array, " classes"]:
        """``module(x)`` for one example."""
        return self.module(state)(example.x)

    def features(
        self, state: NetworkState, example: NetworkExamples
    ) -> tuple[Float[Array, " width"], ...]:
        """One flat vector per level for one example, lowest first.

        No levels, `()`, if neither the module nor the Network has `features`.
        """
        module = self.module(state)
        if self.probe is not None:
            levels = self.probe(module, example.x)
        else:
            levels = module.features(example.x) if hasattr(module, "features") else ()
        return tuple(jnp.ravel(level) for level in checked_levels(levels))


def _check_functions(make: object, optimiser: object, loss: object) -> None:
    is_module = isinstance(make, eqx.Module) and any(map(eqx.is_array, jax.tree.leaves(make)))
    name = type(make).__name__ if is_module else make
    allowed = "a function key -> module, not a module"
    require(callable(make) and not is_module, "make", name, allowed)
    given = isinstance(optimiser, optax.GradientTransformation)
    name = "GradientTransformation" if given else optimiser
    allowed = "a function of the hyperparameters: give `optax.sgd`, not `optax.sgd(0.1)`"
    require(callable(optimiser), "optimiser", name, allowed)
    require(callable(loss), "loss", loss, "callable")


def _taken(module: Any, x: Array, shape: tuple[int, ...]) -> Any:
    """Apply the module to one example x; `shape`: of all that it came with, for errors."""
    try:
        return module(x)
    except Exception as complaint:
        allowed = (
            f"[n, ...] with examples that the module takes ({CALLED}), but it says: {complaint}"
        )
        raise ValueError(f"x.shape = {shape}: must be {allowed}") from complaint


def _is_shape(leaf: object) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _is_trained(leaf: Any) -> bool:
    return _is_shape(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)


def _require_hashable(name: str, value: object) -> None:
    try:
        hash(value)
    except TypeError as complaint:
        require(False, name, value, f"hashable, for jit to tell it from others: {complaint}")
