"""The arrays of a study's store: names, axes, units, chunks, and what belongs to which block."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nsh.measure import Variable
from nsh.study.study import Blocks, Study

STATUS, NOT_COMPUTED = "status", -1
FLAGS = {
    "long_name": "0 healthy, 1 diverged, 2 stalled; -1 not computed yet",
    "units": "1",
    "flag_values": [0, 1, 2, NOT_COMPUTED],
}
TUNING_FLAGS = FLAGS | {
    "long_name": "0 healthy, 1 diverged, 2 stalled, 3 gradient not finite; -1 not computed yet",
    "flag_values": [0, 1, 2, 3, -1],
}
CHECKSUM, BYTES = "checksum", 32
OBJECTIVE, TUNED, TUNING_STATUS = "objective", "tuned.", "tuning_status"
Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """An array of the store; the first axes are those of the members unless it is a coordinate."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attributes: Mapping[str, Any]

    @property
    def fill(self) -> Any:
        """What stands for numbers that are not computed yet."""
        numbers = {"f": float("nan"), "c": complex("nan"), "i": NOT_COMPUTED, "T": ""}
        return numbers.get(self.dtype.kind, 0)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Arrays with the axes of the members first, coordinates, and the blocks of members."""

    blocks: Blocks
    member_dims: tuple[str, ...]
    arrays: Mapping[str, ArraySpec]
    coordinates: Mapping[str, tuple[ArraySpec, np.ndarray]]

    @property
    def block_dims(self) -> tuple[str, ...]:
        """Axes that number the blocks."""
        return tuple(f"{dim}_block" for dim in self.member_dims)

    def words(self, block: tuple[int, ...]) -> str:
        """A block's members, in words."""
        parts = zip(self.member_dims, self.blocks.region(block), strict=True)
        return ", ".join(f"{dim} {part.start}..{part.stop - 1}" for dim, part in parts)

    def digest(self, arrays: Arrays) -> np.ndarray:
        """SHA-256 of a block: names, shapes, types and bytes of its arrays."""
        found = hashlib.sha256()
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            found.update(f"{name} {array.dtype.str} {array.shape};".encode())
            found.update(array.tobytes())
        return np.frombuffer(found.digest(), np.uint8)


def layout(study: Study) -> Layout:
    """Lay out the arrays of everything that a study computes."""
    member_dims = (*study.grid, "seed")
    shape = (*study.grid_shape, study.seeds)
    times = study.problem.times
    known = getattr(study.problem.save.fn, "variables", dict)()
    arrays = {STATUS: ArraySpec(member_dims, shape, np.dtype(np.int32), FLAGS)}
    for name, leaf in study.recorded().items():
        inner = tuple(f"{name}_{axis}" for axis in range(len(leaf.shape)))
        variable = known.get(name, Variable(name, "1", inner))
        dims = (*member_dims, "step", *variable.dims)
        attributes = {"long_name": variable.long_name, "units": variable.units}
        sizes = (*shape, len(times), *leaf.shape)
        arrays[name] = ArraySpec(dims, sizes, np.dtype(leaf.dtype), attributes)
    coordinates = {
        name: _coordinate(name, np.asarray(values), "1") for name, values in study.grid.items()
    }
    coordinates["seed"] = _coordinate("seed", np.arange(study.seeds), "1")
    if times:
        coordinates["step"] = _coordinate("step", np.asarray(times), "backpropagations")
    for spec in arrays.values():
        if "level" in spec.dims:
            levels = spec.shape[spec.dims.index("level")]
            coordinates["level"] = _coordinate("level", np.arange(1, levels + 1), "1")
        if "class" in spec.dims:
            number = spec.shape[spec.dims.index("class")]
            names = study.problem.first_point.system.class_names or ()
            values = _names(names if len(names) == number else range(number))
            coordinates["class"] = _coordinate("class", values, "1")
    if study.tune is not None:
        arrays |= _tuned(study)
        iterations = np.arange(study.tune.iterations + 1)
        coordinates["iteration"] = _coordinate("iteration", iterations, "optimiser steps")
    return Layout(study.blocks, member_dims, arrays, coordinates)


def _names(names: Iterable[Any]) -> np.ndarray:
    """Names of classes as numbers, or as text of any length."""
    values = np.asarray(list(names))
    return values.astype(np.dtypes.StringDType()) if values.dtype.kind == "U" else values


def _coordinate(dim: str, values: np.ndarray, units: str) -> tuple[ArraySpec, np.ndarray]:
    spec = ArraySpec((dim,), values.shape, values.dtype, {"long_name": dim, "units": units})
    return spec, values


def _tuned(study: Study) -> dict[str, ArraySpec]:
    """The objective and the tuned hyperparameters before every step of the optimiser and after."""
    tune = study.tune
    assert tune is not None
    dims = (*study.grid, *(("seed",) if tune.per_seed else ()), "iteration")
    seeds = (study.seeds,) if tune.per_seed else ()
    shape = (*study.grid_shape, *seeds, tune.iterations + 1)
    dtype = np.dtype(study.recorded()[tune.objective].dtype)
    known = getattr(study.problem.save.fn, "variables", dict)()
    variable = known.get(tune.objective, Variable(tune.objective, "1"))
    attributes = {"long_name": f"final {variable.long_name}", "units": variable.units}
    all_dims = (*study.grid, "seed", "iteration")
    all_shape = (*study.grid_shape, study.seeds, tune.iterations + 1)
    found = {
        OBJECTIVE: ArraySpec(dims, shape, dtype, attributes),
        TUNING_STATUS: ArraySpec(all_dims, all_shape, np.dtype(np.int32), TUNING_FLAGS),
    }
    for name in tune.parameters:
        leaf = study.leaf(name)
        inner = tuple(f"{name}_{axis}" for axis in range(leaf.ndim))
        attributes = {"long_name": name, "units": "1"}
        found[TUNED + name] = ArraySpec(
            (*dims, *inner), (*shape, *leaf.shape), np.dtype(leaf.dtype), attributes
        )
    return found
