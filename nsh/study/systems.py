"""The systems, data and rules that a study file can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from nsh import neurashed as model
from nsh._checks import require
from nsh.networks import Network, digit_cnn, digit_linear, digit_mlp, digits
from nsh.networks.for_digits import CLASSES, PIXELS
from nsh.neurashed import Constant, Neurashed, PerLevel, Rule, Rules, Start, Task, Uniform
from nsh.study.tables import Choice, require_takes
from nsh.system import System
from nsh.theory.two_layer import Independent, Symmetric, TwoLayer, cross_entropy, squared_error

LOSSES = {"squared_error": squared_error, "cross_entropy": cross_entropy}
Numbers = float | tuple[float, ...]
OptimiserName = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion"]


class Problem(NamedTuple):
    """A system with training data, perhaps test data, and hyperparameters to start from."""

    system: System
    x: Any
    y: Any
    test: tuple[Any, Any] | None = None
    hyper: PyTree = None


class Wired(NamedTuple):
    """A graph with inputs, perhaps others to test on, and rates."""

    graph: model.Graph
    train: tuple[Any, Any]
    test: tuple[Any, Any] | None = None
    rules: Rules | None = None


def figure1() -> Wired:
    """The graph of the paper's Figure 1 and its prototypes."""
    return _prototypes(model.figure1())


def figure2() -> Wired:
    """The graph of the paper's Figure 2 and its prototypes."""
    return _prototypes(model.figure2())


def figure3() -> Wired:
    """The graph of the paper's Figure 3 and its prototypes."""
    return _prototypes(model.figure3())


def figure4(*, shared_node: bool = True) -> Wired:
    """The graph of the paper's Figure 4, its prototypes and its rates."""
    task = model.figure4(shared_node)
    return _prototypes(task)._replace(rules=model.figure4_rules(task.graph))


def figure6() -> Wired:
    """The graph of the paper's Figure 6, its prototypes and the rates of Figure 4."""
    task = model.figure6()
    return _prototypes(task)._replace(rules=model.figure6_rules(task.graph))


def random_hierarchy(
    *,
    seed: int = 0,
    samples: int | None = None,
    classes: int = 4,
    subclasses: int = 2,
    shared: tuple[int, ...] = (16, 8, 4),
    specific: tuple[int, ...] = (12, 6, 3),
    fan_in: int = 4,
    least_firing: int | None = None,
    active: float = 0.5,
    noise: float = 0.02,
) -> Wired:
    """A random graph; `samples` inputs to train on and as many to test on, or its prototypes."""
    graph_key, train_key, test_key = jax.random.split(jax.random.key(seed), 3)
    task = model.random_hierarchy(
        graph_key, classes=classes, subclasses=subclasses, shared=shared, specific=specific,
        fan_in=fan_in, least_firing=least_firing, active=active, noise=noise,
    )  # fmt: skip
    if samples is None:
        return _prototypes(task)
    train, test = (task.inputs.sample(key, samples) for key in (train_key, test_key))
    return Wired(task.graph, (train.x, train.y), (test.x, test.y))


def constant(*, value: float) -> Start:
    """The same value for all factors."""
    return Constant(value)


def uniform(*, low: float = 0.0, high: float = 0.01) -> Start:
    """Factors uniform on (low, high]."""
    return Uniform(low, high)


GRAPHS = Choice({f.__name__: f for f in (figure1, figure2, figure3, figure4, figure6)}
                | {"random_hierarchy": random_hierarchy})  # fmt: skip
STARTS = Choice({"constant": constant, "uniform": uniform})


def neurashed(
    *,
    graph: Annotated[Wired, GRAPHS],
    edge_firing: Literal["batch", "sample"] = "batch",
    start: Annotated[Start, STARTS] | None = None,
    weight_start: Annotated[Start, STARTS] | None = None,
) -> Problem:
    """Neurashed on a graph with inputs."""
    starts = {"start": start, "weight_start": weight_start}
    given = {name: value for name, value in starts.items() if value is not None}
    system = Neurashed(graph.graph, edge_firing=edge_firing, **given)
    return Problem(system, *graph.train, graph.test, graph.rules)


def mlp(
    *,
    hidden: tuple[int, ...] = (128, 128),
    activation: str = "tanh",
    optimiser: OptimiserName = "sgd",
) -> Problem:
    """A fully connected network on the digits."""
    return _on_digits(digit_mlp(hidden, activation, getattr(optax, optimiser)))


