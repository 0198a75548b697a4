"""Do the neurashed phenomena need feature learning? One two-layer network over its dial alpha.

``f = (alpha / m) sum_j u_j relu(theta_j . x)`` from a symmetric start, trained by gradient descent
on squared error: alpha = 1 is the mean-field view, alpha >> sqrt m the lazy one, where training is
linear in the features of the start. Local elasticity, the information plane and sparsity (arXiv
2112.09741, Section 3) are measured on the digits for all alphas; test errors there and on a task
that a teacher of few ReLU units sets. Each seed has data and a start of its own.

What could pass for an effect of alpha, and what is done about it:

- Pace. f moves at the same pace for all alpha at the start, so equal steps are equal kernel time;
  but where features are learned the kernel grows, and training gets further. Test errors are
  therefore compared at equal steps and at equal training error (that of the slowest, at the time
  when each network had it).
- Width. At the lazy end a network of finite width is linear with the NTK of its own start, whose
  noise, of order m^(-1/2), makes it worse than kernel regression with the infinite width's: its
  test errors are larger by about 30 and 40% (teacher, digits) at m = 128, by 2 +- 3 and 11 +- 2% at
  m = 512 in a run made to check this. Better than the lazy end need not be better than the kernel.
- Which prediction is elastic. What an update at one digit does depends on the residual there too,
  which changes in training even where the kernel does not. All updates here push the outputs in
  the direction of the digit's class, whatever they are, by a step so small that the measure is one
  of the kernel, on digits of the test set.
- Noise. In m dimensions all digits can be told apart unless the noise is of the order of the hidden
  layer's norm. The noise is a share of that norm (r.m.s. over the digits), at each time: growing
  features gain nothing. With noise that stays as at the start they do, and the sign of the change
  is another. Either way information depends on the layer's Gram matrix alone. The share was chosen
  for the start's information to be far from both 0 and log2 of the number of digits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from experiments.feature_learning.claims import claims
from experiments.feature_learning.config import FULL, TINY, Config
from experiments.feature_learning.figure import figure
from experiments.feature_learning.measures import contrast, outputs, watch
from experiments.harness.dataset import dataset
from experiments.wide_networks import targets
from nsh import SaveAt, TrainingProblem, ensemble
from nsh.data import digits
from nsh.networks.for_digits import CLASSES, PIXELS
from nsh.study.progress import Progress
from nsh.theory.effective.prediction.dynamics import mse_dynamics
from nsh.theory.two_layer import Particles, Symmetric, TwoLayer, infinite_ntk
from nsh.training import FullBatch

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]


HIDDEN = """
    input label input_fixed label_fixed: alpha watched [bit]
    features norm: alpha watched [1]
    elasticity: alpha when [1]
    watched: watched [steps]
"""


class Data(NamedTuple):
    """Of one seed: the `train` that are learned come first, the test set's after them.

    The mean of |y|^2 is 1, or 0.9 for the digits.
    """

    x: Float[np.ndarray, "inputs features"]
    y: Float[np.ndarray, "inputs outputs"]
    train: int
    labels: Int[np.ndarray, " inputs"] | None = None


def teacher_task(config: Config, seed: int) -> Data:
    """Inputs uniform on the unit sphere; a few ReLU units with signs in turn."""
    random = np.random.default_rng((config.seed, seed))
    shape = (config.teacher_train + config.teacher_test, config.teacher_inputs)
    x = _unit(random.normal(size=shape))
    hidden = _unit(random.normal(size=(config.teacher_hidden, config.teacher_inputs)))
    signs = (-1.0) ** np.arange(config.teacher_hidden)
    y = np.maximum(x @ hidden.T, 0) @ signs
    return Data(x, (y / np.sqrt(np.mean(y**2)))[:, None], config.teacher_train)


def digits_task(config: Config, seed: int) -> Data:
    """Some digits, less the mean of those learned, whose r.m.s. norm is then 1."""
    random, data, n = np.random.default_rng((config.seed, seed)), digits(), config.digits_train
    train = random.permutation(len(data.train_x))[:n]
    test = random.permutation(len(data.test_x))[: config.digits_test]
    x = np.concatenate([data.train_x[train], data.test_x[test]]).reshape(-1, PIXELS)
    x = x - x[:n].mean(0)
    labels = np.concatenate([data.train_y[train], data.test_y[test]])
    y = np.asarray(targets(labels))
    return Data(x / np.sqrt(np.mean(np.sum(x[:n] ** 2, axis=1))), y, n, labels)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Errors of both tasks, and on the digits elasticity, information and sparsity."""
    parts = []
    with progress("feature learning, teacher", config.teacher_seeds) as advance:
        for seed in range(config.teacher_seeds):
            parts.append(_trained(config, "teacher", teacher_task(config, seed), seed)[1])
            advance(1)
    teacher = xr.concat(parts, "teacher_seed")
    parts = []
    with progress("feature learning, digits", config.digits_seeds) as advance:
        for seed in range(config.digits_seeds):
            data = digits_task(config, seed)
            states, errors = _trained(config, "digits", data, seed)
            parts.append(errors.merge(_measured(config, data, states)))
            advance(1)
    made = xr.merge([teacher, xr.concat(parts, "digits_seed")]).assign_attrs(width=config.width)
    return made.assign_coords(alpha=("alpha", np.asarray(config.alphas), {"units": "1"}))


