"""Depth over width: how networks on the digits differ from each other, and how they generalise.

The effective theory (Roberts, Yaida, Hanin) says that at critical initialisation it is the ratio
r = (hidden layers) / width that matters: networks differ from each other by V / K^2 = nu r in the
variance of their outputs, with nu = 5 for ReLU and, deep, 2/3 for tanh, and by (A + 2 B) / Theta^2
in their tangent kernel. Of the ratio r* = 4 / [(20 + 3 n_L) nu] it says that it is optimal: there a
series for the outputs' mutual information, cut off after two terms, has its maximum.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from experiments.aspect_ratio.claims import claims
from experiments.aspect_ratio.config import FULL, TINY, Config
from experiments.aspect_ratio.deep import C_W, deep_network
from experiments.aspect_ratio.figure import figure
from experiments.harness.dataset import dataset
from nsh import SaveAt, TrainingProblem, WithReplacement, ensemble
from nsh.activations import as_activation
from nsh.data import digits
from nsh.measure import accuracy, observe
from nsh.networks import Network, NetworkExamples
from nsh.networks.for_digits import CLASSES, PIXELS
from nsh.study.progress import Progress
from nsh.theory.effective.architecture import Architecture, standard_rates
from nsh.theory.effective.critical.criticality import criticality
from nsh.theory.effective.finite_width.aspect_ratio import optimal_aspect_ratio
from nsh.theory.effective.finite_width.closed_forms import scale_invariant_vertex
from nsh.theory.effective.finite_width.fluctuations import Fluctuations, fluctuations
from nsh.training import Snapshot

__all__ = ["FULL", "TINY", "Config", "claims", "figure", "run"]

OUTPUTS = 3  # of which the tangent kernel is taken


TABLE = """
    outputs outputs_error outputs_theory outputs_exact: family layers [1]
    kernel kernel_error kernel_theory: family layers [1]
    error disagreement: family layers seed [1]
"""
NAMES = {"relu": "ReLU", "tanh": "tanh"}


class Trained(eqx.Module):
    """What is recorded of a trained network: accuracy on the test set, and its decisions."""

    test: NetworkExamples

    def __call__(self, now: Snapshot) -> tuple[Array, Array]:
        """Test accuracy, and the class chosen for each test image."""
        logits = observe(now.system, now.state, self.test).outputs
        return accuracy(logits, self.test.y), jnp.argmax(logits, axis=-1)


def run(config: Config, progress: Progress) -> xr.Dataset:
    """Fluctuations at initialisation beside theory's, and what training makes of each network."""
    data = digits()
    x = data.test_x[0]
    keys = jax.random.split(jax.random.key(config.seed))
    found: dict[str, list] = {}
    with progress("aspect ratio", len(config.families) * len(config.layers)) as advance:
        for activation, width in config.families:
            network = deep_network(activation, width, max(config.layers))
            at_x = _theory(activation, width, config, float(np.mean(x**2)))
            typical = _theory(activation, width, config, float(np.mean(data.train_x**2)))
            exact = _exact(activation, width, max(config.layers))
            examples = network.prepare(data.train_x, data.train_y)
            what = Trained(network.prepare(data.test_x, data.test_y))
            for layers in config.layers:
                variance, kernel = _fluctuations(
                    network, jnp.asarray(x), jnp.asarray(layers, jnp.int32),
                    jax.random.split(keys[0], config.networks),
                )  # fmt: skip
                rate = config.step_size / float(typical.Theta[layers])
                problem = TrainingProblem(
                    network,
                    examples,
                    {"optimiser": {"learning_rate": rate}, "start": {"layers": float(layers)}},
                    steps=config.steps,
                    sampler=WithReplacement(config.batch),
                    save=SaveAt(what, times=(config.steps,)),
                )
                result = ensemble(problem, keys[1], seeds=config.seeds)
                accuracies, decisions = (np.asarray(leaf)[:, 0] for leaf in result.saved)
                row = {
                    "outputs": _relative_variance(np.asarray(variance)[:, None]),
                    "outputs_theory": float((at_x.V / at_x.K**2)[layers]),
                    "outputs_exact": exact[layers],
                    "kernel": _relative_variance(np.asarray(kernel)),
                    "kernel_theory": float(((at_x.A + 2 * at_x.B) / at_x.Theta**2)[layers]),
                    "error": 1 - accuracies,
                    "disagreement": _disagreement(decisions),
                }
                for name, value in row.items():
                    found.setdefault(name, []).append(value)
                advance(1)
    return _as_dataset(config, found)


