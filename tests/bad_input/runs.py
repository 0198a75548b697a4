"""Bad runs and ensembles: (what is done, the place, the value, what is allowed)."""

# wrong types are the point here
# pyright: reportArgumentType=false
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from bad_input.good import EXAMPLES, GRAPH, KEY, MODEL, PROBLEM, RULES, Cases, X, Y, many, trained
from problems import split

from nsh import (
    Epochs,
    FixedBatches,
    FullBatch,
    Geometric,
    Neurashed,
    PerPoint,
    PerSeed,
    RandomSubset,
    Rules,
    SaveAt,
    Subset,
    System,
    TrainingProblem,
    VariableSize,
    WithReplacement,
    ensemble,
    hyper_grid,
    train,
    tune,
)
from nsh.measure import elasticity_matrix, observe
from nsh.networks import Linear, Network
from nsh.neurashed import figure4
from nsh.neurashed.exact import firing_probability
from nsh.neurashed.extensions import (
    RandomPathways,
    RandomPathwaysHyper,
    RewiringHyper,
    SoftFiring,
    SoftFiringHyper,
)
from nsh.theory.two_layer import Linearised, Repopulating, Symmetric, TwoLayer
from nsh.training import ClosedForm, hypergradient


class Hollow(System):
    """Complete as far as Python can tell; the checks must stop before any of it is called."""

    prepare = init = step = outputs = features = None  # type: ignore[assignment]


NETWORK = Network(lambda key: Linear(13, 2, key=key), optax.sgd)

OTHER = eqx.tree_at(lambda graph: graph.thresholds, GRAPH, jnp.maximum(GRAPH.thresholds, 2))
DIAL = {"alpha": 1.0, "learning_rate": 0.1}


def two_layer(outputs):
    return TwoLayer(13, Symmetric(2), out_size=outputs)


SAMPLES = two_layer(2).prepare(X, Y)


ONES = np.ones(2)
HALVES = PerSeed(jax.tree.map(lambda leaf: leaf.reshape(2, 4, *leaf.shape[1:]), EXAMPLES))
GRID = hyper_grid(lambda a: Rules(Geometric(a), Geometric(0.5)), a=[1.5, 1.25])


def differentiated(**options):
    options = {"seeds": 2, "steps": 3, **options}
    problem, options = split(MODEL, EXAMPLES, RULES, **options)
    return hypergradient(abs, problem, jax.random.key(0), **options)


