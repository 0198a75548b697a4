"""Extensions nested and switched off and on, what they refuse, and their derivatives."""

# wrong types are the point of some
# pyright: reportArgumentType=false
import math
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from derivatives import check_three_ways

from nsh import (
    Geometric,
    Graph,
    Neurashed,
    Rules,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    ensemble,
    train,
)
from nsh.bounds import constrain, unconstrain
from nsh.neurashed import NeurashedState, Pathways, figure1
from nsh.neurashed.extensions import (
    EdgeFiring,
    Extended,
    RandomPathways,
    RandomPathwaysHyper,
    RandomRates,
    RandomRatesHyper,
    Rewiring,
    RewiringHyper,
    SoftFiring,
    SoftFiringHyper,
    model_state,
)
from nsh.system import log_probabilities
from nsh.training import ClosedForm, DirectSample, ParallelInTime, Sequential

GRAPH, INPUTS = figure1()
PLAIN = Neurashed(GRAPH, edge_firing="sample")
RULES = Rules(Geometric(1.2), Geometric(0.9))
ALL = Rewiring(RandomRates(RandomPathways(SoftFiring(PLAIN))))


def nested(threshold=-math.inf, rate=0.0, per_step=0.0, frozen=0.0, faded=0.0):
    soft = SoftFiringHyper(RULES, threshold, 0.5)
    return RewiringHyper(
        RandomRatesHyper(RandomPathwaysHyper(soft, rate), per_step, frozen), 3, faded
    )


@pytest.mark.long
def test_switched_off_it_is_neurashed_to_the_bit_and_each_switch_changes_it(key):
    points = [
        nested(),
        nested(threshold=-1.0),
        nested(threshold=-60.0),  # so far below that all fire fully
        nested(rate=0.3),
        nested(per_step=0.4),
        nested(frozen=0.4),
        nested(faded=0.9),
    ]
    grid = jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)
    how: dict[str, Any] = {"steps": 12, "sampler": WithReplacement(2)}
    examples = PLAIN.prepare(INPUTS.x, INPUTS.y)
    plain = TrainingProblem(PLAIN, examples, RULES, **how)
    expected = ensemble(plain, key, seeds=3).state
    extended = TrainingProblem(ALL, examples, grid, grid_ndim=1, **how)
    found = model_state(ensemble(extended, key, seeds=3).state)
    assert np.all(np.asarray(found.iteration) == 12)
    for place in range(len(points)):
        own = np.asarray(found.log_amplification[place]), np.asarray(found.log_weight[place])
        if place in (0, 2):
            np.testing.assert_array_equal(own[0], expected.log_amplification)
            np.testing.assert_array_equal(own[1], expected.log_weight)
        else:
            assert np.all(np.isfinite(own[0]))
            assert np.all(np.any(own[0] != np.asarray(expected.log_amplification), axis=-1))


@pytest.mark.long
@pytest.mark.parametrize("place", [0, 1], ids=["EdgeFiring", "Rewiring"])
def test_graphs_of_two_levels_have_states_without_numbers(place, key):
    graph = Graph.from_nodes(2, [], [[0, 1]])
    system = (EdgeFiring(graph), Rewiring(Neurashed(graph)))[place]
    hyper = (RULES, RewiringHyper(RULES, 3, 0.1))[place]
    examples = system.prepare([[1, 0]], [0])
    problem = TrainingProblem(system, examples, hyper, steps=4, save=SaveAt(every=2))
    together = ensemble(problem, key, seeds=3, vmap_size=2)
    alone = train(problem, jax.random.fold_in(key, 2))
    assert min(leaf.size for leaf in jax.tree.leaves(alone.state)) == 0
    for ours, theirs in ((together.state, alone.state), (together.saved, alone.saved)):
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[2], b), ours, theirs)
    if place == 0:
        parallel = train(problem, jax.random.fold_in(key, 2), method=ParallelInTime())
        np.testing.assert_allclose(
            parallel.saved.log_weight, alone.saved.log_weight, rtol=0, atol=1e-5
        )


