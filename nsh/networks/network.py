"""Any Equinox module, trained by any Optax optimiser, as a `System`.

The idea: a network is trained as its author would train it, and everything that enters training is
a hyperparameter. So a `Network` is made of functions: `make` gives the module, `optimiser` the
Optax transformation, `task` the targets and the loss, `augment` the transformation of inputs. The
hyperparameters are one dict with a branch for each of them, which holds its keyword arguments:

    {"start": {...},        make(key, **start)
     "optimiser": {...},    optimiser(**optimiser): learning rates, schedules, decays, ...
     "loss": {...},         loss(outputs, target, **loss): smoothing, class weights, ...
     "data": {...}}         augment(x, key, **data); and "weights", one for each example

Three rules hold. Training and inference are kept apart: `step` trains, all else looks at the
network in inference (`nsh.networks.calling`). The state of the module, such as BatchNorm's running
means, is part of the System's state. Parameters are kept in 32 bits at least: a module of 16 bits
is cast to its own types whenever it is called, and inputs with it.

Read next: `nsh.networks.tasks`, `nsh.networks.schedules`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import keystr, tree_flatten_with_path, tree_map_with_path
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from nsh._checks import (
    checked_levels,
    is_concrete,
    nearest,
    require,
    require_all,
    require_label_type,
    require_numeric,
)
from nsh._shown import Shown
from nsh.bounds import REALS
from nsh.networks.calling import INSTEAD, Call, Calling, calling_of, copied, with_state
from nsh.networks.optimisers import (
    BOUNDS,
    NOT_TUNED,
    POSITIVE,
    Hyper,
    check_runs,
    initial,
    moved,
    shapes_of,
)
from nsh.networks.schedules import PerStep, Schedule
from nsh.networks.skeleton import Skeleton
from nsh.networks.tasks import Classification, Task, require_arguments
from nsh.system import System

BRANCHES = ("optimiser", "loss", "data", "start")
WEIGHTS = "weights"
Probe = Callable[..., tuple[Array, ...]]
# what a step's key is folded with for the random numbers of each purpose
AUGMENT, CALLED = 0, 1


class NetworkExamples(Shown):
    """Inputs and targets; without the leading axis, one example.

    `x`: one array [n, ...] or a pytree of these. `y`: the targets, such as labels [n]. `number`:
    each example's place in the data that were prepared together, which weights of examples go by.
    `present`: which of a mini-batch count, None for all.

    Example:
        >>> from nsh.networks import digit_linear
        >>> digit_linear().prepare(np.zeros((2, 64)), np.array([3, 7])).y.tolist()
        [3, 7]
    """

    x: PyTree
    y: PyTree
    number: Int[Array, "..."] | None = None
    present: Bool[Array, "..."] | None = None


class NetworkState(Shown):
    """All arrays of the module, the optimiser's state, and the module's own state.

    `params`: those that are trained have 32 bits at least. `module_state`: an `equinox.nn.State`,
    or None for a module without one.

    Example:
        >>> from nsh.networks import Linear, Network
        >>> network = Network(lambda key: Linear(1, 2, key=key), optax.sgd)
        >>> hyper = {"optimiser": {"learning_rate": 0.5}}
        >>> network.init(jax.random.key(0), hyper).params.bias.tolist()
        [0.0, 0.0]
    """

    params: PyTree
    optimiser_state: PyTree
    module_state: PyTree = None


class Network(System):
    """A network trained by gradient descent on ``mean_i loss(module(x_i), y_i)`` over the batch.

    `make(key, **hyper["start"])` gives the module: any Equinox module that maps one example x to
    outputs, also one that takes a key (Dropout) or a state (BatchNorm) as Equinox's own layers do,
    see `nsh.networks.calling`; `call` adapts any other. Under BatchNorm a step normalises by the
    mini-batch. An update at one example alone (`update_at`) has no mini-batch: it is a step of the
    network as it stands in inference, with its running means, which it does not move.

    `optimiser(**hyper["optimiser"])` gives the Optax transformation, e.g. `optax.sgd`; in place of
    a number may stand a `Schedule` or `PerStep`. Fix what is no real number, such as
    ``nesterov=True``, in the function. `task`: targets and loss, with ``hyper["loss"]``; default:
    classes and the softmax cross-entropy. `augment(x, key, **hyper["data"])`: another x for each
    example and step, in training only. ``hyper["data"]["weights"]`` [n]: factors on the losses of
    the n examples of `prepare`.

    `trainable(module)`: a filter as `equinox.partition` takes it, for frozen leaves; default: the
    module's own ``trainable()``, else all floating-point arrays. `features(module, x)`, or
    ``(module, x, state)`` for a module with a state, gives one array per level; default: the
    module's own ``features``, and without either no levels: `nsh.measure.observe` then gives
    outputs alone, and measurements of a level refuse.

    A module of 16 bits (bfloat16, float16) is computed in its own types, inputs included. Its
    parameters, the optimiser's state and the loss are kept in 32 bits.

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
    nothing to train or that cannot be called on x.

    Example:
        One step from 0 down the mean cross-entropy of a single example x = 1 of class 1:

        >>> import equinox as eqx
        >>> from nsh.networks import Linear, Network
        >>> def make(key):
        ...     return jax.tree.map(jnp.zeros_like, Linear(1, 2, key=key))
        >>> network, hyper = Network(make, optax.sgd), {"optimiser": {"learning_rate": 0.5}}
        >>> batch, key = network.prepare(np.array([[1.0]]), np.array([1])), jax.random.key(0)
        >>> network.step(network.init(key, hyper), batch, hyper, key).params.bias.tolist()
        [-0.25, 0.25]
    """

    make: Callable[..., Any] = eqx.field(static=True)
    optimiser: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    task: Task
    probe: Probe | None = eqx.field(static=True)
    augment: Callable[..., Any] | None = eqx.field(static=True)
    calling: Calling = eqx.field(static=True)
    skeleton: Skeleton = eqx.field(static=True)

    def __init__(
        self,
        make: Callable[..., Any],
        optimiser: Callable[..., optax.GradientTransformation],
        task: Task = Classification(),  # noqa: B008, an immutable value
        *,
        features: Probe | None = None,
        augment: Callable[..., Any] | None = None,
        trainable: Callable[[Any], PyTree] | None = None,
        call: Call | None = None,
    ):
        _check_functions(make, optimiser, task, augment, call)
        module, _ = _made(make)
        require(callable(module) or call, "make(key)", module, "a module, callable on one example")
        self.calling = calling_of(module, call)
        self.skeleton = Skeleton.of(module, trainable)
        self.make, self.optimiser, self.task, self.probe = make, optimiser, task, features
        self.augment = augment
        for name in ("make", "optimiser", "task", "probe", "augment", "calling", "skeleton"):
            _require_hashable(name, getattr(self, name))

    @property
    def shapes(self) -> PyTree:
        """The arrays of the module, as a state keeps them, as shapes."""
        arrays = eqx.filter(_made(self.make)[0], lambda x: isinstance(x, jax.ShapeDtypeStruct))
        return eqx.filter_eval_shape(self.skeleton.kept, arrays)

    @property
    def predicts(self) -> Literal["classes", "labels", "numbers", "anything"]:
        """See `System.predicts`: as the task says."""
        return self.task.predicts

    @property
    def class_names(self) -> tuple[Any, ...] | None:
        """See `System.class_names`: those of the task."""
        return self.task.class_names

    def prepare(self, x: Any, y: Any) -> NetworkExamples:
        """Finite inputs x [n, ...], or a pytree of these, and targets y as the task has them.

        Numbers become floats where the module takes floats; else whole numbers stay whole, as the
        numbers of tokens. Raises `ValueError` on anything else, where the module does not take one
        example, and where the loss is no scalar. Warns of a loss without slope for label 0: it may
        want one-hot rows.
        """
        rows, count = _rows(x)
        floats = self._takes_floats(rows)
        arrays = tree_map_with_path(lambda path, leaf: _typed("x", path, leaf, floats), rows)
        outputs = self._shapes(arrays)
        targets = self.task.prepare(y, count, outputs)
        numbers = np.arange(count, dtype=np.int32)
        return NetworkExamples(jax.tree.map(jnp.asarray, arrays), targets, jnp.asarray(numbers))

    def convert(self, x: Any, y: Any) -> NetworkExamples:
        """See `System.convert`."""
        floats = self._takes_floats(x)
        kind = jnp.result_type(float)
        arrays = jax.tree.map(
            lambda leaf: leaf.astype(kind if floats or _is_inexact(leaf) else jnp.int32), x
        )
        return NetworkExamples(arrays, y)

    def targets(self, y: Any) -> Any:
        """See `System.targets`: names of classes as labels, if the task has names."""
        return self.task.targets(y)

    def masked(self, batch: NetworkExamples, present: Bool[Array, " batch"]) -> NetworkExamples:
        """See `System.masked`: the loss is the mean over those present.

        Raises `ValueError` where examples act on each other: under BatchNorm, and by a loss of the
        whole mini-batch.
        """
        apart = self.calling.axis is None and not self.task.whole_batches
        allowed = "one whose examples do not act on each other, for mini-batches of traced size"
        require(apart, "network", "with BatchNorm or a loss per batch", allowed)
        return dataclasses.replace(batch, present=present)

    def check(self, hyper: PyTree, steps: int) -> None:
        """Raise `ValueError` unless `hyper` holds finite numbers that training can use."""
        for branch, names in self._branches(hyper).items():
            for name, value in names.items():
                _check_number(f'hyper["{branch}"][{name!r}]', value, steps)
        start, optimiser, loss, data = self._split(hyper)
        require_arguments(self.optimiser, sorted(optimiser), 'hyper["optimiser"]', 0)
        require_arguments(self.make, sorted(start), 'hyper["start"]', 1)
        self.task.check_hyper(sorted(loss))
        own = sorted(set(data) - {WEIGHTS})
        if self.augment is not None:
            require_arguments(self.augment, own, 'hyper["data"]', 2)
        else:
            allowed = f"{WEIGHTS!r}; others are arguments of Network(..., augment=...)"
            require(not own, 'hyper["data"]', own, allowed)
        if WEIGHTS in data:
            shape = np.shape(data[WEIGHTS])
            field = f'hyper["data"]["{WEIGHTS}"].shape'
            require(len(shape) == 1, field, shape, "(n,), one per example")
            allowed = "without weights of examples: the loss is one of a whole mini-batch"
            require(not self.task.whole_batches, 'hyper["data"]', sorted(data), allowed)
        check_runs(
            self.optimiser, self.skeleton.trained, shapes_of(optimiser, jnp.result_type(float))
        )

    def check_fit(self, num_examples: int, hyper: PyTree) -> None:
        """Raise `ValueError` unless there are as many weights as examples."""
        weights = self._split(hyper)[3].get(WEIGHTS)
        if weights is not None:
            shape = np.shape(weights)
            field = f'hyper["data"]["{WEIGHTS}"].shape'
            require(shape == (num_examples,), field, shape, f"({num_examples},), one per example")

    def check_examples(self, examples: NetworkExamples) -> None:
        """Raise `ValueError` unless examples are `NetworkExamples` of this task's targets."""
        # or a plain (x, y) would fail as having no attribute x
        allowed = "NetworkExamples: give network.prepare(x, y)"
        require(isinstance(examples, NetworkExamples), "examples", type(examples).__name__, allowed)
        count = len(jax.tree.leaves(examples.x)[0])
        if self.classifies:
            require_label_type(examples.y, count, "y")

    def bounds(self, hyper: PyTree) -> PyTree:
        """By Optax's names: rates above 0, decay rates of averages in (0, 1); weights above 0."""
        return _by_name(hyper, _interval)

    def tunable(self, hyper: PyTree) -> PyTree:
        """All but those that keep an optimiser's arithmetic sound, such as ``eps_root``."""
        return _by_name(hyper, _tunable)

    def init(self, key: Key[Array, ""], hyper: PyTree) -> NetworkState:
        """The module `make(key)`, its state, and the optimiser's state before its first step."""
        module, state = with_state(self.make(key, **self._split(hyper)[0]))
        return self.started(eqx.filter(module, eqx.is_array), hyper, key, state)

    def started(
        self, params: PyTree, hyper: PyTree, key: Key[Array, ""], module_state: Any = None
    ) -> NetworkState:
        """The state with these parameters and the optimiser's state before its first step.

        `key`: of the run, for an optimiser that draws noise. `module_state`: that of a module that
        has one.
        """
        params = self.skeleton.kept(params)
        trained, _ = self.skeleton.partition(params)
        optimiser = self._split(hyper)[1]
        return NetworkState(params, initial(self.optimiser, optimiser, trained, key), module_state)

    def module(self, state: NetworkState) -> Any:
        """The Equinox module in this state, in training, in its own types."""
        return self.skeleton.module(state.params)

    def step(
        self, state: NetworkState, batch: NetworkExamples, hyper: PyTree, key: Key[Array, ""]
    ) -> NetworkState:
        """One optimiser step down the gradient of the mini-batch's mean loss, in training."""
        self.check_examples(batch)
        return self._moved(state, batch, hyper, key, training=True)

    def update_at(
        self, state: NetworkState, example: NetworkExamples, hyper: PyTree, key: Key[Array, ""]
    ) -> NetworkState:
        """One step down the gradient of one example's loss, of the network in inference.

        Without Dropout, and with the running means of BatchNorm, which are not moved: a mini-batch
        of one example has no variance.
        """
        batch = jax.tree.map(lambda leaf: leaf[None], example)
        return self._moved(state, batch, hyper, key, training=False)

    def outputs(self, state: NetworkState, example: NetworkExamples) -> PyTree:
        """``module(x)`` for one example, in inference."""
        module = self._in_inference(state.params)
        x, module_state = self.skeleton.cast(example.x), copied(state.module_state)
        return self.skeleton.uncast(self.calling(module, x, module_state, None)[0])

    def features(
        self, state: NetworkState, example: NetworkExamples
    ) -> tuple[Float[Array, " width"], ...]:
        """One flat vector per level for one example, lowest first, in inference.

        No levels, `()`, if neither the module nor the Network has `features`.
        """
        module = self._in_inference(state.params)
        given = (self.skeleton.cast(example.x),)
        if state.module_state is not None:
            given = (*given, copied(state.module_state))
        if self.probe is not None:
            levels = self.probe(module, *given)
        else:
            levels = module.features(*given) if hasattr(module, "features") else ()
        return tuple(jnp.ravel(self.skeleton.uncast(level)) for level in checked_levels(levels))

    def _moved(
        self,
        state: NetworkState,
        batch: NetworkExamples,
        hyper: PyTree,
        key: Key[Array, ""],
        *,
        training: bool,
    ) -> NetworkState:
        _, optimiser, of_loss, data = self._split(hyper)
        trained, rest = self.skeleton.partition(state.params)
        count, x = len(jax.tree.leaves(batch.x)[0]), batch.x
        if training and self.augment is not None:
            own = {name: value for name, value in data.items() if name != WEIGHTS}
            keys = jax.random.split(jax.random.fold_in(key, AUGMENT), count)
            x = jax.vmap(lambda one, key: _augmented(self.augment, one, key, own))(x, keys)
        x = self.skeleton.cast(x)
        keys = None
        if training and self.calling.key:
            keys = jax.random.split(jax.random.fold_in(key, CALLED), count)
        weights = None
        if WEIGHTS in data:
            # of an example that is none of those weighted, NaN: the run is not healthy
            allowed = "that of network.prepare, for the examples to have weights"
            require(batch.number is not None, "batch.number", None, allowed)
            given = jnp.asarray(data[WEIGHTS])
            weights = given.at[batch.number].get(mode="fill", fill_value=jnp.nan)

        def mean_loss(trained: PyTree) -> tuple[Float[Array, ""], PyTree]:
            params = eqx.combine(trained, rest)
            module = self.skeleton.module(params) if training else self._in_inference(params)
            outputs, after = _taken(self.calling, module, x, state.module_state, keys)
            loss = self.task.mean_loss(
                self.skeleton.uncast(outputs), batch.y, of_loss, weights, batch.present
            )
            return loss, after

        trained, after, module_state = moved(
            self.optimiser, optimiser, mean_loss, trained, state.optimiser_state
        )
        kept = module_state if training else state.module_state
        return NetworkState(eqx.combine(trained, rest), after, kept)

    def _in_inference(self, params: PyTree) -> Any:
        return eqx.nn.inference_mode(self.skeleton.module(params))

    def _takes_floats(self, rows: PyTree) -> bool:
        """Whether the module takes whole numbers as floats, so that tokens are known apart."""
        if all(_is_inexact(leaf) for leaf in jax.tree.leaves(rows)):
            return True
        kind = jnp.result_type(float)
        example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], kind), rows)
        try:
            self._called_on(example)
        except Exception:  # whatever a module raises
            return False
        return True

    def _shapes(self, arrays: PyTree) -> PyTree:
        example = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), arrays
        )
        try:
            return self._called_on(example)
        except Exception as complaint:
            says = f"{type(complaint).__name__}: {complaint}"
            leaves, _ = tree_flatten_with_path(arrays)
            fields = {f"x{keystr(path)}.shape": leaf.shape for path, leaf in leaves}
            given = ", ".join(f"{name} = {shape}" for name, shape in fields.items())
            allowed = "[n, ...] with examples that the module takes, but it says: "
            raise ValueError(f"{given}: must be {allowed}{says}; {INSTEAD}") from complaint

    def _called_on(self, example: PyTree) -> PyTree:
        """Shapes of the outputs for one example; raises whatever the module does."""

        def called(key: Key[Array, ""], x: PyTree) -> PyTree:
            module, state = with_state(self.make(key, **_needed(self.make)))
            batch = jax.tree.map(lambda leaf: leaf[None], self.skeleton.cast(x))
            keys = jax.random.split(key, 1) if self.calling.key else None
            trained, _ = self.calling.batch(module, batch, state, keys)
            quiet = eqx.nn.inference_mode(module)
            found, _ = self.calling(quiet, self.skeleton.cast(x), copied(state), None)
            alike = [leaf.shape[1:] for leaf in jax.tree.leaves(trained)]
            shapes = [leaf.shape for leaf in jax.tree.leaves(found)]
            require(
                alike == shapes,
                "shapes of outputs in inference",
                shapes,
                f"{alike}, as in training",
            )
            return self.skeleton.uncast(found)

        return eqx.filter_eval_shape(called, jax.random.key(0), example)

    def _branches(self, hyper: PyTree) -> dict[str, Mapping[str, Any]]:
        first = 'a dict of branches, such as {"optimiser": {"learning_rate": 0.1}}'
        require(isinstance(hyper, Mapping), "hyper", hyper, first)
        for name, branch in hyper.items():
            known = ", ".join(BRANCHES)
            allowed = f"branches of `hyper`: {known}{nearest(str(name), BRANCHES)}; {first}"
            require(name in BRANCHES, "hyper", name, allowed)
            fits = isinstance(branch, Mapping)
            require(fits, f'hyper["{name}"]', branch, "a dict of keyword arguments")
        return dict(hyper)

    def _split(self, hyper: PyTree) -> tuple[Hyper, Hyper, Hyper, Hyper]:
        """The branches start, optimiser, loss and data."""
        known = self._branches(hyper)
        return tuple(known.get(name, {}) for name in ("start", "optimiser", "loss", "data"))  # pyright: ignore[reportReturnType]


