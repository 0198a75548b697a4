"""Ctrl-C and SIGTERM while something runs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from nsh.cli.exits import Terminated
from nsh.study.progress import Advance, Progress


@contextlib.contextmanager
def stoppable(progress: Progress) -> Iterator[Progress]:
    """Stop on Ctrl-C and SIGTERM: at once or, where Python loses an exception, at next progress.

    It loses those raised in destructors and callbacks of the garbage collector. Signals come to
    the main thread only: a command in another one is left to whoever started that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield progress
        return
    asked: list[type[KeyboardInterrupt]] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        asked.append(Terminated if number == signal.SIGTERM else KeyboardInterrupt)
        raise asked[-1]

    @contextlib.contextmanager
    def watched(label: str, total: int | None) -> Iterator[Advance]:
        with progress(label, total) as advance:

            def step(count: int | float) -> None:
                advance(count)
                if asked:
                    raise asked[-1]

            yield step

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield watched
    finally:
        for number, action in before.items():
            signal.signal(number, action)
