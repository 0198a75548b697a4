"""The kernel regime: networks, their linearisations and infinite width, through training.

Fully connected ReLU networks of several widths learn the digits by full-batch gradient descent on
squared error, with learning rates of the NTK's scaling. Each is compared with its own linearisation
around its initial weights, against the kernel prediction from its own initial outputs, and all
seeds together against the mean and spread that the kernels (NNGP and NTK) predict.

Lee et al. (arXiv 1902.06720) prove that distances fall at least as width^(-1/2). The book's
expansion (arXiv 2106.10165) has the change of the NTK, and so the distance to the linearisation, at
order 1 / width; only what random initial weights do to the NTK is of order width^(-1/2).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes

from experiments.harness.claim import Claim, at_most, claim, within
from experiments.harness.dataset import dataset
from experiments.harness.figures import panels
from experiments.wide_networks import C_W, DEPTH, Descent, Outputs, linearised, targets
from nsh import SaveAt, TrainingProblem, ensemble
from nsh.data import digits
from nsh.figures import PALETTE, band, colour, curves, reference
from nsh.measure import Estimate, estimate
from nsh.networks.for_digits import PIXELS
from nsh.study.progress import Progress
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width.kernels import kernels
from nsh.theory.effective.prediction.dynamics import ensemble_dynamics, mse_dynamics
from nsh.training import FullBatch

LEE, BOOK = "arXiv 1902.06720, Theorem 2.1", "arXiv 2106.10165, Sections 11.1 and ∞.2"
ENSEMBLE = "arXiv 1902.06720, equations 14 and 15"
DISTANCES = {
    "linearisation": "network − its linearisation",
    "drift": "change of its NTK",
    "kernel": "network − kernel prediction",
    "ntk": "initial NTK − its limit",
}
TOLERANCE = 0.15  # of exponents
PREDICTED = {"color": PALETTE["black"], "linewidth": 0.8, "linestyle": (0, (4, 2)), "zorder": 4}


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the experiment."""

    widths: tuple[int, ...] = (20, 50, 125, 312)
    """Of both hidden layers."""
    seeds: int = 8
    train: int = 100
    """Digits learned."""
    test: int = 200
    """Digits of the test set that outputs are compared on."""
    steps: int = 128
    every: int = 4
    """Steps from recording to recording; divides `steps`."""
    rate: float = 1.0
    """Learning rate times the largest eigenvalue of the NTK; descent diverges from 2 on."""
    seed: int = 0


FULL = Config((32, 64, 128, 256, 512), seeds=32, train=200, test=400, steps=512, every=8)
"""An estimated quarter of an hour on two cores."""
TINY = Config(widths=(4, 8), seeds=2, train=12, test=10, steps=8, every=4)


TABLE = """
    linearisation kernel spread error output: width seed step [1]
    network_accuracy linearised_accuracy: width seed step [1]
    drift ntk: width seed [1]
    kernel_accuracy kernel_error kernel_mean kernel_deviation: step [1]
    kernel_condition: [1]
    step: step [steps]
"""


class Task(NamedTuple):
    """Digits: the `train` that are learned come first, the test set's after them."""

    x: Float[Array, "inputs pixels"]
    labels: Int[np.ndarray, " inputs"]
    train: int


