"""Measures of sets that do not fit in memory: of one block of examples after the other.

The idea: outputs of all examples fit, features do not. So a measure of outputs is taken of the
outputs, gathered block by block. A measure of features is taken of sums over blocks (`_sums`), and
one of pairs of examples goes over pairs of blocks. A block is read, or cut out of what is in
memory, when its turn comes: the same code, inside compiled code too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from nsh._checks import MOST_CLASSES, require, require_all, require_integer
from nsh.measure._sums import AffineSums, ClassMeans, PairMean, Strength
from nsh.measure._tools import (
    checked_labels,
    map_rows,
    require_classes,
    require_levels,
    where_labelled,
)
from nsh.measure.collapse import (
    Collapse,
    Deviations,
    best_affine,
    check_all_present,
    system_collapse,
)
from nsh.measure.elasticity import ElasticityContrast, elasticity_contrast, elasticity_matrix
from nsh.measure.information import Around, Information, gathered, information
from nsh.measure.noise import Noise, scaled_noise_level
from nsh.measure.observe import Observation, observe, outputs_of_all
from nsh.measure.sparsity import (
    Overlap,
    active_units,
    effective_features,
    effective_units,
    overlap_of_bits,
    pathway_overlap,
    surviving_fraction,
    surviving_units,
)
from nsh.system import System
from nsh.training.streamed import StreamedExamples, Wanted, around

# what is given to a measure of outputs
OUTPUTS = ("logits", "label_logits", "predictions")
TARGETS = ("labels", "targets")


class ExampleBlocks(eqx.Module):
    """Examples with a system and its state, to be looked at block by block."""

    system: System
    state: PyTree
    examples: PyTree
    y: PyTree
    size: int = eqx.field(static=True)

    @property
    def count(self) -> int:
        """Number of examples."""
        if isinstance(self.examples, StreamedExamples):
            return self.examples.num_examples
        return len(jax.tree.leaves(self.examples)[0])

    def outputs(self) -> PyTree:
        """The outputs of all examples."""
        return self.map(lambda block, _: outputs_of_all(self.system, self.state, block))

    def seen(self, block: PyTree) -> Observation:
        """Outputs and features of a block."""
        return observe(self.system, self.state, block)

    def map(self, function: Callable[[PyTree, Int[Array, " b"]], PyTree]) -> PyTree:
        """``function(examples, numbers)`` of all blocks, their results joined along axis 0."""
        places, rest = self._places()
        found = []
        if len(places):

            @jax.checkpoint
            def of_block(near: Wanted) -> PyTree:
                return function(self._read(near), near.indices)

            whole = jax.lax.map(of_block, around(places))
            found.append(jax.tree.map(lambda leaf: jax.lax.collapse(leaf, 0, 2), whole))
        if len(rest):
            found.append(function(self._read(_alone(rest)), rest))
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)

    def fold(self, add: Callable[[PyTree, PyTree, Int[Array, " b"]], PyTree], zero: PyTree):
        """``add(sums, examples, numbers)`` of all blocks in turn, from `zero` on."""
        places, rest = self._places()
        if len(places):

            def step(sums: PyTree, near: Wanted):
                return add(sums, self._read(near), near.indices), None

            # in reverse mode a block is computed again, not kept
            zero, _ = jax.lax.scan(jax.checkpoint(step), zero, around(places))
        return add(zero, self._read(_alone(rest)), rest) if len(rest) else zero

    def shapes(self) -> Observation:
        """Shapes of what is seen of one block."""
        first = jnp.arange(min(self.size, self.count), dtype=jnp.int32)
        return eqx.filter_eval_shape(lambda: self.seen(self._read(_alone(first))))

    def _places(self) -> tuple[Int[Array, "blocks size"], Int[Array, " rest"]]:
        whole = self.count - self.count % self.size
        numbers = jnp.arange(self.count, dtype=jnp.int32)
        return numbers[:whole].reshape(-1, self.size), numbers[whole:]

    def _read(self, near: Wanted) -> PyTree:
        if isinstance(self.examples, StreamedExamples):
            return self.examples.batch(self.system, near)
        return jax.tree.map(lambda leaf: leaf[near.indices], self.examples)


def over_blocks(
    measure: Callable[..., Any],
    system: System,
    state: PyTree,
    examples: PyTree,
    y: PyTree = None,
    *,
    size: int = 256,
    hyper: PyTree = None,
    key: Key[Array, ""] | None = None,
    **options: Any,
) -> Any:
    """Take a measure of any number of examples, of which `size` are in memory at a time.

    `examples`: what `nsh.training.stream` or `System.prepare` gives. `y`: labels or targets;
    default: those of a stream. `measure`, of this package:

    - of outputs: `accuracy`, `cross_entropy`, `r_squared`, ..., or any function of logits (or
      label_logits, predictions) and labels (or targets). Outputs of all examples are in memory.
    - `effective_features`, `surviving_fraction`, `pathway_overlap` (with a ``threshold``): a tuple,
      one for each level. Of pathways, a bit for each unit and example is in memory.
    - `system_collapse`: two passes, and a matrix of (width + classes)^2 numbers.
    - `information`: a tuple, one for each level; needs `key` and ``noise=``.
    - `elasticity_contrast`, of the elasticity between all pairs; needs `hyper` and `key`.

    Those of pairs (the last two) take as many passes as there are blocks. `options`: arguments of
    the measure.

    With one block for all, the result is that of the whole, bit for bit; of smaller blocks, XLA may
    round outputs in another order, and sums over blocks agree to rounding. A stream gives what the
    same blocks in memory give, bit for bit but for what XLA fuses with how they are cut out. Works
    under `jit` and `vmap`; differentiable as the measure is, but not NC3 of `system_collapse`,
    whose classifier is read off by QR (NaN), in time (width + classes)^2 for each example.

    Raises `ValueError` for a measure of which there is no such form, and as the measure does.

    Example:
        >>> from nsh.measure import accuracy, over_blocks
        >>> from nsh.data import digits
        >>> from nsh.networks import digit_linear
        >>> network, data = digit_linear(), digits()
        >>> state = network.init(jax.random.key(0), {"optimiser": {"learning_rate": 0.1}})
        >>> state = jax.tree.map(jnp.zeros_like, state)  # says class 0 of all
        >>> examples = network.prepare(data.test_x[:10], data.test_y[:10])
        >>> found = over_blocks(accuracy, network, state, examples, examples.y, size=4)
        >>> float(found) == float(jnp.mean(examples.y == 0))
        True
    """
    require_integer("size", size, 1)
    if y is None:
        known = isinstance(examples, StreamedExamples)
        require(known, "y", y, "labels or targets of the examples")
        y = examples.y
    y = jax.tree.map(_as_array, y, is_leaf=lambda leaf: isinstance(leaf, list))
    blocks = ExampleBlocks(system, state, examples, y, size)
    shapes = [leaf.shape for leaf in jax.tree.leaves(y)]
    alike = len(shapes) > 0 and all(shape[:1] == (blocks.count,) for shape in shapes)
    require(alike, "y.shape", shapes, f"({blocks.count}, ...), one entry per example")
    given = {name: one for name, one in (("hyper", hyper), ("key", key)) if one is not None}
    # bad labels are found now: in what is compiled they are not known
    eqx.filter_eval_shape(lambda: _taken(measure, blocks, given | options))
    return _compiled(measure, blocks, given | options)


def _taken(measure: Callable[..., Any], blocks: ExampleBlocks, options: Mapping[str, Any]) -> Any:
    if measure not in IN_BLOCKS:
        return _of_outputs(measure, blocks, options)
    _, *parameters = inspect.signature(IN_BLOCKS[measure]).parameters.values()
    known = [one.name for one in parameters]
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in options]
    require(not missing, ", ".join(missing), None, f"given, for {measure.__name__}")
    unknown = [name for name in options if name not in known]
    allowed = f"among {', '.join(known) or 'none'}, the options of {measure.__name__}"
    require(not unknown, "options", unknown, allowed)
    return IN_BLOCKS[measure](blocks, **options)


_compiled = eqx.filter_jit(_taken)


def _of_outputs(
    measure: Callable[..., Any], blocks: ExampleBlocks, options: Mapping[str, Any]
) -> Any:
    parameters = inspect.signature(measure).parameters
    needed = [n for n, p in parameters.items() if p.default is p.empty and n not in options]
    names = [name for name in parameters if name in (*OUTPUTS, *TARGETS)]
    fits = any(name in OUTPUTS for name in names) and not set(needed) - {*names, "classes"}
    known = ", ".join(one.__name__ for one in IN_BLOCKS)
    allowed = f"a function of {', '.join(OUTPUTS)} and labels or targets, or one of {known}"
    require(fits, "measure", getattr(measure, "__name__", measure), allowed)
    if {"logits", "labels"} & set(names):
        require_classes(blocks.system)
    outputs = blocks.outputs()
    arguments = {name: outputs if name in OUTPUTS else blocks.y for name in names}
    if "classes" in needed:
        arguments["classes"] = outputs.shape[1]
    return measure(**arguments, **options)


def _levels(blocks: ExampleBlocks) -> tuple[Any, ...]:
    """The shapes of the levels of one block."""
    levels = blocks.shapes().features
    require_levels(levels)
    return levels


def _strengths(blocks: ExampleBlocks) -> list[Strength]:
    def add(sums: list[Strength], block: PyTree, number: Array) -> list[Strength]:  # noqa: ARG001
        seen = blocks.seen(block)
        each = zip(sums, seen.features, seen.log_units, strict=True)
        return [one.add(level, unit) for one, level, unit in each]

    return blocks.fold(add, [Strength.zero(level) for level in _levels(blocks)])


def _effective(blocks: ExampleBlocks) -> tuple[Array, ...]:
    return tuple(effective_units(one.result()) for one in _strengths(blocks))


def _surviving(blocks: ExampleBlocks, threshold: Any = 0.01) -> tuple[Array, ...]:
    return tuple(surviving_units(one.result(), threshold) for one in _strengths(blocks))


def _pathways(blocks: ExampleBlocks, threshold: Any = 0.01) -> tuple[Overlap, ...]:
    labels, inside = checked_labels(blocks.y, blocks.count)
    _levels(blocks)

    def bits(block: PyTree, number: Array) -> tuple[Array, ...]:  # noqa: ARG001
        levels = blocks.seen(block).features
        return tuple(jnp.packbits(active_units(level, threshold), axis=1) for level in levels)

    levels = blocks.map(bits)
    return tuple(where_labelled(overlap_of_bits(level, labels), inside) for level in levels)


def _collapse(blocks: ExampleBlocks) -> Collapse:
    require_classes(blocks.system)
    shapes = blocks.shapes()
    require_levels(shapes.features)
    top, logits = shapes.features[-1], shapes.outputs
    classes = require_integer("classes", logits.shape[1], 2)
    labels, inside = checked_labels(blocks.y, blocks.count, classes)
    check_all_present(blocks.y, classes)

    def first(sums: tuple[ClassMeans, AffineSums], block: PyTree, number: Array):
        seen = blocks.seen(block)
        level, unit = seen.features[-1], seen.log_units[-1]
        means, affine = sums
        return means.add(level, labels[number], unit), affine.add(level, seen.outputs, unit)

    zero = ClassMeans.zero(classes, top), AffineSums.zero(top, logits)
    means, affine = blocks.fold(first, zero)
    centred = affine.centred(means.unit.log_unit)

    def second(sums: Deviations, block: PyTree, number: Array) -> Deviations:
        seen = blocks.seen(block)
        return sums.add(seen.features[-1], labels[number], seen.log_units[-1])

    head = best_affine(*centred, examples=blocks.count)
    found = blocks.fold(second, Deviations.zero(means, head)).result()
    return where_labelled(found, inside)


def _contrast(blocks: ExampleBlocks, hyper: PyTree, key: Any) -> ElasticityContrast:
    labels, inside = checked_labels(blocks.y, blocks.count)
    kind = jnp.result_type(float)

    def rows(sums: tuple[PairMean, PairMean], updated: PyTree, first: Array):
        def add(sums: tuple[PairMean, PairMean], probes: PyTree, second: Array):
            matrix = elasticity_matrix(
                blocks.system, blocks.state, hyper, updated, key, probes=probes
            ).astype(kind)
            same = labels[first][:, None] == labels[second][None, :]
            other = first[:, None] != second[None, :]
            within, across = sums
            return within.add(matrix, same & other), across.add(matrix, ~same)

        return blocks.fold(add, sums)

    none = PairMean.zero(kind)
    within, across = (one.result() for one in blocks.fold(rows, (none, none)))
    found = ElasticityContrast(jnp.full_like(within, jnp.nan), within, across, within / across)
    return where_labelled(found, inside)


def _information(
    blocks: ExampleBlocks, key: Any, noise: Noise, classes: int | None = None, samples: int = 64
) -> tuple[Information, ...]:
    if classes is None:
        require_classes(blocks.system)
    many: int = blocks.shapes().outputs.shape[1] if classes is None else classes
    labels, inside = checked_labels(blocks.y, blocks.count, many)
    levels = _levels(blocks)
    require_integer("samples", samples, 2)

    def largest(most: list[tuple[Array, Array]], block: PyTree, number: Array):  # noqa: ARG001
        seen = blocks.seen(block)
        each = zip(most, seen.features, seen.log_units, strict=True)
        return [_larger(*one, level, log) for one, level, log in each]

    nothing = [(jnp.zeros((), one.dtype), jnp.full((), -jnp.inf, one.dtype)) for one in levels]
    most = blocks.fold(largest, nothing)
    units = [unit for _, unit in most]
    noises = [scaled_noise_level(one[None, None], noise, unit) for one, unit in most]

    def of_origins(block: PyTree, first: Array) -> list[Any]:
        def in_units(block: PyTree) -> list[Array]:
            seen = blocks.seen(block)
            each = zip(seen.features, seen.log_units, units, strict=True)
            return [level * jnp.exp(log - unit) for level, log, unit in each]

        def zero(level: Array) -> Around:
            return jax.vmap(
                lambda one, label, number: Around.zero(
                    one, label, number, key, samples=samples, classes=many
                )
            )(level, labels[first], first)

        def add(sums: list[Around], other: PyTree, second: Array) -> list[Around]:
            def one_level(one: Around, level: Array, noise: tuple[Array, Array]) -> Around:
                held = level.size + len(level) * samples
                return map_rows(lambda each: each.add(level, labels[second], noise), one, held)

            return [one_level(*each) for each in zip(sums, in_units(other), noises, strict=True)]

        sums = blocks.fold(add, [zero(level) for level in in_units(block)])
        return [jax.vmap(Around.found)(one) for one in sums]

    found = blocks.map(of_origins)
    return tuple(where_labelled(gathered(one, labels, many), inside) for one in found)


IN_BLOCKS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    effective_features: _effective,
    surviving_fraction: _surviving,
    pathway_overlap: _pathways,
    system_collapse: _collapse,
    information: _information,
    elasticity_contrast: _contrast,
}


def _larger(largest: Array, unit: Array, level: Array, log_unit: Array) -> tuple[Array, Array]:
    """The largest |feature| with one more block, and the logarithm of its unit."""
    joint = jax.lax.stop_gradient(jnp.maximum(unit, log_unit))  # which does not matter
    other = jnp.max(jnp.abs(level)) * jnp.exp(log_unit - joint)
    return jnp.maximum(largest * jnp.exp(unit - joint), other), joint


def _as_array(leaf: Any) -> Array:
    if isinstance(leaf, jax.Array):
        return leaf
    array = np.asarray(leaf)
    if array.dtype.kind in "iu":  # JAX would cut others to 32 bits without a word
        require_all(np.abs(array) < MOST_CLASSES, "y", array, f"below {MOST_CLASSES}")
    return jnp.asarray(array)


def _alone(numbers: Array) -> Wanted:
    """ExampleBlocks with no other before or after them."""
    return Wanted(numbers, numbers, numbers)