def _check_functions(
    make: object, optimiser: object, task: object, augment: object, call: object
) -> None:
    is_module = isinstance(make, eqx.Module) and any(map(eqx.is_array, jax.tree.leaves(make)))
    name = type(make).__name__ if is_module else make
    allowed = "a function key -> module, not a module"
    require(callable(make) and not is_module, "make", name, allowed)
    given = isinstance(optimiser, optax.GradientTransformation)
    name = "GradientTransformation" if given else optimiser
    allowed = "a function of the hyperparameters: give `optax.sgd`, not `optax.sgd(0.1)`"
    require(callable(optimiser), "optimiser", name, allowed)
    allowed = "a task such as Classification(), Regression() or Custom(loss)"
    require(isinstance(task, Task), "task", task, allowed)
    for field, function in (("augment", augment), ("call", call)):
        require(function is None or callable(function), field, function, "a function, or None")


def _made(make: Callable[..., Any]) -> tuple[Any, Any]:
    """The module and its state, as shapes."""
    key = jax.random.key(0)
    return eqx.filter_eval_shape(lambda key: with_state(make(key, **_needed(make))), key)


def _needed(make: Callable[..., Any]) -> dict[str, float]:
    """A number for each argument that `make` cannot do without, besides the key."""
    try:
        parameters = list(inspect.signature(make).parameters.values())[1:]
    except ValueError:  # no signature to be had
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: 1.0 for p in parameters if p.default is p.empty and p.kind in named}


