"""Source of arrays that may be larger than memory, read by index when they are needed."""

from __future__ import annotations

import abc
import functools
import hashlib
import math
import mmap
import os
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from nsh._checks import require

BYTES_AT_ONCE = 2**21


class Source(abc.ABC):
    """The rows of one array, of which only those asked for are read.

    `shape`, `dtype`: of the whole array; the bytes are in the order of this machine. Compared by
    what is read, so that programs made for one are not made anew for its like.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @abc.abstractmethod
    def read(self, indices: Int[np.ndarray, " k"]) -> np.ndarray:
        """The rows of these indices, which increase: [k, ...]. Raises `OSError` if it cannot."""

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, some 2 MB of them at a time."""
        size = rows_at_once(self.shape, self.dtype)
        for first in range(0, len(self), size):
            yield self.read(np.arange(first, min(first + size, len(self))))

    def digest(self) -> str:
        """The SHA-256 of the array's bytes, in row-major order."""
        found = hashlib.sha256()
        for block in self.blocks():
            found.update(np.ascontiguousarray(block).tobytes())
        return found.hexdigest()


def rows_at_once(shape: tuple[int, ...], dtype: np.dtype) -> int:
    """How many rows make up 2 MB, at least one."""
    return max(1, BYTES_AT_ONCE // max(1, math.prod(shape[1:]) * dtype.itemsize))


class ArraySource(Source):
    """Source of anything that is indexed by arrays of integers, such as a NumPy or Zarr array."""

    def __init__(self, array: Any):
        self._array = array
        self.shape, self.dtype = tuple(array.shape), _native(array.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArraySource) and self._array is other._array

    def __hash__(self) -> int:
        return id(self._array)

    def read(self, indices: Int[np.ndarray, " k"]) -> np.ndarray:
        """See `Source.read`."""
        return np.asarray(self._array[indices], self.dtype)


class FileSource(Source):
    """Source of a memory-mapped file, read and not mapped.

    A mapped page counts as memory of the process, and a process ends at once where a mapped file
    has become shorter. Reading does neither: a file that is no longer what it was raises `OSError`.
    """

    def __init__(self, array: np.ndarray, path: str, offset: int):
        self.shape, self.dtype = array.shape, _native(array.dtype)
        self._written, self._path = array.dtype, path
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._strides, steps = array.strides, array.strides[1:]
        ends = [(n - 1) * step for n, step in zip(array.shape[1:], steps, strict=True)]
        self._start = sum(end for end in ends if end < 0)  # of a row's bytes from its first entry
        self._span = sum(map(abs, ends)) + array.dtype.itemsize
        self._offset = offset + self._start
        self._known = self._now()
        self._is = self._known, offset, self._strides, self.shape, self._written.str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileSource) and self._is == other._is

    def __hash__(self) -> int:
        return hash(self._is)

    def read(self, indices: Int[np.ndarray, " k"]) -> np.ndarray:
        """See `Source.read`."""
        if self._now() != self._known:
            raise OSError(f"{self._path}: has changed since it was opened to be streamed")
        found = np.empty((len(indices), *self.shape[1:]), self.dtype)
        step = self._strides[0]
        # neighbours in one read
        cuts = np.flatnonzero(np.diff(indices) != 1) + 1 if step > 0 else np.arange(1, len(indices))
        firsts = [0, *cuts.tolist()] if len(indices) else []
        for first, end in zip(firsts, [*firsts[1:], len(indices)], strict=True):
            count = end - first
            size = (count - 1) * step + self._span
            place = self._offset + int(indices[first]) * step
            content = os.pread(self._file, size, place)
            if len(content) != size:
                raise OSError(
                    f"{self._path}: ends after {place + len(content)} bytes, within row "
                    f"{int(indices[first]) + len(content) // max(step, 1)} of {len(self)}"
                )
            found[first:end] = np.ndarray(
                (count, *self.shape[1:]), self._written, content, -self._start, self._strides
            )
        return found

    def _now(self) -> tuple[int, ...]:
        now = os.fstat(self._file)
        return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns


