"""Pictures that came in and videos that came out: rows in the database, bytes in a folder or, on Postgres, in it."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .database import ASSETS, BLOBS, Database, now

_PART = 1024 * 1024
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Asset:
    """One stored file. ``complete`` is False while an announced upload has not arrived."""

    id: str
    owner: str
    job: str
    filename: str
    media_type: str
    size: int
    complete: bool
    created_at: float


class AssetStore:
    """Reads and writes assets. Blocking. With a folder the bytes are files there, else rows of 1 MiB."""

    def __init__(self, database: Database, folder: Path | None) -> None:
        self.database = database
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes, *, owner: str, filename: str, media_type: str, job: str = "") -> Asset:
        """Store bytes under a fresh id."""
        asset = Asset(secrets.token_hex(16), owner, job, filename, media_type, len(data), True, now())
        with self.database.write() as connection:
            connection.execute(sa.insert(ASSETS).values(**asset.__dict__))
            self._write(asset.id, data, connection)
        return asset

    def announce(self, *, owner: str, filename: str, media_type: str, size: int) -> Asset:
        """A place for an upload that is yet to come."""
        asset = Asset(secrets.token_hex(16), owner, "", filename, media_type, size, False, now())
        with self.database.write() as connection:
            connection.execute(sa.insert(ASSETS).values(**asset.__dict__))
        return asset

    def fill(self, asset_id: str, data: bytes, media_type: str) -> bool:
        """Store an announced upload's bytes; False when there is no such place, or it is filled already."""
        waiting = sa.and_(ASSETS.c.id == asset_id, ASSETS.c.complete.is_(False))
        values = {"complete": True, "size": len(data), "media_type": media_type}
        with self.database.write() as connection:
            if connection.execute(sa.update(ASSETS).where(waiting).values(**values)).rowcount != 1:
                return False
            self._write(asset_id, data, connection)
        return True

    def get(self, asset_id: str) -> Asset | None:
        """An asset's row; None when there is none."""
        if not _ID.fullmatch(asset_id):
            return None
        with self.database.read() as connection:
            row = connection.execute(sa.select(ASSETS).where(ASSETS.c.id == asset_id)).first()
        return None if row is None else _asset(row)

    def read(self, asset: Asset, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``, in pieces."""
        stop = asset.size if stop is None else min(stop, asset.size)
        if self.folder is not None:
            with (self.folder / asset.id).open("rb") as file:
                file.seek(start)
                while start < stop and (piece := file.read(min(_PART, stop - start))):
                    start += len(piece)
                    yield piece
            return
        while start < stop:
            part, offset = divmod(start, _PART)
            with self.database.read() as connection:
                query = sa.select(BLOBS.c.data).where(BLOBS.c.asset == asset.id, BLOBS.c.part == part)
                data = bytes(connection.execute(query).scalar_one())
            piece = data[offset : offset + stop - start]
            start += len(piece)
            yield piece

    def load(self, asset: Asset) -> bytes:
        """All of an asset's bytes."""
        return b"".join(self.read(asset))

    def count(self, owner: str) -> int:
        """How many uploads a key has lying here."""
        with self.database.read() as connection:
            query = sa.select(sa.func.count()).where(ASSETS.c.owner == owner, ASSETS.c.job == "")
            return int(connection.execute(query).scalar_one())

    def remove(self, ids: Sequence[str]) -> None:
        """Forget assets and their bytes."""
        with self.database.write() as connection:
            delete_rows(connection, ASSETS.c.id.in_(ids))
        if self.folder is not None:
            for asset_id in ids:
                (self.folder / asset_id).unlink(missing_ok=True)

    def remove_of_jobs(self, job_ids: Sequence[str]) -> None:
        """Forget what these jobs put out."""
        with self.database.read() as connection:
            ids = list(connection.execute(sa.select(ASSETS.c.id).where(ASSETS.c.job.in_(job_ids))).scalars())
        self.remove(ids)

    def remove_uploads(self, before: float) -> None:
        """Forget uploads that came in before this time."""
        with self.database.read() as connection:
            old = sa.and_(ASSETS.c.job == "", ASSETS.c.created_at < before)
            ids = list(connection.execute(sa.select(ASSETS.c.id).where(old)).scalars())
        if ids:
            self.remove(ids)

    def remove_strays(self, before: float) -> None:
        """Delete files older than this time that no row names: what a killed process had begun to write, or wrote last."""
        for path in [] if self.folder is None else list(self.folder.iterdir()):
            try:
                if path.stat().st_mtime < before and self.get(path.name) is None:
                    path.unlink()
            except FileNotFoundError:
                continue

    def _write(self, asset_id: str, data: bytes, connection: Connection) -> None:
        if self.folder is not None:
            handle, scratch = tempfile.mkstemp(dir=self.folder, prefix=".writing-")
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, self.folder / asset_id)
            return
        parts = range(-(-len(data) // _PART))
        rows = [{"asset": asset_id, "part": part, "data": data[part * _PART : (part + 1) * _PART]} for part in parts]
        if rows:
            connection.execute(sa.insert(BLOBS), rows)


def _asset(row: Row[tuple[object, ...]]) -> Asset:
    return Asset(**row._mapping)


def delete_rows(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    """Delete these assets' rows, and their bytes where the database holds them, in this transaction."""
    connection.execute(sa.delete(BLOBS).where(BLOBS.c.asset.in_(sa.select(ASSETS.c.id).where(which))))
    connection.execute(sa.delete(ASSETS).where(which))
