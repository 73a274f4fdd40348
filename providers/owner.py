"""Which process a journal row belongs to: a lock file that the system releases when its holder dies.

A process number would not do, as it is given to another process later.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class OwnerLock:
    """A lock held from ``acquire`` until ``release`` or the end of the process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises OSError where the folder cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._handle = os.open(self.folder / self.name, os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(self._handle):
            raise OSError(f"the lock {self.name} cannot be taken")

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            (self.folder / self.name).unlink(missing_ok=True)


def owner_is_alive(folder: Path, name: str) -> bool:
    """Whether the process that holds this lock still runs; the file of a dead one is removed."""
    try:
        handle = os.open(folder / name, os.O_RDWR)
    except OSError:
        return False
    dead = _try_lock(handle)
    os.close(handle)
    if dead:
        (folder / name).unlink(missing_ok=True)
    return not dead
