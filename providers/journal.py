"""The journal of remote jobs: SQLite in write-ahead mode, written before a submit and again when its id arrives.

A row's life: ``preparing`` (surely not sent) → ``submitting`` (may be received) → ``running`` (id known) → ``completed``,
``failed``, ``cancelled`` or ``gone``. ``uncertain`` is a submit whose answer was lost. While a row is live, the same
content is never submitted again: an index makes a second live row impossible, also between processes.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from .calls import Ticket
from .errors import JournalError
from .owner import OwnerLock, owner_is_alive
from .row import UPLOADED, Claim, Row, RowState

FILE_NAME = "jobs.sqlite3"
KEEP_RESULT_S = 7 * 86400.0  # as long as the providers keep theirs
STALE_PART_S = 3600.0
KEEP_ROW_S = 90 * 86400.0
_LIVE = "('preparing','submitting','uncertain','running','completed')"
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS jobs (
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  content_key TEXT NOT NULL, profile TEXT NOT NULL, base_url TEXT NOT NULL, service TEXT NOT NULL, model TEXT NOT NULL,
  state TEXT NOT NULL, owner TEXT NOT NULL, request_id TEXT, links TEXT NOT NULL DEFAULT '{{}}',
  inputs TEXT NOT NULL, created_at REAL NOT NULL, submitted_at REAL, finished_at REAL,
  response TEXT, video TEXT, error TEXT, price REAL);
CREATE UNIQUE INDEX IF NOT EXISTS one_live_job ON jobs (content_key) WHERE state IN {_LIVE};
CREATE INDEX IF NOT EXISTS by_request ON jobs (request_id);
PRAGMA user_version = 1;
"""


