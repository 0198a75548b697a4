"""Learning rates that let every layer contribute equally to the network's tangent kernel."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_numbers, is_concrete, require, require_all, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations.gaussian import gaussian
from nsh.theory.effective.architecture import Architecture, LearningRates
from nsh.theory.effective.critical.criticality import Criticality
from nsh.theory.effective.means import first_layer, later_layers

PerLayer = Float[Array, " layers"]


class Contributions(Shown):
    """Contributions of each layer's biases and weights to the output's mean tangent kernel.

    The sum of all is Theta of layer L at infinite width.
    """

    biases: PerLayer
    weights: PerLayer


def contributions(architecture: Architecture, x2: ArrayLike) -> Contributions:
    """Each layer's part of Theta^L, for one input with x2 = |x|^2 / n_0; leaves [layers].

    Layer l adds ``(lambda_b + lambda_W g_{l-1}) prod_{m=l}^{L-1} (chi_perp_m + gamma^2)``, with
    g = <s^2>, g_0 = x2 (arXiv 2106.10165, chapter 9). Differentiable by all numbers. NaN below
    layers whose K leaves the range of floats. Raises `ValueError` for a bad x2.

    Example:
        >>> from nsh.theory.effective import Architecture, contributions
        >>> result = contributions(Architecture("relu", 2, C_W=2.0), 1.0)
        >>> result.biases.round(4).tolist(), result.weights.round(4).tolist()
        ([1.0, 1.0], [1.0, 1.0])
    """
    activation, gamma2 = architecture.activation, architecture.gamma**2
    K, _ = first_layer(architecture, x2)

    def step(K: Array, after: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        C_b, C_W, *_ = after
        nodes = gaussian(K, activation)
        g = nodes.mean_square(activation(nodes.z))
        passed = C_W * nodes.mean(activation.derivative(nodes.z) ** 2) + gamma2
        return C_b + C_W * g + gamma2 * K, (g, passed)

    _, (g, passed) = jax.lax.scan(step, K, later_layers(architecture))
    signal = jnp.concatenate([jnp.asarray(x2, K.dtype)[None], g])
    downstream = jnp.concatenate([jnp.cumprod(passed[::-1])[::-1], jnp.ones((1,), K.dtype)])
    return Contributions(
        architecture.lambda_b * downstream, architecture.lambda_W * signal * downstream
    )


def equal_rates(
    architecture: Architecture,
    x2: ArrayLike,
    *,
    lambda_b: ArrayLike = 1.0,
    lambda_W: ArrayLike = 1.0,
) -> LearningRates:
    """Learning rates, as keywords of `Architecture`, with which all layers contribute equally.

    Each layer's biases then add lambda_b / L to Theta^L and its weights lambda_W / L, so that
    Theta^L = lambda_b + lambda_W: exact at infinite width, for any activation, depth and
    initialisation, critical or not. The architecture's own rates do not matter. Raises
    `ValueError` as `contributions`, and where a layer's part at rate 1 is 0 (weights of an input
    0) or, deep off criticality, beyond floats: no finite rate makes it equal. (A traced rate is
    then infinite or NaN.)

    Example:
        >>> from nsh.theory.effective import Architecture, equal_rates
        >>> result = equal_rates(Architecture("relu", 2, C_W=2.0), 1.0)
        >>> result["lambda_W"].round(4).tolist()
        [0.5, 0.5]
    """
    one = jnp.ones((architecture.depth,), architecture.C_W.dtype)
    plain = eqx.tree_at(lambda a: (a.lambda_b, a.lambda_W), architecture, (one, one))
    parts = contributions(plain, x2)
    for name, part in {"biases": parts.biases, "weights": parts.weights}.items():
        if is_concrete(part):
            usable = np.isfinite(part) & (np.asarray(part) > np.finfo(part.dtype).tiny)
            require_all(usable, f"contribution of {name}", part, "> 0 and in the range of floats")
    dtype = architecture.C_W.dtype
    return {
        "lambda_b": as_numbers("lambda_b", lambda_b, dtype) / (architecture.depth * parts.biases),
        "lambda_W": as_numbers("lambda_W", lambda_W, dtype) / (architecture.depth * parts.weights),
    }


def critical_rates(
    critical: Criticality, depth: int, *, lambda_b: ArrayLike = 1.0, lambda_W: ArrayLike = 1.0
) -> LearningRates:
    """The law that `equal_rates` follow deep in a critical network, as keywords of `Architecture`.

    ``lambda_b,l = lambda_b l^-p L^(p-1)`` and ``lambda_W,l = lambda_W l^(p_K-p) L^(p-1)``, with
    p = p_perp and K ~ l^-p_K: 1/L for all layers of the scale-invariant and, started at K*, the
    half-stable class; (L/l)^(p-1) for weights where p_K = 1 (arXiv 2106.10165, chapter 9).
    Raises `ValueError` for a class without such a law, and unless `critical` is a `Criticality`.

    Example:
        >>> from nsh.theory.effective import critical_rates, criticality
        >>> result = critical_rates(criticality("relu"), depth=4)
        >>> result["lambda_W"].round(4).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    given = type(critical).__name__
    require(isinstance(critical, Criticality), "critical", given, "a Criticality, of `criticality`")
    L = require_integer("depth", depth, 1)
    p, p_K = critical.p_perp, critical.p_K
    require(
        np.isfinite(p), "activation", critical.activation.name,
        "one whose critical kernels obey a power law; equal_rates needs none",
    )  # fmt: skip
    layer = jnp.arange(1, L + 1).astype(float)
    downstream = layer**-p * L ** (p - 1)
    return {
        "lambda_b": as_numbers("lambda_b", lambda_b, float) * downstream,
        "lambda_W": as_numbers("lambda_W", lambda_W, float) * layer**p_K * downstream,
    }
