"""A study's Zarr store: made whole, written block by block, checked before a study resumes it.

The idea: a study may be killed at any moment, and the same command resumes it. The result is
byte for byte that of an uninterrupted run. Three rules make this true.

- A store appears whole. It is made beside its place (`_template`) and moved there in one step,
  so nobody sees half a store. A replacement, as by an extension, works in the same way.
- A block of members is one chunk of each array. Its data go to the disk first, its checksum
  after them. So a block with a right checksum is whole, and any other is computed again.
- A store knows what it belongs to. Its attributes hold the fingerprint of the study: configuration,
  code, versions, settings of JAX, kind of device. Another study is refused and changes nothing.

The methods follow a store's life. `create`, `replaced` and `recover` make it. `fingerprint` says
what began it, `known` which blocks are whole. `write` adds a block, `members` reads results, and
`repair` restores metadata. `layout` describes the arrays, and `Blocks` says which members form a
block. Users open a store by `readable`, which notices an extension.

Read next: `run`, which writes blocks in turn, `fingerprint` for what a study is, and `extension`
for more seeds or grid values.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import LocalStore, WrapperStore

from nsh._files import atomic, sync
from nsh._fingerprint.description import canonical
from nsh.study.layout import BYTES, CHECKSUM, NOT_COMPUTED, STATUS, Arrays, ArraySpec, Layout

ROOT = "zarr.json"
FORMAT = 2
"""Number of the stores' format: what their attributes, arrays and checksums mean."""
# must be the same for a study to resume a store; the rest may follow from what comes first
CONFIGURATION = "configuration"
FINGERPRINT = ("settings", "versions", "device_kind", CONFIGURATION, "code")
PARTIAL = "*.partial"


LEFT = "it is left as it is: choose another directory, or move it away"


class StoreRefused(ValueError):
    """A store that is not this study's, or cannot be read: it is left as it is."""


