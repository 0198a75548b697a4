"""What layers take: features at positions, which positions are there, graphs of the inputs' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from nsh._checks import as_finite, is_concrete, require, require_all
from nsh._types import ArrayLike
from nsh.theory.effective.layers.covariance import Side
from nsh.theory.effective.layers.layer import Layer, Signal


class LayerInputs(eqx.Module):
    """Inputs of different sizes, such as sequences, or each with a graph of its own.

    `x` [n, features, *positions], or tokens [n, *positions]: all padded to one size. `present`
    [n, *positions]: which positions are there, by default all. `graph` [n, nodes, nodes]: weights
    for `Aggregate`, whose positions are nodes.

    Kernels are those of the inputs without what is not there: at positions that are not, features
    are 0, pooling leaves them out, and nobody attends to them. A window of a convolution or a pool
    has the places that an input would have alone, if its first positions are there. (With "SAME"
    padding and strides, windows begin where those of the padded size do.) `Flatten` counts all
    positions of the padded size. A network built at finite width takes one input at its own size.

    Raises `ValueError` for shapes that do not agree, and where an input has no position at all.
    Differentiable by x and the graphs. ``inputs[3:5]`` are some of them; `len` is their number.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> inputs = layers.LayerInputs.padded([jnp.ones((1, 3)), 2 * jnp.ones((1, 2))])
        >>> inputs.present.tolist()
        [[True, True, True], [True, True, False]]
        >>> kernels(layers.GlobalAvgPool(), inputs).nngp.tolist()
        [[1.0, 2.0], [2.0, 4.0]]
    """

    x: Num[Array, "n ..."]
    present: Bool[Array, "n ..."] | None
    graph: Float[Array, "n nodes nodes"] | None

    def __init__(
        self, x: ArrayLike, present: ArrayLike | None = None, graph: ArrayLike | None = None
    ):
        self.x = as_features("x", x)
        at = self.x.shape[1:] if is_tokens(self.x) else self.x.shape[2:]
        wanted = len(self.x), *at
        self.present = None
        if present is not None:
            self.present = _as_present(present, wanted)
            more = (1,) * (self.x.ndim - len(wanted))
            where = self.present.reshape(len(self.x), *more, *at)
            self.x = jnp.where(where, self.x, jnp.zeros((), self.x.dtype))
        self.graph = None
        if graph is not None:
            self.graph = as_finite("graph", graph, float)
            one = len(at) == 1
            require(one, "axes of positions", len(at), "1, the graphs' nodes")
            allowed = f"({len(self.x)}, {at[0]}, {at[0]}), of all inputs and their positions"
            fits = self.graph.shape == (*wanted, at[0])
            require(fits, "graph.shape", self.graph.shape, allowed)

    @classmethod
    def padded(
        cls, inputs: Sequence[ArrayLike], graphs: Sequence[ArrayLike] | None = None
    ) -> LayerInputs:
        """Inputs [features, *positions], or tokens [*positions], each of a size of its own.

        `graphs`: [nodes, nodes] of each. Raises `ValueError` as the class does.

        Example:
            >>> from nsh.theory.effective import layers
            >>> layers.LayerInputs.padded([jnp.array([2, 0, 1]), jnp.array([1])]).x.tolist()
            [[2, 0, 1], [1, 0, 0]]
        """
        require(len(inputs) > 0, "inputs", inputs, "one at least")
        given = [np.asarray(one) for one in inputs]
        axes = given[0].ndim
        tokens = np.issubdtype(given[0].dtype, np.integer)
        for i, one in enumerate(given):
            like = f"{given[0].dtype} with {axes} axes, as inputs[0]"
            fits = one.ndim == axes and one.dtype.kind == given[0].dtype.kind
            require(fits, f"inputs[{i}]", f"{one.dtype} with {one.ndim} axes", like)
            fits = tokens or one.shape[:1] == given[0].shape[:1]
            require(fits, f"inputs[{i}].shape", one.shape, f"{given[0].shape[:1]} features first")
        first = 0 if tokens else 1
        x = _stacked(given)
        present = _stacked([np.ones(one.shape[first:], bool) for one in given])
        if graphs is None:
            return cls(x, present)
        require(len(graphs) == len(given), "graphs", len(graphs), f"{len(given)}, one each")
        weights = [np.asarray(one) for one in graphs]
        for i, (one, own) in enumerate(zip(weights, given, strict=True)):
            wanted = own.shape[-1:] * 2
            require(one.shape == wanted, f"graphs[{i}].shape", one.shape, f"{wanted}, of its nodes")
        return cls(x, present, _stacked(weights))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, some: Any) -> LayerInputs:
        """Some of the inputs: a slice, or an array of their numbers."""
        return jax.tree.map(lambda array: array[some], self)

    def signal(self) -> Signal:
        """What a network's first layer is given."""
        masked, graph = self.present is not None, self.graph is not None
        if not is_tokens(self.x):
            return Signal(self.x.shape[1], self.x.shape[2:], masked=masked, graph=graph)
        largest = int(jnp.max(self.x)) if is_concrete(self.x) else 0
        known = {"tokens": True, "masked": masked, "graph": graph}
        return Signal(largest + 1, self.x.shape[1:], **known)

    def side(self) -> Side:
        """What all of them bring besides features, leading axis [n]."""
        return Side(self.present, self.graph)