@pytest.mark.long
def test_thinned_steps_compose_and_are_the_same_in_parallel(key, relative_tolerance):
    system = RandomPathways(PLAIN)
    examples, hyper = system.prepare(INPUTS.x, INPUTS.y), RandomPathwaysHyper(RULES, 0.4)
    runs = [
        train(TrainingProblem(system, examples, hyper, steps=9), key, method=method)
        for method in (Sequential(), ParallelInTime())
    ]
    states = [model_state(run.state) for run in runs]
    assert states[1].iteration == 9
    scale = np.abs(states[0].log_amplification).max()
    for name in ("log_amplification", "log_weight"):
        one, other = (getattr(state, name) for state in states)
        np.testing.assert_allclose(one, other, atol=scale * relative_tolerance)


REFUSED = [
    (ClosedForm(), "ClosedForm does not fit, {} has no `events`"),
    (DirectSample(), "DirectSample does not fit, {} has no `events`"),
    (ParallelInTime(), "ParallelInTime does not fit, steps of {} do not compose"),
]
SINGLE = [
    (SoftFiring(PLAIN), SoftFiringHyper(RULES, -1.0, 1.0)),
    (RandomRates(PLAIN), RandomRatesHyper(RULES, 0.1, 0.1)),
    (RandomPathways(PLAIN), RandomPathwaysHyper(RULES, 0.1)),
    (Rewiring(PLAIN), RewiringHyper(RULES, 2, 0.1)),
    (
        RandomPathways(SoftFiring(PLAIN)),
        RandomPathwaysHyper(SoftFiringHyper(RULES, -1.0, 1.0), 0.1),
    ),
]


@pytest.mark.core
def test_methods_that_do_not_apply_refuse_by_the_name_of_the_extension(key):
    for system, hyper in SINGLE:
        examples = system.prepare(INPUTS.x, INPUTS.y)
        for method, words in REFUSED:
            name = type(system).__name__
            if name == "RandomPathways" and isinstance(method, ParallelInTime):
                if isinstance(system.inner, Neurashed):
                    continue  # these do compose
                name = "SoftFiring"
            problem = TrainingProblem(system, examples, hyper, steps=3)
            with pytest.raises(ValueError, match=words.format(name)):
                train(problem, key, method=method)


BAD = {
    "rates in soft firing": (lambda: SoftFiring(RandomRates(PLAIN)), "inner = .*RandomRates"),
    "pathways around rewiring": (
        lambda: RandomPathways(Rewiring(PLAIN)),
        r"inner = 'Rewiring\(Neurashed\)'.*without Rewiring: RandomPathways goes inside it",
    ),
    "twice the same": (
        lambda: RandomRates(RandomPathways(RandomRates(PLAIN))),
        "must be without another RandomRates",
    ),
    "a graph": (lambda: RandomRates(GRAPH), "inner = 'Graph': must be Neurashed or EdgeFiring"),
    "edges rewired": (lambda: Rewiring(EdgeFiring(GRAPH)), "EdgeFiring.*must be a Neurashed"),
    "rate": (lambda: RandomPathwaysHyper(RULES, 1.5), "rate = 1.5: must be a probability"),
    "per_step": (lambda: RandomRatesHyper(RULES, -0.1, 0.0), "per_step = -0.1.*: must be >= 0"),
    "frozen": (lambda: RandomRatesHyper(RULES, 0.0, np.array([0.0, -1.0])), r"frozen\[1\] = -1.0"),
    "threshold": (
        lambda: SoftFiringHyper(RULES, math.nan, 1.0),
        "threshold = nan: must be a number",
    ),
    "temperature": (lambda: SoftFiringHyper(RULES, 0.0, 0.0), "temperature = 0.0: must be above 0"),
    "every": (lambda: RewiringHyper(RULES, 0, 0.1), "every = 0: must be an integer >= 1"),
    "every half": (lambda: RewiringHyper(RULES, 2.5, 0.1), "every.dtype = 'float"),
    "faded": (lambda: RewiringHyper(RULES, 2, 2.0), "faded = 2.0: must be a share"),
}


