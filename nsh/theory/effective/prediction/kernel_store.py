"""Any kernel's matrix block by block: over several devices, and into a Zarr store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from nsh._checks import require, require_integer
from nsh._extras import extra
from nsh._files import sync
from nsh._types import ArrayLike
from nsh.theory.effective.prediction.kernel_matrix import (
    Kernel,
    as_inputs,
    dtype_of_kernel,
    in_blocks,
)
from nsh.training.ensemble import Device, checked_devices

Place = tuple[slice, slice]
SHARE = 4  # blocks that a device makes at a time: as many on any number of devices
AXIS, FORMAT, BYTES = "blocks", 1, 32
MATRIX, CHECKSUM = "kernel", "checksum"


def iterate_blocks(
    kernel: Kernel,
    x: ArrayLike,
    z: ArrayLike | None = None,
    *,
    block: int = 1024,
    devices: Sequence[Device] | None = None,
) -> Iterator[tuple[Place, np.ndarray]]:
    """Yield ((rows, columns), ``kernel`` of these), as NumPy arrays, of inputs x and z or x and x.

    ``kernel(x, z)`` gives the matrix [n, m] of two blocks of inputs. Of x with itself, the blocks
    on and above the diagonal; those on it are made symmetric. `devices`, by default all, have
    equal shares of the blocks. A device's block does not depend on the others: the result is
    the same to the bit on any number of them. The next blocks are made while the last are used.

    Raises `ValueError` for inputs of wrong shape, and a kernel that gives no matrix of their type.

    Example:
        >>> from nsh.theory.effective import iterate_blocks
        >>> blocks = iterate_blocks(lambda x, z: x @ z.T, jnp.eye(3), block=2)
        >>> [(block.shape, float(block.sum())) for _, block in blocks]
        [((2, 2), 2.0), ((2, 1), 0.0), ((1, 1), 1.0)]
    """
    return _Blocks(kernel, x, z, block, devices).made()


def kernel_to_zarr(
    path: str | PathLike[str],
    kernel: Kernel,
    x: ArrayLike,
    z: ArrayLike | None = None,
    *,
    block: int = 1024,
    devices: Sequence[Device] | None = None,
) -> Any:
    """Write a kernel's matrix into a Zarr store, or go on with one; returns it open for reading.

    The store is a directory with the array ``kernel`` [n, m], in chunks of `block`; of x with
    itself all of it, made as by `iterate_blocks`. Numbers that are still to be made are NaN. It may
    be interrupted at any moment. The same call then makes what is missing, and the bits are those
    of an uninterrupted run: a block counts once its checksum is on the disk after it.

    Raises `ValueError` as `iterate_blocks` does. So it does where the path holds something else,
    or blocks of other inputs, or of another kernel: one that is there is made again and compared.
    Such a directory is left as it is. Raises `ImportError` without Zarr.

    Example:
        >>> import tempfile
        >>> from nsh.theory.effective import kernel_to_zarr
        >>> path = tempfile.mkdtemp() + "/linear.zarr"
        >>> kernel_to_zarr(path, lambda x, z: x @ z.T, 2 * jnp.eye(2), block=1)[:].tolist()
        [[4.0, 0.0], [0.0, 4.0]]
    """
    with extra("study", "nsh.theory.effective.kernel_to_zarr"):
        import zarr
    blocks = _Blocks(kernel, x, z, block, devices)
    store = _Store(Path(path), blocks, zarr)
    store.open()
    missing, there = [], []
    for place in blocks.places:
        (there if store.has(place) else missing).append(place)
    if there:
        (again,) = (made for _, made in blocks.made(there[:1]))
        rows, columns = blocks.region(there[0])
        same = np.array_equal(again, store.matrix[rows, columns], equal_nan=True)
        store.require(same, "of another kernel, or made elsewhere: bits differ")
    for place, (_, made) in zip(missing, blocks.made(missing), strict=True):
        store.write(place, made)
    return zarr.open_array(store.path / MATRIX, mode="r")


class _Blocks:
    """The blocks of a matrix, by the numbers of their rows and columns."""

    def __init__(
        self,
        kernel: Kernel,
        x: ArrayLike,
        z: ArrayLike | None,
        block: int,
        devices: Sequence[Device] | None,
    ):
        given = [as_inputs("x", x)]
        if z is not None:
            given.append(as_inputs("z", z, like=given[0]))
        self.symmetric = z is None
        self.block = require_integer("block", block, 1)
        self.devices = checked_devices(devices)
        self.kernel, self.dtype = kernel, dtype_of_kernel(kernel, given[0], self.block)
        self.inputs = [np.asarray(one) for one in given]
        self.shape = len(self.inputs[0]), len(self.inputs[-1])
        counts = tuple(-(-size // self.block) for size in self.shape)
        self.counts = counts
        pairs = np.triu_indices(counts[0]) if self.symmetric else np.indices(counts).reshape(2, -1)
        self.places = [(int(row), int(column)) for row, column in zip(*pairs, strict=True)]

    def region(self, place: tuple[int, int]) -> Place:
        rows, columns = (
            slice(number * self.block, min((number + 1) * self.block, size))
            for number, size in zip(place, self.shape, strict=True)
        )
        return rows, columns

    def made(
        self, places: Sequence[tuple[int, int]] | None = None
    ) -> Iterator[tuple[Place, np.ndarray]]:
        """Some of them, by default all, in this order."""
        places = self.places if places is None else places
        everywhere = NamedSharding(Mesh(np.asarray(self.devices), (AXIS,)), PartitionSpec())
        first, *rest = (
            jax.device_put(in_blocks(jnp.asarray(one), self.block), everywhere)
            for one in self.inputs
        )
        second = rest[0] if rest else first
        step, waiting = SHARE * len(self.devices), []
        for start in range(0, len(places), step):
            some = list(places[start : start + step])
            full = jnp.asarray(some + some[-1:] * (step - len(some)), jnp.int32)
            found = _on_devices(self.kernel, first, second, full, self.devices)
            yield from self._given(waiting)
            waiting = [(some, found)]
        yield from self._given(waiting)

    def _given(
        self, waiting: Sequence[tuple[Sequence[tuple[int, int]], Array]]
    ) -> Iterator[tuple[Place, np.ndarray]]:
        for places, found in waiting:
            for place, whole in zip(places, np.asarray(found), strict=False):
                made = (whole + whole.T) / 2 if self.symmetric and place[0] == place[1] else whole
                rows, columns = self.region(place)
                inside = made[: rows.stop - rows.start, : columns.stop - columns.start]
                yield (rows, columns), inside


@eqx.filter_jit
def _on_devices(
    kernel: Kernel,
    first: Array,
    second: Array,
    places: Int[Array, "places 2"],
    devices: tuple[Device, ...],
) -> Array:
    arrays, rest = eqx.partition(kernel, eqx.is_array)

    def on_device(arrays: Any, first: Array, second: Array, places: Array) -> Array:
        known = eqx.combine(arrays, rest)
        return jax.lax.map(lambda place: known(first[place[0]], second[place[1]]), places)

    everywhere, split = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(
        on_device, mesh=Mesh(np.asarray(devices), (AXIS,)),
        in_specs=(everywhere, everywhere, everywhere, split), out_specs=split, check_vma=False,
    )(arrays, first, second, places)  # fmt: skip


class _Store:
    """A directory with the matrix and a checksum for each block, all zeros before it is there."""

    def __init__(self, path: Path, blocks: _Blocks, zarr: Any):
        self.path, self.blocks, self.zarr = path, blocks, zarr

    def require(self, right: bool, found: str) -> None:
        """`ValueError` unless the directory is this matrix's."""
        require(right, str(self.path), found, "a new directory, or a store that this call began")

    def open(self) -> None:
        """Make the store if it is not there, whole at once; raise if it is another's."""
        wanted = self._description()
        if not self.path.exists():
            self._create(wanted)
        found = {}
        try:
            group = self.zarr.open_group(self.path, mode="r+")
            found = dict(group.attrs)
            self.matrix, self.checksums = group[MATRIX], group[CHECKSUM]
        except Exception as error:  # whatever Zarr says of what is no store
            self.require(False, f"no store of a kernel ({type(error).__name__})")
        for name, value in wanted.items():
            self.require(found.get(name) == value, f"a store with {name} {found.get(name)!r}")

    def has(self, place: tuple[int, int]) -> bool:
        """Whether a block, and its mirror image, are there and whole."""
        try:
            checksum = np.asarray(self.checksums[place])
            if not checksum.any():
                return False
            rows, columns = self.blocks.region(place)
            made = np.asarray(self.matrix[rows, columns])
            right = np.array_equal(_digest(made), checksum)
            if right and self._mirrored(place):
                right = np.asarray(self.matrix[columns, rows]).T.tobytes() == made.tobytes()
        except Exception:  # whatever a codec says to bytes that it has not written
            return False
        return right

    def write(self, place: tuple[int, int], made: np.ndarray) -> None:
        """First the block, then, once that is on the disk, its checksum."""
        rows, columns = self.blocks.region(place)
        self._chunk(CHECKSUM, place).unlink(missing_ok=True)
        self.matrix[rows, columns] = made
        written = [self._chunk(MATRIX, place)]
        if self._mirrored(place):
            self.matrix[columns, rows] = made.T
            written.append(self._chunk(MATRIX, (place[1], place[0])))
        sync(written, self.path)
        self.checksums[place] = _digest(made)
        sync([self._chunk(CHECKSUM, place)], self.path)

    def _mirrored(self, place: tuple[int, int]) -> bool:
        return self.blocks.symmetric and place[0] != place[1]

    def _chunk(self, name: str, place: tuple[int, int]) -> Path:
        last = (0,) if name == CHECKSUM else ()
        return self.path.joinpath(name, "c", *map(str, (*place, *last)))

    def _description(self) -> dict[str, Any]:
        blocks = self.blocks
        digest = hashlib.sha256()
        for one in blocks.inputs:
            digest.update(str(one.dtype).encode() + np.ascontiguousarray(one).tobytes())
        return {
            "format": FORMAT, "shape": list(blocks.shape), "dtype": str(blocks.dtype),
            "block": blocks.block, "symmetric": blocks.symmetric,
            "features": list(blocks.inputs[0].shape[1:]), "inputs": digest.hexdigest(),
        }  # fmt: skip

    def _create(self, description: dict[str, Any]) -> None:
        template = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(template, ignore_errors=True)  # of a run that was killed
        self.path.parent.mkdir(parents=True, exist_ok=True)
        blocks, options = self.blocks, {"config": {"write_empty_chunks": True}}
        group = self.zarr.create_group(template, zarr_format=3, attributes=description)
        group.create_array(
            MATRIX, shape=blocks.shape, chunks=(blocks.block, blocks.block), dtype=blocks.dtype,
            fill_value=float("nan"), **options,
        )  # fmt: skip
        group.create_array(
            CHECKSUM, shape=(*blocks.counts, BYTES), chunks=(1, 1, BYTES), dtype=np.uint8,
            fill_value=0, attributes={"long_name": "SHA-256 of each block; 0 if it is not there"},
            **options,
        )  # fmt: skip
        sync((one for one in template.rglob("*") if one.is_file()), template)
        template.replace(self.path)
        sync([self.path], self.path.parent)


def _digest(made: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(made).tobytes()).digest(), np.uint8)
