"""Tasks in several processes at once, each process taking the next task when it is free."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from typing import Any

from nsh.study.progress import Advance, Progress

Function = Callable[[Any, Progress], Any]


def side_by_side(
    function: Function, tasks: Sequence[Any], jobs: int, progress: Progress
) -> Iterator[tuple[Any, Any]]:
    """``(task, function(task, progress))`` of every task, as they end.

    All of that goes to other processes, so `function` must be one of a module's top level. A
    process that dies, for want of memory say, costs its own task only, whose result then is a
    `ChildProcessError`.
    """
    waiting = iter(tasks)
    lanes: dict[Any, _Lane] = {}

    def begin(lane: _Lane, task: Any) -> None:
        lanes[lane.connection] = lane
        lane.give(task)

    try:
        for task in itertools.islice(waiting, jobs):
            begin(_Lane(function), task)
        while lanes:
            for connection in wait(list(lanes)):
                lane = lanes[connection]
                if not lane.hear(progress):
                    continue
                del lanes[connection]
                yield lane.task, lane.result
                for task in itertools.islice(waiting, 1):
                    begin(lane if lane.process.is_alive() else _Lane(function), task)
    finally:
        for lane in lanes.values():
            lane.stop()


class _Lane:
    """A process, and the task it is at."""

    def __init__(self, function: Function):
        context = multiprocessing.get_context("spawn")  # a fork of a process that uses JAX may hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.shown: dict[int, tuple[AbstractContextManager[Advance], Advance]] = {}

    def give(self, task: Any) -> None:
        self.task, self.result = task, None
        self.connection.send(task)

    def hear(self, progress: Progress) -> bool:
        """Take one message; whether the task is at its end, its result being `result`."""
        try:
            kind, *content = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            self.result = ChildProcessError(f"its process ended with {self.process.exitcode}")
            self.stop()
            return True
        if kind == "result":
            (self.result,) = content
            return True
        self._show(progress, kind, *content)
        return False

    def stop(self) -> None:
        """End the process, and show that its tasks have stopped."""
        self.process.terminate()
        for number in list(self.shown):
            self._end(number, failed=True)

    def _show(self, progress: Progress, kind: str, number: int, *content: Any) -> None:
        if kind == "begin":
            shown = progress(*content)
            self.shown[number] = shown, shown.__enter__()
        elif kind == "advance":
            self.shown[number][1](*content)
        else:
            self._end(number, *content)

    def _end(self, number: int, failed: bool) -> None:
        shown, _ = self.shown.pop(number)
        error = InterruptedError() if failed else None
        shown.__exit__(type(error) if error else None, error, None)


def _serve(function: Function, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    with contextlib.suppress(EOFError):  # the parent is gone, or has nothing more to do
        while True:
            connection.send(("result", function(connection.recv(), _told_to(connection))))


def _told_to(connection: Connection) -> Progress:
    """A `Progress` shown by the process at the other end."""
    numbers = itertools.count()

    @contextlib.contextmanager
    def progress(label: str, total: int | None) -> Iterator[Advance]:
        number, failed = next(numbers), True
        connection.send(("begin", number, label, total))
        try:
            yield lambda count: connection.send(("advance", number, count))
            failed = False
        finally:
            connection.send(("end", number, failed))

    return progress
