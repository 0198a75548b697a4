"""Layers that mix positions: attention, graphs, encodings of positions; and tokens."""

from __future__ import annotations

from dataclasses import KW_ONLY
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from nsh._checks import as_finite, is_concrete, plain_integer, require, require_integer
from nsh._types import ArrayLike
from nsh.theory.effective.infinite_width.errors import Errors
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.layer import (
    Layer,
    Module,
    Number,
    Signal,
    Weights,
    as_variance,
    require_positions,
)
from nsh.theory.effective.layers.windows import product
from nsh.theory.effective.prediction.matrices import as_symmetric


class SelfAttention(Layer):
    """Attention of all positions to all: ``y(p) = sum_q softmax_q(G(p, q)) x(q)``.

    ``G(p, q) = (W x(p)).(W x(q)) / d`` with one matrix W for queries and keys, N(0, C_QK /
    fan_in), of d rows. At infinite width it is C_QK K(p, q) of the input itself. So ``K' = A_a K
    A_b^T`` with ``A = softmax(C_QK K)``. Theta changes alike; W adds nothing to it.
    (Hron, Bahri, Sohl-Dickstein, Novak, arXiv 2006.10540, with 1 / d scaling.) Values and outputs
    are layers after it: ``Serial(SelfAttention(64), Dense(64), Dense(64))``.

    `width`: d, of a network of finite width, which does not train W. `encoding`: a covariance
    [positions, positions] that is added to K in A alone. Raises `ValueError` for tokens, inputs
    without positions, and an encoding that is no covariance.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.SelfAttention(8, C_QK=0.0), layers.GlobalAvgPool())
        >>> kernels(network, jnp.array([[[1.0, 3.0]]])).nngp.tolist()  # uniform: the mean
        [[4.0]]
    """

    width: int = eqx.field(static=True, converter=plain_integer)
    _: KW_ONLY
    C_QK: Number = eqx.field(default=1.0, converter=partial(as_variance, "C_QK"))
    encoding: Float[Array, "positions positions"] | None = eqx.field(
        default=None,
        converter=lambda given: given if given is None else _as_covariance("encoding", given),
    )

    def __check_init__(self):
        require_integer("width", self.width, 1)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        if self.encoding is not None:
            _require_size(f"{place}.encoding", self.encoding, signal)
        return signal._replace(gaussian=False)

    def needs_all_pairs(self, after: bool) -> bool:  # noqa: ARG002
        """See `Layer.needs_all_pairs`."""
        return True

    def _attention(self, K: Float[Array, "p p"], present: Array | None) -> Float[Array, "p p"]:
        given = K if self.encoding is None else K + self.encoding
        where = None if present is None else present.reshape(1, -1)
        return jax.nn.softmax(self.C_QK * given, axis=-1, where=where)

    def of_one(self, covariance: Covariance, all_pairs: bool) -> tuple[Covariance, Array]:  # noqa: ARG002
        """See `Layer.of_one`."""
        attention = self._attention(_square(covariance.nngp), covariance.sides[0].present)
        return mixed(covariance, attention, attention), attention

    def of_pairs(self, covariance: Covariance, a: Array, b: Array, all_pairs: bool) -> Covariance:  # noqa: ARG002
        """See `Layer.of_pairs`."""
        return mixed(covariance, a, b)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """A module with weights [width, features]."""
        weight = jax.random.normal(key, (self.width, signal.features))
        weight = weight * jnp.sqrt(self.C_QK / signal.features)
        encoding = None if self.encoding is None else self.C_QK * self.encoding
        return Attention(weight, encoding)


