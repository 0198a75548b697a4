"""The kernel of a finite network's features."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from nsh._checks import nearest, require
from nsh.theory.effective.tangent.calls import Called, Module, called, checked_outputs
from nsh.theory.effective.tangent.plan import layer_of, paths_of
from nsh.theory.effective.tangent.rows import incoming_of, program_layers


def empirical_nngp(
    module: Module,
    x: Shaped[Array, "n ..."],
    z: Shaped[Array, "m ..."] | None = None,
    *,
    layer: str | None = None,
    state: PyTree | None = None,
) -> Float[Array, "n m"]:
    """``K(x, z) = mean_c a_c(x) a_c(z)``, with a what comes into a dense or convolutional layer.

    Given the layers below, outputs of a layer with weights ~ N(0, C_W / fan_in) and biases
    ~ N(0, C_b) are Gaussian, with covariance ``C_b + C_W K`` (Neal 1996; Lee et al.,
    arXiv 1711.00165, section 2.2; arXiv 2106.10165, eq. 4.26). Where the layers below are wide
    this is the NNGP kernel.

    `layer`: the layer's place, such as "layers[3]", with the names of `layer_ntks`; by default the
    last, so that a are the features of the readout. A convolution has the mean over all that its
    window holds, padding included, and over places; so has a layer that is used for many tokens, or
    several times. The module is called as in inference. Differentiable. Raises `ValueError` if
    there is no such layer.

    Example:
        >>> from nsh.networks import MLP
        >>> from nsh.theory.effective import empirical_nngp
        >>> module = MLP((2, 5, 1), key=jax.random.key(0))
        >>> x = jnp.array([[1.0, 2.0], [0.0, 3.0]])
        >>> empirical_nngp(module, x, layer="hidden[0]").tolist()  # x.z / 2
        [[2.5, 3.0], [3.0, 4.5]]
    """
    given = called(module, state, None, False)
    _ = checked_outputs(given, x=x) if z is None else checked_outputs(given, x=x, z=z)
    return _nngp(given, x, z, layer)


@eqx.filter_jit
def _nngp(given: Called, x: Array, z: Array | None, layer: str | None) -> Array:
    names = [layer_of(path) for path in paths_of(given)]
    found = program_layers(given, x)
    known = list(dict.fromkeys(names[use.parameter] for use in found))
    allowed = "with dense or convolutional layers, for their features to be looked at"
    require(known, "module", type(given.module).__name__, f"one {allowed}")
    chosen = known[-1] if layer is None else layer
    allowed = f"one of {known}{nearest(chosen, known)}"
    require(chosen in known, "layer", layer, allowed)
    places = tuple(k for k, use in enumerate(found) if names[use.parameter] == chosen)

    def features(x: Array) -> Array:
        def one(x: Array, number: Array) -> Array:
            return jnp.concatenate([jnp.ravel(a) for a in incoming_of(given, x, number, places)])

        return jax.vmap(one)(x, jnp.arange(len(x)))

    with jax.default_matmul_precision("highest"):
        left = features(x)
        right = left if z is None else features(z)
        return left @ right.T / left.shape[1]