class Journal:
    """The journal in one folder. Use as a context manager. Every method raises JournalError when it cannot write."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.now = now
        self._owner = OwnerLock(folder / "owners", uuid.uuid4().hex)
        self._db: sqlite3.Connection | None = None

    def __enter__(self) -> Journal:
        with self._guard("opened"):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._owner.acquire()
            self._db = sqlite3.connect(self.folder / FILE_NAME, timeout=10, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")  # a power cut must not forget a paid job
            self._db.executescript(_SCHEMA)
            (self.folder / FILE_NAME).chmod(0o600)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._db is not None:
            self._db.close()
        self._owner.release()

    @property
    def videos(self) -> Path:
        """Where downloaded videos are kept."""
        return self.folder / "videos"

    def claim(
        self,
        content_key: str,
        *,
        profile: str,
        base_url: str,
        service: str,
        model: str,
        inputs: Mapping[str, Any],
        price: float | None = None,
    ) -> Claim:
        """The live job of this content, or a new row that this process may submit."""
        with self._guard("written"), self._transaction() as db:
            found = db.execute(
                f"SELECT * FROM jobs WHERE content_key=? AND state IN {_LIVE}", (content_key,)
            ).fetchone()
            claim = None if found is None else self._take_over(db, Row.read(found))
            if claim is not None:
                return claim
            cursor = db.execute(
                "INSERT INTO jobs (content_key, profile, base_url, service, model, state, owner, inputs, created_at, price)"
                " VALUES (?,?,?,?,?,'preparing',?,?,?,?)",
                (content_key, profile, base_url, service, model, self._owner.name, _json(inputs), self.now(), price),
            )
            row = db.execute("SELECT * FROM jobs WHERE row=?", (cursor.lastrowid,)).fetchone()
            return Claim("new", Row.read(row))

    def _take_over(self, db: sqlite3.Connection, row: Row) -> Claim | None:
        """What the live row of this content means now; None when it has ended and a new one may be made."""
        if row.state in ("preparing", "submitting") and owner_is_alive(self._owner.folder, row.owner):
            return Claim("busy", row)
        if row.state == "preparing":
            db.execute("UPDATE jobs SET owner=? WHERE row=?", (self._owner.name, row.row))
            return Claim("new", row)
        if row.state == "submitting":
            db.execute("UPDATE jobs SET state='uncertain' WHERE row=?", (row.row,))
        if row.state in ("submitting", "uncertain"):
            return Claim("uncertain", row)
        expired = self.now() - (row.submitted_at or row.created_at) > KEEP_RESULT_S
        if expired and row.video_path is None:
            db.execute("UPDATE jobs SET state='gone' WHERE row=?", (row.row,))
            return None
        return Claim("finished" if row.state == "completed" else "resume", row)

    def uploaded(self, row: Row, pictures: Mapping[str, str]) -> Row:
        """Where the pictures were uploaded to, by field: what a history shows of this job, or a repeated submit says."""
        inputs = {**row.inputs, UPLOADED: dict(pictures)}
        self._set(row.row, inputs=_json(inputs))
        return replace(row, inputs=inputs)

    def submitting(self, row: int) -> None:
        """The request is about to go out."""
        self._set(row, state="submitting", submitted_at=self.now(), owner=self._owner.name)

    def not_sent(self, row: int) -> None:
        """The request was surely not received, or was refused."""
        self._set(row, state="preparing", submitted_at=None)

    def submitted(self, row: int, ticket: Ticket) -> None:
        """The provider named the job's id."""
        self._set(row, state="running", request_id=ticket.request_id, links=_json(ticket.links))

    def seen(self, row: int, state: str, queue_position: int | None) -> None:
        """Where the provider said the running job was, for lists; its result takes this place."""
        told = _json({"state": state, "queue_position": queue_position})
        with self._guard("written"):
            self._connection.execute("UPDATE jobs SET response=? WHERE row=? AND state='running'", (told, row))

    def uncertain(self, row: int, error: str) -> None:
        """The answer to the submit was lost."""
        self._set(row, state="uncertain", error=error)

    def finish(
        self, row: int, state: RowState, *, response: Any = None, video: Path | None = None, error: str = ""
    ) -> None:
        """The job has ended in this state."""
        self._set(
            row,
            state=state,
            finished_at=self.now(),
            response=_json(response),
            video=None if video is None else str(video),
            error=error or None,
        )

    def adopt(self, ticket: Ticket, *, profile: str, base_url: str, service: str) -> Row:
        """The row of a job that was submitted elsewhere, made on first sight; it is found by its request id."""
        known = self.find(ticket.request_id)
        if known is not None:
            return known
        mine = (self._owner.name, ticket.request_id, _json(ticket.links), self.now())
        with self._guard("written"), self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO jobs (content_key, profile, base_url, service, model, state, owner, request_id, links, inputs,"
                " created_at) VALUES (?,?,?,?,?,'running',?,?,?,'{}',?)",
                (f"request:{service}:{ticket.request_id}", profile, base_url, service, ticket.model, *mine),
            )
            return Row.read(db.execute("SELECT * FROM jobs WHERE row=?", (cursor.lastrowid,)).fetchone())

    def get(self, row: int) -> Row | None:
        """One row by its number."""
        return self._one("SELECT * FROM jobs WHERE row=?", row)

    def find(self, request_id: str) -> Row | None:
        """The newest row with this request id."""
        return self._one("SELECT * FROM jobs WHERE request_id=? ORDER BY row DESC LIMIT 1", request_id)

    def newest(self, limit: int = 50) -> list[Row]:
        """The last rows, newest first."""
        with self._guard("read"):
            return [
                Row.read(row)
                for row in self._connection.execute("SELECT * FROM jobs ORDER BY row DESC LIMIT ?", (limit,))
            ]

    def known_ids(self) -> set[str]:
        """Every request id in the journal."""
        with self._guard("read"):
            rows = self._connection.execute("SELECT request_id FROM jobs WHERE request_id IS NOT NULL")
            return {row[0] for row in rows}

    def open_questions(self, profile: str, model: str) -> int:
        """How many submits of this account and model have no known outcome now."""
        with self._guard("read"):
            count = self._connection.execute(
                "SELECT count(*) FROM jobs WHERE profile=? AND model=? AND state IN ('submitting','uncertain')",
                (profile, model),
            ).fetchone()
            return int(count[0])

    def prune(self) -> None:
        """Drop old videos and old finished rows; what is live and unfinished stays."""
        with self._guard("written"):
            old = self.now() - KEEP_RESULT_S
            for row in self._connection.execute("SELECT * FROM jobs WHERE video IS NOT NULL AND finished_at<?", (old,)):
                with suppress(OSError):  # a player may hold it open; it goes another time
                    Path(row["video"]).unlink()
            for part in self.videos.glob(".part-*"):  # left by a process that was killed while downloading
                with suppress(OSError):  # or one that has just become a video
                    if self.now() - part.stat().st_mtime > STALE_PART_S:
                        part.unlink()
            self._connection.execute(
                "DELETE FROM jobs WHERE created_at<? AND state NOT IN ('submitting','uncertain','running')",
                (self.now() - KEEP_ROW_S,),
            )

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise RuntimeError("use Journal as a context manager")
        return self._db

    def _one(self, query: str, value: object) -> Row | None:
        with self._guard("read"):
            found = self._connection.execute(query, (value,)).fetchone()
            return None if found is None else Row.read(found)

    def _set(self, row: int, **columns: object) -> None:
        names = ", ".join(f"{name}=?" for name in columns)
        with self._guard("written"):
            self._connection.execute(f"UPDATE jobs SET {names} WHERE row=?", (*columns.values(), row))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._connection
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"The job journal {self.folder / FILE_NAME} cannot be {what} ({error}), so nothing is submitted: a paid "
                "job could be lost. Make the folder writable, or move a broken file away."
            ) from None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
