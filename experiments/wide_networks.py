"""Networks of many widths as one program, their linearisations and the change of their NTKs."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from nsh import System
from nsh.networks import MLP, NetworkExamples
from nsh.networks.for_digits import CLASSES, PIXELS
from nsh.theory.effective import empirical_ntk, mlp_rates
from nsh.theory.effective.architecture import Architecture
from nsh.training import Snapshot

READOUT = 0.1  # C_W of the last layer: initial outputs are of the size of the targets
DEPTH, C_W = 3, (2.0, 2.0, READOUT)


class Learner(eqx.Module):
    """A network, and as it was before training."""

    network: MLP
    start: MLP


class Descent(System):
    """Gradient descent of an MLP on squared error; its width is a hyperparameter.

    `hyper`: learning_rate and width. Layers are as wide as `widest`, with all weights of units
    beyond the width 0, which stay so: such a unit's output and slope are 0 (ReLU). So networks of
    all widths are one program. Learning rates have the NTK's scaling: 1 / fan_in for weights, 1
    for biases.
    """

    widest: int = eqx.field(static=True)

    def prepare(self, x: Any, y: Any) -> NetworkExamples:
        """Inputs and labels as arrays."""
        return NetworkExamples(jnp.asarray(x), jnp.asarray(y))

    def init(self, key: Key[Array, ""], hyper: PyTree) -> Learner:
        """Weights ~ N(0, C_W / fan_in)."""
        mlp = MLP((PIXELS, self.widest, self.widest, CLASSES), jax.nn.relu, key=key)
        there = (jnp.arange(self.widest, dtype=float) < hyper["width"]).astype(float)
        weights = [layer.weight for layer in (*mlp.hidden, mlp.readout)]
        masks = [there[None], there[:, None] * there[None], there[:, None]]
        made = [
            w * mask * jnp.sqrt(C * w.shape[0] * inverse)  # drawn with variance 1 / shape[0]
            for w, mask, C, inverse in zip(weights, masks, C_W, _inverse(hyper), strict=True)
        ]
        mlp = eqx.tree_at(lambda m: [a.weight for a in (*m.hidden, m.readout)], mlp, made)
        return Learner(mlp, mlp)

    def step(
        self,
        state: Learner,
        batch: NetworkExamples,
        hyper: PyTree,
        key: Key[Array, ""],  # noqa: ARG002
    ) -> Learner:
        """One step down the gradient of the mean over samples of |f - target|^2 / 2."""

        def loss(mlp: MLP) -> Array:
            return jnp.sum((jax.vmap(mlp)(batch.x) - targets(batch.y)) ** 2) / 2 / len(batch.y)

        moved = jax.tree.map(
            lambda w, slope, rate: w - hyper["learning_rate"] * rate * slope,
            state.network, jax.grad(loss)(state.network), rates(state.network, hyper),
        )  # fmt: skip
        return Learner(moved, state.start)

    def outputs(self, state: Learner, example: NetworkExamples) -> Float[Array, " classes"]:
        """The outputs."""
        return state.network(example.x)

    def features(
        self, state: Learner, example: NetworkExamples
    ) -> tuple[Float[Array, " width"], ...]:
        """Each hidden layer's."""
        return state.network.features(example.x)


def _inverse(hyper: PyTree) -> list[Any]:
    """1 / fan_in of each layer."""
    return [1 / PIXELS, 1 / hyper["width"], 1 / hyper["width"]]


def rates(mlp: MLP, hyper: PyTree) -> PyTree:
    """The learning-rate scaling of each array: 1 / fan_in, not counting units beyond the width."""
    layers = (*mlp.hidden, mlp.readout)
    fans = zip(layers, _inverse(hyper), strict=True)
    padded = jnp.stack([jnp.asarray(layer.weight.shape[0] * inverse) for layer, inverse in fans])
    return mlp_rates(Architecture("relu", DEPTH, lambda_W=padded), mlp)


def targets(labels: Any) -> Float[Array, "n classes"]:
    """What the outputs should be: one-hot labels minus their mean."""
    return jax.nn.one_hot(labels, CLASSES) - 1 / CLASSES


class Outputs(eqx.Module):
    """What is recorded: the outputs on these inputs."""

    x: Float[Array, "inputs pixels"]

    def __call__(self, now: Snapshot) -> Float[Array, "inputs classes"]:
        """The outputs of the network as it stands."""
        return jax.vmap(now.state.network)(self.x)


@eqx.filter_jit
def linearised(
    learners: Learner,
    hyper: PyTree,
    x: Array,
    y: Array,
    ntk: Array,
    step: float,
    steps: int,
    every: int,
) -> tuple[Array, Array, Array]:
    """Of each width and seed: linearised outputs [times, ...]; relative changes of the NTK.

    Gradient descent on the linearisation moves outputs by the initial NTK times the residuals so
    far, so that only those of the training inputs need to be followed.
    """
    n = len(y)
    limit = ntk[:n, :n, None, None] * jnp.eye(CLASSES)[None, None]

    def norm(a: Array) -> Array:
        return jnp.sqrt(jnp.sum(a**2))

    def one(learner: Learner, hyper: PyTree) -> tuple[Array, Array, Array]:
        scaling = rates(learner.start, hyper)
        theta = empirical_ntk(learner.start, x, x[:n], rates=scaling)
        final = empirical_ntk(learner.network, x[:n], rates=scaling)
        start = jax.vmap(learner.start)(x)
        flat = theta.transpose(0, 2, 1, 3).reshape(len(x) * CLASSES, n * CLASSES)

        def forward(total: Array, _: None) -> tuple[Array, Array]:
            f = start[:n].reshape(-1) - step * (flat[: n * CLASSES] @ total)
            return total + f - y.reshape(-1), total

        nothing = jnp.zeros(n * CLASSES, y.dtype)
        totals = jax.lax.scan(forward, nothing, length=steps + 1)[1][::every]
        linear = start[None] - step * (totals @ flat.T).reshape(len(totals), *start.shape)
        drift, error = norm(final - theta[:n]) / norm(theta[:n]), norm(theta[:n] - limit)
        return linear, drift, error / norm(limit)

    def of_width(both: tuple[Learner, PyTree]) -> tuple[Array, Array, Array]:
        return jax.lax.map(lambda learner: one(learner, both[1]), both[0])

    return jax.lax.map(of_width, (learners, hyper))