@pytest.mark.core
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    act, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        # annotations, checked in tests alone, would stop some earlier
        _unchecked(act)


def _unchecked(act):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        act()
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.core
def test_hyperparameters_of_another_kind_are_refused():
    for system, hyper in SINGLE:
        system.check(hyper, 3)
        with pytest.raises(ValueError, match="hyper = 'Rules': must be " + system.kind.__name__):
            system.check(RULES, 3)
    with pytest.raises(ValueError, match=r"growth\.factor"):
        RandomRates(PLAIN).check(
            RandomRatesHyper(jax.tree.map(lambda x: x * 0.5, RULES), 0.1, 0.1), 3
        )


@pytest.mark.core
def test_bounds_are_those_of_all_layers():
    hyper = nested(-1.0, 0.1, 0.2, 0.3, 0.4)
    bounds = ALL.bounds(hyper)
    assert bounds.faded == bounds.inner.inner.rate == (0.0, 1.0)
    assert bounds.inner.frozen == (0.0, math.inf)
    back = constrain(unconstrain(hyper, bounds), bounds)
    for found, given in zip(jax.tree.leaves(back), jax.tree.leaves(hyper), strict=True):
        np.testing.assert_allclose(found, given, rtol=1e-5)


@pytest.mark.long
def test_derivatives_three_ways():
    """Through soft firing, thinned pathways, noisy rates and a wiring that changes."""
    rng = np.random.default_rng(1)
    words = np.asarray(PLAIN.prepare(INPUTS.x, INPUTS.y).words)
    frozen_draws = rng.normal(size=(2, GRAPH.nodes + GRAPH.class_edges))

    def run(state, growth, decay, threshold, temperature, per_step, frozen):
        rules = Rules(Geometric(growth), Geometric(decay))
        soft = SoftFiringHyper(rules, threshold, temperature)
        hyper = RewiringHyper(
            RandomRatesHyper(RandomPathwaysHyper(soft, 0.2), per_step, frozen), 1, 0.5
        )
        examples = Pathways(jnp.asarray(words))
        inner = Extended(
            Extended(NeurashedState(state[0], state[1], jnp.zeros((), jnp.int32)), None), None
        )
        now = Extended(Extended(inner, jnp.asarray(frozen_draws)), GRAPH.sources)
        keys = jax.random.split(jax.random.key(0))
        now, _ = jax.lax.scan(lambda s, k: (ALL.step(s, examples, hyper, k), None), now, keys)
        logits = ALL.outputs(now, Pathways(examples.words[0]))
        return model_state(now).log_amplification, log_probabilities(logits)

    state = [rng.normal(size=size) for size in (GRAPH.nodes, GRAPH.class_edges)]
    numbers = [np.array(x) for x in (1.2, 0.9, -0.7, 0.8, 0.3, 0.2)]
    check_three_ways(run, state, *numbers, tolerance=1e-5)


@pytest.mark.long
def test_edges_can_be_differentiated_by_their_rules():
    system = EdgeFiring(GRAPH)
    words = np.asarray(system.prepare(INPUTS.x, INPUTS.y).words)

    def run(state, growth, decay):
        now = NeurashedState(state[0], state[1], jnp.zeros((), jnp.int32))
        rules = Rules(Geometric(growth), Geometric(decay))
        now = system.step(now, Pathways(jnp.asarray(words)[:2]), rules, jax.random.key(0))
        return log_probabilities(system.outputs(now, Pathways(jnp.asarray(words)[1])))

    rng = np.random.default_rng(2)
    state = [rng.normal(size=size) for size in (GRAPH.sources.size, GRAPH.class_edges)]
    check_three_ways(run, state, np.array(1.2), np.array(0.9), tolerance=1e-5)
