"""Layers one after the other, and branches side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from nsh._checks import require
from nsh.theory.effective.infinite_width.errors import Errors
from nsh.theory.effective.layers.covariance import Covariance
from nsh.theory.effective.layers.dense import as_layer
from nsh.theory.effective.layers.layer import Layer, Module, Signal

EQUAL = "equal numbers of features"


class Serial(Layer):
    """Layers one after the other; activations may be given as they are.

    Raises `ValueError` for what is neither a layer nor an activation.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> network = layers.Serial(layers.Dense(64, C_W=2.0), "relu", layers.Dense(1))
        >>> kernels(network, jnp.array([[2.0]])).ntk.tolist()  # 1 + 4 + 5 / 2
        [[7.5]]
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Any):
        self.layers = tuple(as_layer(one, f"layers[{i}]") for i, one in enumerate(layers))

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        for i, layer in enumerate(self.layers):
            signal = layer.after(signal, _place(place, i, layer))
        return signal

    def needs_all_pairs(self, after: bool) -> bool:
        """See `Layer.needs_all_pairs`."""
        return self._needed(after)[0]

    def _needed(self, after: bool) -> list[bool]:
        """Before each layer, and at the end."""
        needed = [after]
        for layer in reversed(self.layers):
            needed.append(layer.needs_all_pairs(needed[-1]))
        return needed[::-1]

    def of_one(self, covariance: Covariance, all_pairs: bool) -> tuple[Covariance, PyTree]:
        """See `Layer.of_one`."""
        kept, needed = [], self._needed(all_pairs)
        for layer, before, after in zip(self.layers, needed, needed[1:], strict=False):
            covariance, own = layer.of_one(covariance.as_needed(before), after)
            kept.append(own)
        return covariance.as_needed(all_pairs), tuple(kept)

    def of_pairs(self, covariance: Covariance, a: PyTree, b: PyTree, all_pairs: bool) -> Covariance:
        """See `Layer.of_pairs`."""
        needed = self._needed(all_pairs)
        for layer, before, after, one, other in zip(
            self.layers, needed, needed[1:], a, b, strict=False
        ):
            covariance = layer.of_pairs(covariance.as_needed(before), one, other, after)
        return covariance.as_needed(all_pairs)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """`eqx.nn.Sequential`."""
        built = []
        for layer, own in zip(self.layers, jax.random.split(key, len(self.layers)), strict=True):
            built.append(layer.build(signal, own))
            signal = layer.after(signal, "layer")
        return eqx.nn.Sequential(built)

    def with_weights(self, signal: Signal, change: Callable[[Any, int], Any]) -> Serial:
        """See `Layer.with_weights`."""
        changed = []
        for layer in self.layers:
            changed.append(layer.with_weights(signal, change))
            signal = layer.after(signal, "layer")
        return eqx.tree_at(lambda one: one.layers, self, tuple(changed))

    def rates(self, module: eqx.nn.Sequential) -> PyTree:
        """See `Layer.rates`."""
        pairs = zip(self.layers, module.layers, strict=True)
        rated = tuple(layer.rates(part) for layer, part in pairs)
        return eqx.tree_at(lambda m: m.layers, module, rated)


def _place(place: str, i: int, layer: Layer) -> str:
    return f"{place}.layers[{i}] ({type(layer).__name__})"


class Identity(Layer):
    """Its input as it is: a skip connection, as a branch.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> kernels(layers.Identity(), jnp.array([[2.0]])).nngp.tolist()
        [[4.0]]
    """

    def after(self, signal: Signal, place: str) -> Signal:  # noqa: ARG002
        """See `Layer.after`."""
        return signal

    def linear(self, covariance: Covariance) -> Covariance:
        """See `Layer.linear`."""
        return covariance

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:  # noqa: ARG002
        """`eqx.nn.Identity`."""
        return eqx.nn.Identity()


