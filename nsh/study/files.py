"""Files that are whole or not there, and on the disk when we say that they are."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from matplotlib.figure import Figure

try:
    import fcntl
except ModuleNotFoundError:  # on Windows, where directories are neither locked nor synchronised
    fcntl = None

UNLOCKABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # as some network file systems are


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place if the block ends well, else vanishes.

    An interruption thus leaves the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_figure(figure: Figure, directory: Path) -> None:
    """Write figure.png and figure.pdf: the same bytes for the same figure."""
    with atomic(directory / "figure.png") as temporary:
        figure.savefig(temporary, dpi=200)
    with atomic(directory / "figure.pdf") as temporary:
        figure.savefig(temporary, metadata={"CreationDate": None})


def sync(paths: Iterable[Path], root: Path) -> None:
    """Make files below `root`, and the names of the directories they are in, survive a crash."""
    paths = set(paths)
    folders = {parent for path in paths for parent in path.parents if parent.is_relative_to(root)}
    for path in sorted(paths) + (sorted(folders, reverse=True) if fcntl else []):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


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
