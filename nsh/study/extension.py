"""A store that is extended: more seeds, more values on the grid, other chunks, the old results."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from nsh._fingerprint.description import differences
from nsh.study.layout import Layout, layout
from nsh.study.store import CONFIGURATION, FINGERPRINT, LEFT, Store, StoreRefused
from nsh.study.study import Study

AXES, CHUNK, SEEDS = "grid", "chunk", "seeds"
CALLED = {
    "settings": "another JAX setting",
    "versions": "another version",
    "device_kind": "another kind of device",
    "configuration": "another configuration",
    "code": "other code",
}
WHY_NOT = {
    "problem.steps": "no states are kept, so no run can be made longer",
    SEEDS: "seeds can be added, not removed, and not where the mean over all of them is tuned",
    AXES: "values can be added, not removed",
}


def opened(
    study: Study, store: Store, fingerprint: Mapping[str, Any], notes: Mapping[str, Any]
) -> list[str]:
    """Make the store, check the one that is there or extend it; what happened to it, in words.

    `fingerprint`: JSON that must be equal in a store already there, but for more seeds, more values
    on the grid and other chunks; else `StoreRefused`. `notes`: further attributes.
    """
    store.recover()
    if not store.path.exists():
        store.create(fingerprint, notes)
        return []
    there, here = store.fingerprint(), dict(fingerprint)
    configuration = here[CONFIGURATION]
    here[CONFIGURATION] = overlap(study, there[CONFIGURATION], configuration)
    for name in FINGERPRINT:
        if found := differences(there[name], here[name]):
            raise StoreRefused(_refusal(store, CALLED[name], found))
    if here[CONFIGURATION] == configuration:
        damaged = store.repair(fingerprint, notes)
        return [f"{store.path / name} was damaged and has been restored" for name in damaged]
    old = Store(store.path, layout(smaller(study, there[CONFIGURATION])))
    old.repair(fingerprint, notes)
    known, damaged = old.known()
    with store.replaced(fingerprint, notes) as new:
        copy(old, known, new)
    lost = [f"{old.layout.words(block)}: damaged in {store.path}" for block in damaged]
    return [*lost, f"extended, with {known.sum()} runs that were there"]


def _refusal(store: Store, called: str, found: list[str]) -> str:
    reasons = {name for name in WHY_NOT if any(re.match(rf"{name}\b", line) for line in found)}
    why = "".join(f"; {WHY_NOT[name]}" for name in sorted(reasons))
    shown = "; ".join(found[:5]) + ("; ..." if len(found) > 5 else "")
    return f"{store.path} was begun with {called}: {shown}{why}; {LEFT}"


def overlap(study: Study, there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """The description `here` with the sizes of the one `there`, where `study` holds all of that.

    It equals `there` if and only if the study is an extension, or the same.
    """
    found = dict(here) | {CHUNK: there.get(CHUNK)}
    of_all_seeds = study.tune is not None and not study.tune.per_seed
    seeds = there.get(SEEDS)
    if not of_all_seeds and isinstance(seeds, int) and 1 <= seeds <= study.seeds:
        found[SEEDS] = seeds
    values = there.get(AXES)
    if isinstance(values, Mapping):
        found[AXES] = {
            axis: values[axis] if axis in values and set(values[axis]) <= set(now) else now
            for axis, now in here[AXES].items()
        }
    return found


def smaller(study: Study, there: Mapping[str, Any]) -> Study:
    """The study that a store was begun with, of which `study` is an extension."""
    grid = {axis: there[AXES][axis] for axis in study.grid}
    return dataclasses.replace(study, seeds=there[SEEDS], chunk=there[CHUNK], grid=grid)


def copy(old: Store, known: np.ndarray, new: Store) -> None:
    """Write the members of `old` that are `known` into an empty store with more room."""
    positions = {dim: _positions(old.layout, new.layout, dim) for dim in new.layout.member_dims}
    for block in new.layout.blocks:
        region = new.layout.blocks.region(block)
        within = [
            np.flatnonzero(positions[dim][part] >= 0)
            for dim, part in zip(new.layout.member_dims, region, strict=True)
        ]
        before = [
            positions[dim][part][chosen]
            for dim, part, chosen in zip(new.layout.member_dims, region, within, strict=True)
        ]
        there = np.zeros([part.stop - part.start for part in region], bool)
        there[np.ix_(*within)] = known[np.ix_(*before)]
        if there.any():
            kept = old.members(dict(zip(old.layout.member_dims, before, strict=True)))
            new.write(block, merged(new.layout, there.shape, {}, kept, within, there))


def merged(
    plan: Layout,
    shape: tuple[int, ...],
    under: Mapping[str, np.ndarray],
    arrays: Mapping[str, np.ndarray],
    within: list[np.ndarray],
    chosen: np.ndarray,
) -> dict[str, np.ndarray]:
    """A block's arrays: `arrays` at the positions `within` that are `chosen`, `under` elsewhere.

    Where there is nothing under it stands what the store has for members not computed yet.
    """
    found = {}
    for name, spec in plan.arrays.items():
        axes = [axis for axis, dim in enumerate(plan.member_dims) if dim in spec.dims]
        inner = arrays[name].shape[len(axes) :]
        outer = tuple(shape[axis] for axis in axes)
        whole = np.full((*outer, *inner), spec.fill, spec.dtype)
        whole[...] = under.get(name, whole)
        # arrays without an axis of seeds belong to all of them together
        gone = tuple(axis for axis in range(chosen.ndim) if axis not in axes)
        positions = np.ix_(*(within[axis] for axis in axes))
        mask = np.asarray(chosen.any(axis=gone))[positions]
        mask = mask.reshape(*mask.shape, *(1,) * len(inner))
        whole[positions] = np.where(mask, arrays[name], whole[positions])
        found[name] = whole
    return found


def _positions(old: Layout, new: Layout, dim: str) -> np.ndarray:
    """Where on an axis of the old store each position of the new one is; -1: nowhere."""
    known = {value: i for i, value in enumerate(old.coordinates[dim][1].tolist())}
    return np.array([known.get(value, -1) for value in new.coordinates[dim][1].tolist()])