@dataclass(frozen=True)
class Store:
    """The Zarr store at `path`, of a study with this layout.

    Every block of members is one chunk of each array. Its checksum is written only when the
    block's data are on the disk, so a block with a right checksum is whole. A member whose status
    there is -1 is still to be computed, as in a block that a store was extended by.
    """

    path: Path
    layout: Layout

    def create(self, fingerprint: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Make the store with no member in it. `notes`: attributes besides the fingerprint."""
        with self._template(fingerprint, notes) as template:
            template.path.replace(self.path)
            sync([self.path], self.path.parent)

    @contextlib.contextmanager
    def replaced(self, fingerprint: Mapping[str, Any], notes: Mapping[str, Any]) -> Iterator[Store]:
        """An empty store to be filled, which takes the place of the one there if all goes well."""
        with self._template(fingerprint, notes) as template:
            yield template
            sync((path for path in template.path.rglob("*") if path.is_file()), template.path)
            self.path.replace(self._aside)
            template.path.replace(self.path)
            sync([self.path], self.path.parent)
        shutil.rmtree(self._aside)

    def recover(self) -> None:
        """End what a run that was killed while it replaced the store has begun."""
        if self._aside.exists():
            if self.path.exists():
                shutil.rmtree(self._aside)
            else:
                self._aside.replace(self.path)

    def fingerprint(self) -> dict[str, Any]:
        """Read what the existing store was begun with.

        Raises `StoreRefused` if it has another format, or is no store of a study.
        """
        try:
            attributes = json.loads((self.path / ROOT).read_text())["attributes"]
            written = attributes.get("format", 1 if CONFIGURATION in attributes else None)
            if written in (None, FORMAT):
                return {name: json.loads(attributes[name]) for name in FINGERPRINT}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise StoreRefused(
                f"{self.path} is there, but is not the store of a study, or its {ROOT} is damaged "
                f"({type(problem).__name__}: {problem}); {LEFT}"
            ) from problem
        raise StoreRefused(
            f"{self.path} has another format: {written} there, {FORMAT} here; it can be read, but "
            f"only the nsh that wrote it can resume it; {LEFT}"
        )

    def known(self) -> tuple[np.ndarray, list[tuple[int, ...]]]:
        """Find the members that are there, and blocks whose data do not fit their checksum."""
        known, damaged = np.zeros(self.layout.blocks.shape, bool), []
        for block in self.layout.blocks:
            checksum = self._checksum(block)
            if checksum is not None and not checksum.any():
                continue
            region = self.layout.blocks.region(block)
            arrays = self._checked(block, checksum)
            if arrays is None:
                damaged.append(block)
            else:
                known[region] = arrays[STATUS] != NOT_COMPUTED
        return known, damaged

    def members(self, positions: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """All arrays of some members, by their positions along each axis."""
        return {
            name: np.asarray(
                zarr.open_array(self.path / name, mode="r").oindex[
                    tuple(positions.get(dim, slice(None)) for dim in spec.dims)
                ]
            )
            for name, spec in self.layout.arrays.items()
        }

    def write(self, block: tuple[int, ...], arrays: Arrays) -> None:
        """Write a block, then (once it is on the disk) its checksum.

        The checksum written before, if any, is taken back first.
        """
        sums = (1,) * len(block)
        at = {dim: slice(i, i + 1) for dim, i in zip(self.layout.block_dims, block, strict=True)}
        dims = (*self.layout.block_dims, "byte")
        self._chunk(CHECKSUM, block).unlink(missing_ok=True)
        named = {name: (self.layout.arrays[name].dims, array) for name, array in arrays.items()}
        for region, group in self._by_region(block, named):
            self._write(xr.Dataset(group), region)
        sync((self._chunk(name, block) for name in arrays), self.path)
        digest = self.layout.digest(arrays).reshape(*sums, BYTES)
        self._write(xr.Dataset({CHECKSUM: (dims, digest)}), at)
        sync([self._chunk(CHECKSUM, block)], self.path)

    def _by_region(
        self, block: tuple[int, ...], named: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, slice], dict[str, Any]]]:
        """Arrays in groups of those that have the same axes of members."""
        whole = dict(zip(self.layout.member_dims, self.layout.blocks.region(block), strict=True))
        groups: dict[tuple[str, ...], dict[str, Any]] = {}
        for name, (dims, array) in named.items():
            groups.setdefault(tuple(d for d in dims if d in whole), {})[name] = (dims, array)
        for dims, group in groups.items():
            yield {dim: whole[dim] for dim in dims}, group

    def _write(self, dataset: xr.Dataset, region: dict[str, slice]) -> None:
        dataset.to_zarr(self.path, region=region, consolidated=False, write_empty_chunks=True)

    def _chunk(self, name: str, block: tuple[int, ...]) -> Path:
        """File of an array's only chunk in a block."""
        if name == CHECKSUM:
            index = (*block, 0)
        else:
            dims = self.layout.arrays[name].dims
            numbers = dict(zip(self.layout.member_dims, block, strict=True))
            index = tuple(numbers.get(dim, 0) for dim in dims)
        return self.path.joinpath(name, "c", *map(str, index))

    def _checksum(self, block: tuple[int, ...]) -> np.ndarray | None:
        """A block's checksum, zeros if it has none; None if it cannot be read."""
        return self._read(CHECKSUM, (*(slice(i, i + 1) for i in block), slice(None)))

    def _checked(self, block: tuple[int, ...], checksum: np.ndarray | None) -> Arrays | None:
        """A block's arrays, if they are those of the checksum."""
        region = dict(zip(self.layout.member_dims, self.layout.blocks.region(block), strict=True))
        arrays = {}
        for name, spec in self.layout.arrays.items():
            if checksum is None or not self._chunk(name, block).exists():
                return None
            array = self._read(name, tuple(region.get(dim, slice(None)) for dim in spec.dims))
            if array is None:
                return None
            arrays[name] = array
        same = checksum is not None and (self.layout.digest(arrays) == checksum.ravel()).all()
        return arrays if same else None

    def _read(self, name: str, region: tuple[slice, ...]) -> np.ndarray | None:
        try:
            array = zarr.open_array(self.path / name, mode="r")
            return np.asarray(array[region])
        except Exception:  # whatever a codec says to bytes that it has not written
            return None

    def repair(self, fingerprint: Mapping[str, Any], notes: Mapping[str, Any]) -> list[str]:
        """Put back damaged metadata and coordinates, and name them; no half-written file stays."""
        for leftover in self.path.rglob(PARTIAL):
            leftover.unlink()
        damaged = []
        with self._template(fingerprint, notes) as template:
            for right in sorted(path for path in template.path.rglob("*") if path.is_file()):
                name = right.relative_to(template.path)
                here, content = self.path / name, right.read_bytes()
                if name == Path(ROOT) or (here.is_file() and here.read_bytes() == content):
                    continue
                damaged.append(str(name))
                with atomic(here) as temporary:
                    temporary.write_bytes(content)
                sync([here], self.path)
        return damaged

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f".{self.path.name}.old")

    @contextlib.contextmanager
    def _template(
        self, fingerprint: Mapping[str, Any], notes: Mapping[str, Any]
    ) -> Iterator[Store]:
        """A store with no block written, on the disk beside the place where it belongs."""
        template = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(template, ignore_errors=True)  # of a run that was killed
        try:
            attributes = {name: canonical(fingerprint[name]) for name in FINGERPRINT}
            attributes |= {"format": FORMAT, **notes}
            group = zarr.create_group(template, zarr_format=3, attributes=attributes)
            blocks = self.layout.blocks
            sizes = dict(zip(self.layout.member_dims, blocks.size, strict=True))
            for name, spec in self.layout.arrays.items():
                chunks = tuple(
                    sizes.get(d, max(n, 1)) for d, n in zip(spec.dims, spec.shape, strict=True)
                )
                _create(group, name, spec, chunks)
            sums = ArraySpec(
                (*self.layout.block_dims, "byte"), (*blocks.counts, BYTES), np.dtype(np.uint8),
                {"long_name": "SHA-256 of each block of members; 0 if it is not finished"},
            )  # fmt: skip
            _create(group, CHECKSUM, sums, (*(1 for _ in blocks.counts), BYTES))
            for name, (spec, values) in self.layout.coordinates.items():
                _create(group, name, spec, spec.shape)[...] = values
            sync((path for path in template.rglob("*") if path.is_file()), template)
            yield Store(template, self.layout)
        finally:
            shutil.rmtree(template, ignore_errors=True)