class Attention(eqx.Module):
    """What `SelfAttention` builds."""

    weight: Float[Array, "width features"]
    encoding: Array | None

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [features, *positions]."""
        flat = x.reshape(len(x), -1)
        queries = self.weight @ flat
        G = queries.T @ queries / len(self.weight)
        if self.encoding is not None:
            G = G + jax.lax.stop_gradient(self.encoding)
        return (flat @ jax.nn.softmax(G, axis=-1).T).reshape(x.shape)


class LinearAttention(Layer):
    """Attention without softmax, of many heads: ``y_h(p) = sum_q G_h(p, q) x(q)``.

    ``G_h(p, q) = (Q_h x(p)).(K_h x(q)) / sqrt(d)``, with weights N(0, C_QK / fan_in) of d rows for
    the queries and for the keys of each head. Scaled so, G stays random at infinite width, and
    averages over heads have the limit (Hron, Bahri, Sohl-Dickstein, Novak, arXiv 2006.10540)

        K'(p, q) = C_QK^2 K(p, q) sum_rs K(r, s)^2
        Theta'(p, q) = C_QK^2 (Theta(p, q) sum_rs K(r, s)^2 + 2 K(p, q) sum_rs K(r, s) Theta(r, s))
                       + 2 lambda_QK C_QK K(p, q) sum_rs K(r, s)^2

    Sums go over all positions r of one input and s of the other. Softmax with this scaling has no
    closed form: see `SelfAttention`. The heads are put side by side; values and outputs are layers
    after it: ``Serial(LinearAttention(64, heads=8), Dense(64))``.

    `width`: d, and `heads`: of a network of finite width. `lambda_QK`: the learning rate of the
    weights, times fan_in. Raises `ValueError` for tokens, and inputs without positions.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.LinearAttention(8, heads=4), layers.Flatten())
        >>> kernels(network, jnp.array([[[1.0, 2.0]]])).nngp.tolist()  # (1 + 4) / 2 times 25
        [[62.5]]
    """

    width: int = eqx.field(static=True, converter=plain_integer)
    _: KW_ONLY
    heads: int = eqx.field(static=True, default=1, converter=plain_integer)
    C_QK: Number = eqx.field(default=1.0, converter=partial(as_variance, "C_QK"))
    lambda_QK: Number = eqx.field(default=1.0, converter=partial(as_variance, "lambda_QK"))

    def __check_init__(self):
        require_integer("width", self.width, 1)
        require_integer("heads", self.heads, 1)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        features = self.heads * signal.features
        return signal._replace(features=features, gaussian=False, uncorrelated=True)

    def needs_all_pairs(self, after: bool) -> bool:  # noqa: ARG002
        """See `Layer.needs_all_pairs`."""
        return True

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        given = covariance.there()
        K, Theta, C, rate = given.nngp, given.ntk, self.C_QK, self.lambda_QK
        square, cross = jnp.sum(K**2), jnp.sum(K * Theta)
        of_weights = 2 * rate * C * K * square
        ntk = C**2 * (Theta * square + 2 * K * cross) + of_weights
        error = given.error
        if error is not None:  # of first order
            of_K, of_Theta = error
            size, slope = jnp.abs(K), jnp.abs(Theta)
            of_square = 2 * jnp.sum(size * of_K)
            of_cross = jnp.sum(of_K * slope + size * of_Theta)
            of_product = of_K * square + size * of_square
            error = Errors(
                C**2 * of_product,
                C**2 * (of_Theta * square + slope * of_square)
                + 2 * C**2 * (of_K * jnp.abs(cross) + size * of_cross)
                + 2 * rate * C * of_product,
            )
        found = given.changed(C**2 * K * square, ntk, error)
        return found.having(self.heads * covariance.features)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """A module with weights [heads, width, features] for queries and for keys."""
        shape = 2, self.heads, self.width, signal.features
        queries, keys = jax.random.normal(key, shape) * jnp.sqrt(self.C_QK / signal.features)
        return ManyHeads(queries, keys)

    def rates(self, module: ManyHeads) -> ManyHeads:
        """See `Layer.rates`."""
        rate = self.lambda_QK / module.queries.shape[-1]
        return eqx.tree_at(lambda m: (m.queries, m.keys), module, (rate, rate))


class ManyHeads(eqx.Module):
    """What `LinearAttention` builds."""

    queries: Float[Array, "heads width features"]
    keys: Float[Array, "heads width features"]

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [features, *positions]."""
        flat = x.reshape(len(x), -1)
        G = jnp.swapaxes(self.queries @ flat, 1, 2) @ (self.keys @ flat)
        G = G / self.queries.shape[1] ** 0.5
        mixed = jnp.einsum("hpq,fq->hfp", G, flat)
        return mixed.reshape(-1, *x.shape[1:])


