"""How commands end: one table of exit codes, and one line on stderr for every failure."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from nsh._extras import what_is_missing

DONE, BAD_INPUT, REFUSED, DISK_FULL, NOT_TUNED = 0, 2, 3, 4, 5
INTERRUPTED, PIPE_CLOSED, TERMINATED = 130, 141, 143
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)

EXIT_CODES = """\
exit codes:
  0    done
  1    an error not listed here; of `nsh reproduce`: an experiment ended in one
  2    bad command line or input, such as a study file or an activation
  3    not possible here: something is not installed, DIR cannot be written to,
       or the results in it are another study's, version's or device's, damaged
       beyond repair, or in use
  4    disk full
  5    done, but nothing was tuned: no gradient was finite
  130  stopped by Ctrl-C
  141  nobody reads what is printed any more, as after `| head`
  143  stopped by SIGTERM"""


class Failure(Exception):
    """An error that ends a command, with its exit code and a message in one line."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


@contextlib.contextmanager
def explained(out: Path | None = None) -> Iterator[None]:
    """Turn errors of a command that writes to `out` into a `Failure`, but for nsh's own faults."""
    try:
        yield
    except KeyboardInterrupt as stop:
        code = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
        raise Failure(code, _and_on("stopped", stop)) from stop
    except OSError as problem:
        where = "" if out is None else f": {out}"
        if problem.errno in FULL:
            said = _and_on(f"the disk is full{where}", problem, "make room, and the")
            raise Failure(DISK_FULL, said) from problem
        if problem.errno in FORBIDDEN:
            what = problem.filename or out or "something"
            said = f"{what} cannot be read or written: {problem.strerror}"
            raise Failure(REFUSED, _and_on(said, problem)) from problem
        raise


@contextlib.contextmanager
def readers_may_leave() -> Iterator[None]:
    """Output to a pipe that nobody reads any more ends a command, without a word to say."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        left = [stream for stream in (sys.stdout, sys.stderr) if not _is_read(stream)]
        if not left:  # it was another pipe
            raise
        # what is in the buffers is written when Python ends, which would complain
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in left:
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        raise Failure(PIPE_CLOSED, "nobody reads what is printed") from None


def _is_read(stream: TextIO) -> bool:
    try:
        stream.flush()
    except BrokenPipeError:
        return False
    # what was written in one piece is not in the buffer any more: flushing says nothing
    if not hasattr(select, "poll"):
        return True
    try:
        number = stream.fileno()
    except OSError:  # a stream in memory
        return True
    poll = select.poll()
    poll.register(number, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def directory(out: Path) -> Path:
    """`out`, which now exists and can be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not os.access(out, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as problem:
        if problem.errno in FULL:
            raise
        said = f"--out = {str(out)!r}: must be a directory to write to; {problem.strerror}"
        raise Failure(BAD_INPUT, said) from problem
    return out


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports what comes with an extra of the package."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise Failure(REFUSED, what_is_missing(missing, extra)) from missing


def _and_on(message: str, problem: BaseException, advice: str = "the") -> str:
    """With what is saved and how to go on, if a run had begun."""
    notes = getattr(problem, "__notes__", [])
    rest = [*notes, f"{advice} same command computes the rest"] if notes else []
    return "; ".join([message, *rest])
