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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.claim import Claim
from experiments.harness.progress import Progress
from experiments.harness.statistics import Estimate, over_seeds
from experiments.wide_networks import C_W, DEPTH, Descent, Outputs, linearised, targets
from nsh import SaveAt, TrainingProblem, ensemble
from nsh.figures import PALETTE, band, colour, curves, new_figure, panel_label, reference, style
from nsh.networks import digits
from nsh.networks.for_digits import PIXELS
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


FULL = Config(widths=(32, 64, 128, 256, 512), seeds=32, train=200, test=400, steps=512,
              every=8)  # fmt: skip
"""An estimated quarter of an hour on two cores."""
TINY = Config(widths=(4, 8), seeds=2, train=12, test=10, steps=8, every=4)


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
    members, course = ("width", "seed"), ("width", "seed", "step")
    values = {
        "linearisation": (course, jnp.sqrt(over_test((outputs - linear) ** 2))),
        "kernel": (course, jnp.sqrt(over_test((outputs - kernel) ** 2))),
        "drift": (members, drift),
        "ntk": (members, ntk_error),
        "spread": (course, over_test(squares)),
        "error": (course, over_test((outputs - y[None, None, None]) ** 2)),
        "output": (course, outputs[..., shown, its_class]),
        "network_accuracy": (course, _accuracy(outputs, task)),
        "linearised_accuracy": (course, _accuracy(linear, task)),
        "kernel_accuracy": ("step", _accuracy(mean, task)),
        "kernel_error": ("step", over_test((mean - y[None]) ** 2 + variance)),
        "kernel_mean": ("step", mean[:, shown, its_class]),
        "kernel_deviation": ("step", jnp.sqrt(variance[:, shown, 0])),
        "kernel_condition": ((), theory.condition),
    }
    plain = {"units": "1"}
    return xr.Dataset(
        {name: (dims, np.asarray(v), plain) for name, (dims, v) in values.items()},
        {"width": list(config.widths), "step": ("step", times, {"units": "steps"})},
    )


def _accuracy(outputs: Array, task: Task) -> np.ndarray:
    """The share of the test digits classified rightly."""
    test = np.argmax(np.asarray(outputs)[..., task.train :, :], axis=-1)
    return np.mean(test == task.labels[task.train :], axis=-1)


def figure(dataset: xr.Dataset) -> Figure:
    """Outputs, distances, spread, error and accuracy, through training and against width."""
    after = dataset.isel(step=slice(1, None))  # step 0 has no place on a logarithmic axis
    widest = after.isel(width=-1)
    by_width = {f"width {w}": after.sel(width=w) for w in dataset.width.values}
    with style():
        drawn, axes = new_figure(2, 3, width="double", height=4.6)
        ax = axes.ravel()
        curves(ax[0], after.step, {"networks": widest.output.values}, log=True, show_range=True,
               ylabel="output")  # fmt: skip
        _draw_prediction(ax[0], after)
        ax[0].set_title(f"one test digit's class, width {widest.width.item()}")
        linear = {label: found.linearisation.values for label, found in by_width.items()}
        curves(ax[1], after.step, linear, log=True, ylabel="r.m.s. difference of outputs")
        ax[1].set_yscale("log")
        ax[1].set_title("network − its linearisation")
        _draw_exponents(ax[2], dataset)
        spreads = {label: found.spread.values for label, found in by_width.items()}
        curves(ax[3], after.step, spreads, log=True, ylabel="squared deviation / variance")
        reference(ax[3], 1.0, "predicted")
        ax[3].set_title("spread over seeds")
        errors = {label: found.error.values for label, found in by_width.items()}
        curves(ax[4], after.step, errors, log=True, ylabel="mean squared error")
        ax[4].plot(after.step, after.kernel_error, label="predicted", **PREDICTED)
        ax[4].legend()
        ax[4].set_title("test digits")
        end = dataset.isel(step=-1)
        at_end = {
            "networks": end.network_accuracy.values.T,
            "linearised": end.linearised_accuracy.values.T,
        }
        curves(ax[5], dataset.width, at_end, log=True, xlabel="width",
               ylabel="accuracy on test digits")  # fmt: skip
        reference(ax[5], float(end.kernel_accuracy), "predicted mean of all networks")
        ax[5].set_title(f"after {end.step.item()} steps")
        for panel in (ax[2], ax[5]):
            panel.set_xticks(dataset.width.values, [str(w) for w in dataset.width.values])
            panel.minorticks_off()
        for panel, letter in zip(ax, "abcdef", strict=True):
            panel_label(panel, letter)
    return drawn


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
    for place, (name, label) in enumerate(DISTANCES.items()):
        values = _at_end(dataset, name)
        slope = f"{_exponent(dataset, values).mean:.2f}".replace("-", "−")
        band(ax, dataset.width.values, values.values.T, label=f"{label}: {slope}",
             colour=colour(place))  # fmt: skip
    ax.set_ylim(bottom=ax.get_ylim()[0] / 12)
    ax.set(xlabel="width", ylabel="r.m.s. or relative difference")
    ax.set_title(f"after {dataset.step.values[-1]} steps; slopes")
    ax.margins(x=0)
    ax.legend(loc="lower left")


