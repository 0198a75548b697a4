"""The systems and graphs that a study file can name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from nsh import neurashed as model
from nsh._checks import require, require_integer
from nsh.data import digits
from nsh.networks import Classification, Network, Task, digit_cnn, digit_linear, digit_mlp
from nsh.networks.for_digits import CLASSES, PIXELS
from nsh.neurashed import GraphAndInputs, Initializer, Neurashed, Rules
from nsh.study.networks import DATA, OPTIMISERS, DataSet, network_of
from nsh.study.tables import Registry, require_takes
from nsh.system import System
from nsh.theory import two_layer as two_layer_theory
from nsh.theory.two_layer import Symmetric, TwoLayer, softmax_cross_entropy, squared_error

LOSSES = {"squared_error": squared_error, "softmax_cross_entropy": softmax_cross_entropy}
OptimiserName = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion"]  # NAMES


class SystemAndData(NamedTuple):
    """A system with training data, perhaps test data, and hyperparameters to start from.

    `streamed`: inputs are read as they are wanted, by `nsh.training.stream`.
    """

    system: System
    x: Any
    y: Any
    test: tuple[Any, Any] | None = None
    hyper: PyTree = None
    streamed: bool = False


class Wired(NamedTuple):
    """A graph with inputs, perhaps others to test on, and rates."""

    graph: model.Graph
    train: tuple[Any, Any]
    test: tuple[Any, Any] | None = None
    rules: Rules | None = None


def graph_with_inputs(make: Callable[..., GraphAndInputs]) -> Callable[..., Wired]:
    """The same function for study files: `seed` in place of its key, and `samples`.

    `samples`: so many inputs to train on and as many to test on; without, the prototypes. Rates
    are those of ``<name>_rules`` beside the function, if there are any.
    """
    own = {n: p for n, p in inspect.signature(make).parameters.items() if n != "key"}
    keyed = "key" in inspect.signature(make).parameters
    rates = getattr(model, f"{make.__name__}_rules", None)

    def wired(*, seed: int = 0, samples: int | None = None, **options: Any) -> Wired:
        graph_key, train_key, test_key = jax.random.split(jax.random.key(seed), 3)
        graph, inputs = make(graph_key, **options) if keyed else make(**options)
        sets = (inputs.x, inputs.y), None
        if samples is not None:
            require_integer("samples", samples, 1)
            train, test = (inputs.sample(key, samples) for key in (train_key, test_key))
            sets = (train.x, train.y), (test.x, test.y)
        return Wired(graph, *sets, None if rates is None else rates(graph))

    ours = {n: p for n, p in inspect.signature(wired).parameters.items() if n != "options"}
    wired.__signature__ = inspect.Signature(
        [p.replace(kind=p.KEYWORD_ONLY) for p in (ours | own).values()]
    )
    wired.__annotations__ = typing.get_type_hints(make) | typing.get_type_hints(wired)
    return wired


def _graphs() -> dict[str, Callable[..., Wired]]:
    public = {name: getattr(model, name) for name in model.__all__}
    functions = {n: f for n, f in public.items() if inspect.isfunction(f)}
    # as text, as other functions are annotated with what only an extra installs
    returned = {n: inspect.signature(f).return_annotation for n, f in functions.items()}
    tasks = {
        n: f
        for n, f in functions.items()
        if returned[n] in (GraphAndInputs, GraphAndInputs.__name__)
    }
    return {name: graph_with_inputs(make) for name, make in tasks.items()}


GRAPHS = Registry(_graphs())


def neurashed(
    *,
    graph: Annotated[Wired, GRAPHS],
    edge_firing: Literal["batch", "sample"] = "batch",
    amplification_init: Initializer | None = None,
    weight_init: Initializer | None = None,
) -> SystemAndData:
    """Neurashed on a graph with inputs."""
    inits = {"amplification_init": amplification_init, "weight_init": weight_init}
    given = {name: value for name, value in inits.items() if value is not None}
    system = Neurashed(graph.graph, edge_firing=edge_firing, **given)
    return SystemAndData(system, *graph.train, graph.test, graph.rules)


def network(
    *,
    module: Callable[..., Any],
    data: Annotated[DataSet, DATA],
    optimiser: Annotated[Callable[..., Any], OPTIMISERS] = optax.sgd,
    task: Task = Classification(),  # noqa: B008, an immutable value
    name_classes: bool = False,
    features: Callable[..., Any] | None = None,
    augment: Callable[..., Any] | None = None,
    trainable: Callable[..., Any] | None = None,
    call: Callable[..., Any] | None = None,
    streamed: bool = False,
) -> SystemAndData:
    """A module, a task and data of one's own: see `Network`."""
    system = network_of(
        module, data, optimiser, task, name_classes=name_classes,
        features=features, augment=augment, trainable=trainable, call=call,
    )  # fmt: skip
    return SystemAndData(system, *data, streamed=streamed)


