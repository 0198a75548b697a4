"""Examples whose inputs stay on the host and are read as mini-batches need them.

The idea: a mini-batch is a function of the indices drawn, so a set can be trained on without being
on the device, if a callback on the host gives the rows of some indices. Everything else is as in
memory: samplers draw the same indices, and steps, ensembles and hypergradients are the same code.
What crosses from the host are rows as they are stored, such as bytes; the device makes examples of
them. While a step computes, a thread reads the rows of the next one.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from nsh._checks import require, require_all, require_integer
from nsh._shown import Shown
from nsh.data.source import Source, rows_at_once, source_of
from nsh.system import System

# of each device: the rows of the steps before, now and after, and one more
BATCHES_KEPT = 4


class Wanted(NamedTuple):
    """The indices of a step's mini-batch, and those of the steps around it."""

    indices: Int[Array, "..."]
    before: Int[Array, "..."]
    after: Int[Array, "..."]


class Prepared(NamedTuple):
    """What `prepare` makes of one example: which arrays there are, of which shapes and types."""

    structure: Any
    arrays: tuple[tuple[tuple[int, ...], np.dtype], ...]

    @classmethod
    def of(cls, examples: PyTree) -> Prepared:
        """That of some examples."""
        leaves, structure = jax.tree.flatten(examples)
        return cls(structure, tuple((leaf.shape[1:], np.dtype(leaf.dtype)) for leaf in leaves))

    def fit(self, examples: PyTree, system: str) -> PyTree:
        """Converted examples with these shapes and types, such as a target [1] of a number."""
        leaves, structure = jax.tree.flatten(examples)
        field, allowed = f"{system}.convert(x, y)", f"as {system}.prepare(x, y) gives them"
        require(structure == self.structure, field, structure, f"{allowed}: {self.structure}")
        fitted = []
        for leaf, (shape, kind) in zip(leaves, self.arrays, strict=True):
            fits = math.prod(leaf.shape[1:]) == math.prod(shape)
            require(fits, field, leaf.shape, f"{allowed}: [n, {', '.join(map(str, shape))}]")
            fitted.append(leaf.reshape(len(leaf), *shape).astype(kind))
        return jax.tree.unflatten(structure, fitted)


class StreamedExamples(Shown):
    """Examples of which the targets are on the device and the inputs are where they were.

    From `stream`; stands for examples in a `TrainingProblem`. `y`: targets [n, ...]. `each`: what
    is made of each input before it is an example, or None.
    """

    y: PyTree
    each: Any
    sources: tuple[Source, ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)
    prepared: Prepared = eqx.field(static=True)

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return len(self.sources[0])

    def batch(self, system: System, wanted: Int[Array, " batch"] | Wanted) -> PyTree:
        """The examples of these indices, read from the host; for use inside compiled code too.

        Not differentiable by what is read, which is constant.
        """
        near = wanted if isinstance(wanted, Wanted) else Wanted(wanted, wanted, wanted)
        indices = near.indices
        shapes = [
            jax.ShapeDtypeStruct((*indices.shape, *source.shape[1:]), _on_device(source.dtype))
            for source in self.sources
        ]
        read = ReadAhead(self.sources)
        found = jax.pure_callback(read, shapes, *near, vmap_method="broadcast_all")
        y = jax.tree.map(lambda leaf: leaf[indices], self.y)
        return self._made(system, found, y, indices)

    def blocks(self, system: System, size: int) -> Iterator[PyTree]:
        """All examples in order, prepared, `size` of them at a time; the last may be fewer.

        For measures of sets that do not fit: ``for block in examples.blocks(system, 256): ...``.
        One block after the other is read, and is on the device. Outside compiled code.
        """
        require_integer("size", size, 1)
        for first in range(0, self.num_examples, size):
            indices = np.arange(first, min(first + size, self.num_examples))
            found = [
                jnp.asarray(source.read(indices), _on_device(source.dtype))
                for source in self.sources
            ]
            y = jax.tree.map(lambda leaf, at=indices: leaf[at[0] : at[-1] + 1], self.y)
            yield self._made(system, found, y, jnp.asarray(indices, jnp.int32))

    def _made(self, system: System, found: list[Array], y: PyTree, number: Array) -> PyTree:
        x = jax.tree.unflatten(self.structure, found)
        x = x if self.each is None else jax.vmap(self.each)(x)
        made = system.convert(x, y)
        if hasattr(made, "number"):  # in the whole set, which a mini-batch cannot know
            made = eqx.tree_at(lambda examples: examples.number, made, number, is_leaf=_is_none)
        return self.prepared.fit(made, type(system).__name__)