def _at_end(dataset: xr.Dataset, name: str) -> xr.DataArray:
    found = dataset[name]
    return found.isel(step=-1) if "step" in found.dims else found


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Exponents in the width, spread over seeds, and accuracy."""
    found = []
    for name in ("linearisation", "drift"):
        slope = _exponent(dataset, _at_end(dataset, name))
        found.append(Claim(
            f"{DISTANCES[name]}: at least width^(-1/2)", LEE,
            "training stays within a distance of order width^(-1/2)",
            "slope over the wider half of widths, after the last step, not above -1/2 by 2 SE",
            *slope, slope.at_most(-0.5),
        ))  # fmt: skip
    early = dataset.linearisation.sel(step=8, method="nearest")
    for name, values, when, expected, source in (
        ("linearisation", early, "after 8 steps", -1.0, BOOK),
        ("drift", dataset.drift, "after the last step", -1.0, BOOK),
        ("ntk", dataset.ntk, "at initialisation", -0.5, BOOK),
        ("kernel", _at_end(dataset, "kernel"), "after the last step", -0.5, LEE),
    ):
        slope = _exponent(dataset, values)
        found.append(Claim(
            f"{DISTANCES[name]}: width^({expected:g}) {when}", source,
            f"the leading order is width^({expected:g})",
            f"slope over the wider half of widths {expected:g} within {TOLERANCE} + 2 SE",
            *slope, slope.within(expected, 2, TOLERANCE),
        ))  # fmt: skip
    widest = dataset.isel(width=-1, step=-1)
    spread = over_seeds(widest.spread)
    found.append(Claim(
        "spread over initialisations", ENSEMBLE,
        "outputs through training are Gaussian with the kernels' mean and covariance",
        "widest, last step: squared deviation over variance, averaged, is 1 within 0.1 + 2 SE",
        *spread, spread.within(1, 2, 0.1),
    ))  # fmt: skip
    ratio = over_seeds(widest.error / widest.kernel_error)
    found.append(Claim(
        "error on test digits", ENSEMBLE,
        "the kernels predict mean and variance, and so the mean squared error",
        "widest, last step: error over prediction is 1 within 0.1 + 2 SE",
        *ratio, ratio.within(1, 2, 0.1),
    ))  # fmt: skip
    change = over_seeds(widest.network_accuracy - widest.linearised_accuracy)
    found.append(Claim(
        "the linearisation has the network's accuracy", LEE,
        "wide networks are linear models through training",
        "widest, last step: difference of accuracies on test digits 0 within 0.02 + 2 SE",
        *change, change.within(0, 2, 0.02),
    ))  # fmt: skip
    return found


def _exponent(dataset: xr.Dataset, values: xr.DataArray) -> Estimate:
    """Log-log slope of values[width, seed] over the wider half of widths: mean over seeds."""
    wide = slice(-max(2, dataset.sizes["width"] // 2), None)
    found = np.log(values.transpose("width", "seed").values[wide])
    return over_seeds(np.polyfit(np.log(dataset.width.values[wide]), found, 1)[0])
