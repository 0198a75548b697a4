"""Compiled programs kept on the disk, so that a command starts at once when it is run again."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import jax
import platformdirs

DIRECTORY, ENABLED = "jax_compilation_cache_dir", "jax_enable_compilation_cache"
# every program is kept: those of small ensembles are quick to compile, but many
EVERYTHING = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
LIMIT = 2**30


@contextlib.contextmanager
def programs_kept(wanted: bool) -> Iterator[None]:
    """JAX's compilation cache in the user's cache folder, at most 1 GB, while this lasts.

    Not if JAX has one already or is told to use none (its settings `jax_compilation_cache_dir`
    and `jax_enable_compilation_cache`), or where the folder cannot be written to. Processes that
    are started meanwhile use it, too.
    """
    known = getattr(jax.config, DIRECTORY) is not None or not getattr(jax.config, ENABLED)
    folder = None if known or not wanted else _folder()
    if folder is None:
        yield
        return
    settings = {DIRECTORY: str(folder), **EVERYTHING}
    before = {name: getattr(jax.config, name) for name in settings}
    environment = {name.upper(): os.environ.get(name.upper()) for name in settings}
    try:
        for name, value in settings.items():
            jax.config.update(name, value)
            os.environ[name.upper()] = str(value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        for name, text in environment.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text


def _folder() -> Path | None:
    """This machine's part of the user's cache folder: programs are for its kind of processor."""
    folder = Path(platformdirs.user_cache_dir("nsh", appauthor=False)) / platform.node()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _make_room(folder: Path) -> None:
    """Remove what was used longest ago, until the folder is below its limit."""
    files = [(path.stat(), path) for path in folder.iterdir() if path.is_file()]
    size = sum(found.st_size for found, _ in files)
    for found, path in sorted(files, key=lambda pair: max(pair[0].st_atime, pair[0].st_mtime)):
        if size <= LIMIT:
            return
        path.unlink(missing_ok=True)
        size -= found.st_size