class JoinedSource(Source):
    """The rows of several arrays, one after the other."""

    def __init__(self, parts: tuple[Source, ...]):
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape, self.dtype = (int(self._ends[-1]), *parts[0].shape[1:]), parts[0].dtype

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JoinedSource) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    def read(self, indices: Int[np.ndarray, " k"]) -> np.ndarray:
        """See `Source.read`."""
        cuts = np.searchsorted(indices, self._ends)
        found, first = [], 0
        for part, end, last in zip(self._parts, cuts.tolist(), self._ends.tolist(), strict=True):
            if end > first:
                found.append(part.read(indices[first:end] - (last - len(part))))
            first = end
        return np.concatenate(found) if found else np.empty((0, *self.shape[1:]), self.dtype)


class Joined:
    """Arrays one after the other, as one array of which nothing is copied until it is asked for.

    Example:
        >>> from nsh.data import joined
        >>> both = joined([np.zeros((2, 3)), np.ones((4, 3))])
        >>> both.shape, both[[1, 2]].tolist()
        ((6, 3), [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    """

    def __init__(self, parts: tuple[Any, ...]):
        self.parts = parts

    @functools.cached_property
    def rows(self) -> Source:
        """The rows of all of them."""
        return JoinedSource(tuple(map(source_of, self.parts)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype:
        """Of the whole."""
        return self.rows.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"joined: {self.rows!r}"

    def __getitem__(self, index: Any) -> Any:
        first, *rest = index if isinstance(index, tuple) else (index,)
        chosen = np.arange(len(self))[first]
        places, inverse = np.unique(chosen, return_inverse=True)
        rows = self.rows.read(places)[inverse.reshape(np.shape(chosen))]
        return rows[(slice(None),) * np.ndim(chosen) + tuple(rest)] if rest else rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy  # there is no other way
        return np.asarray(self[:], dtype)


def joined(arrays: Any) -> Joined:
    """Arrays of equal rows one after the other, such as the files that a data set comes in.

    Nothing is read: rows are when they are indexed, or streamed. `np.asarray` makes a copy of all.
    Raises `ValueError` for none, and for rows of different shapes or types.

    Example:
        >>> from nsh.data import joined
        >>> parts = joined([np.zeros((2, 3)), np.ones((4, 3))])
        >>> len(parts), np.asarray(parts).sum().item()
        (6, 12.0)
    """
    parts = tuple(arrays)
    require(len(parts) > 0, "arrays", parts, "at least one")
    kinds = [(tuple(np.shape(part)[1:]), str(_native(part.dtype))) for part in parts]
    for place, kind in enumerate(kinds):
        allowed = f"rows {kinds[0][0]} of {kinds[0][1]}, as those of arrays[0]"
        require(kind == kinds[0], f"arrays[{place}]", f"rows {kind[0]} of {kind[1]}", allowed)
    return Joined(parts)


def source_of(array: Any, field: str = "x") -> Source:
    """The rows of an array-like: of a memory-mapped file, as they are read from it.

    Raises `ValueError` unless it has rows of bools, integers or floats.
    """
    if isinstance(array, Joined):
        return array.rows
    like_an_array = all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))
    if isinstance(array, jax.Array) or not like_an_array:
        array = np.asarray(array)
    require(not np.ma.is_masked(array), field, "a masked array", "without masked entries")
    kind = np.dtype(array.dtype).kind
    require(kind in "biuf", f"{field}.dtype", str(array.dtype), "bool, int or float")
    shape = tuple(array.shape)
    require(len(shape) >= 1 and shape[0] >= 1, f"{field}.shape", shape, "[n, ...] with n >= 1")
    mapped = _mapped(array) if isinstance(array, np.ndarray) else None
    return ArraySource(array) if mapped is None else FileSource(array, *mapped)


def _mapped(array: np.ndarray) -> tuple[str, int] | None:
    """The file that an array is mapped from, and where in it the array begins."""
    root: Any = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap.mmap):
        root = root.base
    if not isinstance(root, np.memmap) or root.filename is None or root.mode == "c":
        return None
    first, begin = (a.__array_interface__["data"][0] for a in (array, root))
    return str(root.filename), root.offset + first - begin


def _native(dtype: Any) -> np.dtype:
    return np.dtype(dtype).newbyteorder("=")
