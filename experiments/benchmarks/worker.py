"""A worker process: one contender, told what to do by lines of JSON.

Each request is one line on stdin, each reply one line on what was stdout; anything that
libraries print goes to stderr. Requests are ``{"do": NAME, ...}`` with the names of `Worker`'s
methods; a reply is their result or ``{"error": ...}``. Peers run this file too: without JAX.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

import numpy as np

from experiments.benchmarks.memory import PeakMemory
from experiments.benchmarks.work import Data, Work


class Worker:
    """The requests a worker answers."""

    def __init__(self):
        self._memory = PeakMemory()
        self._work = Work(lambda: None)

    def make_data(self, maker: str, sizes: dict[str, Any], path: str) -> dict[str, Any]:
        """Write the arrays that all contenders share."""
        _write(path, _function(maker)(**sizes))
        return {}

    def build(self, work: str, sizes: dict[str, Any], path: str | None) -> dict[str, Any]:
        """Import, read the data and get ready; tells the device."""
        data = {}
        if path is not None:
            with np.load(path, allow_pickle=False) as file:
                data = dict(file)
        self._work = _function(work)(data, **sizes)
        module = importlib.import_module(work.partition(":")[0])
        return {"device": module.device()}

    def first(self) -> dict[str, Any]:
        """Compile, then run once: the seconds of both, and the peak memory of that run."""
        start = time.perf_counter()
        self._work.compile()
        compiled = time.perf_counter() - start
        self._memory.mark()
        seconds = self.run()["seconds"]
        return {
            "compile_seconds": compiled,
            "first_seconds": seconds,
            "peak_bytes": self._memory.increase(),
            "temporary_bytes": self._work.temporary_bytes(),
        }

    def run(self) -> dict[str, Any]:
        """The seconds of one run, and the processor's: their ratio tells the cores it had."""
        start, processor = time.perf_counter(), time.process_time()
        self._work.run()
        return {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - processor,
        }

    def check(self, path: str) -> dict[str, Any]:
        """Write what the contender makes of the small input; tells whether it has a check."""
        if self._work.check is None:
            return {"checked": False}
        _write(path, self._work.check())
        return {"checked": True}


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _write(path: str, arrays: Data) -> None:
    np.savez(path, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]


def main() -> None:
    """Answer requests until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies)


if __name__ == "__main__":
    main()
