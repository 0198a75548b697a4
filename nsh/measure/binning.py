"""Mutual information of a binned representation, the bins following the data."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from nsh._checks import require_integer
from nsh.measure._tools import (
    checked_labels,
    checked_rows,
    map_rows,
    nan_with,
    same_group,
    where_labelled,
)
from nsh.measure.recorded import Variable, recorded


@recorded(
    "binned_information",
    binned_information_input=Variable("I(binned level; input)", "bits", differentiable=False),
    binned_information_label=Variable("I(binned level; label)", "bits", differentiable=False),
)
def binned_information(
    features: Float[Array, "n d"], labels: Int[Array, " n"], *, classes: int, bins: int = 30
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """I(T; X) and I(T; Y) in bits, T being the features, each replaced by its bin.

    The edges are quantiles of all the activations of the level at this moment, so that each bin
    holds as many: the entropy-based adaptive binning of Chelombiev, Houghton and O'Donnell,
    "Adaptive estimators show information compression in deep neural networks" (ICLR 2019). Bins
    of fixed width make "compression" out of mere growth or saturation: Saxe et al., "On the
    information bottleneck theory of deep learning" (ICLR 2018). Equal activations share a bin, so
    the result does not change under any strictly increasing transformation of the level.

    T is a function of the input, so I(T; X) = H(T): with wide levels it soon is log2 n, whatever
    was learned. NaN if a feature is. Raises `ValueError` on labels outside 0..classes-1 (NaN where
    they are traced) or fewer than 2 bins. Not differentiable: piecewise constant, its derivative is
    0 almost everywhere.

    Example:
        Four inputs in two bins, a bin for each class:

        >>> from nsh.measure import binned_information
        >>> features, labels = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([0, 0, 1, 1])
        >>> input_bits, label_bits = binned_information(features, labels, classes=2, bins=2)
        >>> float(input_bits), float(label_bits)
        (1.0, 1.0)
    """
    features = checked_rows(features, "features")
    n, d = features.shape
    labels, inside = checked_labels(labels, n, classes)
    require_integer("bins", bins, 2)
    ranks = np.arange(1, bins) * features.size // bins
    edges = jnp.sort(features.reshape(-1))[ranks]
    codes = jnp.searchsorted(edges, features, side="right")
    alike = map_rows(lambda code: jnp.all(codes == code[None], axis=1), codes, n * d)
    of_class = same_group(labels)

    def log_share(rows):
        return jnp.mean(jnp.log2(jnp.mean(rows, axis=1, dtype=features.dtype)))

    input_bits = -log_share(alike)
    label_bits = log_share(alike & of_class) - log_share(alike) - log_share(of_class)
    found = nan_with(jnp.stack([input_bits, label_bits]), features)
    input_bits, label_bits = where_labelled(found, inside)
    return input_bits, label_bits