def cnn(
    *,
    channels: tuple[int, ...] = (8, 16),
    activation: str = "relu",
    optimiser: OptimiserName = "sgd",
) -> Problem:
    """A convolutional network on the digits."""
    return _on_digits(digit_cnn(channels, activation, getattr(optax, optimiser)))


def linear(*, optimiser: OptimiserName = "sgd") -> Problem:
    """A linear softmax classifier on the digits."""
    return _on_digits(digit_linear(getattr(optax, optimiser)))


def two_layer(
    *,
    width: int = 256,
    symmetric: bool = True,
    activation: str = "relu",
    trained: Literal["both", "u", "theta"] = "both",
    loss: Literal["squared_error", "cross_entropy"] = "squared_error",
) -> Problem:
    """A two-layer network with the dial alpha on the digits: see `TwoLayer`.

    `symmetric`: starts at f = 0, of units in pairs (u, theta), (-u, theta). `hyper`: alpha and
    learning_rate, and any of temperature, decay_u and decay_theta. Less their mean over the
    training set, the images are divided by their r.m.s. norm there: theta . x has variance
    |x|^2, as theta ~ N(0, 1).
    """
    start = (Symmetric if symmetric else Independent)(width)
    system = TwoLayer(
        PIXELS, start, outputs=CLASSES, activation=activation, loss=LOSSES[loss], trained=trained
    )
    data = digits()
    mean = data.train_x.mean(0)
    norm = np.sqrt(np.mean(np.sum((data.train_x - mean) ** 2, axis=(1, 2))))
    train, test = (data.train_x - mean) / norm, (data.test_x - mean) / norm
    return Problem(system, train, data.train_y, (test, data.test_y))


def own_system(function: Callable[..., Any], options: Mapping[str, Any]) -> Problem:
    """What a user's function gives: a `Problem`, or a tuple of its fields."""
    require_takes(function, **options)
    found = function(**options)
    fitting = isinstance(found, tuple) and 3 <= len(found) <= len(Problem._fields)
    name = getattr(function, "__name__", "function")
    require(fitting, f"{name}()", found, "a tuple: system, x, y, (test x, test y), hyper")
    problem = Problem(*found)
    require(isinstance(problem.system, System), f"{name}()[0]", problem.system, "an nsh.System")
    return problem


SYSTEMS = Choice(
    {"neurashed": neurashed, "mlp": mlp, "cnn": cnn, "linear": linear, "two_layer": two_layer},
    user=own_system,
)


def _rule(kind: Callable[..., Rule]) -> Callable[..., Rule]:
    def make(per_level: bool, **parameters: Numbers) -> Rule:
        rule = kind(**{name: jnp.asarray(value, float) for name, value in parameters.items()})
        return PerLevel(rule) if per_level else rule

    return make


def geometric(*, factor: Numbers, per_level: bool = False) -> Rule:
    """g(x) = factor x."""
    return _rule(model.Geometric)(per_level, factor=factor)


def additive(*, step: Numbers, per_level: bool = False) -> Rule:
    """g(x) = max(x + step, 0)."""
    return _rule(model.Additive)(per_level, step=step)


def affine(*, factor: Numbers, step: Numbers, per_level: bool = False) -> Rule:
    """g(x) = max(factor x + step, 0)."""
    return _rule(model.Affine)(per_level, factor=factor, step=step)


def saturating(*, factor: Numbers, ceiling: Numbers, per_level: bool = False) -> Rule:
    """g(x) = factor x / (1 + |factor - 1| x / ceiling)."""
    return _rule(model.Saturating)(per_level, factor=factor, ceiling=ceiling)


RULES = Choice({f.__name__: f for f in (geometric, additive, affine, saturating)})


def rules(
    *,
    growth: Annotated[Rule, RULES],
    decay: Annotated[Rule, RULES],
    weight_growth: Annotated[Rule, RULES] | None = None,
    weight_decay: Annotated[Rule, RULES] | None = None,
) -> Rules:
    """g+ and g- of nodes and of class weights."""
    return Rules(growth, decay, weight_growth, weight_decay)


def _prototypes(task: Task) -> Wired:
    return Wired(task.graph, (task.inputs.x, task.inputs.y))


def _on_digits(system: Network) -> Problem:
    data = digits()
    return Problem(system, data.train_x, data.train_y, (data.test_x, data.test_y))
