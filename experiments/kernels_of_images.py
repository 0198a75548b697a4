"""Kernels of convolutional networks on images, beside the networks themselves.

Two networks of two convolutions learn digits: one flattens its last features, one takes their mean
over all positions (global average pooling). Each gives five predictors of the same test images:

- kernel machines of infinite width, with the NNGP and with the NTK;
- kernel machines with the NTK of one network of finite width, before and after it was trained;
- this network itself, trained by Adam on squared error.

So the kernels say what of the network's success is in its architecture, what is in its random
weights, and what is in the features that it has learned (the "after kernel": Long, arXiv
2105.10585; Fort et al., arXiv 2010.15110). Every split draws images and initial weights anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Array

from experiments.harness.claim import Claim, above, claim, within
from experiments.harness.dataset import dataset
from experiments.harness.figures import panels
from nsh import PerSeed, SaveAt, Subset, TrainingProblem, ensemble
from nsh.data import digits, read_idx
from nsh.figures import colour
from nsh.networks import Network, Regression
from nsh.study.progress import Progress
from nsh.theory.effective import empirical_ntk, kernel_regression, kernels, layers
from nsh.training import FullBatch, Snapshot

AFTER = "arXiv 2105.10585 and 2010.15110"
POOLING = "arXiv 1904.11955, Section 5"
ENDS = "flattened", "pooled"
PREDICTORS = "NNGP", "NTK", "NTK before", "NTK after", "network"


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiment."""

    images: int = 120
    """Of which each split draws those for training; the others are the test."""
    train: int = 60
    splits: int = 5
    width: int = 12
    """Channels of both convolutions."""
    steps: int = 400
    rate: float = 0.03
    """Of Adam; parameters are about 1 each."""
    ridge: float = 1e-3
    """Of kernel machines, relative to the mean of the kernel's diagonal."""
    images_file: str = ""
    """An IDX file of images [n, height, width] in place of the digits, and one of their labels."""
    labels_file: str = ""
    seed: int = 0


FULL = Config(images=1000, train=500, splits=16, width=128, steps=2000)
"""Hours on two cores: all pairs of positions of all pairs of images."""
TINY = Config(images=8, train=4, splits=2, width=2, steps=2)

TABLE = """
    accuracy: end predictor split [1]
    fit: end split [1]
    movement: end split [1]
"""


def network_of(end: str, width: int, classes: int) -> layers.Layer:
    """Two convolutions and a readout, in the NTK parametrisation."""
    last = layers.Flatten() if end == "flattened" else layers.GlobalAvgPool()
    conv = partial(layers.Conv, width, 3, padding="SAME", C_W=2.0, lambda_W=2.0, lambda_b=0.1)
    return layers.Serial(conv(), "relu", conv(), "relu", last, layers.Dense(classes, lambda_b=0.1))


def images_of(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 1, height, width], standardised, and their labels 0..C-1."""
    if config.images_file:
        x, y = read_idx(config.images_file), read_idx(config.labels_file)
        x, y = np.asarray(x[: config.images]), np.asarray(y[: config.images])
    else:
        data = digits()
        x, y = data.train_x[: config.images], data.train_y[: config.images]
    x = x.reshape(len(x), 1, *x.shape[-2:]).astype(np.float32)
    return (x - x.mean()) / x.std(), np.unique(y, return_inverse=True)[1].reshape(-1)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Accuracies of all predictors on the images that each split has not seen."""
    x, labels = images_of(config)
    random = np.random.default_rng(config.seed)
    order = np.stack([random.permutation(len(x)) for _ in range(config.splits)])
    train, test = order[:, : config.train], order[:, config.train :]
    classes = int(labels.max()) + 1
    y = np.eye(classes, dtype=np.float32)[labels] - 1 / classes
    accuracy = np.zeros((len(ENDS), len(PREDICTORS), config.splits))
    fit, movement = np.zeros((2, len(ENDS), config.splits))
    with progress("kernels of images", len(ENDS) * (config.splits + 1)) as advance:
        for place, end in enumerate(ENDS):
            network = network_of(end, config.width, classes)
            found = kernels(network, x)
            advance(1)
            before, after, outputs = _trained(network, config, x, y, train)
            for split in range(config.splits):
                inside, outside = train[split], test[split]
                own = [np.asarray(_ntk(_member(each, split), x)) for each in (before, after)]
                machines = [np.asarray(found.nngp), np.asarray(found.ntk), *own]
                predicted = [_machine(K, y, inside, outside, config.ridge) for K in machines]
                predicted.append(outputs[split][outside])
                accuracy[place, :, split] = [
                    np.mean(np.argmax(f, 1) == labels[outside]) for f in predicted
                ]
                fit[place, split] = np.mean(np.argmax(outputs[split][inside], 1) == labels[inside])
                movement[place, split] = np.linalg.norm(own[1] - own[0]) / np.linalg.norm(own[0])
                advance(1)
    values = {"accuracy": accuracy, "fit": fit, "movement": movement}
    return dataset(TABLE, values, end=list(ENDS), predictor=list(PREDICTORS))