def digits_task(config: Config) -> Task:
    """Pixels centred by the learned digits' mean, and scaled by their deviation."""
    data = digits()
    x = np.concatenate([data.train_x[: config.train], data.test_x[: config.test]])
    labels = np.concatenate([data.train_y[: config.train], data.test_y[: config.test]])
    x = x.reshape(len(x), PIXELS)
    centred = x - x[: config.train].mean(0)
    return Task(jnp.asarray(centred / centred[: config.train].std()), labels, config.train)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Outputs of all three through training, and the distances between them."""
    task = digits_task(config)
    n, x, y = task.train, task.x, targets(task.labels)
    architecture = Architecture("relu", DEPTH, C_W=jnp.array(C_W))
    nngp, ntk, _ = kernels(architecture, x)
    largest = float(np.linalg.eigvalsh(np.asarray(ntk[:n, :n], np.float64))[-1])
    step = config.rate / largest  # of the sum over samples; that of their mean is n times as large
    times = np.arange(0, config.steps + 1, config.every)
    theory = ensemble_dynamics(
        ntk[:n, :n], ntk[:, :n], nngp[:n, :n], nngp[:, :n], jnp.diagonal(nngp), y[:n], times,
        learning_rate=step,
    )  # fmt: skip
    system = Descent(max(config.widths))
    widths = jnp.asarray(config.widths, float)
    hyper = {"learning_rate": jnp.full_like(widths, n * step), "width": widths}
    with progress("kernel regime", config.seeds * len(config.widths)) as advance:
        problem = TrainingProblem(
            system,
            system.prepare(x[:n], task.labels[:n]),
            hyper,
            steps=config.steps,
            sampler=FullBatch(),
            save=SaveAt(Outputs(x), every=config.every),
            grid_ndim=1,
        )
        trained = ensemble(
            problem, jax.random.key(config.seed), seeds=config.seeds, callback=advance
        )
    outputs = jnp.asarray(trained.saved)  # [width, seed, time, input, class]
    linear, drift, ntk_error = linearised(
        trained.state, hyper, x, y[:n], ntk, step, config.steps, config.every
    )
    prediction = jax.vmap(
        lambda f: mse_dynamics(
            ntk[:n, :n], ntk[:, :n], y[:n], times, learning_rate=step,
            start_train=f[:n], start_test=f,
        ).test
    )  # fmt: skip
    kernel = prediction(outputs[:, :, 0].reshape(-1, *outputs.shape[3:])).reshape(outputs.shape)

    def over_test(a: Array) -> Array:
        return jnp.mean(a[..., n:, :], axis=(-2, -1))

    mean, variance = theory.mean, theory.variance[..., None]
    squares = (outputs - mean[None, None]) ** 2 / variance[None, None]
    right = np.asarray(mean[-1])[np.arange(len(x)), task.labels]
    shown = n + int(np.argmax(right[n:]))  # the test digit that kernels predict most clearly
    its_class = int(task.labels[shown])
    values = {
        "linearisation": jnp.sqrt(over_test((outputs - linear) ** 2)),
        "kernel": jnp.sqrt(over_test((outputs - kernel) ** 2)),
        "drift": drift,
        "ntk": ntk_error,
        "spread": over_test(squares),
        "error": over_test((outputs - y[None, None, None]) ** 2),
        "output": outputs[..., shown, its_class],
        "network_accuracy": _accuracy(outputs, task),
        "linearised_accuracy": _accuracy(linear, task),
        "kernel_accuracy": _accuracy(mean, task),
        "kernel_error": over_test((mean - y[None]) ** 2 + variance),
        "kernel_mean": mean[:, shown, its_class],
        "kernel_deviation": jnp.sqrt(variance[:, shown, 0]),
        "kernel_condition": theory.condition,
    }
    return dataset(TABLE, values, width=list(config.widths), step=times)


def _accuracy(outputs: Array, task: Task) -> np.ndarray:
    """The share of the test digits classified rightly."""
    test = np.argmax(np.asarray(outputs)[..., task.train :, :], axis=-1)
    return np.mean(test == task.labels[task.train :], axis=-1)


CAPTIONS = (
    "One output through training: networks, and the mean predicted by the kernel.",
    "Network minus its linearisation, for each width.",
    "How differences from infinite width fall with the width; the slopes are given.",
    "Spread of outputs over seeds, over the predicted variance.",
    "Error on test digits, with the predicted one.",
    "Accuracy on test digits after training, over the width.",
)


@panels(2, 3, CAPTIONS, height=2.3)
def figure(dataset: xr.Dataset, ax: np.ndarray) -> None:
    """Outputs, distances, spread, error and accuracy, through training and against width."""
    after = dataset.isel(step=slice(1, None))  # step 0 has no place on a logarithmic axis
    widest = after.isel(width=-1)

    def by_width(panel: Axes, name: str, ylabel: str) -> None:
        groups = {f"width {w}": after[name].sel(width=w).values for w in dataset.width.values}
        curves(panel, after.step, groups, log=True, ylabel=ylabel)

    networks = {"networks": widest.output.values}
    curves(ax[0], after.step, networks, log=True, show_range=True, ylabel="output")
    _draw_prediction(ax[0], after)
    ax[0].set_title(f"one test digit's class, width {widest.width.item()}")
    by_width(ax[1], "linearisation", "r.m.s. difference of outputs")
    ax[1].set_yscale("log")
    ax[1].set_title("network − its linearisation")
    _draw_exponents(ax[2], dataset)
    by_width(ax[3], "spread", "squared deviation / variance")
    reference(ax[3], 1.0, "predicted")
    ax[3].set_title("spread over seeds")
    by_width(ax[4], "error", "mean squared error")
    ax[4].plot(after.step, after.kernel_error, label="predicted", **PREDICTED)
    ax[4].legend()
    ax[4].set_title("test digits")
    end = dataset.isel(step=-1)
    accuracies = {
        "networks": end.network_accuracy.values.T,
        "linearised": end.linearised_accuracy.values.T,
    }
    ylabel = "accuracy on test digits"
    curves(ax[5], dataset.width, accuracies, log=True, xlabel="width", ylabel=ylabel)
    reference(ax[5], float(end.kernel_accuracy), "predicted mean of all networks")
    ax[5].set_title(f"after {end.step.item()} steps")
    for panel in (ax[2], ax[5]):
        panel.set_xticks(dataset.width.values, [str(w) for w in dataset.width.values])
        panel.minorticks_off()


def _draw_prediction(ax: Axes, after: xr.Dataset) -> None:
    """Mean of the Gaussian predicted, and its 10% and 90% quantiles."""
    mean, deviation = after.kernel_mean.values, after.kernel_deviation.values
    ax.plot(after.step, mean, label="predicted", **PREDICTED)
    for side in (-1, 1):
        edge = mean + side * 1.2816 * deviation
        ax.plot(after.step, edge, **{**PREDICTED, "linestyle": ":"})
    ax.margins(y=0.35)
    ax.legend(title="mean and 10% to 90%", title_fontsize=7, loc="lower left", ncols=2)


def _draw_exponents(ax: Axes, dataset: xr.Dataset) -> None:
    """All distances after the last step against width, with their log-log slopes."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    for place, (quantity, label) in enumerate(DISTANCES.items()):
        values = _at_end(dataset, quantity)
        slope = f"{_exponent(dataset, values).mean:.2f}".replace("-", "−")
        name = f"{label}: {slope}"
        band(ax, dataset.width.values, values.values.T, label=name, colour=colour(place))
    ax.set_ylim(bottom=ax.get_ylim()[0] / 12)
    ax.set(xlabel="width", ylabel="r.m.s. or relative difference")
    ax.set_title(f"after {dataset.step.values[-1]} steps; slopes")
    ax.margins(x=0)
    ax.legend(loc="lower left")


