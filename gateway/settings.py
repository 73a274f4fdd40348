"""Everything that can be set about a gateway or a worker, with its defaults.

A value comes from a flag, else from the environment (``WAN_FLF2V_`` and the name in capitals), else from the file that
``--config`` or ``WAN_FLF2V_CONFIG`` names (TOML, ``name = value``), else it is the default here.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import sqlalchemy
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, TomlConfigSettingsSource

from ..engine.errors import EngineError
from .dial import trusted_origins

MIB = 1024 * 1024
PREFIX = "WAN_FLF2V_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
DAY_S = 24 * 3600.0
# Flags that are called otherwise than their field; the file and the environment know the field's name alone.
_FLAGS = {"queued_jobs": "max-queue", "submits_per_second": "rate", "trusted_origins": "trust-origin"}


class GatewayError(EngineError):
    """A gateway command can't be done; the message says why and what to do."""


class Limits(BaseModel):
    """What one request, one key and one job may use."""

    body_bytes: int = Field(64 * MIB, gt=0, description="largest body of a request")
    bodies_bytes: int = Field(192 * MIB, gt=0, description="bodies in flight; one key has half of it at most")
    picture_bytes: int = Field(50 * MIB, gt=0, description="largest file of a picture")
    picture_pixels: int = Field(40_000_000, gt=0, description="most pixels of a picture")
    text_characters: int = Field(4000, gt=0, description="longest text of a field")
    video_pixels: int = Field(1920 * 1088, gt=0, description="most pixels of a video's frame")
    video_frames: int = Field(241, gt=0, description="most frames of a video, or of a storyboard's clip")
    header_read_s: float = Field(15, gt=0, description="for how long a connection may send no whole request")
    body_read_s: float = Field(60, gt=0, description="for how long a body may arrive")
    fetch_s: float = Field(20, gt=0, description="for how long the picture at a URL may take")
    queued_jobs: int = Field(1000, ge=0, description="jobs that may wait")
    queue_share: float = Field(0.8, gt=0, le=1, description="part of them that may be one key's")
    stored_bytes: int = Field(4096 * MIB, gt=0, description="pictures that one key may have stored")
    submits_per_second: float = Field(50, ge=0, description="requests a second and key; 0: any")
    submits_burst: int = Field(500, gt=0, description="requests that a key may send at once")
    calls_per_second: float = Field(200, ge=0, description="other calls a second of a key or address; 0: any")


class Timing(BaseModel):
    """How often things are looked at, and how long they may take."""

    poll_s: float = Field(1.0, gt=0, description="pause between two looks at a running prompt")
    engine_poll_s: float = Field(1.0, gt=0, description="pause between two looks into the queue")
    heartbeat_s: float = Field(5.0, gt=0, description="pause between two of a worker's heartbeats")
    dead_after_s: float = Field(20.0, gt=0, description="without a heartbeat for so long a worker counts as dead")
    remember_s: float = Field(600.0, gt=0, description="how long jobs are accepted for workers that have gone")
    sweep_s: float = Field(5.0, gt=0, description="pause between two looks for dead workers")
    cancel_grace_s: float = Field(30.0, ge=0, description="how long a cancelled job may go on; then ComfyUI is killed")
    unreachable_s: float = Field(120.0, gt=0, description="how long a ComfyUI may not answer")
    start_s: float = Field(600.0, gt=0, description="how long a ComfyUI may take to start")
    restart_pause_s: float = Field(2.0, gt=0, description="first pause before a sick ComfyUI is started anew")
    restart_pause_most_s: float = Field(300.0, gt=0, description="to which that pause grows, doubled each time")
    drain_timeout_s: float = Field(600.0, ge=0, description="after a first SIGTERM: how long the running job may take")
    job_timeout: str = Field("7200", description="seconds that a job may run; also WORKFLOW=SECONDS, with commas")
    attempts: int = Field(3, ge=1, description="attempts at a job before it is given up")
    keep_s: float = Field(7 * DAY_S, gt=0, description="how long jobs, videos and uploads are kept")
    link_s: float = Field(7 * DAY_S, gt=0, description="how long a link to a file works")


