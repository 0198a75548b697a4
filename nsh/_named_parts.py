"""What is said of the leaves of a pytree: of all alike, part by part, or of those named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import PyTree

from nsh._checks import nearest, require


def for_leaves(
    given: object,
    tree: PyTree,
    *,
    field: str,
    allowed: str,
    is_one: Callable[[object], bool],
    others: Sequence[Any] | None = None,
) -> list[Any]:
    """Look up what `given` says of each leaf of `tree`.

    `given`: one thing for all leaves (`is_one` tells), a pytree like `tree` down to such things, or
    dicts of these by the names of keys and fields. A dict may leave names out: what it does not
    name is as in `others`, one for each leaf. Raises `ValueError` for names that `tree` does not
    have, for missing names without `others`, and for what is neither; `allowed` says what one is.
    """
    count = len(jax.tree.leaves(tree))
    if is_one(given):
        return [given] * count
    parts, named = _parts(tree), {} if isinstance(given, dict) else _parts(given)
    if isinstance(given, dict):
        for name, value in given.items():
            known = name in parts and (
                jax.tree.leaves(parts[name][1]) or not jax.tree.leaves(value)
            )
            names = [n for n, (_, part) in parts.items() if jax.tree.leaves(part)]
            close = nearest(str(name), map(str, names))
            among = f"among {', '.join(map(str, names))}{close}" if names else allowed
            require(known, field, name if names else given, among)
            named[name] = parts[name][0], value
    missing = [n for n, (_, part) in parts.items() if n not in named and jax.tree.leaves(part)]
    if not isinstance(given, dict):
        require(parts and not missing and named.keys() <= parts.keys(), field, given, allowed)
    require(others is not None or not missing, field, given, f"given for {missing} too")
    found, at = [], 0
    for name, (place, part) in parts.items():
        size = len(jax.tree.leaves(part))
        left = None if others is None else others[at : at + size]
        at += size
        if size == 0:
            continue
        if name not in named:
            found += left or []
            continue
        found += for_leaves(
            named[name][1], part, field=field + place, allowed=allowed, is_one=is_one, others=left
        )
    return found


def _parts(tree: PyTree) -> dict[Any, tuple[str, Any]]:
    """Parts of a pytree's first level by key, field or number, with how Python writes that."""
    entries = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda part: part is not tree)[0]
    found = {}
    for path, part in entries:
        if path:
            names = (getattr(path[0], kind, None) for kind in ("key", "name", "idx"))
            name = next(name for name in names if name is not None)
            found[name] = jax.tree_util.keystr(path), part
    return found
