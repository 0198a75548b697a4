"""The largest resident set of this process since a mark, on Linux."""

from __future__ import annotations

import contextlib
import ctypes
import re
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Increase of the peak resident set since `mark`; None where the kernel does not tell."""

    def __init__(self):
        self._before: int | None = None

    def mark(self) -> None:
        """Start anew: freed memory goes back to the kernel, and its peak is set to the present."""
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        try:
            CLEAR.write_text("5")
            self._before = _kilobytes("VmRSS")
        except OSError:
            self._before = None

    def increase(self) -> int | None:
        """Bytes."""
        return None if self._before is None else 1024 * (_kilobytes("VmHWM") - self._before)


def _kilobytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"no {field} in {STATUS}")
    return int(found[1])
