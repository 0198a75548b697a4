"""What a contender hands to its worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Data = dict[str, np.ndarray]


def _nothing() -> None:
    """No compilation."""


@dataclasses.dataclass(frozen=True)
class Work:
    """`run` does the work and returns when it is done.

    `compile`: called once before, timed apart. `temporary_bytes`: what the compiled program needs
    beside arguments and results. `check`: the same computation on the small input in the case's
    data (``check_...``), to be compared with the other contenders' results.
    """

    run: Callable[[], Any]
    compile: Callable[[], Any] = _nothing
    temporary_bytes: Callable[[], int | None] = _nothing
    check: Callable[[], Data] | None = None
