"""Puts a worker together from the command line and runs it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import signal
import sys
import threading
from pathlib import Path

from filelock import FileLock, Timeout

from ...engine.client import checked_url
from ...engine.process import ComfyServer
from ...engine.setup import micro_models, models_folder, prepare
from ..database import Database, new_id, patiently
from ..settings import GatewayError, Settings
from ..signals import Stops, until
from .agent import Agent
from .attempt import Runner
from .collect import installed_checkers
from .supervisor import Owned, Supervisor, environment

_CONNECTIONS = 3
_NOTE_S = 5  # for writing down that the stop is an orderly one
log = logging.getLogger(__name__)
_LOCK_S = 30


def run_worker(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run a worker until the process is told to end. Raises EngineError."""
    home = settings.data / "workers" / arguments.name
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(home / "agent.lock")  # dies with the process
    try:
        lock.acquire(timeout=_LOCK_S, poll_interval=0.2)
    except Timeout:
        raise GatewayError(f"Another worker named {arguments.name} runs on {home}. Choose another --name.") from None
    if arguments.follow_parent:
        _end_with_parent()
    supervisor = _supervisor(arguments, home)
    asyncio.run(_run(arguments, settings, supervisor, _home_id(home)))


async def _run(arguments: argparse.Namespace, settings: Settings, supervisor: Supervisor, home: str) -> None:
    stops = Stops()
    opening = asyncio.create_task(patiently(Database, settings.database_url, _CONNECTIONS))
    if await until(stops.first, opening) and not opening.done():
        os._exit(0)  # while the database is away
    database = await opening
    agent = Agent(Runner(arguments.name, settings, database, supervisor, installed_checkers()), home)
    task = asyncio.create_task(agent.run())
    try:
        if await until(stops.first, task):
            log.info("draining: a second signal ends the worker at once", extra={"seconds": settings.drain_timeout_s})
            drain = asyncio.create_task(agent.drain())
            await asyncio.wait([drain], timeout=_NOTE_S)
            await until(stops.second, task, timeout_s=settings.drain_timeout_s)
            drain.cancel()
    finally:
        # A prompt that still runs goes on in its ComfyUI, and the next process of this worker finds it. Only somebody
        # at a terminal who insists wants the GPU back.
        leave_it = agent.holds and stops.number != signal.SIGINT
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if isinstance(supervisor, Owned) and not leave_it:
            await asyncio.to_thread(supervisor.stop)
    if task.done() and not task.cancelled() and task.exception() is not None:
        raise task.exception() or RuntimeError()
    sys.stderr.flush()
    os._exit(0)  # threads may still wait for a database that is away


def _home_id(home: Path) -> str:
    """What tells this worker's folder from another machine's under the same name; made on first use."""
    file = home / "worker.id"
    if not file.exists():
        file.write_text(new_id(), encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()


def _supervisor(arguments: argparse.Namespace, home: Path) -> Supervisor:
    if arguments.comfyui_url:
        return Supervisor(checked_url(arguments.comfyui_url))
    if arguments.comfyui_command:
        return Owned(home, command=shlex.split(arguments.comfyui_command))
    tiny = getattr(arguments, "tiny", False) and not arguments.models
    engine = prepare(arguments.comfyui)
    given = Path(arguments.models).expanduser().absolute() if arguments.models else None
    models = micro_models(engine) if tiny else models_folder(engine, given)
    extra = () if arguments.keep_metadata else ("--disable-metadata",)
    server = ComfyServer(engine, home / "comfyui", models, tiny=tiny, extra_args=extra, environment=environment())
    return Owned(home, server=server)


def _end_with_parent() -> None:
    """End, leaving ComfyUI to the next agent, when the gateway that started this process is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.read(0, 4096):  # sys.stdin's lock, held here, would abort the interpreter when it ends
            pass
        os._exit(0) if os.getppid() != parent else os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