@eqx.filter_jit
def _fluctuations(
    network: Network, x: Float[Array, "8 8"], layers: Array, keys: Array
) -> tuple[Array, Array]:
    """Of random networks: the outputs' variance given the hidden layers, and the NTK's diagonal."""

    def of_network(key: Array) -> tuple[Array, Array]:
        module = eqx.tree_at(lambda m: m.layers, network.make(key), layers)
        trained, rest = eqx.partition(module, eqx.is_inexact_array)
        jacobian = jax.jacrev(lambda p: eqx.combine(p, rest)(x)[:OUTPUTS])(trained)
        squares = [jnp.sum(leaf.reshape(OUTPUTS, -1) ** 2, 1) for leaf in jax.tree.leaves(jacobian)]
        return jnp.mean(module.features(x)[-1] ** 2), jnp.sum(jnp.stack(squares), 0)

    return jax.lax.map(of_network, keys, batch_size=250)


def _theory(activation: str, width: int, config: Config, x2: float) -> Fluctuations:
    """Entry l: of a network of l hidden layers with one learning rate for all parameters."""
    widths = (width,) * max(config.layers)
    architecture = Architecture(
        activation, len(widths) + 1, widths, C_W=C_W[activation], **standard_rates(PIXELS, widths)
    )
    return jax.tree.map(np.asarray, _compiled(architecture, x2))


_compiled = jax.jit(fluctuations)


def _exact(activation: str, width: int, most: int) -> np.ndarray:
    """V / K^2 at finite width, to all orders: known for scale-invariant activations, else NaN."""
    if as_activation(activation).slopes is None:
        return np.full(most + 1, np.nan)
    critical = Architecture(activation, most + 1, width, C_W=C_W[activation])
    return np.asarray(scale_invariant_vertex(critical, 1.0)) / C_W[activation] ** 2


def _relative_variance(values: np.ndarray) -> tuple[float, float]:
    """Variance over networks (axis 0) by the mean's square, and its standard error.

    Axis 1: equally distributed quantities of one network, which are averaged over. The error takes
    in that the mean is estimated too: by the derivative of m2 / m1^2.
    """
    first, second = values.mean(1), (values**2).mean(1)
    mean, square = first.mean(), second.mean()
    influence = (second - square) / mean**2 - 2 * square / mean**3 * (first - mean)
    return square / mean**2 - 1, influence.std() / np.sqrt(len(values))


def _disagreement(decisions: np.ndarray) -> np.ndarray:
    """Per trained network, the share of decisions in which another one differs, on average."""
    differ = (decisions[:, None] != decisions).mean(-1)
    return differ.sum(1) / (len(decisions) - 1)


def _as_dataset(config: Config, found: dict[str, list]) -> xr.Dataset:
    shape = len(config.families), len(config.layers)
    values = {}
    for name, rows in found.items():
        array = np.asarray(rows).reshape(*shape, *np.shape(rows[0]))
        if name in ("outputs", "kernel"):
            values[name], values[f"{name}_error"] = array[..., 0], array[..., 1]
        else:
            values[name] = array
    widths = np.asarray([width for _, width in config.families])
    growth = [criticality(activation).nu for activation, _ in config.families]
    layers = np.asarray(config.layers)
    best = np.asarray(optimal_aspect_ratio(jnp.asarray(growth), CLASSES))
    names = [f"{NAMES[activation]}, width {width}" for activation, width in config.families]
    return dataset(TABLE, values, family=names, layers=layers).assign_coords(
        width=("family", widths),
        nu=("family", growth),
        r=(("family", "layers"), layers / widths[:, None]),
        best_r=("family", best),
    )
