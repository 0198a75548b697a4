"""What is good, for the tables of bad input to spoil one thing at a time."""

from typing import Any

import jax
import numpy as np

from nsh import Geometric, Neurashed, Rules, ensemble, train
from nsh.neurashed import figure4

KEY = jax.random.key(0)
GRAPH, INPUTS = figure4()
X, Y = np.asarray(INPUTS.x), np.asarray(INPUTS.y)
MODEL = Neurashed(GRAPH)
EXAMPLES = MODEL.prepare(X, Y)
DECAY = Geometric(0.9)
RULES = Rules(Geometric(1.1), DECAY)


def prepared(x: Any = X, y: Any = Y):
    return MODEL.prepare(x, y)


def trained(hyper: Any = RULES, system: Any = MODEL, examples: Any = EXAMPLES, **options: Any):
    return train(system, examples, hyper, KEY, **{"steps": 3, **options})


def many(hyper: Any = RULES, **options: Any):
    return ensemble(MODEL, EXAMPLES, hyper, KEY, **{"seeds": 2, "steps": 3, **options})