def as_layer_inputs(
    layer: Layer, x: ArrayLike | LayerInputs, z: ArrayLike | LayerInputs | None
) -> tuple[LayerInputs, LayerInputs | None, tuple[int, ...]]:
    """Both checked against the layers; and the positions that are left at the end."""
    first = x if isinstance(x, LayerInputs) else LayerInputs(as_features("x", x))
    if z is None:
        return first, None, layer.after(first.signal(), "network").positions
    second = z if isinstance(z, LayerInputs) else LayerInputs(as_features("z", z))
    shape = second.x.shape[1:]
    require(
        shape == first.x.shape[1:], "z.shape", second.x.shape,
        f"(m, {', '.join(map(str, first.x.shape[1:]))}), as x's",
    )  # fmt: skip
    same = second.x.dtype == first.x.dtype
    require(same, "z.dtype", str(second.x.dtype), f"{first.x.dtype}, as x's")
    graphs = first.graph is not None, second.graph is not None
    require(graphs[0] == graphs[1], "graph of x, of z", graphs, "both or none")
    if (first.present is None) != (second.present is None):
        first, second = (_all_present(one) for one in (first, second))
    given, other = first.signal(), second.signal()
    given = given._replace(features=max(given.features, other.features))
    return first, second, layer.after(given, "network").positions


def as_features(field: str, given: ArrayLike) -> Array:
    """Numbers [n, features, *positions], or tokens: whole numbers [n, *positions]."""
    if jnp.issubdtype(jnp.asarray(given).dtype, jnp.integer) and np.ndim(given) >= 2:
        value = jnp.asarray(given)
        if is_concrete(value):
            require_all(np.asarray(value) >= 0, field, value, "tokens: whole numbers >= 0")
    else:
        value = as_finite(field, given, float)
    allowed = "(inputs, features, positions ...), all at least 1"
    require(value.ndim >= 2 and value.size > 0, f"{field}.shape", value.shape, allowed)
    return value


def is_tokens(x: Array) -> bool:
    """Whether these are whole numbers."""
    return jnp.issubdtype(x.dtype, jnp.integer)


def _as_present(given: ArrayLike, wanted: tuple[int, ...]) -> Bool[Array, "n ..."]:
    value = jnp.asarray(given)
    require(value.dtype == bool, "present.dtype", str(value.dtype), "bool")
    require(len(wanted) > 1, "present", f"{value.shape}", "None, as inputs have no positions")
    allowed = f"{wanted}, of all inputs and their positions"
    require(value.shape == wanted, "present.shape", value.shape, allowed)
    if is_concrete(value):
        some = np.asarray(value).reshape(len(value), -1).any(1)
        require_all(some, "positions that are there, of some", some, "one at least in each input")
    return value


def _all_present(inputs: LayerInputs) -> LayerInputs:
    if inputs.present is not None:
        return inputs
    shape = inputs.x.shape[1:] if is_tokens(inputs.x) else inputs.x.shape[2:]
    return LayerInputs(inputs.x, jnp.ones((len(inputs), *shape), bool), inputs.graph)


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """All padded with zeros to the largest."""
    sizes = np.max([one.shape for one in arrays], axis=0)
    result = np.zeros((len(arrays), *sizes), np.result_type(*arrays))
    for row, one in zip(result, arrays, strict=True):
        row[tuple(slice(0, size) for size in one.shape)] = one
    return result
