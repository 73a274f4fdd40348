"""Which process a journal row belongs to: a lock file that the system releases when its holder dies.

A process number would not do, as it is given to another process later.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout


class OwnerLock:
    """A lock held from ``acquire`` until ``release`` or the end of the process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._lock = FileLock(folder / name, timeout=0, mode=0o600)

    def acquire(self) -> None:
        """Take the lock. Raises OSError where the folder cannot be written."""
        self.folder.mkdir(exist_ok=True, mode=0o700)
        try:
            self._lock.acquire()
        except Timeout:
            raise OSError(f"the lock {self.name} cannot be taken") from None

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self._lock.is_locked:
            self._lock.release()
            (self.folder / self.name).unlink(missing_ok=True)


def owner_is_alive(folder: Path, name: str) -> bool:
    """Whether the process that holds this lock still runs; the file of a dead one is removed."""
    if not (folder / name).exists():
        return False
    try:
        with FileLock(folder / name, timeout=0, mode=0o600):
            pass
    except Timeout:
        return True
    (folder / name).unlink(missing_ok=True)
    return False