class Settings(Limits, Timing, BaseSettings):
    """One gateway or worker."""

    model_config = {"env_prefix": PREFIX, "frozen": True, "extra": "forbid"}

    data: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("wan-flf2v", appauthor=False),
        description="folder for jobs, keys and videos",
    )
    database: str = Field("", repr=False, description="postgresql://… for several machines (default: SQLite in --data)")
    public_url: str = Field("", description="the address that clients use, behind a reverse proxy")
    egress_proxy: str = Field("", description="HTTP proxy through which clients' pictures and webhooks are reached")
    auth: bool = True
    demo: bool = False
    trusted_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="origin in the own network to fetch from; several in one value are separated by commas"
    )

    def job_timeout_of(self, workflow: str) -> float:
        """For how many seconds a job of this workflow may run."""
        limits = _timeouts(self.job_timeout)
        return limits.get(workflow, limits[""])

    @field_validator("job_timeout")
    @classmethod
    def _are_timeouts(cls, text: str) -> str:
        try:
            sound = all(seconds > 0 for seconds in _timeouts(text).values())
        except ValueError:
            sound = False
        if not sound:
            raise ValueError(f"must be seconds, or WORKFLOW=SECONDS, separated by commas; got {text[:100]!r}")
        return text

    @property
    def database_url(self) -> str:
        """Where the tables are."""
        return self.database or f"sqlite:///{(self.data / 'jobs.sqlite').resolve().as_posix()}"

    @field_validator("data")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @field_validator("database")
    @classmethod
    def _is_known(cls, url: str) -> str:
        if not url:
            return url
        if not url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError(f"must be a sqlite:/// or postgresql:// URL; got {url.split(':', 1)[0][:40]}:…")
        try:
            host = sqlalchemy.make_url(url).host or ""
        except (sqlalchemy.exc.ArgumentError, ValueError):
            host = "@"
        if "@" in host or "/" in host:
            raise ValueError("is no URL of a database; in a password write @ as %40, / as %2F and : as %3A")
        return url

    @field_validator("public_url", "egress_proxy")
    @classmethod
    def _without_slash(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError(f"must start with http:// or https://; got {url[:100]!r}")
        return url.rstrip("/")

    @field_validator("trusted_origins", mode="before")
    @classmethod
    def _are_origins(cls, given: object) -> tuple[str, ...]:
        texts = given if isinstance(given, (list, tuple)) else [given]
        return trusted_origins([part.strip() for text in texts for part in str(text).split(",") if part.strip()])

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: Any, env_settings: Any, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """See the module: flags, environment, file."""
        file = os.environ.get(CONFIG_VARIABLE)
        return (init_settings, env_settings, *([TomlConfigSettingsSource(settings_cls, file)] if file else []))


def _timeouts(text: str) -> dict[str, float]:
    """Seconds by workflow; under the empty name for all others."""
    parts = [part.strip().rpartition("=") for part in text.split(",") if part.strip()]
    return {"": 7200.0} | {workflow.strip(): float(seconds) for workflow, _, seconds in parts}


def flag_of(name: str) -> str:
    """The command line's flag for a field: without the unit of seconds."""
    return "--" + _FLAGS.get(name, name.removesuffix("_s").replace("_", "-"))


def add_flags(parser: argparse._ActionsContainer, *names: str) -> None:
    """Add the flags of these fields; one that is not given has the value None."""
    for name in names:
        field = Settings.model_fields[name]
        default = field.get_default()
        several, number = name == "trusted_origins", isinstance(default, (int, float))
        shown = f"{field.description}{f' (default {default})' if number else ''}"
        metavar = "SECONDS" if name.endswith("_s") else "N" if number else "DIR" if name == "data" else "URL"
        action = "append" if several else "store"
        parser.add_argument(flag_of(name), dest=name, metavar=metavar, action=action, help=shown.replace("%", "%%"))


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that flags, environment and file give. Raises GatewayError."""
    flags = ((name, getattr(arguments, name, None)) for name in Settings.model_fields)
    given: dict[str, Any] = {name: value for name, value in flags if value is not None}
    if getattr(arguments, "config", None):
        os.environ[CONFIG_VARIABLE] = str(Path(arguments.config).expanduser().absolute())  # the worker reads it too
    file = os.environ.get(CONFIG_VARIABLE)
    if file and not Path(file).is_file():
        raise GatewayError(f"There is no settings file {file}.")
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise GatewayError(_said(error)) from None
    except ValueError as error:  # the file is no TOML
        raise GatewayError(f"The settings file {file} can't be read: {error}.") from None
    if settings.demo:
        data = settings.data if "data" in settings.model_fields_set else settings.data / "demo"
        settings = settings.model_copy(update={"auth": False, "data": data})
    return settings


def _said(error: ValidationError) -> str:
    """What is wrong, without the values: one may be a password."""
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    name = str(problem["loc"][0]) if problem["loc"] else "The settings"
    text = problem["msg"].removeprefix("Value error, ")
    where = f"{flag_of(name)} ({PREFIX}{name.upper()})" if name in Settings.model_fields else f"The setting {name}"
    return f"{where}: {text}."
