"""Which way a run is differentiated, and the words that say why; nothing is compiled."""

from functools import partial

import jax
import numpy as np
import pytest

from nsh import Geometric, Neurashed, Rules, Saturating, TrainingProblem
from nsh.neurashed import figure4
from nsh.training import ClosedForm, Sequential
from nsh.training.modes import choose

X64 = jax.config.read("jax_enable_x64")
FEW_RULES = Rules(Saturating(1.1, 5.0), Saturating(0.9, 5.0))
MANY_RULES = Rules(Saturating(np.full(19, 1.1), 5.0), Geometric(0.9), Geometric(1.1))
EXACT_RULES = Rules(Geometric(np.full(19, 1.1)), Geometric(0.9), Geometric(1.1))


@pytest.mark.parametrize(
    ("rules", "steps", "options", "mode", "method", "words"),
    [
        (EXACT_RULES, 4000, {}, "closed form", ClosedForm, "follow from counts"),
        (FEW_RULES, 4000, {}, "forward", Sequential, "4 numbers to differentiate by, at most 8"),
        (
            MANY_RULES, 4000, {}, "reverse", Sequential,
            "a checkpoint every step: 22 numbers to differentiate by; all 4000 "
            f"states of 16 members take {'25.9' if X64 else '13.1'} MB of the 256 MB allowed",
        ),
        (
            MANY_RULES, 10**6, {}, "reverse", partial(Sequential, "sqrt"),
            "sqrt(T) checkpoints: 22 numbers to differentiate by; all 1000000 "
            f"states of 16 members would take {'6.46' if X64 else '3.26'} GB of the 256 MB allowed",
        ),
        (EXACT_RULES, 9, {"mode": "forward"}, "forward", Sequential, "as asked"),
        (EXACT_RULES, 9, {"mode": "reverse"}, "reverse", Sequential, "as asked"),
        (
            MANY_RULES, 9, {"method": Sequential("sqrt")}, "reverse", partial(Sequential, "sqrt"),
            "through the method given",
        ),
    ],
)  # fmt: skip
def test_choice_and_its_words(rules, steps, options, mode, method, words):
    graph, inputs = figure4()
    system = Neurashed(graph)
    examples = system.prepare(inputs.x, inputs.y)
    problem = TrainingProblem(system, examples, rules, steps=steps)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(rules))
    options = {"vmap_size": 16, "memory": 256_000_000, "mode": "auto", "method": None, **options}
    choice = choose(problem, numbers, **options)
    assert choice.mode == mode
    assert choice.method == method()
    assert choice.why.startswith(mode)
    assert words in choice.why