class Aggregate(Layer):
    """``y(p) = sum_q matrix(p, q) x(q)`` of positions that are nodes of a graph.

    ``K' = M_a K M_b^T``, Theta alike (Du et al., arXiv 1905.13192). `matrix` [places, positions],
    such as an adjacency matrix, normalised or not, of the graph that all inputs have. None: each
    input's own, the `graph` of `LayerInputs`.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.Aggregate(jnp.array([[1.0, 1.0]])), layers.Flatten())
        >>> kernels(network, jnp.array([[[1.0, 3.0]]])).nngp.tolist()
        [[16.0]]
    """

    matrix: Float[Array, "places positions"] | None

    def __init__(self, matrix: ArrayLike | None = None):
        self.matrix = None
        if matrix is None:
            return
        self.matrix = as_finite("matrix", matrix, float)
        shape = self.matrix.shape
        require(len(shape) == 2 and min(shape) > 0, "matrix.shape", shape, "[places, positions]")

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        if self.matrix is None:
            allowed = "layers.LayerInputs(x, graph=...), or a matrix: Aggregate(matrix)"
            require(signal.graph, f"{place}: its inputs", "without graphs", allowed)
            return signal
        one = len(signal.positions) == 1
        require(one, f"{place}: axes of positions", len(signal.positions), "1, the graph's nodes")
        count = self.matrix.shape[1]
        allowed = f"{count}, the columns of the matrix"
        require(signal.positions[0] == count, f"{place}: positions", signal.positions[0], allowed)
        square = signal.graph and self.matrix.shape[0] == count
        return signal._replace(positions=(self.matrix.shape[0],), graph=square)

    def needs_all_pairs(self, after: bool) -> bool:  # noqa: ARG002
        """See `Layer.needs_all_pairs`."""
        return True

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        given, matrix = covariance.there(), self.matrix
        if matrix is not None:
            reached = jnp.abs(matrix) > 0
            found = mixed(given, matrix, matrix)
            return found.with_present(lambda present: jnp.any(reached & present[None], 1))
        a, b = (side.graph for side in covariance.sides)
        assert a is not None
        assert b is not None
        return mixed(given, a, b)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """A module that multiplies by the matrix, which is not trained."""
        allowed = "a matrix: a module takes no graph besides its input"
        matrix = self.matrix
        require(matrix is not None, "matrix", None, allowed)
        assert matrix is not None
        return Aggregation(matrix)


class Aggregation(eqx.Module):
    """What `Aggregate` builds."""

    matrix: Float[Array, "places positions"]

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [features, positions]."""
        return x @ jax.lax.stop_gradient(self.matrix).T


class PositionalEncoding(Layer):
    """A random vector added at each position, alike for all inputs: ``K' = K + covariance``.

    ``covariance`` [positions, positions], positive semidefinite: of one feature at two positions.
    It is drawn with the weights and not trained: Theta' = Theta. Raises `ValueError` for what is
    no covariance, or not that of the inputs' positions.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> encoded = layers.Serial(layers.PositionalEncoding(jnp.eye(2)), layers.Flatten())
        >>> kernels(encoded, jnp.array([[[1.0, 3.0]]])).nngp.tolist()
        [[6.0]]
    """

    covariance: Float[Array, "positions positions"]

    def __init__(self, covariance: ArrayLike):
        self.covariance = _as_covariance("covariance", covariance)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require_positions(signal, place)
        _require_size(f"{place}.covariance", self.covariance, signal)
        return signal._replace(uncorrelated=False)

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        positions = covariance.positions
        if covariance.all_pairs:
            more = self.covariance.reshape(*positions, *positions)
        else:
            more = jnp.diagonal(self.covariance).reshape(positions)
        return covariance.changed(covariance.nngp + more, covariance.ntk, covariance.error)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """A module that adds the encoding."""
        count = product(signal.positions)
        value, vector = jnp.linalg.eigh(self.covariance)
        root = vector * jnp.sqrt(jnp.maximum(value, 0))[None]
        drawn = jax.random.normal(key, (signal.features, count)) @ root.T
        return Encoding(drawn.reshape(signal.features, *signal.positions))


class Encoding(eqx.Module):
    """What `PositionalEncoding` builds."""

    vectors: Float[Array, "features ..."]

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input."""
        return x + jax.lax.stop_gradient(self.vectors)