def _at_end(dataset: xr.Dataset, name: str) -> xr.DataArray:
    found = dataset[name]
    return found.isel(step=-1) if "step" in found.dims else found


def claims(dataset: xr.Dataset) -> Iterator[Claim]:
    """Exponents in the width, spread over seeds, and accuracy."""
    slope = "slope over the wider half of widths"
    for name in ("linearisation", "drift"):
        found = _exponent(dataset, _at_end(dataset, name))
        yield (
            claim(f"{DISTANCES[name]}: at least width^(-1/2)", LEE)
            .says("training stays within a distance of order width^(-1/2)")
            .test(f"{slope}, after the last step", found, at_most(-0.5))
        )
    early = dataset.linearisation.sel(step=8, method="nearest")
    for name, values, when, expected, source in (
        ("linearisation", early, "after 8 steps", -1.0, BOOK),
        ("drift", dataset.drift, "after the last step", -1.0, BOOK),
        ("ntk", dataset.ntk, "at initialisation", -0.5, BOOK),
        ("kernel", _at_end(dataset, "kernel"), "after the last step", -0.5, LEE),
    ):
        yield (
            claim(f"{DISTANCES[name]}: width^({expected:g}) {when}", source)
            .says(f"the leading order is width^({expected:g})")
            .test(slope, _exponent(dataset, values), within(expected, 2, TOLERANCE))
        )
    widest = dataset.isel(width=-1, step=-1)
    ratio = widest.error / widest.kernel_error
    change = widest.network_accuracy - widest.linearised_accuracy
    at_end = "widest, last step"
    spread = f"{at_end}: squared deviation over variance, averaged"
    yield (
        claim("spread over initialisations", ENSEMBLE)
        .says("outputs through training are Gaussian with the kernels' mean and covariance")
        .test(spread, widest.spread, within(1, 2, 0.1))
    )
    yield (
        claim("error on test digits", ENSEMBLE)
        .says("the kernels predict mean and variance, and so the mean squared error")
        .test(f"{at_end}: error over prediction", ratio, within(1, 2, 0.1))
    )
    yield (
        claim("the linearisation has the network's accuracy", LEE)
        .says("wide networks are linear models through training")
        .test(f"{at_end}: accuracy on test digits, difference", change, within(0, 2, 0.02))
    )


def _exponent(dataset: xr.Dataset, values: xr.DataArray) -> Estimate:
    """Log-log slope of values[width, seed] over the wider half of widths: mean over seeds."""
    wide = slice(-max(2, dataset.sizes["width"] // 2), None)
    logs = np.log(values.transpose("width", "seed").values[wide])
    return estimate(np.polyfit(np.log(dataset.width.values[wide]), logs, 1)[0])
