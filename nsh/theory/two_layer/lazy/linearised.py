"""Linearised training: a two-layer network replaced by its tangent at the start."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree

from nsh._checks import require
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.system import System
from nsh.theory.two_layer.network import Examples, Hyper, TwoLayer
from nsh.theory.two_layer.particles import Particles


class Tangent(Shown):
    """The particles at the start, and where linearised training has brought them.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, Linearised, TwoLayer
        >>> network = Linearised(TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]])))
        >>> network.init(jax.random.key(0), {"alpha": 1.0})
        Tangent(
          start=Particles(u=[[1.]], theta=[[2.]], mass=[1.], alpha=1.),
          now=Particles(u=[[1.]], theta=[[2.]], mass=[1.], alpha=1.)
        )
    """

    start: Particles
    now: Particles


class Linearised(System):
    """``f_lin(x) = f(w_0, x) + Df(w_0, x) (w - w_0)``, trained as `network` would be.

    Source: Lee et al., arXiv 1902.06720, section 2.2; Chizat, Oyallon, Bach, arXiv 1812.07956.
    Everything else is the network's: loss, hyperparameters (decay and noise act on w), start,
    samplers. The state is a `Tangent`; the same key gives the same start, so that a network and
    its linearisation can be compared seed by seed. With squared error, one output, full batches
    and neither decay nor noise it is, step by step, ``f_{t+1} = f_t - (eta / n) K (f_t - y)`` with
    K = ``ntk(network, start, x)``, which `mse_dynamics` has in closed form for all t. Of any other
    module the linearisation is `nsh.networks.Taylor`.

    Differentiable like `TwoLayer`. Raises `ValueError` unless `network` is a `TwoLayer`.

    Example:
        >>> from nsh.theory.two_layer import FromArrays, Linearised, TwoLayer
        >>> network = Linearised(TwoLayer(1, FromArrays(u=[[1.0]], theta=[[2.0]])))
        >>> state = network.init(jax.random.key(0), {"alpha": 1.0})
        >>> network.output(state, jnp.array([3.0])).tolist()  # the network's own
        [6.0]
    """

    network: TwoLayer

    def __check_init__(self):
        require(isinstance(self.network, TwoLayer), "network", self.network, "a TwoLayer")

    def prepare(self, x: ArrayLike, y: ArrayLike) -> Examples:
        """See `TwoLayer.prepare`."""
        return self.network.prepare(x, y)

    def check(self, hyper: PyTree, steps: int) -> None:
        """See `TwoLayer.check`."""
        self.network.check(hyper, steps)

    def check_examples(self, examples: Examples) -> None:
        """See `TwoLayer.check_examples`."""
        self.network.check_examples(examples)

    def masked(self, batch: Examples, present: Bool[Array, " batch"]) -> Examples:
        """See `TwoLayer.masked`."""
        return self.network.masked(batch, present)

    def bounds(self, hyper: PyTree) -> PyTree:
        """See `TwoLayer.bounds`."""
        return self.network.bounds(hyper)

    def init(self, key: Key[Array, ""], hyper: Hyper) -> Tangent:
        """The network's start, nothing moved."""
        start = self.network.init(key, hyper)
        return Tangent(start, start)

    def output(self, state: Tangent, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """``f(w_0, x) + Df(w_0, x) (w - w_0)``."""
        moved = jax.tree.map(jnp.subtract, state.now, state.start)
        value, change = jax.jvp(lambda w: self.network.output(w, x), (state.start,), (moved,))
        return value + change

    def step(self, state: Tangent, batch: Examples, hyper: Hyper, key: Key[Array, ""]) -> Tangent:
        """One step of (noisy) gradient descent, with gradients of f taken at the start."""
        outputs = jax.vmap(self.output, (None, 0))(state, batch.x)
        gradient = self.network.potential_gradient(
            state.start, batch.x, self.network.output_gradient(outputs, batch.y, batch.present)
        )
        return Tangent(state.start, self.network.updated(state.now, gradient, hyper, key))

    def outputs(self, state: Tangent, example: Examples) -> Float[Array, " outputs"]:
        """The output f_lin(x)."""
        return self.output(state, example.x)

    def features(self, state: Tangent, example: Examples) -> tuple[Float[Array, " width"]]:
        """The hidden layer at the start: linearised training does not change features."""
        return self.network.features(state.start, example)