class Branches(Layer):
    """Several layers, all of one input: what `Sum`, `Concatenate` and `Multiply` have in common."""

    branches: tuple[Layer, ...]

    def __init__(self, *branches: Any):
        require(len(branches) > 0, "branches", branches, "one at least")
        self.branches = tuple(as_layer(one, f"branches[{i}]") for i, one in enumerate(branches))

    def _all_after(self, signal: Signal, place: str) -> list[Signal]:
        """Of all branches, which have the same positions and at most one without weights."""
        found = []
        for i, branch in enumerate(self.branches):
            found.append(branch.after(signal, f"{place}.branches[{i}] ({type(branch).__name__})"))
        positions = [one.positions for one in found]
        allowed = "the same positions after all of them"
        require(len(set(positions)) == 1, f"{place}.branches", positions, allowed)
        bare = [i for i, one in enumerate(found) if not one.uncorrelated]
        allowed = (
            "at most one that does not end in weights of its own: others correlate with it "
            "(add a Dense or Conv)"
        )
        require(len(bare) <= 1, f"{place}: branches that end without weights", bare, allowed)
        return found

    def needs_all_pairs(self, after: bool) -> bool:
        """See `Layer.needs_all_pairs`."""
        return any(branch.needs_all_pairs(after) for branch in self.branches)

    def of_one(self, covariance: Covariance, all_pairs: bool) -> tuple[Covariance, PyTree]:
        """See `Layer.of_one`."""
        found, kept = [], []
        for branch in self.branches:
            given = covariance.as_needed(branch.needs_all_pairs(all_pairs))
            one, own = branch.of_one(given, all_pairs)
            found.append(one.as_needed(all_pairs))
            kept.append(own)
        return self.joined(_alike(found)), tuple(kept)

    def of_pairs(self, covariance: Covariance, a: PyTree, b: PyTree, all_pairs: bool) -> Covariance:
        """See `Layer.of_pairs`."""
        found = []
        for branch, one, other in zip(self.branches, a, b, strict=True):
            given = covariance.as_needed(branch.needs_all_pairs(all_pairs))
            found.append(branch.of_pairs(given, one, other, all_pairs).as_needed(all_pairs))
        return self.joined(_alike(found))

    def joined(self, found: Sequence[Covariance]) -> Covariance:
        """Of all branches together."""
        raise NotImplementedError(f"{type(self).__name__} has no `joined`")

    def _built(self, signal: Signal, key: Key[Array, ""]) -> tuple[Module, ...]:
        keys = jax.random.split(key, len(self.branches))
        return tuple(b.build(signal, own) for b, own in zip(self.branches, keys, strict=True))

    def with_weights(self, signal: Signal, change: Callable[[Any, int], Any]) -> Branches:
        """See `Layer.with_weights`."""
        changed = tuple(branch.with_weights(signal, change) for branch in self.branches)
        return eqx.tree_at(lambda one: one.branches, self, changed)

    def rates(self, module: SideBySide) -> PyTree:
        """See `Layer.rates`."""
        pairs = zip(self.branches, module.branches, strict=True)
        rated = tuple(branch.rates(part) for branch, part in pairs)
        return eqx.tree_at(lambda m: m.branches, module, rated)


class SideBySide(eqx.Module):
    """What branches build: all of one input, joined by `how`."""

    branches: tuple[Any, ...]
    how: str = eqx.field(static=True)

    def __call__(self, x: Array, *, key: Array | None = None) -> Array:
        """Of one input [features, *positions]."""
        keys = [None] * len(self.branches)
        if key is not None:
            keys = list(jax.random.split(key, len(self.branches)))
        found = [branch(x, key=own) for branch, own in zip(self.branches, keys, strict=True)]
        if self.how == "sum":
            return reduce(jnp.add, found)
        if self.how == "product":
            return reduce(jnp.multiply, found)
        return jnp.concatenate(found)


class Sum(Branches):
    """The sum of branches, such as a residual block ``Sum(Identity(), Serial(...))``.

    ``K' = sum_i K_i``, Theta alike: branches that end in weights of their own do not correlate.

    Raises `ValueError` for branches of different shapes, or of which two end without weights.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> block = layers.Sum(layers.Identity(), layers.Dense(2))
        >>> kernels(block, jnp.array([[1.0, 3.0]])).nngp.tolist()  # 5 and 5
        [[10.0]]
    """

    def __init__(self, *branches: Any):
        super().__init__(*branches)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        found = self._all_after(signal, place)
        features = [one.features for one in found]
        require(len(set(features)) == 1, f"{place}.branches", features, EQUAL)
        return found[0]._replace(
            gaussian=all(one.gaussian for one in found),
            uncorrelated=all(one.uncorrelated for one in found),
        )

    def joined(self, found: Sequence[Covariance]) -> Covariance:
        """See `Branches.joined`."""
        return _added(found)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """A module that adds what its branches return."""
        return SideBySide(self._built(signal, key), "sum")


