"""The figures of a study, and the lock on its directory."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from nsh._files import atomic

try:
    import fcntl
except ModuleNotFoundError:  # on Windows, where directories are not locked
    fcntl = None

UNLOCKABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # as some network file systems are


def save_figure(figure: Figure, directory: Path) -> None:
    """Write figure.png and figure.pdf: the same bytes for the same figure."""
    with atomic(directory / "figure.png") as temporary:
        figure.savefig(temporary, dpi=200)
    with atomic(directory / "figure.pdf") as temporary:
        figure.savefig(temporary, metadata={"CreationDate": None})


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Keep other processes from `directory`; the lock ends with the process, however it ends.

    Yields whether there is such a lock: Windows and some network file systems have none. Raises
    `BlockingIOError` if another process, or this one, is there already.
    """
    if fcntl is None:
        yield False
        return
    number = os.open(directory, os.O_RDONLY)
    try:
        yield _lock(number, directory)
    finally:
        os.close(number)


def _lock(number: int, directory: Path) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as problem:
        said = f"{directory} is in use by another run of a study"
        raise BlockingIOError(said) from problem
    except OSError as problem:
        if problem.errno not in UNLOCKABLE:
            raise
        return False
    return True
