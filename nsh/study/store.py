"""A study's Zarr store: made whole, written block by block, checked before it is gone on with."""

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

from nsh.study.files import atomic, sync
from nsh.study.identity import canonical, differences
from nsh.study.layout import BYTES, CHECKSUM, Arrays, ArraySpec, Layout

ROOT = "zarr.json"
# what must be the same for a store to be gone on with, and what it is called in messages
IDENTITY = {
    "configuration": "configuration",
    "versions": "version",
    "settings": "JAX setting",
    "device_kind": "kind of device",
}
PARTIAL = "*.partial"


class StoreRefused(ValueError):
    """A store that is not this study's, or cannot be read: it is left as it is."""


@dataclass(frozen=True)
class Store:
    """The Zarr store at `path`, of a study with this layout.

    Every block of members is one chunk of each array. Its checksum is written only when the
    block's data are on the disk, so a block with a right checksum is whole.
    """

    path: Path
    layout: Layout

    def prepare(self, identity: Mapping[str, Any], notes: Mapping[str, Any]) -> list[str]:
        """Make the store, or check the one that is there; what was repaired, in words.

        `identity`: JSON that must be equal in a store already there, else `StoreRefused`; `notes`:
        further attributes. Metadata and coordinates that were damaged are made anew.
        """
        with self._template(identity, notes) as template:
            if not self.path.exists():
                template.replace(self.path)
                sync([self.path], self.path.parent)
                return []
            self._check_identity(identity)
            return self._repair(template)

    def finished(self) -> tuple[set[tuple[int, ...]], list[tuple[int, ...]]]:
        """Blocks that are whole, and blocks that have a checksum but not the data to it."""
        whole, damaged = set(), []
        for block in self.layout.blocks:
            checksum = self._checksum(block)
            if checksum is not None and not checksum.any():
                continue
            if checksum is not None and self._matches(block, checksum):
                whole.add(block)
            else:
                damaged.append(block)
        return whole, damaged

    def write(self, block: tuple[int, ...], arrays: Arrays) -> None:
        """Write a block, then (once it is on the disk) its checksum.

        The checksum written before, if any, is taken back first.
        """
        sums = (1,) * len(block)
        place = {dim: slice(i, i + 1) for dim, i in zip(self.layout.block_dims, block, strict=True)}
        dims = (*self.layout.block_dims, "byte")
        self._chunk(CHECKSUM, block).unlink(missing_ok=True)
        named = {name: (self.layout.arrays[name].dims, array) for name, array in arrays.items()}
        for region, group in self._by_region(block, named):
            self._write(xr.Dataset(group), region)
        sync((self._chunk(name, block) for name in arrays), self.path)
        digest = self.layout.digest(arrays).reshape(*sums, BYTES)
        self._write(xr.Dataset({CHECKSUM: (dims, digest)}), place)
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
            place = (*block, 0)
        else:
            dims = self.layout.arrays[name].dims
            numbers = dict(zip(self.layout.member_dims, block, strict=True))
            place = tuple(numbers.get(dim, 0) for dim in dims)
        return self.path.joinpath(name, "c", *map(str, place))

    def _checksum(self, block: tuple[int, ...]) -> np.ndarray | None:
        """A block's checksum, zeros if it has none; None if it cannot be read."""
        return self._read(CHECKSUM, (*(slice(i, i + 1) for i in block), slice(None)))

    def _matches(self, block: tuple[int, ...], checksum: np.ndarray) -> bool:
        region = dict(zip(self.layout.member_dims, self.layout.blocks.region(block), strict=True))
        arrays = {}
        for name, spec in self.layout.arrays.items():
            if not self._chunk(name, block).exists():
                return False
            array = self._read(name, tuple(region.get(dim, slice(None)) for dim in spec.dims))
            if array is None:
                return False
            arrays[name] = array
        return bool((self.layout.digest(arrays) == checksum.ravel()).all())

    def _read(self, name: str, region: tuple[slice, ...]) -> np.ndarray | None:
        try:
            array = zarr.open_array(self.path / name, mode="r")
            return np.asarray(array[region])
        except Exception:  # whatever a codec says to bytes that it has not written
            return None

    def _check_identity(self, identity: Mapping[str, Any]) -> None:
        try:
            attributes = json.loads((self.path / ROOT).read_text())["attributes"]
            there = {name: json.loads(attributes[name]) for name in IDENTITY}
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise StoreRefused(
                f"{self.path} is there, but is not the store of a study, or its {ROOT} is damaged "
                f"({type(problem).__name__}: {problem}); it is left as it is: choose another "
                "directory, or move it away"
            ) from problem
        for name, words in IDENTITY.items():
            found = differences(there[name], identity[name])
            if found:
                shown = "; ".join(found[:5]) + ("; ..." if len(found) > 5 else "")
                raise StoreRefused(
                    f"{self.path} was begun with another {words}: {shown}. It is left as it is: "
                    "choose another directory, or move it away"
                )

    def _repair(self, template: Path) -> list[str]:
        """Put back what the template has and the store has not; away with half-written files."""
        for leftover in self.path.rglob(PARTIAL):
            leftover.unlink()
        damaged = []
        for right in sorted(path for path in template.rglob("*") if path.is_file()):
            name = right.relative_to(template)
            here = self.path / name
            if name == Path(ROOT) or (here.is_file() and here.read_bytes() == right.read_bytes()):
                continue
            damaged.append(str(name))
            with atomic(here) as temporary:
                temporary.write_bytes(right.read_bytes())
            sync([here], self.path)
        return damaged

    @contextlib.contextmanager
    def _template(self, identity: Mapping[str, Any], notes: Mapping[str, Any]) -> Iterator[Path]:
        """A store with no block written, on the disk beside the place where it belongs."""
        template = self.path.with_name(f".{self.path.name}.new")
        shutil.rmtree(template, ignore_errors=True)  # of a run that was killed
        try:
            attributes = {name: canonical(identity[name]) for name in IDENTITY} | dict(notes)
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
            yield template
        finally:
            shutil.rmtree(template, ignore_errors=True)


def _create(group: zarr.Group, name: str, spec: ArraySpec, chunks: tuple[int, ...]) -> zarr.Array:
    return group.create_array(
        name, shape=spec.shape, chunks=chunks, dtype=spec.dtype, fill_value=spec.fill,
        dimension_names=spec.dims, attributes=dict(spec.attributes),
        config={"write_empty_chunks": True},
    )  # fmt: skip
