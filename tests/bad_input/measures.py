"""Bad data for measurements: (what is done, the place, the value, what is allowed)."""

# wrong types are the point here
# pyright: reportArgumentType=false
import jax.numpy as jnp
import numpy as np
from bad_input.good import Cases

from nsh import measure

LOGITS = np.array([[1.0, 0.0], [0.0, 3.0], [2.0, 1.0]])
LABELS = np.array([0, 1, 1])
ACTIVE = LOGITS > 0.5


def accuracy(labels, logits=LOGITS):
    return measure.accuracy(logits, labels)


def collapse(features=LOGITS, labels=LABELS, weights=((1.0, 0.0), (0.0, 1.0)), bias=None):
    return measure.neural_collapse(features, labels, np.array(weights), bias, classes=2)


MEASURES: Cases = {
    "labels: floats": (
        lambda: accuracy([0.0, 1.0, 1.0]), "labels.dtype", "float64", "labels.astype(int)",
    ),
    "labels: not whole": (lambda: accuracy([0.5, 1, 1]), "labels[0]", "0.5", "a whole number"),
    "labels: bools": (
        lambda: accuracy([False, True, True]), "labels.dtype", "bool", "labels.astype(int)",
    ),
    "labels: names": (
        lambda: accuracy(["no", "yes", "no"]), "labels.dtype", "<U3", "np.unique(labels, return_i",
    ),
    "labels: one-hot": (
        lambda: accuracy(np.eye(2)[LABELS]), "labels.shape", "(3, 2)", "rows labels.argmax(1)",
    ),
    "labels: from one": (
        lambda: accuracy([1, 2, 2]), "labels[1]", "2", "count from 1: labels - 1",
    ),
    "labels: too many": (lambda: accuracy([0, 1, 1, 0]), "labels.shape", "(4,)", "(3,)"),
    "labels: a class without end": (
        lambda: measure.pathway_overlap(ACTIVE, [0, 1, 2**40]), "labels[2]", str(2**40), "a class",
    ),
    "logits: of an ensemble": (
        lambda: accuracy(LABELS, np.zeros((5, 3, 2))), "logits.shape", "(5, 3, 2)", "jax.vmap",
    ),
    "logits: none": (lambda: accuracy([], np.zeros((0, 2))), "logits.shape", "(0, 2)", "n >= 1"),
    "logits: one output": (
        lambda: accuracy([0, 0, 0], LOGITS[:, :1]), "logits.shape", "(3, 1)", "measure r_squared",
    ),
    "logits: complex": (
        lambda: accuracy(LABELS, LOGITS + 0j), "logits.dtype", "complex", "bool, int or float",
    ),
    "targets: of other examples": (
        lambda: measure.r_squared(LOGITS, LOGITS[:2]), "targets.shape", "(2, 2)", "(3, 2), as the",
    ),
    "targets: never varying": (
        lambda: measure.r_squared(LOGITS, LOGITS * [1, 0]), "targets[0][1]", "0.0", "another one",
    ),
    "targets: a pytree": (
        lambda: measure.root_mean_squared_error({"a": LOGITS}, LOGITS), "predictions", "dict",
        "each leaf",
    ),
    "variance": (
        lambda: measure.gaussian_negative_log_likelihood(LOGITS, LOGITS, variance=[1.0, 0.0]),
        "variance[1]", "0.0", "above 0",
    ),
    "variance: of examples": (
        lambda: measure.gaussian_negative_log_likelihood(LOGITS, LOGITS, variance=np.ones(3)),
        "variance.shape", "(3,)", "() or (2,)",
    ),
    "label logits: of classes": (
        lambda: measure.label_accuracy(LOGITS, LOGITS), "targets[1, 1]", "3.0", "0 or 1",
    ),
    "features: one axis": (
        lambda: measure.effective_features(LOGITS[0]), "features.shape", "(2,)", "two axes",
    ),
    "features: of an ensemble": (
        lambda: measure.surviving_fraction(np.zeros((5, 3, 2))), "features.shape", "(5, 3, 2)",
        "vmap",
    ),
    "noise level: of an ensemble": (
        lambda: measure.noise_level(jnp.zeros((5, 3, 2)), measure.Noise()),
        "features.shape", "(5, 3, 2)", "vmap",
    ),
    "pathways of features": (
        lambda: measure.pathway_overlap(LOGITS, LABELS), "active.dtype", "float", "bool, as",
    ),
    "collapse: weights the other way": (
        lambda: collapse(weights=np.ones((3, 2)).T), "weights.shape", "(2, 3)", "(2, 2), class",
    ),
    "collapse: bias": (lambda: collapse(bias=np.zeros(1)), "bias.shape", "(1,)", "(2,)"),
    "readout: other examples": (
        lambda: measure.readout(LOGITS, LOGITS[:2]), "logits.shape", "(2, 2)", "(3, classes)",
    ),
    "contrast: subclasses": (
        lambda: measure.elasticity_contrast(np.ones((3, 3)), LABELS, [0]),
        "subclasses.shape", "(1,)", "(3,)",
    ),
    "contrast: not square": (
        lambda: measure.elasticity_contrast(np.ones((3, 2)), LABELS),
        "matrix.shape", "(3, 2)", "(3, 3)",
    ),
    "bounds: not square": (
        lambda: measure.information_bounds(np.ones((3, 1)), LABELS, classes=2),
        "squared_distances.shape", "(3, 1)", "(3, 3)",
    ),
}  # fmt: skip
