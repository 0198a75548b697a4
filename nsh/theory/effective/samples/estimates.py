"""Estimates of the fluctuation tensors from samples of finite networks, with standard errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np

from nsh._checks import require_integer
from nsh._estimate import Estimate, estimate
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.samples.autodiff_sampler import NetworkSamples
from nsh.theory.effective.samples.dntk_sampler import DntkSamples
from nsh.theory.effective.samples.sampler import Samples


@singledispatch
def estimates(samples: Any) -> dict[str, Estimate]:
    """Estimate the tensors of `Fluctuations` from the samples, by their letters.

    Correlations as they are, of the order of 1/width. Each is a mean over networks of one number a
    network, as little noisy as can be: averaged over all pairs of outputs and, of `Samples`, over
    the output layer's weights, given the hidden layers. With v the variance of the outputs given
    the hidden layers and h the mean of H_aa over outputs, ``V = Var v``, ``D = Cov(v, h)``,
    ``A = Cov(H_aa, H_bb)``, ``B = E[H_ab^2]``, ``F = E[mixed]``, for a != b.

    `Samples` give K, Theta, V, A, B, D, F; `DntkSamples` P, Q; `NetworkSamples` all of them from
    the definitions, with more noise. Sums are of 64 bits, on the host. Errors are those of sample
    means: too small where tails are heavy (ReLU, depth / width near 1), if seeds are few.

    Example:
        >>> from nsh.theory.effective import Architecture, estimates, output_samples
        >>> network = Architecture("relu", depth=2, widths=8, C_W=2.0)
        >>> K = estimates(output_samples(network, 1.0, jax.random.key(0), seeds=400))["K"]
        >>> bool(abs(K.mean - 2.0) < 4 * K.standard_error)
        True
    """
    raise TypeError(f"samples = {samples!r}: must be of output_samples, dntk_ or network_samples")


@estimates.register
def _(samples: Samples) -> dict[str, Estimate]:
    variance, ntk = _numbers(samples.variance), _numbers(samples.ntk)
    found = _of_ntk(ntk)
    away = variance - variance.mean()
    theta = np.diagonal(ntk, axis1=1, axis2=2).mean(1)
    return found | {
        "K": estimate(variance),
        "V": estimate(away**2),
        "D": estimate(away * (theta - theta.mean())),
        "F": estimate(_numbers(samples.mixed)),
    }


@estimates.register
def _(samples: DntkSamples) -> dict[str, Estimate]:
    return {"P": estimate(_numbers(samples.P)), "Q": estimate(_numbers(samples.Q))}


@estimates.register
def _(samples: NetworkSamples) -> dict[str, Estimate]:
    z, ntk, dntk = _numbers(samples.outputs), _numbers(samples.ntk), _numbers(samples.dntk)
    square, theta = z**2, np.diagonal(ntk, axis1=1, axis2=2)
    away, moved = square - square.mean(), theta - theta.mean()
    a, b = np.nonzero(~np.eye(z.shape[1], dtype=bool))
    return _of_ntk(ntk) | {
        "K": estimate(square.mean(1)),
        "V": estimate((away[:, a] * away[:, b]).mean(1)),
        "D": estimate((away[:, a] * moved[:, b]).mean(1)),
        "F": estimate((z[:, a] * z[:, b] * ntk[:, a, b]).mean(1)),
        "P": estimate((dntk[:, a, b, b] * z[:, a]).mean(1)),
        "Q": estimate((dntk[:, a, a, b] * z[:, b]).mean(1)),
    }


def extrapolate(
    narrow: Mapping[str, Estimate], wide: Mapping[str, Estimate]
) -> dict[str, Estimate]:
    """First-order correlations at the narrow widths, from estimates at these and at twice these.

    ``4 wide - narrow``: of a correlation c1 / n + c2 / n^2 + ..., c1 / n, up to order 1 / n^3.
    (Theory is to first order, and off by about nu depth / (2 width).) Not for K and Theta, whose
    limits are not 0: those are left out.

    Example:
        >>> from nsh.measure import Estimate
        >>> from nsh.theory.effective import extrapolate
        >>> narrow, wide = {"V": Estimate(0.5, 0.0, 100)}, {"V": Estimate(0.25, 0.0, 100)}
        >>> extrapolate(narrow, wide)["V"].mean
        0.5
    """
    return {
        name: Estimate(
            4 * wide[name].mean - narrow[name].mean,
            np.hypot(4 * wide[name].standard_error, narrow[name].standard_error),
            min(wide[name].count, narrow[name].count),
        )
        for name in narrow
        if name not in ("K", "Theta")
    }


def widen(architecture: Architecture, factor: int = 2) -> Architecture:
    """The same architecture with all hidden layers `factor` times as wide.

    Example:
        >>> from nsh.theory.effective import Architecture, widen
        >>> widen(Architecture("relu", 3, (10, 20))).widths
        (20, 40)
    """
    require_integer("factor", factor, 1)
    widths = tuple(factor * width for width in architecture.hidden_widths())
    return dataclasses.replace(architecture, widths=widths)


def _of_ntk(ntk: np.ndarray) -> dict[str, Estimate]:
    """Theta, A and B. Subtracting the sample's own mean biases by 1 / seeds, far below errors."""
    theta = np.diagonal(ntk, axis1=1, axis2=2)
    outputs = theta.shape[1]
    pairs = outputs * (outputs - 1)
    away = theta - theta.mean()
    squares = np.sum(ntk**2, axis=(1, 2)) - np.sum(theta**2, axis=1)
    return {
        "Theta": estimate(theta.mean(1)),
        "A": estimate((away.sum(1) ** 2 - np.sum(away**2, axis=1)) / pairs),
        "B": estimate(squares / pairs),
    }


def _numbers(leaf: Any) -> np.ndarray:
    return np.asarray(leaf, np.float64)
