"""What a job is: as it comes in, as the table has it, and one attempt at it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from sqlalchemy.engine import Row

from .database import new_id

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Api = Literal["model", "serverless", "wavespeed"]
OPEN_STATES = ("queued", "running")
_NAMESPACE = uuid.UUID("6d9c7f0e-6b1f-4b51-9d0f-6f6c66326676")


@dataclass(frozen=True)
class NewJob:
    """A checked request. ``values`` go to the workflow, ``shown`` is what the client sent (pictures as links)."""

    owner: str
    api: Api
    model: str
    workflow: str
    values: Mapping[str, Any]
    shown: Mapping[str, Any]
    webhook: str = ""
    webhook_all: bool = False
    idempotency_key: str = ""
    digest: str = ""
    id: str = field(default_factory=new_id)


@dataclass(frozen=True)
class Job:
    """One job as the table has it."""

    seq: int
    id: str
    owner: str
    api: str
    model: str
    workflow: str
    values: Mapping[str, Any]
    shown: Mapping[str, Any]
    state: State
    attempt: int
    worker: str
    cancel: bool
    stage: str
    progress: float
    outputs: Sequence[Mapping[str, Any]]
    error: str
    webhook: str
    webhook_all: bool
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state not in OPEN_STATES


@dataclass(frozen=True)
class Claim:
    """One attempt at a job: who makes it, under which prompt id; ``resumed`` when it was begun by an earlier process."""

    job: str
    attempt: int
    worker: str
    ticket: str = ""
    resumed: bool = False

    @property
    def prompt_id(self) -> str:
        """The same for the same attempt, so that a submit whose answer was lost can be looked up."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.job}/{self.attempt}"))


_JOB_COLUMNS = tuple(part.name for part in fields(Job))


def job_of(row: Row[Any]) -> Job:
    """A row of the jobs table as a Job."""
    return Job(**{name: row._mapping[name] for name in _JOB_COLUMNS})