class Concatenate(Branches):
    """Branches side by side along the features.

    ``K' = sum_i n_i K_i / sum_i n_i`` of branches of n_i features, Theta alike.

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> block = layers.Concatenate(layers.Dense(1, C_W=4.0), layers.Dense(3))
        >>> kernels(block, jnp.array([[1.0]])).nngp.tolist()  # (4 + 3) / 4
        [[1.75]]
    """

    def __init__(self, *branches: Any):
        super().__init__(*branches)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        found = self._all_after(signal, place)
        return found[0]._replace(
            features=sum(one.features for one in found),
            gaussian=all(one.gaussian for one in found),
            uncorrelated=all(one.uncorrelated for one in found),
        )

    def joined(self, found: Sequence[Covariance]) -> Covariance:
        """See `Branches.joined`."""
        features = sum(one.features for one in found)
        shared = [one.map(partial(jnp.multiply, one.features / features)) for one in found]
        return _added([one.having(features) for one in shared])

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """A module that concatenates what its branches return."""
        return SideBySide(self._built(signal, key), "concatenate")


class Multiply(Branches):
    """The product of branches, feature by feature: gates.

    ``K' = prod_i K_i`` and ``Theta' = sum_i Theta_i prod_j!=i K_j``, of branches that are
    independent, as they end in weights of their own (one need not).

    Example:
        >>> from nsh.theory.effective import kernels, layers
        >>> block = layers.Multiply(layers.Dense(2), layers.Dense(2, C_W=3.0))
        >>> kernels(block, jnp.array([[2.0, 0.0]])).nngp.tolist()  # 2 times 6
        [[12.0]]
    """

    def __init__(self, *branches: Any):
        super().__init__(*branches)

    def after(self, signal: Signal, place: str) -> Signal:
        """See `Layer.after`."""
        found = self._all_after(signal, place)
        features = [one.features for one in found]
        require(len(set(features)) == 1, f"{place}.branches", features, EQUAL)
        alone = len(found) == 1
        uncorrelated = any(one.uncorrelated for one in found)
        return found[0]._replace(gaussian=alone and found[0].gaussian, uncorrelated=uncorrelated)

    def joined(self, found: Sequence[Covariance]) -> Covariance:
        """See `Branches.joined`."""
        return reduce(_multiplied, found)

    def build(self, signal: Signal, key: Key[Array, ""]) -> Module:
        """A module that multiplies what its branches return."""
        return SideBySide(self._built(signal, key), "product")


def _added(found: Sequence[Covariance]) -> Covariance:
    given = [(one.nngp, one.ntk, one.error) for one in found]
    return found[0].changed(*jax.tree.map(lambda *arrays: reduce(jnp.add, arrays), *given))


def _alike(found: Sequence[Covariance]) -> Sequence[Covariance]:
    """0 where a branch has no position that another has: windows may leave different ones."""
    if all(side.present is None for one in found for side in one.sides):
        return found
    a, b = (_of_any([one.sides[i].present for one in found]) for i in range(2))
    return [one.there().present_as(a, b) for one in found]


def _of_any(present: Sequence[Array | None]) -> Array | None:
    """Positions that one of them has; None: all."""
    given = [one for one in present if one is not None]
    return reduce(jnp.logical_or, given) if len(given) == len(present) else None


def _multiplied(a: Covariance, b: Covariance) -> Covariance:
    error = None
    if a.error is not None and b.error is not None:
        (a_K, a_Theta), (b_K, b_Theta) = a.error, b.error
        K = a_K * jnp.abs(b.nngp) + jnp.abs(a.nngp) * b_K
        of_ntk = a_Theta * jnp.abs(b.nngp) + jnp.abs(a.ntk) * b_K
        error = Errors(K, of_ntk + b_Theta * jnp.abs(a.nngp) + jnp.abs(b.ntk) * a_K)
    return a.changed(a.nngp * b.nngp, a.ntk * b.nngp + a.nngp * b.ntk, error)
