"""Progress of long tasks on a terminal (bars with time left) or in a log (plain lines).

A task is handed a `Progress` and uses it as::

    with progress("MLP, tanh", total=32) as advance:
        ...
        advance(8)
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

from rich import progress as rich_progress
from rich.console import Console

Advance = Callable[[int | float], None]
SECONDS_BETWEEN_LINES = 10.0


@runtime_checkable
class Progress(Protocol):
    """Announces a task of `total` units (None: unknown) for as long as its context lasts.

    Parts of units may be done.
    """

    def __call__(self, label: str, total: int | None) -> AbstractContextManager[Advance]:
        """The context yields `advance(n)`, to be called when `n` more units are done."""
        ...


@contextlib.contextmanager
def silent(label: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG001
    """A `Progress` that shows nothing."""
    yield lambda _: None


@contextlib.contextmanager
def shown_on(stream: Any) -> Iterator[Progress]:
    """A `Progress` on a text stream: live bars if it is a terminal, else plain lines."""
    if not stream.isatty():
        yield functools.partial(_lines, stream)
        return
    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("left"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(file=stream)) as bars:
        yield functools.partial(_bar, bars)


@contextlib.contextmanager
def _bar(bars: rich_progress.Progress, label: str, total: int | None) -> Iterator[Advance]:
    task = bars.add_task(label, total=total)
    try:
        yield lambda n: bars.advance(task, n)
        done = 1 if total is None else total
        bars.update(task, total=done, completed=done)
    finally:
        bars.stop_task(task)


@contextlib.contextmanager
def _lines(stream: Any, label: str, total: int | None) -> Iterator[Advance]:
    start, end = time.monotonic(), "stopped"
    done, first, begun, shown = 0.0, 0.0, start, start

    def advance(count: int | float) -> None:
        nonlocal done, first, begun, shown
        now = time.monotonic()
        if done == 0:  # which took the time to compile, too: no measure of those to come
            first, begun = count, now
        done += count
        if total is not None and first < done < total and now - shown >= SECONDS_BETWEEN_LINES:
            shown, left = now, (now - begun) * (total - done) / (done - first)
            print(
                f"{label}: {_short(done)}/{total}, about {left:.0f} s left", file=stream, flush=True
            )

    print(f"{label} ...", file=stream, flush=True)
    try:
        yield advance
        end = "done"
    finally:
        print(f"{label}: {end}, {time.monotonic() - start:.1f} s", file=stream, flush=True)


def _short(done: int | float) -> str:
    """A number of units: whole ones without decimals."""
    return f"{done:.2f}".rstrip("0").rstrip(".")
