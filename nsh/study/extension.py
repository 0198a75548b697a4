"""A store that is extended: more seeds, more values on the grid, other chunks, the old results."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from nsh.study.identity import differences
from nsh.study.layout import Layout, layout
from nsh.study.members import train_members
from nsh.study.store import CONFIGURATION, IDENTITY, LEFT, Store, StoreRefused
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
    "steps": "no states are kept, so no run can be made longer",
    SEEDS: "seeds can be added, not removed, and not where the mean over all of them is tuned",
    AXES: "values can be added, not removed",
}


def opened(
    study: Study, store: Store, identity: Mapping[str, Any], notes: Mapping[str, Any]
) -> list[str]:
    """Make the store, check the one that is there or extend it; what happened to it, in words.

    `identity`: JSON that must be equal in a store already there, but for more seeds, more values
    on the grid and other chunks; else `StoreRefused`. `notes`: further attributes.
    """
    store.recover()
    if not store.path.exists():
        store.create(identity, notes)
        return []
    there, here = store.identity(), dict(identity)
    configuration = here[CONFIGURATION]
    here[CONFIGURATION] = overlap(study, there[CONFIGURATION], configuration)
    for name in IDENTITY:
        if found := differences(there[name], here[name]):
            raise StoreRefused(_refusal(store, CALLED[name], found))
    if here[CONFIGURATION] == configuration:
        damaged = store.repair(identity, notes)
        return [f"{store.path / name} was damaged and has been restored" for name in damaged]
    old = Store(store.path, layout(smaller(study, there[CONFIGURATION])))
    old.repair(identity, notes)
    known, damaged = old.known()
    with store.replaced(identity, notes) as new:
        copy(old, known, new)
    lost = [f"{old.layout.words(block)}: damaged in {store.path}" for block in damaged]
    return [*lost, f"extended, with {known.sum()} runs that were there"]


def _refusal(store: Store, called: str, found: list[str]) -> str:
    reasons = {re.split(r"[.:\[]", line)[0] for line in found} & WHY_NOT.keys()
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


def train_missing(
    study: Study, store: Store, block: tuple[int, ...], known: np.ndarray
) -> dict[str, np.ndarray]:
    """A block's arrays, of which the members that are `known` [*block] are kept as they are.

    Those that are missing are trained as the smallest product of grid values and seeds that holds
    them. Raises `StoreRefused` if what is known and computed again comes out as something else.
    """
    plan, region = store.layout, store.layout.blocks.region(block)
    axes = range(known.ndim)
    within = [np.flatnonzero(~known.all(axis=tuple(a for a in axes if a != axis))) for axis in axes]
    within[-1] = np.arange(within[-1][0], within[-1][-1] + 1)
    starts = [part.start for part in region]
    chosen = [(start + places).tolist() for start, places in zip(starts, within, strict=True)]
    found = train_members(study, chosen[:-1], first_seed=chosen[-1][0], seeds=len(chosen[-1]))
    there = store.members(dict(zip(plan.member_dims, region, strict=True)))
    arrays, fresh = (
        merged(plan, known.shape, there, found, within, chosen)
        for chosen in (~known, np.ones_like(known))
    )
    if (plan.digest(fresh) != plan.digest(arrays)).any():
        raise StoreRefused(
            f"{store.path}: runs that are there came out otherwise when they were computed again; "
            f"{LEFT}"
        )
    return arrays


def smaller(study: Study, there: Mapping[str, Any]) -> Study:
    """The study that a store was begun with, of which `study` is an extension."""
    grid = {axis: there[AXES][axis] for axis in study.grid}
    return dataclasses.replace(study, seeds=there[SEEDS], chunk=there[CHUNK], grid=grid)


def copy(old: Store, known: np.ndarray, new: Store) -> None:
    """Write the members of `old` that are `known` into an empty store with more room."""
    places = {dim: _places(old.layout, new.layout, dim) for dim in new.layout.member_dims}
    for block in new.layout.blocks:
        region = new.layout.blocks.region(block)
        within = [
            np.flatnonzero(places[dim][part] >= 0)
            for dim, part in zip(new.layout.member_dims, region, strict=True)
        ]
        before = [
            places[dim][part][chosen]
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
    """A block's arrays: `arrays` at the places `within` that are `chosen`, `under` elsewhere.

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
        places = np.ix_(*(within[axis] for axis in axes))
        mask = np.asarray(chosen.any(axis=gone))[places]
        mask = mask.reshape(*mask.shape, *(1,) * len(inner))
        whole[places] = np.where(mask, arrays[name], whole[places])
        found[name] = whole
    return found


def _places(old: Layout, new: Layout, dim: str) -> np.ndarray:
    """Where on an axis of the old store each place of the new one is; -1: nowhere."""
    known = {value: place for place, value in enumerate(old.coordinates[dim][1].tolist())}
    return np.array([known.get(value, -1) for value in new.coordinates[dim][1].tolist()])