def stream(
    system: System,
    x: PyTree,
    y: Any,
    *,
    each: Callable[[PyTree], PyTree] | None = None,
) -> StreamedExamples:
    """Examples to train `system` on that are read as they are needed: `prepare` for large sets.

    `x`: any array-like, or a pytree of them, with the example as leading axis: what `nsh.data`
    reads, a NumPy memory map, a Zarr array. It stays where it is, and must not change. `y`: as for
    `prepare`; on the device. `each`: a pure function of one example's input, applied on the device
    to all that is read, in training and in measures: scaling, for instance.

    Same seeds, same mini-batches and same bits as ``system.prepare(x, y)``. (Arithmetic of `each`,
    and of a `convert` of one's own, is compiled with the step: it may round a last bit otherwise.)
    Memory is that of a few mini-batches, `y` and, for samplers without replacement, one order of
    the examples for each seed. A mapped file is read, so it may be larger than memory. All is read
    once by this call, in blocks, and checked as `prepare` checks. A file that changes afterwards
    ends the run with an error that names it.

    Raises `ValueError` on what `prepare` refuses, for numbers of inputs and targets that differ,
    and for systems without `System.convert`. Samplers must draw some examples: not `FullBatch`.

    Example:
        >>> from nsh.networks import digit_linear
        >>> network, x = digit_linear(), np.zeros((6, 64), np.uint8)
        >>> examples = nsh.training.stream(network, x, np.arange(6), each=lambda image: image / 16)
        >>> hyper = {"optimiser": {"learning_rate": 0.1}}
        >>> nsh.TrainingProblem(network, examples, hyper, steps=3).num_examples
        6
        >>> [len(block.y) for block in examples.blocks(network, 4)]
        [4, 2]
    """
    named, structure = jax.tree_util.tree_flatten_with_path(x, is_leaf=_is_array_like)
    require(len(named) > 0, "x", x, "an array of examples, or a pytree of them")
    names = [f"x{jax.tree_util.keystr(path)}" for path, _ in named]
    sources = tuple(source_of(leaf, name) for (_, leaf), name in zip(named, names, strict=True))
    y = jax.tree.map(np.asarray, y, is_leaf=_is_array_like)
    sizes = [(name, one.shape) for name, one in zip(names, sources, strict=True)]
    sizes += [
        (f"y{jax.tree_util.keystr(path)}", leaf.shape)
        for path, leaf in jax.tree_util.tree_flatten_with_path(y)[0]
    ]
    for name, shape in sizes:
        allowed = f"({len(sources[0])}, ...), as many as in {names[0]}"
        require(shape[:1] == (len(sources[0]),), f"{name}.shape", shape, allowed)
    blocks = _prepared(system, sources, structure, y, each)
    if each is not None and not isinstance(each, eqx.Module):
        each = jax.tree_util.Partial(each)  # a pytree without leaves, which `jax.jit` takes too
    prepared = next(blocks)  # what is wrong with all examples is found before all are read
    # copies: an array made by `asarray` may share the memory of one that its owner changes
    targets = jax.tree.map(jnp.array, system.targets(y))
    examples = StreamedExamples(targets, each, sources, structure, prepared)
    one = jax.ShapeDtypeStruct((1,), jnp.int32)
    eqx.filter_eval_shape(lambda at: system.check_examples(examples.batch(system, at)), one)
    for _ in blocks:
        pass
    return examples


def around(indices: Int[Array, "steps batch"]) -> Wanted:
    """What to give to `StreamedExamples.batch` for each of these steps."""
    return Wanted(
        indices,
        jnp.concatenate([indices[:1], indices[:-1]]),
        jnp.concatenate([indices[1:], indices[-1:]]),
    )


def _prepared(
    system: System,
    sources: tuple[Source, ...],
    structure: Any,
    y: PyTree,
    each: Callable[[PyTree], PyTree] | None,
) -> Iterator[Prepared]:
    """Prepare all examples, block by block, for the errors."""
    count = len(sources[0])
    size = min(rows_at_once(one.shape, one.dtype) for one in sources)

    def block(indices: Int[np.ndarray, " k"]) -> Prepared:
        x = jax.tree.unflatten(structure, [_fitting(one.read(indices)) for one in sources])
        if each is not None:
            x = jax.tree.map(np.asarray, jax.vmap(each)(jax.tree.map(jnp.asarray, x)))
        return Prepared.of(system.prepare(x, jax.tree.map(lambda leaf: leaf[indices], y)))

    for first in range(0, count, size):
        last = min(first + size, count) - 1
        try:
            found = block(np.arange(first, last + 1))
        except ValueError as complaint:
            if size >= count:
                raise
            raise ValueError(f"examples {first}..{last}: {complaint}") from complaint
        yield found


def _fitting(block: np.ndarray) -> np.ndarray:
    """The block, if its numbers are among those of the type in which they cross."""
    kind = _on_device(block.dtype)
    if kind != block.dtype and kind.kind in "iu":
        known = np.iinfo(kind)
        allowed = f"in {known.min}..{known.max}, or with 64-bit numbers switched on in JAX"
        require_all((block >= known.min) & (block <= known.max), "x", block, allowed)
    return block


class ReadAhead:
    """Reads rows by indices, and the rows of other indices in a thread before they are asked for.

    Keeps what it read last: in reverse mode, steps come in reverse order.
    """

    def __init__(self, sources: tuple[Source, ...]):
        self._sources = sources
        self._types = [_on_device(one.dtype) for one in sources]
        self._kept: OrderedDict[bytes, Future[list[np.ndarray]]] = OrderedDict()
        self._most = BATCHES_KEPT * jax.local_device_count()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "nsh-stream")

    def __call__(self, *near: Array) -> list[np.ndarray]:
        """The rows of the first indices; those of the others are read for a later call."""
        indices, before, after = map(np.asarray, near)
        asked = self._ask(indices)
        self._ask(after)
        self._ask(before)
        return asked.result()

    def _ask(self, indices: np.ndarray) -> Future[list[np.ndarray]]:
        name = indices.tobytes()
        with self._lock:
            known = self._kept.pop(name, None)
            if known is None or (known.done() and known.exception() is not None):
                known = self._thread.submit(self._read, indices)
            self._kept[name] = known
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return known

    def _read(self, indices: np.ndarray) -> list[np.ndarray]:
        # members of a grid have the same mini-batches
        places, inverse = np.unique(indices, return_inverse=True)
        inverse = inverse.reshape(indices.shape)
        return [
            source.read(places).astype(kind, copy=False)[inverse]
            for source, kind in zip(self._sources, self._types, strict=True)
        ]


def _on_device(dtype: np.dtype) -> np.dtype:
    """The type in which rows cross: their own, or of 32 bits where JAX has no more."""
    return np.dtype(jax.dtypes.canonicalize_dtype(dtype))


def _is_none(value: object) -> bool:
    return value is None


def _is_array_like(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, list)
