"""How much memory there is, so that what cannot fit is refused before it is begun."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import jax

from nsh._checks import require

MEMORY = Path("/proc/meminfo")


def require_memory(shape: tuple[int, int], needed: int, other: str, *, host: bool = False) -> None:
    """`ValueError` naming what needs less, where more bytes are `needed` than there are known."""
    available = available_bytes(host=host)
    require(
        available is None or needed <= available,
        f"memory for {shape[0]} x {shape[1]} pairs of inputs",
        f"{needed / 1e9:.3g} GB",
        f"at most the {(available or 0) / 1e9:.3g} GB available; {other} needs less",
    )


def available_bytes(*, host: bool = False) -> int | None:
    """Free memory of the default device, or of the host; None where it does not tell."""
    device = jax.devices()[0]
    if device.platform != "cpu" and not host:
        statistics = device.memory_stats() or {}
        limit = statistics.get("bytes_limit")
        return None if limit is None else limit - statistics.get("bytes_in_use", 0)
    with contextlib.suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMORY.read_text(), re.MULTILINE)
        if found is not None:
            return 1024 * int(found[1])
    return None