def _check_number(field: str, value: Any, steps: int) -> None:
    if isinstance(value, Schedule):
        return
    if isinstance(value, PerStep):
        count = np.shape(value.values)[-1]
        require(
            count >= steps, f"{field}.values.shape", (count,), f"({steps},) or more, one per step"
        )
        value = value.values
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_number(f"{field}[{name!r}]", inner, steps)
        return
    if is_concrete(value):
        numbers = require_numeric(field, value)
        require(numbers.dtype != bool, field, value, "a number")
        require_all(np.isfinite(numbers), field, numbers, "finite")


def _by_name(hyper: PyTree, rule: Callable[[str, str, Any], Any]) -> PyTree:
    """What `rule(branch, name, value)` says of each argument that holds numbers."""
    return {
        branch: {n: rule(branch, n, v) for n, v in names.items() if jax.tree.leaves(v)}
        for branch, names in hyper.items()
        if jax.tree.leaves(names)
    }


def _interval(branch: str, name: str, value: Any) -> Any:
    if isinstance(value, Schedule):
        return value.bounds()
    if branch == "optimiser":
        return BOUNDS.get(name, REALS)
    return POSITIVE if (branch, name) == ("data", WEIGHTS) else REALS


def _tunable(branch: str, name: str, value: Any) -> Any:
    if isinstance(value, Schedule):
        return value.tunable()
    return branch != "optimiser" or name not in NOT_TUNED