def _system(config: Config, task: str) -> TwoLayer:
    sizes = {"teacher": (config.teacher_inputs, 1), "digits": (PIXELS, CLASSES)}
    inputs, outputs = sizes[task]
    return TwoLayer(inputs, Symmetric(config.width), out_size=outputs)


def _trained(config: Config, task: str, data: Data, seed: int) -> tuple[Particles, xr.Dataset]:
    """Particles [alpha, time] of all networks of a seed, and errors of these and of the kernel."""
    system, n, count = _system(config, task), data.train, len(config.alphas)
    steps, rate = getattr(config, f"{task}_steps"), getattr(config, f"{task}_rate")
    hyper = {"alpha": jnp.asarray(config.alphas), "learning_rate": jnp.full(count, rate)}
    problem = TrainingProblem(
        system,
        system.prepare(data.x[:n], data.y[:n]),
        hyper,
        steps=steps,
        sampler=FullBatch(),
        save=SaveAt(every=steps // config.times),
        grid_ndim=1,
    )
    result = ensemble(problem, jax.random.key(config.seed), seeds=1, first_seed=seed, vmap_size=1)
    states = jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], result.saved)
    ntk = _ntk(data.x)
    kernel = mse_dynamics(
        ntk[:n, :n], ntk[:, :n], data.y[:n], result.times, learning_rate=rate / n
    ).test
    networks = np.asarray(outputs(system, states, jnp.asarray(data.x, float)))
    made, step = xr.Dataset(), f"{task}_step"
    for name, dims, f in (("", f"alpha {step}", networks), ("kernel_", step, np.asarray(kernel))):
        errors = {f"{task}_{name}{part}": error for part, error in _errors(f, data).items()}
        table = f"{' '.join(errors)}: {dims} [1]\n{step}: {step} [steps]"
        made = made.merge(dataset(table, errors, **{step: result.times}))
    return states, made


def _ntk(x: np.ndarray) -> Array:
    """Of infinite width. Inputs get as many entries as digits: if as many, too, one program."""
    padded = np.pad(x, ((0, 0), (0, PIXELS - x.shape[1])))
    return infinite_ntk(TwoLayer(PIXELS, Symmetric(2)), padded)


def _errors(f: np.ndarray, data: Data) -> dict[str, np.ndarray]:
    """Squared errors relative to that of f = 0; of digits, the share of wrong classes too."""
    n = data.train
    squares = np.sum((f - data.y) ** 2, axis=-1) / np.mean(np.sum(data.y**2, axis=-1))
    errors = {"train": squares[..., :n].mean(-1), "test": squares[..., n:].mean(-1)}
    if data.labels is not None:
        errors["wrong"] = np.mean((f.argmax(-1) != data.labels)[..., n:], axis=-1)
    return errors


def _measured(config: Config, data: Data, states: Particles) -> xr.Dataset:
    """What is seen of the hidden layer as time doubles, and elasticity at the start and the end."""
    watched = np.array([0, *(2**k for k in range(config.times.bit_length()))])
    system, key = _system(config, "digits"), jax.random.key(config.seed)
    assert data.labels is not None
    x, labels = data.x[data.train :], data.labels[data.train :]

    def first(count: int) -> tuple[Array, Array]:
        return jnp.asarray(x[:count], float), jnp.asarray(labels[:count], jnp.int32)

    def at(times: Any) -> Particles:
        return jax.tree.map(lambda leaf: leaf[:, times], states)

    noise = jnp.asarray(config.noise, float)
    seen = watch(system, at(watched), *first(config.inputs), key, noise, config.samples)
    ratio = contrast(system, at(np.array([0, -1])), *first(config.probes), key)
    steps = watched * (config.digits_steps // config.times)
    names = {"watched": steps, "when": ["start", "end"]}
    return dataset(HIDDEN, vars(seen) | {"elasticity": ratio}, **names)
