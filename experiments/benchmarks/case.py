"""What a benchmark is made of: a case, its contenders, and the ratios it is to reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to do a case's work, in a process of its own.

    `work`: ``module:function``, which takes the case's data and `sizes` and gives an
    `experiments.benchmarks.work.Work`. `peer`: the environment whose interpreter runs it, "peers"
    (without JAX) or "kernel_peers" (an old JAX); else nsh's own. `approximate`: how far its results
    are from the first contender's is told, and no more is asked.
    `scale`: how many times the work it does makes the whole, its time being multiplied by that;
    `extrapolated` says from what.
    """

    name: str
    work: str
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    peer: Literal["peers", "kernel_peers"] | None = None
    scale: float = 1.0
    extrapolated: str = ""
    approximate: bool = False


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure to reach: ``measure(over) / measure(under)``, or ``measure(over)`` alone.

    `measure`: ``"seconds"`` (ratios are formed round by round, the median counts) or ``"bytes"``
    (temporary memory as the compiler plans it, or else the increase of the peak resident set).
    `reach` None: reported only.
    """

    over: str
    under: str | None = None
    at: Literal["least", "most"] = "least"
    reach: float | None = None
    measure: Literal["seconds", "bytes"] = "seconds"

    def holds(self, value: float) -> bool | None:
        """Whether a measured value reaches the target; None where there is nothing to reach."""
        if self.reach is None:
            return None
        return value >= self.reach if self.at == "least" else value <= self.reach


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison: what is timed, who contends, what is to be reached.

    `data`: ``module:function`` that gives the arrays all contenders share, from the sizes of the
    first one. `tolerance`: largest difference, relative to the largest number, between the
    contenders' results on the same small input; None: nothing to compare.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    targets: tuple[Target, ...]
    data: str | None = None
    tolerance: float | None = None
