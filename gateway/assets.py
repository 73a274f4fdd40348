"""Pictures and videos: rows whose equal bytes are stored once. What nobody needs is disowned, then collected."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .database import Database, now
from .keys import is_dead
from .tables import ASSETS, BLOBS, JOBS, KEYS, Asset, Kind

_PART = 1024 * 1024
_NOBODY = ""  # the owner of a row to be collected
_ROUND = 200
UNKNOWN = "application/octet-stream"  # the media type of what is none of the known ones


class AssetStore:
    """Reads and writes assets. Blocking. Bytes are files beside SQLite; in Postgres, for all machines, rows of 1 MiB."""

    def __init__(self, database: Database, data: Path) -> None:
        self.database, self.folder = database, data / "assets" if database.sqlite else None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(
        self, data: bytes | Path, *, owner: str, filename: str, media_type: str, job: str = "", kind: Kind = "output"
    ) -> Asset:
        """Store bytes, or a file, which moves there, under a fresh id."""
        content, size = _measure(data)
        asset = Asset(secrets.token_hex(16), owner, job, filename, media_type, size, True, now(), kind, content)
        self._store(content, data, sa.insert(ASSETS).values(**asset.columns()))
        return asset

    def announce(self, owner: str, size: int) -> Asset:
        """A place for a picture that is yet to come."""
        asset = Asset(secrets.token_hex(16), owner, "", "upload.png", "image/png", size, False, now(), "upload", "")
        self.database.change(sa.insert(ASSETS).values(**asset.columns()))
        return asset

    def fill(self, asset_id: str, data: bytes | Path) -> bool:
        """Store an announced picture's bytes; False when there is no such place, or it is filled already."""
        content, size = _measure(data)
        waiting = sa.and_(ASSETS.c.id == asset_id, ASSETS.c.complete.is_(False), ASSETS.c.owner != _NOBODY)
        filled = sa.update(ASSETS).where(waiting).values(complete=True, size=size, content=content)
        return self._store(content, data, filled)

    def share(self, asset: Asset, job: str) -> Asset | None:
        """A row of this job's own for the same bytes; None when they went meanwhile."""
        mine = replace(asset, id=secrets.token_hex(16), job=job, kind="input", created_at=now())
        with self.database.write() as connection:
            self._lock(connection, [asset.content])
            there = sa.select(sa.literal(1)).where(ASSETS.c.id == asset.id, ASSETS.c.owner != _NOBODY)
            if connection.execute(there).first() is None:
                return None
            connection.execute(sa.insert(ASSETS).values(**mine.columns()))
        return mine

    def get(self, asset_id: str) -> Asset | None:
        """An asset's row; None when there is none."""
        row = self.database.first(sa.select(ASSETS).where(ASSETS.c.id == asset_id, ASSETS.c.owner != _NOBODY))
        return None if row is None else Asset(**row._mapping)

    def linked(self, asset_id: str) -> Asset | None:
        """As ``get``, for who has a link: None also when the key that it was made for works no more."""
        asset = self.get(asset_id)
        if asset is None or self.database.first(sa.select(KEYS.c.id).where(is_dead(), KEYS.c.id == asset.owner)):
            return None
        return asset

    def path(self, asset: Asset) -> Path | None:
        """The file with an asset's bytes, where they are in a folder."""
        return None if self.folder is None else self.folder / asset.content

    def read(self, asset: Asset, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``, in pieces."""
        stop = asset.size if stop is None else min(stop, asset.size)
        path = self.path(asset)
        if path is not None:
            with path.open("rb") as file:
                file.seek(start)
                while start < stop and (piece := file.read(min(_PART, stop - start))):
                    start += len(piece)
                    yield piece
            return
        while start < stop:
            part, offset = divmod(start, _PART)
            query = sa.select(BLOBS.c.data).where(BLOBS.c.asset == asset.content, BLOBS.c.part == part)
            data = bytes(self.database.first(query).data)
            piece = data[offset : offset + stop - start]
            start += len(piece)
            yield piece

    def load(self, asset: Asset) -> bytes:
        """All of an asset's bytes."""
        return b"".join(self.read(asset))

    def make_room(self, owner: str, size: int, limit: int) -> bool:
        """Whether a key's uploads and unfinished jobs' pictures have room for so many bytes; its oldest uploads may go."""
        mine = sa.and_(ASSETS.c.owner == owner, ASSETS.c.kind.in_(("upload", "input")))
        total = sa.select(sa.func.coalesce(sa.func.sum(ASSETS.c.size), 0)).where(mine)
        over, going = int(self.database.first(total)[0]) + size - limit, []
        if over > 0:
            oldest = sa.select(ASSETS.c.id, ASSETS.c.size).where(mine, ASSETS.c.kind == "upload")
            for row in self.database.rows(oldest.order_by(ASSETS.c.created_at)):
                if over > 0:
                    going.append(row.id)
                    over -= row.size
        if going and over <= 0:
            self.remove(going)
        return over <= 0

    def remove(self, ids: Sequence[str] = (), *, jobs: Sequence[str] = ()) -> None:
        """Forget assets, and all of these jobs, and their bytes when these were the last to need them."""
        self._disown(ASSETS.c.id.in_(ids) | ASSETS.c.job.in_(jobs))

    def remove_uploads(self, before: float) -> None:
        """Forget uploads that came in before this time."""
        self._disown(sa.and_(ASSETS.c.job == "", ASSETS.c.created_at < before))

    def remove_strays(self, before: float) -> None:
        """Forget pictures older than this time whose job was never accepted, and files that no row names."""
        lost = ASSETS.c.job.not_in(sa.select(JOBS.c.id))
        self._disown(sa.and_(ASSETS.c.kind == "input", ASSETS.c.created_at < before, lost))
        for path in [] if self.folder is None else list(self.folder.iterdir()):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    with self.database.write() as connection:
                        if not self._used(connection, [path.name]):
                            path.unlink()

    def collect(self) -> None:
        """Remove disowned rows, and the bytes that no other row names."""
        while True:
            with self.database.write() as connection:
                query = sa.select(ASSETS).where(ASSETS.c.owner == _NOBODY).limit(_ROUND)
                gone = [Asset(**row._mapping) for row in connection.execute(query)]
                names = sorted({asset.content for asset in gone if asset.content})
                self._lock(connection, names)
                connection.execute(sa.delete(ASSETS).where(ASSETS.c.id.in_([asset.id for asset in gone])))
                unused = set(names) - self._used(connection, names)
                if self.folder is None:
                    connection.execute(sa.delete(BLOBS).where(BLOBS.c.asset.in_(unused)))
                else:  # before the commit: a crash leaves only the rows
                    for name in unused:
                        (self.folder / name).unlink(missing_ok=True)
            if len(gone) < _ROUND:
                return

    def _disown(self, which: sa.ColumnElement[bool]) -> None:
        with self.database.write() as connection:
            disown(connection, which)
        self.collect()

    def _used(self, connection: Connection, names: Iterable[str]) -> set[str]:
        """Which of these names of stored bytes a row needs."""
        return set(connection.execute(sa.select(ASSETS.c.content).where(ASSETS.c.content.in_(names))).scalars())

    def _lock(self, connection: Connection, names: Iterable[str]) -> None:
        """Let nobody else add or remove rows for these bytes until the transaction ends; SQLite has one writer anyway."""
        for name in [] if self.database.sqlite else sorted(names):
            number = int(name[:15], 16)
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def _store(self, content: str, data: bytes | Path, row: sa.Insert | sa.Update) -> bool:
        """Store bytes unless they are there, then the row; False when the row changed nothing."""
        path = None if self.folder is None else self.folder / content
        scratch = None if path is None or path.exists() else self._scratch(data)
        try:
            with self.database.write() as connection:
                self._lock(connection, [content])
                if connection.execute(row).rowcount == 0:
                    return False
                if path is None:
                    self._store_parts(connection, content, data)
                elif not path.exists():  # the writer alone may look: it may have been removed a moment ago
                    os.replace(scratch or self._scratch(data), path)
        finally:
            if scratch is not None:
                scratch.unlink(missing_ok=True)
        return True

    def _scratch(self, data: bytes | Path) -> Path:
        """A file on the disk, in the same file system as its place."""
        handle, name = (None, data) if isinstance(data, Path) else tempfile.mkstemp(dir=self.folder, prefix=".writing-")
        try:
            with open(name if handle is None else handle, "rb+") as file:
                if not isinstance(data, Path):
                    file.write(data)
                    file.flush()
                os.fsync(file.fileno())
        except OSError:  # a full disk gets back what it had left
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    def _store_parts(self, connection: Connection, content: str, data: bytes | Path) -> None:
        if connection.execute(sa.select(BLOBS.c.part).where(BLOBS.c.asset == content).limit(1)).first() is None:
            for part, piece in enumerate(_pieces(data)):
                connection.execute(sa.insert(BLOBS).values(asset=content, part=part, data=piece))


def _pieces(data: bytes | Path) -> Iterator[bytes]:
    with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
        yield from iter(lambda: file.read(_PART), b"")


def _measure(data: bytes | Path) -> tuple[str, int]:
    """What the bytes are stored under, and how many they are."""
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(data):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


def disown(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    """Let ``collect`` remove these assets, from the end of this transaction on."""
    connection.execute(sa.update(ASSETS).where(which).values(owner=_NOBODY, complete=False))
