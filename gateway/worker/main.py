"""Puts a worker together from the command line and runs it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import threading
from pathlib import Path

from ...engine.errors import EngineError
from ...engine.process import ComfyServer
from ...engine.setup import micro_models, prepare
from ..attempts import AttemptStore
from ..cli import _until_stopped
from ..database import Database
from ..engines import open_worker
from ..jobs import JobStore
from ..server import open_assets
from ..settings import GatewayError, Settings
from ..workers import WorkerStore
from .agent import Agent
from .attempt import Runner
from .safety import SafetyCheckers
from .supervisor import External, OneAgent, Owned, Supervisor

_LOCK_S = 30


def run_worker(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run a worker until the process is told to end. Raises EngineError."""
    home = settings.data / "workers" / arguments.name
    lock = OneAgent(home)
    if not lock.acquire(_LOCK_S):
        raise GatewayError(f"Another worker named {arguments.name} runs on {home}. Give this one another --name.")
    if arguments.follow_parent:
        _end_with_parent()
    supervisor = _supervisor(arguments, home)
    asyncio.run(_run(arguments, settings, supervisor))


async def _run(arguments: argparse.Namespace, settings: Settings, supervisor: Supervisor) -> None:
    database = await asyncio.to_thread(Database, settings.database_url)
    runner = Runner(
        worker=arguments.name,
        jobs=JobStore(database),
        attempts=AttemptStore(database),
        assets=open_assets(settings, database),
        supervisor=supervisor,
        timing=settings.timing,
        safety=SafetyCheckers.installed(),
    )
    workers = WorkerStore(database, settings.timing.dead_after_s)
    engine = open_worker(settings.database_url, settings.timing.engine_poll_s)
    task = asyncio.create_task(Agent(runner, workers, engine).run())
    try:
        await _until_stopped([task])
    finally:
        if isinstance(supervisor, Owned):
            await asyncio.to_thread(supervisor.stop)
    # What the engine runs is left as a crash would leave it: at the next start it goes on from its last step.
    sys.stderr.flush()
    os._exit(0)


def _supervisor(arguments: argparse.Namespace, home: Path) -> Supervisor:
    if arguments.comfyui_url:
        return External(arguments.comfyui_url.rstrip("/"))
    if arguments.comfyui_command:
        return Owned(home, command=shlex.split(arguments.comfyui_command))
    tiny = getattr(arguments, "tiny", False) and not arguments.models
    engine = prepare(arguments.comfyui)
    if tiny:
        models: Path | None = micro_models(engine)
    else:
        models = Path(arguments.models).expanduser().absolute() if arguments.models else None
        if models is not None and not models.is_dir():
            raise EngineError(f"--models {models} is no folder; give one laid out as ComfyUI's models/.")
        if models is None and not engine.own and (engine.comfyui / "models").is_dir():
            models = engine.comfyui / "models"
    return Owned(home, server=ComfyServer(engine, home / "comfyui", models=models, tiny=tiny))


def _end_with_parent() -> None:
    """End, leaving ComfyUI to the next agent, when the gateway that started this process is gone."""

    def watch() -> None:
        while os.read(0, 4096):  # sys.stdin's lock, held here, would abort the interpreter when it ends
            pass
        os._exit(0) if _orphaned() else os.kill(os.getpid(), 15)

    parent = os.getppid()

    def _orphaned() -> bool:
        return os.getppid() != parent

    threading.Thread(target=watch, daemon=True).start()