RUNS: Cases = {
    "negative steps": (lambda: trained(steps=-1), "steps", "-1", "0..2147483647"),
    "steps beyond 32 bits": (
        lambda: trained(steps=2**31), "steps", "2147483648", "0..2147483647",
    ),
    "ensemble: steps beyond 32 bits": (
        lambda: many(steps=2**31 + 5, method=ClosedForm()), "steps", "2147483653", "..2147483647",
    ),
    "gradient: steps beyond 32 bits": (
        lambda: differentiated(steps=2**40), "steps", "1099511627776", "..2147483647",
    ),
    "seeds beyond 32 bits": (lambda: many(seeds=2**31), "seeds", "2147483648", "1..2147483647"),
    "seeds at two points beyond 32 bits": (
        lambda: many(GRID, seeds=2**30, grid_ndim=1), "seeds", "1073741824", "1..1073741823",
    ),
    "first seed beyond 32 bits": (
        lambda: many(seeds=2, first_seed=2**31 - 1), "first_seed", "2147483647",
        "0..2147483646",
    ),
    "gradient: first seed beyond 32 bits": (
        lambda: differentiated(first_seed=2**31), "first_seed", "2147483648", "0..2147483646",
    ),
    "recording beyond 32 bits": (
        lambda: trained(save=SaveAt(times=(1, 2**31))), "save.times", "2147483648", "0..3",
    ),
    "rewiring beyond 32 bits": (
        lambda: RewiringHyper(RULES, 2**31, 0.1), "every", "2147483648", "at most 2147483647",
    ),
    "no system": (lambda: trained(system=GRAPH), "system", "Graph", "nsh.System"),
    "no sampler": (lambda: trained(sampler=3), "sampler", "3", "Sampler"),
    "ragged examples": (
        lambda: trained(system=Hollow(), examples=(np.zeros(3), np.zeros(4))), "examples", "(3,)",
        "leading axis",
    ),
    "examples without an axis": (
        lambda: trained(system=Hollow(), examples=np.float32(0)), "examples", "()", "leading axis",
    ),
    "lists not prepared": (
        lambda: trained(examples=([1.0], [0])), "examples", "()", "give system.prepare(x, y)",
    ),
    "pathways not prepared": (
        lambda: trained(examples=(X, Y)), "examples", "tuple", "give system.prepare(x, y)",
    ),
    "samples not prepared": (
        lambda: trained({"optimiser": {"learning_rate": 0.1}}, NETWORK, (X, Y)),
        "examples", "tuple", "prepare(x, y)",
    ),
    "train: key": (lambda: train(PROBLEM, 0), "key", "0", "jax.random.key"),
    "train: keys": (
        lambda: train(PROBLEM, jax.random.split(KEY)),
        "key.shape", "(2,)", "one key; for several use jax.vmap",
    ),
    "train: no raw key": (
        lambda: train(PROBLEM, np.zeros(4, np.uint32)),
        "key", "0", "JAX key",
    ),
    "train: rbg": (
        lambda: train(PROBLEM, jax.random.key(0, impl="rbg")),
        "generator of key", "rbg", "'threefry2x32', which draws the same",
    ),
    "ensemble: rbg": (
        lambda: ensemble(PROBLEM, jax.random.key(0, impl="unsafe_rbg"), seeds=2),
        "generator of key", "unsafe_rbg", "impl='threefry2x32'",
    ),
    "ensemble: key": (
        lambda: ensemble(PROBLEM, None, seeds=2), "key", "None", "JAX key",
    ),
    "gradient: key": (
        lambda: hypergradient(abs, PROBLEM, 1.5, seeds=2), "key", "1.5",
        "JAX key",
    ),
    "no samples": (
        lambda: trained(system=Hollow(), examples=np.zeros((0, 2))), "examples", "0", "at least 1",
    ),
    "what is no function": (lambda: SaveAt(3, every=1), "fn", "3", "a function"),
    "every and a half": (lambda: SaveAt(every=1.5), "every", "1.5", ">= 1"),
    "half a step recorded": (lambda: SaveAt(times=(0.5,)), "times", "0.5", ">= 0"),
    "half a step": (lambda: trained(steps=2.5), "steps", "2.5", "0..2147483647"),
    "half a sample": (lambda: WithReplacement(1.5), "size", "1.5", ">= 1"),
    "batch of none": (lambda: WithReplacement(0), "size", "0", ">= 1"),
    "epochs of none": (lambda: Epochs(-4), "size", "-4", ">= 1"),
    "batch above samples": (lambda: trained(sampler=Epochs(9)), "size", "9", "at most 8"),
    "every 0": (lambda: SaveAt(every=0), "every", "0", ">= 1"),
    "two ways of saving": (lambda: SaveAt(every=1, times=(1,)), "times", "(1,)", "None where"),
    "unordered recordings": (lambda: SaveAt(times=(4, 2)), "times", "2", ">= 5"),
    "repeated recordings": (lambda: SaveAt(times=(4, 4)), "times", "4", ">= 5"),
    "negative recording": (lambda: SaveAt(times=(-1, 4)), "times", "-1", ">= 0"),
    "recording after the end": (
        lambda: trained(save=SaveAt(times=(1, 4)), steps=3), "save.times", "4", "0..3",
    ),
    "recorded by a function": (
        lambda: trained(save=lambda now: now.state), "save", "function", "an nsh.SaveAt",
    ),
    "recordings a number": (lambda: SaveAt(times=3), "times", "3", "a list of integers"),
    "recorded text": (
        lambda: trained(save=SaveAt(lambda now: "text", every=1)),
        "fn(snapshot)", "text", "arrays or numbers",
    ),
    "no objective": (
        lambda: hypergradient(lambda run: None, PROBLEM, KEY, seeds=2),
        "objective(run)", "None", "a scalar",
    ),
    "prepared for a wider graph": (
        lambda: trained(system=Neurashed(figure4(shared_node=False).graph)),
        "examples, prepared for", "((13, ", "((14, ",
    ),
    "prepared for edges that fire otherwise": (
        lambda: trained(system=Neurashed(GRAPH, edge_firing="sample")),
        "examples, prepared for", "'batch'", "'sample') (widths, classes, edges",
    ),
    "prepared for other firing rules": (
        lambda: trained(system=Neurashed(OTHER)), "examples.fingerprint[0]", "",
        "wiring or firing rules differ; give system.prepare(x, y)",
    ),
    "ensemble: prepared for other firing rules": (
        lambda: ensemble(TrainingProblem(Neurashed(OTHER), EXAMPLES, RULES, steps=3), KEY, seeds=2),
        "examples.fingerprint[0]", "", "wiring or firing rules differ",
    ),
    "extension: prepared for other firing rules": (
        lambda: trained(RandomPathwaysHyper(RULES, 0.1), RandomPathways(Neurashed(OTHER))),
        "examples.fingerprint[0]", "", "wiring or firing rules differ",
    ),
    "observed: prepared for other firing rules": (
        lambda: observe(Neurashed(OTHER), MODEL.init(KEY, RULES), EXAMPLES),
        "examples.fingerprint[0]", "", "wiring or firing rules differ",
    ),
    "exact: prepared for other firing rules": (
        lambda: firing_probability(Neurashed(OTHER), EXAMPLES, 2.0),
        "examples.fingerprint[0]", "", "wiring or firing rules differ",
    ),
    "elasticity: prepared for other firing rules": (
        lambda: elasticity_matrix(
            Neurashed(OTHER), MODEL.init(KEY, RULES), RULES, EXAMPLES, KEY
        ),
        "examples.fingerprint[0]", "", "wiring or firing rules differ",
    ),
    "two layers: prepared for fewer outputs": (
        lambda: trained(DIAL, two_layer(3), two_layer(1).prepare(X, Y)),
        "examples.y.shape", "(8, 1)", "(8, 3)",
    ),
    "two layers: samples of a network": (
        lambda: trained(DIAL, two_layer(2), NETWORK.prepare(X, Y)),
        "examples", "NetworkExamples", "Examples: give network.prepare(x, y)",
    ),
    "linearised: prepared for other inputs": (
        lambda: trained(DIAL, Linearised(two_layer(2)), TwoLayer(
            12, Symmetric(2), out_size=2
        ).prepare(X[:, 1:], Y)),
        "examples.x.shape", "(8, 12)", "(n, 13)",
    ),
    "two layers: a grid without an axis for it": (
        lambda: trained({**DIAL, "learning_rate": np.ones(13)}, two_layer(2), SAMPLES),
        "hyper['learning_rate'].shape", "(13,)", "for a grid of values say grid_ndim=1",
    ),
    "repopulating: a grid without an axis for it": (
        lambda: trained({**DIAL, "jitter": np.ones(13)}, Repopulating(two_layer(2), 2), SAMPLES),
        "hyper['jitter'].shape", "(13,)", "for a grid of values say grid_ndim=1",
    ),
    "extension: a grid without an axis for it": (
        lambda: trained(SoftFiringHyper(RULES, -np.ones(GRAPH.nodes), 1.0), SoftFiring(MODEL)),
        "threshold.shape", f"({GRAPH.nodes},)", "for a grid of values say grid_ndim=1",
    ),
    "no seeds": (lambda: many(seeds=0), "seeds", "0", "1..2147483647"),
    "no lanes": (lambda: many(vmap_size=0), "vmap_size", "0", ">= 1"),
    "empty chunks": (lambda: many(chunk=0), "chunk", "0", ">= 1"),
    "ensemble: steps": (lambda: many(steps=-3), "steps", "-3", "0..2147483647"),
    "ensemble: recording after the end": (
        lambda: many(save=SaveAt(times=(9,))), "save.times", "9", "0..3",
    ),
    "grid negative": (lambda: many(grid_ndim=-1), "grid_ndim", "-1", ">= 0"),
    "grid without axes": (lambda: many(grid_ndim=1), "grid axes of hyper", "()", "1 axes"),
    "grid of other sizes": (
        lambda: many(
            Rules(Geometric(np.array([1.1, 1.2])), Geometric(np.array([0.9, 0.8, 0.7]))),
            grid_ndim=1,
        ),
        "grid axes of hyper", "(3,)", "same for all leaves",
    ),
    "grid axis with two axes": (
        lambda: hyper_grid(Geometric, factor=[[1.1]]), "factor", "[[1.1]]", "list of numbers",
    ),
    "grid axis empty": (lambda: hyper_grid(Geometric, factor=[]), "factor", "[]", "non-empty"),
    "grid axis of texts": (
        lambda: hyper_grid(Geometric, factor=["big"]), "factor.dtype", "U3", "int or float",
    ),
    "grid axis a number": (lambda: hyper_grid(Geometric, factor=1.1), "factor", "1.1", "non-empty"),
    "grid with one bad point": (
        lambda: many(
            hyper_grid(lambda a: Rules(Geometric(a), Geometric(0.5)), a=[1.5, 0.25]), grid_ndim=1
        ),
        "growth.factor", "0.25", "> 1.0",
    ),
    "too few entries for the seeds": (
        lambda: many(examples=HALVES, seeds=2, first_seed=1),
        "examples: entries of PerSeed", "2", "first_seed + seeds = 3",
    ),
    "entries of two counts": (
        lambda: many(examples=PerSeed((np.zeros((2, 3)), np.zeros((3, 3))))),
        "examples: leaves of PerSeed", "[(2,), (3,)]", "one leading axis of seeds",
    ),
    "entries of another graph's examples": (
        lambda: many(examples=PerSeed(jax.tree.map(
            lambda *leaves: jnp.stack(leaves), EXAMPLES, Neurashed(OTHER).prepare(X, Y)
        ))),
        "examples.fingerprint[0]", "", "wiring or firing rules differ",
    ),
    "points without a grid": (
        lambda: many(examples=PerPoint(EXAMPLES)), "examples: leaves of PerPoint", "()",
        "give grid_ndim",
    ),
    "points of another grid": (
        lambda: many(GRID, examples=PerPoint(EXAMPLES), grid_ndim=1),
        "examples: leaves of PerPoint", "(8,)", "grid's axes (2,) first",
    ),
    "points of hyperparameters": (
        lambda: many(PerPoint(GRID), grid_ndim=1), "hyper", "PerPoint", "grid_ndim",
    ),
    "train: one of many": (
        lambda: trained(examples=HALVES), "problem", "examples by seed", "use ensemble",
    ),
    "tune: seeds from places of their own": (
        lambda: tune(
            abs, TrainingProblem(MODEL, EXAMPLES, PerSeed(GRID), steps=3), KEY, seeds=2,
            optimiser=optax.sgd(0.1), iterations=1,
        ),
        "hyper", "PerSeed", "per_seed=True",
    ),
    "one seed's bad hyperparameters": (
        lambda: many(PerSeed(Rules(Geometric(np.array([1.5, 0.25])), Geometric(0.5 * ONES)))),
        "growth.factor", "0.25", "> 1.0",
    ),
    "size beyond what is drawn": (
        lambda: many(sampler=VariableSize(WithReplacement(4), 5)), "size", "5", "1..4",
    ),
    "a size beyond what is drawn": (
        lambda: many(
            GRID, sampler=VariableSize(WithReplacement(4), PerPoint(np.array([4, 0]))), grid_ndim=1
        ),
        "size", "0", "1..4",
    ),
    "size no whole number": (
        lambda: VariableSize(WithReplacement(4), 1.5), "size", "1.5", "whole numbers",
    ),
    "size of all": (
        lambda: many(sampler=VariableSize(FullBatch(), 1)), "sampler", "FullBatch()", "Epochs",
    ),
    "size of a size": (
        lambda: many(sampler=VariableSize(VariableSize(WithReplacement(4), 2), 1)),
        "sampler", "VariableSize", "whose batches all count",
    ),
    "fixed batches of no example": (
        lambda: many(sampler=FixedBatches(np.array([[0, 8]]))), "indices[0, 1]", "8", "0..7",
    ),
    "fixed batches without an axis of steps": (
        lambda: many(sampler=FixedBatches(np.array([0, 1]))), "indices.shape", "(2,)",
        "[steps, batch]",
    ),
    "subset of more than there is": (
        lambda: many(sampler=RandomSubset(WithReplacement(), 9)), "size", "9", "at most 8",
    ),
    "subset of what there is not": (
        lambda: many(sampler=Subset(WithReplacement(), PerSeed(np.array([[0, 1], [2, 8]])))),
        "indices[1]", "8", "in 0..7",
    ),
    "subset of nothing": (
        lambda: many(sampler=Subset(WithReplacement(), np.zeros(0, int))), "indices.shape",
        "(0,)", "one at least",
    ),
    "epochs of more than the subset": (
        lambda: many(sampler=RandomSubset(Epochs(5), 4)), "size", "5", "at most 4",
    ),
}  # fmt: skip
