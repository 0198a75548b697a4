"""Ensembles: a seed is bitwise the same in any company, grids, chunks, and diverging members."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import split

from nsh import (
    Constant,
    Geometric,
    Neurashed,
    PerPoint,
    PerSeed,
    Rules,
    SaveAt,
    TrainingProblem,
    WithReplacement,
    ensemble,
    explain,
    hyper_grid,
    hypergradient,
    train,
)
from nsh.networks import CNN, MLP, Network
from nsh.neurashed import figure4, figure4_rules

KEY = jax.random.key(1)
STEPS, SEEDS, EVERY_5 = 11, 64, SaveAt(every=5)


def neurashed():
    graph, inputs = figure4()
    system = Neurashed(graph)
    return system, system.prepare(inputs.x, inputs.y), figure4_rules(graph)


def make_mlp(key):
    return MLP((8, 16, 3), key=key)


def make_cnn(key):
    return CNN((2, 4), 3, (4, 4), key=key)


def network(make):
    system, rng = Network(make, optax.sgd), np.random.default_rng(0)
    x = rng.normal(size=(20, 8 if make is make_mlp else 16))
    return system, system.prepare(x, rng.integers(0, 3, 20)), {"optimiser": {"learning_rate": 0.1}}


SYSTEMS = {
    "neurashed": neurashed,
    "mlp": lambda: network(make_mlp),
    "cnn": lambda: network(make_cnn),
}


def many(what, hyper=None, seeds=SEEDS, save=EVERY_5, **options):
    system, examples, usual = what
    hyper, sampler = usual if hyper is None else hyper, WithReplacement(3)
    options = {"steps": STEPS, "sampler": sampler, "save": save, **options}
    problem, options = split(system, examples, hyper, **options)
    return ensemble(problem, KEY, seeds=seeds, **options)


def check_company(what, vmap_size, company):
    alone = many(what, vmap_size=vmap_size)
    assert np.all(alone.status == 0)
    assert len(np.unique(jax.tree.leaves(alone.state)[0].reshape(SEEDS, -1), axis=0)) == SEEDS
    for seeds, chunk in company:
        found = many(what, seeds=seeds, chunk=chunk, vmap_size=vmap_size)
        np.testing.assert_array_equal(found.times, alone.times)
        chex.assert_trees_all_equal(
            (found.state, found.saved),
            jax.tree.map(lambda leaf, n=seeds: leaf[:n], (alone.state, alone.saved)),
        )


@pytest.mark.long
@pytest.mark.optimised
@pytest.mark.parametrize("name", ["neurashed", "mlp"])
def test_seeds_are_bitwise_the_same_in_any_company(name):
    # all in one group to vmap, which are padded: one seed alone is no case of its own
    check_company(SYSTEMS[name](), None, [(7, 5), (SEEDS, 5)])


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("name", "vmap_size", "company"),
    [
        ("neurashed", 4, [(7, 3)]),  # 16 groups to vmap, and one
        ("mlp", 1, [(1, None), (7, 5)]),
        pytest.param("cnn", None, [(7, 5)], marks=pytest.mark.long),
    ],
)
def test_seeds_are_bitwise_the_same_in_any_company_for_any_vmap_size(name, vmap_size, company):
    check_company(SYSTEMS[name](), vmap_size, company)


@pytest.mark.optimised
def test_ensemble_is_train_over_folded_keys():
    system, examples, rules = what = neurashed()

    def one(seed):
        key = jax.random.fold_in(KEY, seed)
        sampler = WithReplacement(3)
        problem = TrainingProblem(system, examples, rules, steps=STEPS, sampler=sampler)
        return train(problem, key).state

    found = many(what, seeds=5, vmap_size=5, save=SaveAt())
    vmapped = jax.jit(jax.vmap(one))(jnp.arange(5))
    np.testing.assert_array_equal(found.state.log_amplification, vmapped.log_amplification)
    np.testing.assert_array_equal(found.state.log_weight, vmapped.log_weight)
    for seed in (0, 4):
        alone = one(seed)
        np.testing.assert_allclose(
            found.state.log_amplification[seed], alone.log_amplification, rtol=1e-5
        )


@pytest.mark.long
@pytest.mark.optimised
def test_grid_has_the_same_seeds_for_every_hyperparameter():
    what = neurashed()

    def make(growth, decay):
        return Rules(Geometric(growth), Geometric(decay))

    growth, decay = [1.1, 1.2], [0.7, 0.8, 0.9]
    hyper = hyper_grid(make, growth=growth, decay=decay)
    assert {leaf.shape for leaf in jax.tree.leaves(hyper)} == {(2, 3)}
    done = []
    run = many(what, hyper, seeds=5, grid_ndim=2, vmap_size=5, callback=done.append)
    chunked = many(what, hyper, seeds=5, grid_ndim=2, vmap_size=5, chunk=8, callback=done.append)
    assert done == [30, 8, 8, 8, 6]
    assert isinstance(chunked.state.iteration, np.ndarray)
    chex.assert_trees_all_equal(chunked, run)
    assert run.status.shape == (2, 3, 5)
    assert run.state.log_amplification.shape == (2, 3, 5, 19)
    assert run.saved.log_amplification.shape == (2, 3, 5, 3, 19)
    for i, j in [(0, 1), (1, 2)]:
        rules = make(jnp.asarray(growth, float)[i], jnp.asarray(decay, float)[j])
        single = many(what, rules, seeds=5, vmap_size=5)
        chex.assert_trees_all_equal(
            jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], (run.state, run.saved)),
            (single.state, single.saved),
        )


@pytest.mark.long
@pytest.mark.core
def test_grid_of_per_node_rules():
    what = neurashed()
    scale = np.array([1.0, 1.1])

    def make(scale):
        return Rules(Geometric(scale * jnp.full(19, 1.2)), Geometric(0.9), Geometric(1.2))

    run = many(what, hyper_grid(make, scale=scale), seeds=5, grid_ndim=1, vmap_size=5)
    assert run.state.log_amplification.shape == (2, 5, 19)
    fired = (run.state.log_amplification[1] - run.state.log_amplification[0]) / np.log(1.1)
    np.testing.assert_allclose(fired, np.round(fired), atol=1e-3)  # times that each node fired
    chex.assert_trees_all_equal(run.state.log_weight[0], run.state.log_weight[1])


@pytest.mark.core
def test_other_values_compile_nothing():
    system, examples, _ = neurashed()
    traces = []

    def what(now):
        traces.append(now)
        return now.state.log_amplification[0]

    save = SaveAt(what, every=5)
    counts = []
    for growth, key in [(1.1, 0), (1.1, 1), (1.2, 0)]:
        hyper = hyper_grid(lambda a, b: Rules(Geometric(a), Geometric(b)), a=[growth], b=[0.5, 0.9])
        problem = TrainingProblem(system, examples, hyper, steps=STEPS, save=save, grid_ndim=2)
        ensemble(problem, jax.random.key(key), seeds=3)
        counts.append(len(traces))
    assert counts[0] > 0
    assert counts == [counts[0]] * 3


@pytest.mark.core
def test_diverged_members_are_flagged_and_harm_no_other():
    what = network(make_mlp)
    well = many(
        what,
        hyper_grid(lambda lr: {"optimiser": {"learning_rate": lr}}, lr=[0.1, 0.2, 0.3]),
        6,
        grid_ndim=1,
    )
    far = float(jnp.finfo(jnp.zeros(()).dtype).max) / 4
    hyper = hyper_grid(lambda lr: {"optimiser": {"learning_rate": lr}}, lr=[0.1, far, 0.3])
    ill = many(what, hyper, 6, grid_ndim=1)
    np.testing.assert_array_equal(well.status, 0)
    np.testing.assert_array_equal(ill.status, np.repeat([[0], [1], [0]], 6, axis=1))
    for point in (0, 2):
        chex.assert_trees_all_equal(
            jax.tree.map(lambda leaf, p=point: leaf[p], (ill.state, ill.saved)),
            jax.tree.map(lambda leaf, p=point: leaf[p], (well.state, well.saved)),
        )


@pytest.mark.long
def test_differentiable_over_an_ensemble():
    system, examples, _ = neurashed()

    @eqx.filter_jit
    def mean_gain(factor):
        rules = Rules(Geometric(factor), Geometric(0.5))
        problem = TrainingProblem(system, examples, rules, steps=STEPS)
        run = ensemble(problem, KEY, seeds=4, vmap_size=2)
        return jnp.mean(run.state.log_amplification)

    # geometric: each firing adds log(factor), so factor times the slope counts firings
    slope = eqx.filter_jit(jax.grad(mean_gain))(jnp.asarray(1.5, float))
    firings = (mean_gain(jnp.asarray(1.65, float)) - mean_gain(jnp.asarray(1.5, float))) / np.log(
        1.1
    )
    np.testing.assert_allclose(1.5 * slope, firings, rtol=1e-4)


def stacked(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def some(examples, which):
    return jax.tree.map(lambda leaf: leaf[np.asarray(which)], examples)


@pytest.mark.core
def test_each_seed_has_examples_of_its_own():
    system, examples, rules = neurashed()
    own = [some(examples, which) for which in ([0, 1, 2, 3], [4, 5, 6, 7], [0, 2, 4, 6])]
    problem = TrainingProblem(system, PerSeed(stacked(*own)), rules, steps=STEPS)
    together = ensemble(problem, KEY, seeds=3).state
    # an entry belongs to the number of the seed, in any company
    last = ensemble(problem, KEY, seeds=1, first_seed=2).state
    chex.assert_trees_all_equal(last, jax.tree.map(lambda leaf: leaf[2:], together))
    alone = TrainingProblem(system, own[2], rules, steps=STEPS)
    chex.assert_trees_all_equal(ensemble(alone, KEY, seeds=1, first_seed=2).state, last)
    assert np.ptp(together.log_amplification, axis=0).max() > 0.01
    assert "; examples by seed" in explain(problem, seeds=3)


@pytest.mark.core
def test_systems_and_examples_of_one_shape_run_side_by_side():
    """At each point of a grid another graph, whose seeds have other examples again."""
    graph, inputs = figure4()
    strict = eqx.tree_at(lambda g: g.thresholds, graph, graph.thresholds + 1)
    systems = [Neurashed(g, Constant(0.5), Constant(0.5)) for g in (graph, strict)]
    rules = Rules(Geometric(1.5), Geometric(0.75))
    own = [
        [some(system.prepare(inputs.x, inputs.y), which) for which in ([0, 5], [2, 6])]
        for system in systems
    ]
    problem = TrainingProblem(
        PerPoint(stacked(*systems)),
        PerPoint(PerSeed(stacked(*(stacked(*row) for row in own)))),
        stacked(rules, rules),
        steps=STEPS,
        grid_ndim=1,
    )
    found = ensemble(problem, KEY, seeds=2).state
    for point, seed in [(0, 1), (1, 0)]:
        alone = TrainingProblem(systems[point], own[point][seed], rules, steps=STEPS)
        state = train(alone, jax.random.fold_in(KEY, seed)).state
        mine = jax.tree.map(lambda leaf, p=point, s=seed: leaf[p, s], found)
        chex.assert_trees_all_close(mine, state, rtol=1e-5)
    assert "system by point, examples by point and seed" in explain(problem, seeds=2)


@pytest.mark.core
def test_each_seed_has_hyperparameters_of_its_own():
    """The slope of 4 log a is 4 / a for each seed's a."""
    graph, inputs = figure4()
    system = Neurashed(graph, Constant(1.0))
    factors = np.array([[2.0, 4.0, 5.0], [1.5, 2.5, 8.0]])
    rules = Rules(Geometric(factors), Geometric(np.full((2, 3), 0.5)))
    examples = system.prepare(np.ones_like(inputs.x), inputs.y)
    problem = TrainingProblem(
        system, examples, PerSeed(rules), steps=4, sampler=WithReplacement(1), grid_ndim=1
    )
    found = hypergradient(first_log, problem, KEY, seeds=2, first_seed=1, mode="forward")
    np.testing.assert_allclose(found.value, 4 * np.log(factors[:, 1:]), rtol=1e-5)
    np.testing.assert_allclose(found.gradient.growth.factor, 4 / factors[:, 1:], rtol=1e-5)


def first_log(run):
    return run.state.log_amplification[0]