def _rows(x: Any) -> tuple[PyTree, int]:
    """The arrays of x in NumPy, and how many examples there are."""
    leaves, structure = tree_flatten_with_path(x, is_leaf=lambda part: isinstance(part, list))
    require(leaves, "x", x, "an array [n, ...] or a pytree of these")
    rows = [require_numeric(f"x{keystr(path)}", leaf) for path, leaf in leaves]
    for (path, _), array in zip(leaves, rows, strict=True):
        fits = array.ndim >= 1 and len(array) >= 1
        require(fits, f"x{keystr(path)}.shape", array.shape, "[n, ...] with n >= 1")
        allowed = f"({len(rows[0])}, ...), as many examples as in the other arrays"
        require(len(array) == len(rows[0]), f"x{keystr(path)}.shape", array.shape, allowed)
    return jax.tree.unflatten(structure, rows), len(rows[0])


def _typed(field: str, path: Any, array: np.ndarray, floats: bool) -> np.ndarray:
    name = f"{field}{keystr(path)}"
    if not floats and array.dtype.kind != "f":
        kept = array.astype(np.int32)
        require_all(kept == array, name, array, "a whole number of 32 bits")
        return kept
    # as it will be: a large number may overflow
    with np.errstate(over="ignore"):
        array = array.astype(jnp.result_type(float))
    require_all(np.isfinite(array), name, array, f"finite, as {array.dtype}")
    return array


def _augmented(
    augment: Callable[..., Any] | None, x: PyTree, key: Key[Array, ""], data: Hyper
) -> PyTree:
    assert augment is not None
    found = augment(x, key, **data)
    kinds = [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(found)]
    wanted = [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(x)]
    require(kinds == wanted, "shapes of augment(x, key)", kinds, f"those of x: {wanted}")
    return found


def _taken(calling: Calling, module: Any, x: PyTree, state: Any, keys: Any) -> tuple[PyTree, Any]:
    """Apply the module to a mini-batch; errors say what it came with."""
    try:
        return calling.batch(module, x, state, keys)
    except Exception as complaint:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        shape = shapes[0] if len(shapes) == 1 else shapes
        allowed = f"[n, ...] with examples that the module takes, but it says: {complaint}"
        raise ValueError(f"x.shape = {shape}: must be {allowed}") from complaint


def _is_inexact(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _require_hashable(name: str, value: object) -> None:
    try:
        hash(value)
    except TypeError as complaint:
        require(False, name, value, f"hashable, for jit to tell it from others: {complaint}")
