"""The classes that labels name: numbered once, and named again wherever results are shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int32

from nsh._checks import nearest, require, require_all

Name = str | int | bool
KINDS = {"U": "text", "b": "bools", "i": "numbers", "u": "numbers"}
LIKELIEST = 256  # among which a name is looked for that is like an unknown one


@dataclasses.dataclass(frozen=True)
class Classes:
    """The names of classes, in the order of their numbers 0, 1, ...; a value.

    ``Classes.of(y)`` finds those of any labels, sorted; ``Classes(names)`` keeps an order of one's
    own, such as that of a data set's list. `names`: text, whole numbers or bools, of one kind.

    Example:
        >>> from nsh.data import Classes
        >>> classes = Classes.of(["dog", "cat", "dog"])
        >>> classes.names, classes.encode(["cat", "dog"]).tolist(), classes.decode([1]).tolist()
        (('cat', 'dog'), [0, 1], ['dog'])
    """

    names: tuple[Name, ...]

    def __post_init__(self):
        given = self.names
        listed = isinstance(given, Iterable) and not isinstance(given, str)
        require(listed, "names", given, "the names of the classes, at least one")
        found = _labels(list(given) if not isinstance(given, np.ndarray) else given, "names")
        require(found.ndim == 1 and found.size > 0, "names", given, "one list, at least one name")
        names = tuple(found.tolist())
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, "names", twice, "there once")
        object.__setattr__(self, "names", names)

    @classmethod
    def of(cls, y: Any) -> Classes:
        """The classes of labels of any kind: text, numbers with or without gaps, bools; sorted.

        Raises `ValueError` for labels of several kinds, missing ones, and numbers that are not
        whole.

        Example:
            >>> from nsh.data import Classes
            >>> Classes.of(np.array([1, 2, 10])).encode([10, 1]).tolist()
            [2, 0]
        """
        found = np.unique(_labels(y, "y"))
        require(found.size > 0, "y", y, "at least one label")
        return cls(tuple(found.tolist()))

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, y: Any) -> Int32[np.ndarray, "..."]:
        """The numbers 0..len-1 of labels, of the same shape. Raises `ValueError` for unknown ones.

        Example:
            >>> from nsh.data import Classes
            >>> Classes(("no", "yes")).encode([["yes", "no"]]).tolist()
            [[1, 0]]
        """
        given, names = _labels(y, "y"), np.asarray(self.names)
        one, other = KINDS[given.dtype.kind], KINDS[names.dtype.kind]
        require(one == other, "y", one, f"{other}, as the names of the classes are: {self._some()}")
        order = np.argsort(names)
        places = np.searchsorted(names, given, sorter=order).clip(max=len(names) - 1)
        numbers = order[places].astype(np.int32)
        known = names[numbers] == given
        if not known.all():
            unknown = given[~known].ravel()[0].item()
            hint = self._like(unknown)
            require_all(known, "y", given, f"one of the classes {self._some()}{hint}")
        return numbers

    def decode(self, labels: Any) -> np.ndarray:
        """The names of the classes of these numbers, of the same shape.

        Raises `ValueError` for numbers outside 0..len-1.

        Example:
            >>> from nsh.data import Classes
            >>> Classes(("no", "yes")).decode([0, 0, 1]).tolist()
            ['no', 'no', 'yes']
        """
        numbers = np.asarray(labels)
        whole = numbers.dtype.kind in "iu"
        require(whole, "labels.dtype", str(numbers.dtype), "an integer type")
        inside = (numbers >= 0) & (numbers < len(self))
        require_all(inside, "labels", numbers, f"a class in 0..{len(self) - 1}")
        return np.asarray(self.names)[numbers]

    def _some(self) -> str:
        shown = [repr(name) for name in self.names]
        return ", ".join(shown if len(shown) <= 10 else [*shown[:5], "...", *shown[-2:]])

    def _like(self, unknown: Name) -> str:
        if isinstance(unknown, str):
            return nearest(unknown, [str(name) for name in self.names[:LIKELIEST]])
        close = min(self.names, key=lambda name: abs(int(name) - int(unknown)))
        return f"; the nearest is {close}"


def _labels(y: Any, field: str) -> np.ndarray:
    """Labels of one kind as an array of text, whole numbers or bools."""
    require(not np.ma.is_masked(y), field, "a masked array", "without masked entries")
    array = np.asarray(y, object) if isinstance(y, list | tuple) else np.asarray(y)
    if array.dtype.kind == "T":  # may have missing ones
        array = np.asarray(array.tolist(), object)
    if array.dtype.kind == "O":
        _require_one_kind(array.ravel().tolist(), field)
        array = np.asarray(array.tolist())  # of the type that all entries have
    if array.dtype.kind == "f":
        require_all(np.isfinite(array), field, array, "a label: none is missing or infinite")
        allowed = "a whole number; targets of regression are no labels"
        require_all(array == np.floor(array), field, array, allowed)
        inside = np.abs(array) < 2.0**53
        require_all(inside, field, array, "below 2**53, or it is not told from others")
        array = array.astype(np.int64)
    if array.dtype.kind == "S":
        array = np.asarray([bytes(one).decode() for one in array.ravel()]).reshape(array.shape)
    allowed = "text, whole numbers or bools"
    require(array.dtype.kind in KINDS, f"{field}.dtype", str(array.dtype), allowed)
    return array


def _require_one_kind(entries: list[Any], field: str) -> None:
    kinds = (bool, np.bool_), (int, np.integer), (float, np.floating), (str,), (bytes,)
    first = None
    for place, entry in enumerate(entries):
        known = next((i for i, kind in enumerate(kinds) if isinstance(entry, kind)), None)
        missing = entry is None or (known == 2 and entry != entry)
        allowed = "a label: none is missing" if missing else "text, a whole number or a bool"
        require(known is not None and not missing, f"{field}[{place}]", entry, allowed)
        first = known if first is None else first
        allowed = f"of the same kind as {field}[0] = {entries[0]!r}"
        require(known == first, f"{field}[{place}]", entry, allowed)
