"""Kernels of infinitely wide networks: of preactivations (NNGP) and of gradients (NTK).

The idea: in the limit of infinite width the preactivations of a layer are Gaussian over
networks. Their covariance K of two inputs, and the kernel Theta of their gradients, follow from
those of the layer below. One layer needs only the Gaussian means <s_a s_b> and <s'_a s'_b> of
the activation s. These are its dual, a function of the two variances and the correlation.

The computation has three parts.

- Each input alone (`rows_of`): the recursion of its own K and Theta, and the moments of every
  layer, which all pairs of this input share.
- All pairs (`pairs_of`): the recursion of K_ab and Theta_ab, from the rows of a and b. Instead of
  K_ab it carries the gap between the two inputs, so that near inputs lose nothing to rounding.
- Blocks (`_in_blocks`): pairs are computed some hundred inputs on a side, so that a block fits in
  a processor's cache. A symmetric matrix needs only one half.

The dual of an activation has a closed form, or an expansion in ramps and Hermite polynomials.
Each pair carries an estimate of what the expansion leaves out and of rounding.

Read next: `dual` for one layer, `gap` for the numbers that pairs carry, `errors` for the
estimates, `blocks` for more inputs than memory holds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from nsh._checks import as_finite, require, require_integer
from nsh._shown import Shown
from nsh._types import ArrayLike
from nsh.activations.arccos import safe_sqrt
from nsh.activations.pairs import Dual, InputMoments
from nsh.theory.effective.architecture import Architecture
from nsh.theory.effective.infinite_width.dual import dual_of
from nsh.theory.effective.infinite_width.errors import Errors, after_layer, floored
from nsh.theory.effective.infinite_width.gap import (
    Directions,
    added,
    angular_gaps,
    directions,
    product,
)
from nsh.theory.effective.infinite_width.hermite import TERMS
from nsh.theory.effective.infinite_width.pairs_in_blocks import in_blocks, mirrored
from nsh.theory.effective.infinite_width.resources import require_memory
from nsh.theory.effective.layers.inputs import LayerInputs, as_layer_inputs
from nsh.theory.effective.layers.layer import Layer
from nsh.theory.effective.layers.recursion import kernels_of_layers

BLOCK = 512  # inputs on a side: what a processor's cache holds


class Kernels(NamedTuple):
    """Of n inputs with m others: `nngp` K and `ntk` Theta, and their estimated errors, all [n, m].

    `error`: the larger of the errors of K_ab and Theta_ab, relative to sqrt(K_aa K_bb) and
    sqrt(Theta_aa Theta_bb). It is what the activation's expansion leaves out and what rounding
    adds in each layer, carried through the layers after it: a chaotic network magnifies it. 0
    for scale-invariant activations, which only have rounding, some 1e-7 a layer in 32 bits.

    Example:
        >>> from nsh.theory.effective import Architecture, kernels
        >>> kernels(Architecture("linear", 1, C_W=2.0), jnp.ones((1, 1)))
        Kernels(nngp=[[2.]], ntk=[[2.]], error=[[0.]])
    """

    # arrays of JAX, or of NumPy where they are made on the host
    nngp: Any
    ntk: Any
    error: Any

    __repr__ = Shown.__repr__


class Pairs(NamedTuple):
    """As `Kernels`, but without errors (None) where there are none but rounding."""

    nngp: Float[Array, "n m"]
    ntk: Float[Array, "n m"]
    error: Float[Array, "n m"] | None


class Rows(eqx.Module):
    """Quantities of each input alone.

    `root`: |x| / sqrt n_0. `layers`: moments of each hidden layer, leading axis [depth - 1].
    `roots`: of K of each layer, [depth, n]. `nngp`, `ntk`: the diagonals of the result.
    """

    unit: Directions
    root: Float[Array, " n"]
    layers: InputMoments
    roots: Float[Array, "depth n"]
    nngp: Float[Array, " n"]
    ntk: Float[Array, " n"]
    root_ntk: Float[Array, " n"]

    def at(self, start: int | Array, count: int) -> Rows:
        """`count` inputs from `start` on."""

        return self.each(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, count))

    def each(self, change: Callable[[Array], Array]) -> Rows:
        """All of it changed, the function seeing inputs along the first axis."""
        unit = jax.tree.map(change, self.unit)
        others = jax.tree.map(
            lambda leaf: jnp.moveaxis(change(jnp.moveaxis(leaf, -1, 0)), 0, -1),
            eqx.tree_at(lambda rows: rows.unit, self, None),
        )
        return eqx.tree_at(lambda rows: rows.unit, others, unit, is_leaf=lambda leaf: leaf is None)


def kernels(
    network: Architecture | Layer,
    x: ArrayLike | LayerInputs,
    z: ArrayLike | LayerInputs | None = None,
    *,
    block: int | None = None,
    terms: int = TERMS,
) -> Kernels:
    """NNGP and NTK of inputs x [n, ...] with z [m, ...], or with themselves; see `Kernels`.

    Of an `Architecture` with inputs [n, n_0]: K^1 = C_b + C_W x_a.x_b / n_0, Theta^1 = lambda_b +
    lambda_W x_a.x_b / n_0, and in every layer after the first

        K' = C_b + C_W <s_a s_b> + gamma^2 K
        Theta' = lambda_b + lambda_W <s_a s_b> + (C_W <s'_a s'_b> + gamma^2) Theta

    with z ~ N(0, K). Source: arXiv 2106.10165, chapters 4 and 8, in the limit of infinite width;
    gamma as in its appendix B. `terms` as in `dual`.

    Of a layer of `nsh.theory.effective.layers` with inputs [n, features, *positions] or tokens
    [n, *positions]: what its layers make of K = mean_i x_i z_i and Theta = 0, of Gaussian
    preactivations. `nsh.theory.effective.layers.LayerInputs` has inputs of different sizes, and
    graphs of their own. Where positions are left at the end, kernels are [n, m, *positions], of the
    same position in both inputs.

    Differentiable by the network's numbers and the inputs, except where an input is zero and
    C_b = 0 (derivatives by that input's own K are taken as 0) and between equal or opposite
    inputs of a kinked activation, where the NTK has a cusp (taken as 0 too).

    Of x with itself the result is symmetric, computed in blocks of `block` inputs on and above
    the diagonal only (by default, as many as fit in a processor's cache); the diagonal is that of
    a single input's recursion. All of it is in the device's memory: for large n see
    `kernels_on_host`. Off criticality K grows or falls exponentially with depth: float32 ends at
    0, or overflows to infinity or NaN, never hidden. Layers carry K itself, not what near inputs
    differ by: in 32 bits the NTK of a kinked activation between inputs that nearly agree is off by
    some 3e-4 a layer, as `error` does not say; use 64 bits there.

    Raises `ValueError` for inputs that are not finite or do not fit the network, which names the
    layer, and where the result does not fit in the memory there is.

    Example:
        >>> from nsh.theory.effective import Architecture, kernels
        >>> result = kernels(Architecture("relu", 2, C_W=2.0), jnp.eye(2))
        >>> round(float(result.nngp[0, 0]), 4), round(float(result.nngp[0, 1]), 4)  # 1 and 1 / pi
        (1.0, 0.3183)
    """
    if block is not None:
        require_integer("block", block, 1)
    if isinstance(network, Layer):
        first, second, positions = as_layer_inputs(network, x, z)
        _require_room(first, second, positions, other="iterate_blocks")
        return Kernels(*kernels_of_layers(network, first, second, block))
    allowed = "an Architecture, or a layer of nsh.theory.effective.layers"
    require(isinstance(network, Architecture), "network", network, allowed)
    x, z = as_inputs(x, z)
    _require_room(x, z)
    return _kernels(network, x, z, block or BLOCK, terms)


def _require_room(
    x: Array | LayerInputs,
    z: Array | LayerInputs | None,
    positions: tuple[int, ...] = (),
    other: str = "kernels_on_host",
) -> None:
    count = len(x) if z is None else len(z)
    # results, the blocks they are made of, and their transposes
    needed = 9 * len(x) * count * int(np.prod(positions)) * jnp.zeros(()).dtype.itemsize
    require_memory((len(x), count), needed, other)


@partial(jax.jit, static_argnames=("block", "terms"))
def _kernels(
    architecture: Architecture, x: Array, z: Array | None, block: int, terms: int
) -> Kernels:
    known = dual_of(architecture.activation, terms)
    rows = rows_of(architecture, known, x)
    if z is not None:
        others = rows_of(architecture, known, z)
        return with_errors(_in_blocks(architecture, known, rows, others, block))
    return symmetric(_in_blocks(architecture, known, rows, None, block), rows)


def as_inputs(
    x: ArrayLike | LayerInputs, z: ArrayLike | LayerInputs | None
) -> tuple[Array, Array | None]:
    """Both as arrays of floats, checked."""
    x = _inputs("x", x)
    if z is None:
        return x, None
    z = _inputs("z", z)
    require(z.shape[1] == x.shape[1], "z.shape", z.shape, f"(m, {x.shape[1]}), as x's")
    return x, z


def _inputs(field: str, given: Any) -> Array:
    allowed = "an array: layers.LayerInputs are for layers"
    require(not isinstance(given, LayerInputs), field, type(given).__name__, allowed)
    value = as_finite(field, given, float)
    allowed = "(inputs, features), both at least 1"
    require(value.ndim == 2 and value.size > 0, f"{field}.shape", value.shape, allowed)
    return value


def rows_of(architecture: Architecture, known: Dual, x: Array) -> Rows:
    """The recursions of single inputs."""
    root, unit = directions(x)
    skip = architecture.gamma**2

    def layer(carried: tuple[Array, Array], numbers: Array):
        K, Theta = carried
        C_b, C_W, lambda_b, lambda_W, _ = numbers
        m = known.moments(K)
        K = C_b + C_W * m.square + skip * K
        Theta = lambda_b + lambda_W * m.square + (C_W * m.slope + skip) * Theta
        return (K, Theta), (m, safe_sqrt(K))

    numbers = _numbers(architecture)
    C_b, C_W, lambda_b, lambda_W, _ = numbers[0]
    first = C_b + C_W * root**2
    start = first, lambda_b + lambda_W * root**2
    (nngp, ntk), (layers, later) = jax.lax.scan(layer, start, numbers[1:])
    roots = jnp.concatenate([safe_sqrt(first)[None], later])
    return Rows(unit, root, layers, roots, nngp, ntk, safe_sqrt(ntk))


def pairs_of(architecture: Architecture, known: Dual, a: Rows, b: Rows) -> Pairs:
    """The recursions of all pairs; without errors where there are none but rounding."""
    gamma, skip = architecture.gamma, architecture.gamma**2
    numbers = _numbers(architecture)
    C_b, _, lambda_b, lambda_W, root = numbers[0]
    x_a, x_b = a.root[:, None], b.root[None]
    gap = angular_gaps(a.unit, b.unit)
    Theta = lambda_b + lambda_W * product(x_a, x_b, gap)
    nothing = jnp.zeros_like(x_a), jnp.zeros_like(x_b), gap
    total = a.roots[0][:, None] * b.roots[0][None]
    gap = added(C_b, (root * x_a, root * x_b, gap), nothing, total)

    @jax.checkpoint
    def layer(carried: tuple[Array, Array, Errors | None], given: tuple):
        gap, Theta, errors = carried
        (C_b, C_W, lambda_b, lambda_W, root), m_a, m_b, root_a, root_b = given
        m_a, m_b, total = m_a.as_rows(), m_b.as_columns(), root_a[:, None] * root_b[None]
        found = known.pairs(m_a, m_b, gap)
        s = product(m_a.root_square, m_b.root_square, found.gap)
        if errors is not None:
            numbers = C_W, lambda_W, skip
            errors = after_layer(errors, numbers, (m_a, m_b), (gap, Theta), found, total)
        Theta = lambda_b + lambda_W * s + (C_W * found.slope + skip) * Theta
        skipped = gamma * m_a.root_K, gamma * m_b.root_K, gap
        made = root * m_a.root_square, root * m_b.root_square, found.gap
        gap = added(C_b, made, skipped, total)
        return (gap, Theta, errors), None

    zero = jnp.zeros_like(gap)
    start = gap, Theta, None if known.exact else Errors(zero, zero)
    given = numbers[1:], a.layers, b.layers, a.roots[1:], b.roots[1:]
    (gap, Theta, errors), _ = jax.lax.scan(layer, start, given)
    error = None
    if errors is not None:
        of_Theta = errors.Theta / floored(a.root_ntk[:, None] * b.root_ntk[None])
        error = jnp.maximum(errors.K, of_Theta)
    return Pairs(product(a.roots[-1][:, None], b.roots[-1][None], gap), Theta, error)


def with_errors(found: Pairs) -> Kernels:
    """With errors of 0 where there are none."""
    error = jnp.zeros_like(found.ntk) if found.error is None else found.error
    return Kernels(found.nngp, found.ntk, error)


def _numbers(architecture: Architecture) -> Float[Array, "depth 5"]:
    """C_b, C_W, lambda_b, lambda_W, sqrt C_W of each layer, in one array: see `SmoothedRamps`."""
    a = architecture
    return jnp.stack([a.C_b, a.C_W, a.lambda_b, a.lambda_W, safe_sqrt(a.C_W)], 1)


def _in_blocks(
    architecture: Architecture, known: Dual, a: Rows, b: Rows | None, block: int
) -> Pairs:
    """All pairs in blocks; of inputs with themselves (b None), what is above the diagonal."""
    shape = len(a.root), len((b or a).root)
    if max(shape) <= block:
        return pairs_of(architecture, known, a, b or a)
    first, second = padded(a, block), padded(b or a, block)

    def block_of(row: Array, column: Array) -> Pairs:
        return pairs_of(architecture, known, first.at(row, block), second.at(column, block))

    return in_blocks(block_of, shape, block, symmetric=b is None)


def symmetric(found: Pairs, rows: Rows) -> Kernels:
    """Of inputs with themselves: symmetric, the diagonals being those of single inputs."""
    error = None if found.error is None else mirrored(found.error)
    return with_errors(Pairs(mirrored(found.nngp, rows.nngp), mirrored(found.ntk, rows.ntk), error))


def padded(rows: Rows, block: int) -> Rows:
    """The last input repeated until their number is a multiple of `block`."""
    count = len(rows.root)
    place = np.minimum(np.arange(-(-count // block) * block), count - 1)
    return rows.each(lambda leaf: leaf[place])