def mlp(
    *,
    hidden: tuple[int, ...] = (128, 128),
    activation: str = "tanh",
    optimiser: OptimiserName = "sgd",
) -> SystemAndData:
    """A fully connected network on the digits."""
    return _on_digits(digit_mlp(hidden, activation, getattr(optax, optimiser)))


def cnn(
    *,
    channels: tuple[int, ...] = (8, 16),
    activation: str = "relu",
    optimiser: OptimiserName = "sgd",
) -> SystemAndData:
    """A convolutional network on the digits."""
    return _on_digits(digit_cnn(channels, activation, getattr(optax, optimiser)))


def linear(*, optimiser: OptimiserName = "sgd") -> SystemAndData:
    """A linear softmax classifier on the digits."""
    return _on_digits(digit_linear(getattr(optax, optimiser)))


def two_layer(
    *,
    particle_init: two_layer_theory.ParticleInitializer = Symmetric(256),  # noqa: B008, an immutable value
    activation: str = "relu",
    trained: Literal["both", "u", "theta"] = "both",
    loss: Literal["squared_error", "softmax_cross_entropy"] = "squared_error",
) -> SystemAndData:
    """A two-layer network with the dial alpha on the digits: see `TwoLayer`.

    `hyper`: alpha and
    learning_rate, and any of temperature, decay_u and decay_theta. Less their mean over the
    training set, the images are divided by their r.m.s. norm there: theta . x has variance
    |x|^2, as theta ~ N(0, 1).
    """
    system = TwoLayer(
        PIXELS,
        particle_init,
        out_size=CLASSES,
        activation=activation,
        loss=LOSSES[loss],
        trained=trained,
    )
    data = digits()
    mean = data.train_x.mean(0)
    norm = np.sqrt(np.mean(np.sum((data.train_x - mean) ** 2, axis=(1, 2))))
    train, test = (data.train_x - mean) / norm, (data.test_x - mean) / norm
    return SystemAndData(system, train, data.train_y, (test, data.test_y))


def own_system(function: Callable[..., Any], options: Mapping[str, Any]) -> SystemAndData:
    """Call a user's function, which returns a `SystemAndData` or a tuple of its fields."""
    require_takes(function, **options)
    found = function(**options)
    fitting = isinstance(found, tuple) and 3 <= len(found) <= len(SystemAndData._fields)
    name = getattr(function, "__name__", "function")
    require(fitting, f"{name}()", found, "a tuple: system, x, y, (test x, test y), hyper")
    problem = SystemAndData(*found)
    require(isinstance(problem.system, System), f"{name}()[0]", problem.system, "an nsh.System")
    return problem


SYSTEMS = Registry(
    {
        "neurashed": neurashed,
        "network": network,
        "mlp": mlp,
        "cnn": cnn,
        "linear": linear,
        "two_layer": two_layer,
    },
    user=own_system,
)


def _on_digits(system: Network) -> SystemAndData:
    data = digits()
    return SystemAndData(system, data.train_x, data.train_y, (data.test_x, data.test_y))
