"""Files that are whole or not there, and on the disk when we say that they are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# on Windows directories cannot be synchronised
DIRECTORIES_TOO = os.name == "posix"


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


def sync(paths: Iterable[Path], root: Path) -> None:
    """Make files below `root`, and the names of the directories they are in, survive a crash."""
    paths = set(paths)
    folders = {parent for path in paths for parent in path.parents if parent.is_relative_to(root)}
    for path in sorted(paths) + (sorted(folders, reverse=True) if DIRECTORIES_TOO else []):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
