"""Everything that can be set about a gateway or a worker, with its defaults."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What one request, one key and one job may use."""

    body_bytes: int = 64 * MIB
    picture_bytes: int = 50 * MIB
    picture_pixels: int = 40_000_000
    text_characters: int = 4000
    video_pixels: int = 1920 * 1088
    video_frames: int = 241
    body_read_s: float = 60
    fetch_s: float = 20
    queued_jobs: int = 1000
    uploads_per_key: int = 2000
    submits_per_second: float = 50  # per key; 0 switches the limit off
    submits_burst: int = 500


@dataclass(frozen=True)
class Timing:
    """How often things are looked at, and how long they may take."""

    poll_s: float = 1.0
    engine_poll_s: float = 0.2
    heartbeat_s: float = 5.0
    dead_after_s: float = 20.0
    sweep_s: float = 5.0
    cancel_grace_s: float = 30.0
    unreachable_s: float = 120.0
    attempts: int = 3
    keep_s: float = 7 * 24 * 3600.0
    link_s: float = 24 * 3600.0


@dataclass(frozen=True)
class Settings:
    """One gateway or worker. ``database_url`` is SQLite in ``data`` unless given."""

    data: Path
    database_url: str
    public_url: str = ""
    auth: bool = True
    demo: bool = False
    trusted_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)


def default_data_folder() -> Path:
    """Where jobs, keys and videos are kept when ``--data`` is not given: the system's place for a user's data."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "wan-flf2v"


def default_database_url(data: Path) -> str:
    """The SQLite database in the data folder."""
    return f"sqlite:///{(data / 'jobs.sqlite').resolve().as_posix()}"
