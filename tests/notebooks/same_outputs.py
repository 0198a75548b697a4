"""Whether a notebook that was run again shows what it showed before: numbers, words, pictures."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.image import imread

RMS = 1.0
"""Root mean square by which pictures may differ, in grey levels of 256.

Other instruction sets (SSE4.2, AVX2), emitters and numbers of cores move them by 0.11 at most; a
single curve of another slope, by 1%, moves a small picture by more than 1.
"""

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def differences(before: Any, after: Any) -> list[str]:
    """What differs between what two notebooks show, in words."""
    found = []
    for number, (old, new) in enumerate(zip_longest(before.cells, after.cells), 1):
        if old is None or new is None or old.source != new.source:
            found.append(f"cell {number}: another cell")
        elif old.cell_type == "code":
            found += [f"cell {number}: {what}" for what in _of_cell(old, new)]
    return found


def _of_cell(old: Any, new: Any) -> Iterator[str]:
    """Its outputs, one by one."""
    shown, shows = (list(_shown(cell.outputs)) for cell in (old, new))
    if (was := [kind for kind, _ in shown]) != (now := [kind for kind, _ in shows]):
        yield f"shows {now}, not {was}"
        return
    for (kind, before), (_, after) in zip(shown, shows, strict=True):
        yield from (_of_pictures if kind == "image/png" else _of_texts)(before, after)


def _shown(outputs: list[Any]) -> Iterator[tuple[str, str]]:
    """What is seen: streams, which arrive in pieces, and each form of each other output."""
    printed: dict[str, str] = {}
    for output in outputs:
        if output.output_type == "stream":
            printed[output.name] = printed.get(output.name, "") + output.text
        elif output.output_type == "error":
            yield "error", f"{output.ename}: {output.evalue}"
        else:
            yield from sorted(output.data.items())
    yield from printed.items()


def _of_texts(before: str, after: str) -> Iterator[str]:
    """Words and whole numbers must be the same; others may be rounded to the next last digit."""
    if NUMBER.sub("#", before) != NUMBER.sub("#", after):
        yield f"{after!r}, not {before!r}"
        return
    for old, new in zip(NUMBER.findall(before), NUMBER.findall(after), strict=True):
        if abs(_value(new) - _value(old)) > _tolerance(old):
            yield f"{new}, not {old}"


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _tolerance(number: str) -> float:
    mantissa, _, exponent = number.partition("e")
    _, point, decimals = mantissa.partition(".")
    if not point and not exponent:
        return 0.0
    return 1.001 * 10.0 ** (int(exponent or 0) - len(decimals))


def _of_pictures(before: str, after: str) -> Iterator[str]:
    old, new = _pixels(before), _pixels(after)
    if old.shape != new.shape:
        yield f"picture of {new.shape[:2]} pixels, not {old.shape[:2]}"
    elif (rms := np.sqrt(np.mean((new - old) ** 2))) > RMS:
        yield f"picture differs by {rms:.1f} grey levels (root mean square), more than {RMS}"


def _pixels(png: str) -> np.ndarray:
    return 255 * imread(io.BytesIO(base64.b64decode(png)), format="png")[..., :3].astype(float)
