"""What a study is, as JSON: equal for two studies if and only if they compute the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nsh.study.description import Description

SHOWN = 60


def described(value: Any) -> Any:
    """A value as JSON that tells it from any other: see `Description`."""
    return Description().of(value)


def canonical(description: Any) -> str:
    """A description as JSON text, the same text for equal descriptions."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differences(before: Any, now: Any) -> list[str]:
    """List differences of two descriptions, as ``field: before there, now here``."""
    return [line for line in _differences(before, now, "") if line]


def _differences(before: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted(before.keys() | now.keys()):
            one, other = before.get(name, "nothing"), now.get(name, "nothing")
            if _is_digest(one) and _is_digest(other):
                yield "" if one == other else f"{path or name}: changed"
            else:
                # the numbers of an array are what its name stands for
                yield from _differences(one, other, path if name == "values" else _join(path, name))
    elif _is_nested(before) and _is_nested(now) and len(before) == len(now):
        for place, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif canonical(before) != canonical(now):
        values = f"{_short(before, now)} there, {_short(now, before)} here"
        yield f"{path}: {values}" if path else values


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _short(value: Any, other: Any) -> str:
    """At most 60 characters, those among them in which it differs from the other."""
    text, against = (v if isinstance(v, str) else json.dumps(v) for v in (value, other))
    if len(text) <= SHOWN:
        return text
    same = next((i for i, (a, b) in enumerate(zip(text, against, strict=False)) if a != b), 0)
    start = max(0, min(same - SHOWN // 2, len(text) - SHOWN))
    return "..." * (start > 0) + text[start : start + SHOWN] + "..." * (start + SHOWN < len(text))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value)
