"""What is good, for the tables of bad input to spoil one thing at a time."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from problems import split

from nsh import Geometric, Neurashed, Rules, TrainingProblem, ensemble, train
from nsh.neurashed import figure4

Cases = dict[str, tuple[Callable[[], object], str, str, str]]
"""By name: what is done, then the place, the value and what is allowed, as the error says them."""

KEY = jax.random.key(0)
GRAPH, INPUTS = figure4()
X, Y = np.asarray(INPUTS.x), np.asarray(INPUTS.y)
MODEL = Neurashed(GRAPH)
EXAMPLES = MODEL.prepare(X, Y)
DECAY = Geometric(0.9)
RULES = Rules(Geometric(1.1), DECAY)
PROBLEM = TrainingProblem(MODEL, EXAMPLES, RULES, steps=3)


def prepared(x: Any = X, y: Any = Y):
    return MODEL.prepare(x, y)


def trained(hyper: Any = RULES, system: Any = MODEL, examples: Any = EXAMPLES, **options: Any):
    options = {"steps": 3, **options}
    problem, options = split(system, examples, hyper, **options)
    return train(problem, KEY, **options)


def many(hyper: Any = RULES, examples: Any = EXAMPLES, **options: Any):
    options = {"seeds": 2, "steps": 3, **options}
    problem, options = split(MODEL, examples, hyper, **options)
    return ensemble(problem, KEY, **options)
