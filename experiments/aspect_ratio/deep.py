"""Networks on the digits whose depth is a number, so that one program serves all depths."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from nsh.activations import as_activation
from nsh.networks import Network
from nsh.networks.for_digits import CLASSES, PIXELS
from nsh.theory.effective.samples.seeds import standard_normals

C_W = {"relu": 2.0, "tanh": 1.0}  # critical; C_b = 0


class Deep(eqx.Module):
    """Fully connected, the same gain in all layers; of the hidden ones the first `layers` act.

    So one program serves all depths. Biases start at 0.
    """

    first: Float[Array, "pixels width"]
    middle: Float[Array, "most width width"]
    readout: Float[Array, "width classes"]
    bias: Float[Array, "layers width"]
    last_bias: Float[Array, " classes"]
    layers: Int[Array, ""]
    activation: str = eqx.field(static=True)

    def features(self, x: Float[Array, "..."]) -> tuple[Float[Array, " width"]]:
        """The last hidden layer's vector, after its activation."""
        act = as_activation(self.activation)

        def layer(h: Array, given: tuple[Array, Array, Array]) -> tuple[Array, None]:
            weight, bias, place = given
            return jnp.where(place < self.layers, act(h @ weight + bias), h), None

        start = act(x.reshape(-1) @ self.first + self.bias[0])
        places = jnp.arange(1, len(self.bias))
        last, _ = jax.lax.scan(layer, start, (self.middle, self.bias[1:], places))
        return (last,)

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " classes"]:
        """The logits of one example."""
        return self.features(x)[-1] @ self.readout + self.last_bias


@functools.cache
def deep_network(activation: str, width: int, most: int) -> Network:
    """Critical networks on the digits, of `width`; ``hyper["start"]["layers"]`` hidden layers act.

    At most `most` of them.
    """

    def make(key: Key[Array, ""], layers: float | Float[Array, ""] = most) -> Deep:
        shapes = (PIXELS, width), (most - 1, width, width), (width, CLASSES)
        first, middle, readout = (
            part * float(np.sqrt(C_W[activation] / part.shape[-2]))
            for part in standard_normals(key, float, *shapes)
        )
        bias, last_bias = jnp.zeros((most, width)), jnp.zeros(CLASSES)
        return Deep(
            first,
            middle,
            readout,
            bias,
            last_bias,
            jnp.asarray(layers).astype(jnp.int32),
            activation,
        )

    return Network(make, optax.sgd)