def _create(group: zarr.Group, name: str, spec: ArraySpec, chunks: tuple[int, ...]) -> zarr.Array:
    return group.create_array(
        name, shape=spec.shape, chunks=chunks, dtype=spec.dtype, fill_value=spec.fill,
        dimension_names=spec.dims, attributes=dict(spec.attributes),
        config={"write_empty_chunks": True},
    )  # fmt: skip


class AsOpened(WrapperStore[LocalStore]):
    """The store in a directory, readable as long as it is the one that was opened.

    An extension puts another store into its place: what is read from it would be of other seeds
    and grid values than those that were read before. Raises `StoreRefused` then.
    """

    _store: LocalStore

    def __init__(self, store: LocalStore):
        super().__init__(store)
        self._opened = self._now()

    async def get(self, *arguments: Any, **options: Any) -> Any:
        """What is at a key, looked up before it is known to be of the same store."""
        found = await super().get(*arguments, **options)
        if self._now() != self._opened:
            raise StoreRefused(
                f"{self._store.root} has been extended, or replaced, since it was opened: open it "
                "again by open_study"
            )
        return found

    def _now(self) -> tuple[int, int] | None:
        """What tells the store that is there from any other: its root is written once."""
        try:
            there = (self._store.root / ROOT).stat()
        except OSError:
            return None
        return there.st_ino, there.st_mtime_ns


def readable(path: Path) -> AsOpened:
    """The store at `path`, for reading alone."""
    return AsOpened(LocalStore(path, read_only=True))
