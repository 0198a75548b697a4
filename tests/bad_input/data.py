"""Bad data and models: (what is done, the place, the value, what is allowed)."""

# wrong types are the point here
# pyright: reportArgumentType=false
import jax.numpy as jnp
import numpy as np
import optax
from bad_input.good import EXAMPLES, GRAPH, INPUTS, KEY, Cases, X, Y, prepared

from nsh import Neurashed
from nsh.correspondence import from_data, from_network, quality
from nsh.data import subclasses
from nsh.networks import MLP, Classification, Linear, Network
from nsh.neurashed import Prototypes, feature_pathway, pack, random_hierarchy, unpack
from nsh.theory.effective import critical_rates, phase_diagram
from nsh.theory.two_layer import Symmetric, TwoLayer

MODULE = MLP((13, 5, 4, 2), key=KEY)


HUGE = 2 * np.longdouble(jnp.finfo(jnp.result_type(float)).max)


def network(y, x=X):
    return Network(lambda key: Linear(13, 2, key=key), optax.sgd).prepare(x, y)


def two_layer(y, x=X):
    return TwoLayer(13, Symmetric(2), out_size=2).prepare(x, y)


def changed(array, place, value):
    array = np.array(array, float)
    array[place] = value
    return array


DATA: Cases = {
    "critical rates of a name": (
        lambda: critical_rates("relu", 3), "critical", "str", "a Criticality",
    ),
    "phase diagram of a matrix": (
        lambda: phase_diagram("tanh", np.ones((2, 2)), [1.0]), "C_b.shape", "(2, 2)", "a row",
    ),
    "phase diagram without end": (
        lambda: phase_diagram("tanh", [0.0], [1.0, np.inf]), "C_W[1]", "inf", "finite and >= 0",
    ),
    "width": (lambda: prepared(X[:, :-1]), "x.shape", "(8, 12)", "(n, 13)"),
    "one axis": (lambda: prepared(X[0]), "x.shape", "(13,)", "(n, 13)"),
    "no samples": (lambda: prepared(X[:0], Y[:0]), "x.shape", "(0, 13)", "(n, 13)"),
    "NaN": (lambda: prepared(changed(X, (3, 5), np.nan)), "x[3, 5]", "nan", "not NaN"),
    "neither 0 nor 1": (lambda: prepared(changed(X, (2, 7), 0.5)), "x[2, 7]", "0.5", "0 or 1"),
    "infinite": (lambda: prepared(changed(X, (0, 1), np.inf)), "x[0, 1]", "inf", "0 or 1"),
    "words": (lambda: prepared(X.astype(str)), "x.dtype", "<U5", "bool, int or float"),
    "label too large": (lambda: prepared(y=[0] * 7 + [2]), "y[7]", "2", "0..1"),
    "label negative": (lambda: prepared(y=[0, -1] + [0] * 6), "y[1]", "-1", "0..1"),
    "label a float": (lambda: prepared(y=Y.astype(float)), "y.dtype", "float64", "integer"),
    "label a bool": (lambda: prepared(y=Y.astype(bool)), "y.dtype", "bool", "y.astype(int)"),
    "label a name": (lambda: prepared(y=Y.astype(str)), "y.dtype", "<U", "np.unique(y, return_"),
    "label not whole": (lambda: prepared(y=Y + 0.5), "y[0]", "0.5", "a whole number"),
    "labels one-hot": (lambda: prepared(y=np.eye(2)[Y]), "y.shape", "(8, 2)", "y.argmax(1)"),
    "labels from one": (lambda: prepared(y=Y + 1), "y[", "2", "count from 1: y - 1"),
    "network: label a bool": (lambda: network(y=Y > 0), "y.dtype", "bool", "y.astype(int)"),
    "network: label a name": (
        lambda: network(y=Y.astype(str)), "y.dtype", "<U", "np.unique(y, return_",
    ),
    "two layers: label a float": (
        lambda: two_layer(y=Y.astype(float)), "y.dtype", "float64", "y.astype(int)",
    ),
    "two layers: label a name": (
        lambda: two_layer(y=Y.astype(str)), "y.dtype", "<U", "np.unique(y, return_",
    ),
    "two layers: labels from one": (lambda: two_layer(y=Y + 1), "y[", "2", "count from 1: y - 1"),
    "subclasses of samples a name": (
        lambda: subclasses(X, Y.astype(str)), "y.dtype", "<U", "np.unique(y, return_",
    ),
    "subclasses beyond 32 bits": (
        lambda: subclasses(X, Y + 2**30, 3), "y[0]", str(2**30), f"0..{(2**31 - 1) // 3 - 1}",
    ),
    "graph of data: labels from one": (
        lambda: from_data(X, Y + 1), "y: classes without samples", "[0]", "none",
    ),
    "data masked": (
        lambda: prepared(np.ma.masked_equal(X, 1)), "x", "a masked array", "without masked entries",
    ),
    "network: beyond floats": (lambda: network(y=Y, x=X + HUGE), "x[0, 0]", "inf", "finite, as"),
    "two layers: beyond floats": (
        lambda: two_layer(y=Y, x=X + HUGE), "x[0, 0]", "inf", "finite, as",
    ),
    "network: loss of a vector": (
        lambda: Network(
            lambda key: Linear(13, 2, key=key), optax.sgd, Classification(lambda logits, y: logits)
        ).prepare(X, Y),
        "shape of loss(outputs, target)", "(2,)", "()",
    ),
    "network: gain": (lambda: Linear(3, 2, key=KEY, gain=np.inf), "gain", "inf", "finite"),
    "graph of a network: labels from one": (
        lambda: from_network(MODULE, X, Y + 1, contributions="cofiring"),
        "y: classes without samples", "[0]", "none",
    ),
    "quality: no bits": (lambda: quality(GRAPH, X * 255.0, Y), "bits[", "255", "0 or 1"),
    "label NaN": (lambda: prepared(y=changed(Y, 4, np.nan)), "y[4]", "nan", "not NaN"),
    "labels too few": (lambda: prepared(y=Y[:5]), "y.shape", "(5,)", "(8,)"),
    "edge firing": (
        lambda: Neurashed(GRAPH, edge_firing="both"), "edge_firing", "both", "'batch' or 'sample'",
    ),
    "no graph": (lambda: Neurashed(X), "graph", "array", "nsh.Graph"),
    "no initializer": (
        lambda: Neurashed(GRAPH, amplification_init=0.01), "amplification_init", "0.01", "an Init",
    ),
    "no initializer of weights": (
        lambda: Neurashed(GRAPH, weight_init=1), "weight_init", "1", "an Init",
    ),
    "optimiser given its rate": (
        lambda: Network(lambda key: Linear(13, 2, key=key), optax.sgd(0.1)),
        "optimiser", "Transformation", "give `optax.sgd`, not `optax.sgd(0.1)`",
    ),
    "pathway: width": (
        lambda: feature_pathway(GRAPH, jnp.zeros(12, bool)), "x.shape", "(12,)", "(13,)",
    ),
    "pathway: dtype": (
        lambda: feature_pathway(GRAPH, jnp.zeros(13)), "x.dtype", "float", "bool",
    ),
    "pack: dtype": (lambda: pack(jnp.arange(5)), "bits.dtype", "int", "bool"),
    "unpack: more than there is": (
        lambda: unpack(EXAMPLES.words, 97), "count", "97", "0..96",
    ),
    "prototypes: one axis": (lambda: Prototypes(X[0], Y), "x.shape", "(13,)", "(prototypes, inp"),
    "prototypes: label missing": (lambda: Prototypes(X, Y[1:]), "y.shape", "(7,)", "(8,)"),
    "prototypes: label NaN": (
        lambda: Prototypes(X, changed(Y, 6, np.nan)), "y[6]", "nan", "not NaN",
    ),
    "prototypes: label negative": (lambda: Prototypes(X, Y - 1), "y[0]", "-1", "0.."),
    "prototypes: bits": (
        lambda: Prototypes(changed(X, (0, 3), 2), Y), "x[0, 3]", "2.0", "0 or 1",
    ),
    "prototypes: subclass": (lambda: Prototypes(X, Y, [0, 1]), "subclass.shape", "(2,)", "(8,)"),
    "prototypes: subclass a float": (
        lambda: Prototypes(X, Y, Y + 0.5), "subclass[0]", "0.5", "a whole number",
    ),
    "prototypes: noise": (lambda: Prototypes(X, Y, noise=1.5), "noise", "1.5", "0..1"),
    "prototypes: noise NaN": (lambda: Prototypes(X, Y, noise=np.nan), "noise", "nan", "0..1"),
    "prototypes: count": (lambda: INPUTS.sample(KEY, 0), "count", "0", ">= 1"),
    "hierarchy: classes": (lambda: random_hierarchy(KEY, classes=0), "classes", "0", ">= 1"),
    "hierarchy: subclasses": (
        lambda: random_hierarchy(KEY, subclasses=-2), "subclasses", "-2", ">= 1",
    ),
    "hierarchy: fan-in": (lambda: random_hierarchy(KEY, fan_in=0), "fan_in", "0", ">= 1"),
    "hierarchy: least firing": (
        lambda: random_hierarchy(KEY, least_firing=5, fan_in=4), "least_firing", "5", "1..4",
    ),
    "hierarchy: no levels": (
        lambda: random_hierarchy(KEY, shared=(), specific=()), "shared", "()", "one level",
    ),
    "hierarchy: other levels": (
        lambda: random_hierarchy(KEY, shared=(4, 2), specific=(3,)), "specific", "(3,)", "2 levels",
    ),
    "hierarchy: nothing of its own": (
        lambda: random_hierarchy(KEY, specific=(12, 0, 3)), "specific[1]", "0", ">= 1",
    ),
    "hierarchy: negative": (
        lambda: random_hierarchy(KEY, shared=(4, -1, 4)), "shared[1]", "-1", ">= 0",
    ),
    "hierarchy: shared on nothing": (
        lambda: random_hierarchy(KEY, shared=(4, 0, 4)), "shared", "(4, 0, 4)", "positive below",
    ),
    "hierarchy: active": (lambda: random_hierarchy(KEY, active=1.1), "active", "1.1", "0..1"),
    "hierarchy: noise": (lambda: random_hierarchy(KEY, noise=-0.1), "noise", "-0.1", "0..1"),
}  # fmt: skip