class Embedding(Weights):
    """A vector of `features` numbers for each token of a vocabulary: ``y(p) = W[token(p)]``.

    ``K'(p, q) = C_b + C_W`` where the tokens are equal, else C_b; Theta' with lambda_b and
    lambda_W. Inputs are whole numbers [n, *positions]: it is a network's first layer. W ~ N(0,
    C_W), with learning rate lambda_W.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.Embedding(64, 5), layers.Flatten())
        >>> kernels(network, jnp.array([[0, 4], [0, 3]])).nngp.tolist()  # half of them are equal
        [[1.0, 0.5], [0.5, 1.0]]
    """

    features: int = eqx.field(static=True, converter=plain_integer)
    vocabulary: int = eqx.field(static=True, converter=plain_integer)

    def __check_init__(self):
        require_integer("features", self.features, 1)
        require_integer("vocabulary", self.vocabulary, 1)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        require(signal.tokens, f"{place}: its inputs", "numbers", "tokens: whole numbers")
        allowed = f"at least {signal.features}, as tokens go to {signal.features - 1}"
        fits = signal.features <= self.vocabulary
        require(fits, f"{place}.vocabulary", self.vocabulary, allowed)
        return Signal(self.features, signal.positions, True, True)

    def fan_in(self, signal: Signal) -> int:  # noqa: ARG002
        """See `Weights.fan_in`: one token is one input."""
        return 1

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        return self.weighted(covariance)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """A module with weights [vocabulary, features]."""
        of_weight, of_bias = jax.random.split(key)
        weight = jax.random.normal(of_weight, (self.vocabulary, self.features))
        bias = jax.random.normal(of_bias, (self.features,))
        return Embedded(weight * jnp.sqrt(self.C_W), bias * jnp.sqrt(self.C_b))

    def rates(self, module: Embedded) -> Embedded:
        """See `Layer.rates`."""
        return eqx.tree_at(lambda m: (m.weight, m.bias), module, (self.lambda_W, self.lambda_b))


class Embedded(eqx.Module):
    """What `Embedding` builds."""

    weight: Float[Array, "vocabulary features"]
    bias: Float[Array, " features"]

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:  # noqa: ARG002
        """Of one input [*positions] of whole numbers."""
        bias = self.bias.reshape(*(1,) * x.ndim, -1)
        return jnp.moveaxis(self.weight[x] + bias, -1, 0)


def mixed(covariance: Covariance, left: Array, right: Array) -> Covariance:
    """``left K right^T`` of all pairs of positions, which `left` and `right` mix."""

    def change(array: Array) -> Array:
        found = jnp.matmul(left, jnp.matmul(_square(array), right.T))
        places = covariance.positions if covariance.dimensions > 1 else (len(found),)
        return found.reshape(*places, *places)

    with jax.default_matmul_precision("highest"):
        result = covariance.changed(change(covariance.nngp), change(covariance.ntk), None)
        if covariance.error is None:
            return result
        left, right = jnp.abs(left), jnp.abs(right)
        error = Errors(*(change(one) for one in covariance.error))
        return result.changed(result.nngp, result.ntk, error)


def _square(array: Array) -> Array:
    """[*positions, *positions] as [p, p]."""
    count = int(np.prod(array.shape[: array.ndim // 2]))
    return array.reshape(count, count)


def _as_covariance(field: str, given: ArrayLike) -> Float[Array, "positions positions"]:
    """A symmetric, positive semidefinite matrix, up to rounding."""
    matrix = as_symmetric(field, given)
    if is_concrete(matrix):
        values = np.linalg.eigvalsh(np.asarray(matrix))
        slack = np.sqrt(np.finfo(values.dtype).eps) * np.max(np.abs(values))
        allowed = "at least 0: positive semidefinite"
        require(values[0] >= -slack, f"smallest eigenvalue of {field}", float(values[0]), allowed)
    return matrix


def _require_size(field: str, value: Array, signal: Signal) -> None:
    count = product(signal.positions)
    require(
        len(value) == count, f"{field}.shape", value.shape, f"({count}, {count}) for its inputs"
    )