def _trained(
    network: layers.Layer, config: Config, x: np.ndarray, y: np.ndarray, train: np.ndarray
) -> tuple[Any, Any, np.ndarray]:
    """Modules of all splits, before and after training, and the outputs of the latter."""
    shape = x.shape[1:]

    def make(key: Array) -> Any:
        return layers.build(network, shape, key=key, parametrisation="ntk")

    def module(now: Snapshot) -> Any:
        return eqx.filter(system.module(now.state), eqx.is_array)

    system = Network(make, optax.adam, Regression())
    problem = TrainingProblem(
        system,
        system.prepare(x, y),
        {"optimiser": {"learning_rate": config.rate}},
        steps=config.steps,
        sampler=Subset(FullBatch(), PerSeed(jnp.asarray(train, jnp.int32))),
        save=SaveAt(module, times=(0, config.steps)),
    )
    # convolutions of several networks at once are slow on CPUs
    runs = ensemble(problem, jax.random.key(config.seed), seeds=config.splits, vmap_size=1)
    rest = eqx.filter(make(jax.random.key(0)), eqx.is_array, inverse=True)
    before, after = (
        eqx.combine(jax.tree.map(lambda leaf, i=i: leaf[:, i], runs.saved), rest) for i in (0, 1)
    )
    outputs = eqx.filter_vmap(lambda one: jax.vmap(one)(x))(after)
    return before, after, np.asarray(outputs)


def _member(modules: Any, number: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[number] if eqx.is_array(leaf) else leaf, modules)


def _ntk(module: Any, x: np.ndarray) -> Array:
    return empirical_ntk(module, jnp.asarray(x), outputs="trace")


def _machine(
    K: np.ndarray, y: np.ndarray, inside: np.ndarray, outside: np.ndarray, ridge: float
) -> np.ndarray:
    """Outputs at the test images of kernel regression on those for training."""
    K = K / np.mean(np.diag(K))
    own, cross = K[np.ix_(inside, inside)], K[np.ix_(outside, inside)]
    return np.asarray(kernel_regression(own, cross, y[inside], ridge=ridge).mean)


CAPTIONS = (
    "Accuracy on the images that a split has not seen; each dot is a split, bars are means.",
    "How much of its norm the NTK of the network changes in training.",
)


@panels(1, 2, CAPTIONS, height=2.6)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Accuracies of all predictors, and how far training moved the kernels."""
    rows = np.arange(len(PREDICTORS))
    for place, end in enumerate(ENDS):
        shift = 0.2 * (2 * place - 1)
        _dots(ax[0], rows + shift, dataset.accuracy.sel(end=end).values, end, colour(place))
        moved = dataset.movement.sel(end=end).values[None]
        _dots(ax[1], np.array([place]), moved, end, colour(place))
    ax[0].set_xticks(rows, [name.replace(" ", "\n") for name in PREDICTORS])
    ax[0].set(ylabel="accuracy on test images")
    ax[0].legend()
    ax[1].set_xticks([0, 1], ENDS)
    ax[1].set(ylabel="relative change of the NTK", xlim=(-0.6, 1.6))
    ax[1].set_ylim(bottom=0)


def _dots(ax: Any, places: np.ndarray, values: np.ndarray, label: str, shade: Any) -> None:
    """Each row's values, and a bar at their mean."""
    for i, (place, row) in enumerate(zip(places, values, strict=True)):
        spread = np.linspace(-0.08, 0.08, len(row))
        name = label if i == 0 else None
        ax.plot(place + spread, row, ".", color=shade, alpha=0.6, markersize=3)
        ax.plot([place - 0.14, place + 0.14], [row.mean()] * 2, color=shade, label=name)


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """What kernels explain of the networks, at this size."""
    of = dataset.accuracy
    for end in ENDS:
        at = of.sel(end=end)
        yield (
            claim(f"trained to the end, {end}", AFTER)
            .says("the networks fit the images that they were trained on")
            .test("accuracy on training images", dataset.fit.sel(end=end).values, above(0.95))
        )
        gain = at.sel(predictor="NTK after") - at.sel(predictor="NTK before")
        yield (
            claim(f"learned kernel, {end}", AFTER)
            .says("the NTK of a trained network predicts better than the one it began with")
            .test("accuracy, NTK after minus before", gain.values, above(0))
        )
        left = at.sel(predictor="network") - at.sel(predictor="NTK")
        yield (
            claim(f"beyond the kernel, {end}", AFTER)
            .says("a trained network predicts better than the NTK of its architecture")
            .test("accuracy, network minus NTK of infinite width", left.values, above(0))
        )
        same = at.sel(predictor="NTK before") - at.sel(predictor="NTK")
        yield (
            claim(f"random weights, {end}", "arXiv 1806.07572")
            .says("before training, a network's NTK is that of infinite width")
            .test(
                "accuracy, NTK before minus NTK of infinite width",
                same.values,
                within(0, tolerance=0.03),
            )
        )
    pooled = of.sel(end="pooled", predictor="NTK") - of.sel(end="flattened", predictor="NTK")
    yield (
        claim("pooling", POOLING)
        .says("global average pooling improves the NTK of convolutional networks")
        .test("accuracy of the NTK, pooled minus flattened", pooled.values, above(0))
    )
