"""Reading a store that may be replaced, as by an extension, while it is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zarr.storage import LocalStore, WrapperStore

from nsh.study.store import ROOT, StoreRefused


class AsOpened(WrapperStore[LocalStore]):
    """The store in a directory, readable as long as it is the one that was opened.

    An extension puts another store into its place: what is read from it would be of other seeds
    and grid values than those that were read before. Raises `StoreRefused` then.
    """

    _store: LocalStore

    def __init__(self, store: LocalStore):
        super().__init__(store)
        self._opened = self._now()

    async def get(self, *arguments: Any, **options: Any) -> Any:
        """What is at a key, looked up before it is known to be of the same store."""
        found = await super().get(*arguments, **options)
        if self._now() != self._opened:
            raise StoreRefused(
                f"{self._store.root} has been extended, or replaced, since it was opened: open it "
                "again by open_study"
            )
        return found

    def _now(self) -> tuple[int, int] | None:
        """What tells the store that is there from any other: its root is written once."""
        try:
            there = (self._store.root / ROOT).stat()
        except OSError:
            return None
        return there.st_ino, there.st_mtime_ns


def readable(path: Path) -> AsOpened:
    """The store at `path`, for reading alone."""
    return AsOpened(LocalStore(path, read_only=True))
