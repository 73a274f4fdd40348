"""``wan-flf2v serve | worker | keys | status``: the gateway's commands."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import re
import shlex
import sys
from typing import Any

from ..engine.errors import EngineError
from ..providers.addresses import is_loopback
from .database import Database
from .jobs import JobStore
from .keys import SCOPES, KeyStore, shared_secret
from .logs import set_up_logs
from .server import prepare_data, run_gateway
from .settings import GatewayError, Limits, Settings, Timing, add_flags, flag_of, settings_of
from .signals import Stops, until
from .signing import WebhookSigner
from .tables import JOBS, OPEN_STATES
from .workers import WorkerStore

DEFAULT_PORT = 8288
log = logging.getLogger(__name__)
CANNOT_START = 78  # a worker's exit status when a setting is wrong (EX_CONFIG): starting it again would not help


def serve(arguments: argparse.Namespace) -> None:
    """Run a gateway, with a worker unless told otherwise. Raises GatewayError."""
    settings = _settings(arguments)
    loopback = is_loopback(arguments.host)
    if not settings.auth and not loopback:
        raise GatewayError(f"--no-auth and --demo are for this machine alone; --host {arguments.host} is not loopback.")
    database = _database(settings)  # also without keys: what is wrong with it is said in one line
    has_key = not settings.auth or any(key.state in ("used", "never used") for key in KeyStore(database).every())
    database.close()
    if not loopback and not has_key:
        raise GatewayError(
            f"--host {arguments.host} can be reached from other machines, and there is no API key yet. "
            f"Make one first: wan-flf2v keys create NAME{_data_option(arguments)}"
        )
    set_up_logs(arguments.log_level)
    shown = settings.public_url or f"http://{arguments.host}:{arguments.port}"
    print(f"Wan FLF2V gateway at {shown}  (API: {shown}/docs)", file=sys.stderr)
    print(f"Jobs, keys and videos are in {settings.data}", file=sys.stderr)
    if settings.demo:
        print("Demo: this project's micro models make soft, small, short videos. No key is needed.", file=sys.stderr)
    elif not has_key:
        option = _data_option(arguments)
        print(f"No API key exists yet. In another terminal: wan-flf2v keys create NAME{option}", file=sys.stderr)
    asyncio.run(_serve(arguments, settings))


async def _serve(arguments: argparse.Namespace, settings: Settings) -> None:
    stops = Stops()
    gateway = asyncio.create_task(run_gateway(settings, arguments.host, arguments.port))
    tasks = [gateway]
    if not arguments.no_worker:
        tasks.append(asyncio.create_task(_keep_worker(arguments, settings, stops)))
    try:
        await until(stops.first, *tasks)
        if len(tasks) > 1:  # it finishes its job meanwhile, and clients can ask for it
            await asyncio.wait(tasks[1:])
    except OSError as error:
        raise GatewayError(f"The gateway can't listen: {error.strerror or error}. Choose another --port.") from None
    finally:
        stops.first.set()
        gateway.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    sys.stderr.flush()
    os._exit(0)  # threads may still wait for a database that is away


async def _keep_worker(arguments: argparse.Namespace, settings: Settings, stops: Stops) -> None:
    """Run the worker as a child process, and again whenever it ends. Its standard input tells it that we live."""
    command = [sys.executable, "-m", "wan_flf2v.gateway", "worker", "--data", str(settings.data)]
    command.append("--follow-parent")
    for name in ("name", "log_level", "comfyui", "comfyui_url", "comfyui_command", "models", *Timing.model_fields):
        if getattr(arguments, name) is not None:
            command += [flag_of(name), str(getattr(arguments, name))]
    flags = {"--tiny": settings.demo, "--keep-metadata": arguments.keep_metadata}
    command += [flag for flag, given in flags.items() if given]
    environment = {**os.environ, "WAN_FLF2V_DATABASE": settings.database_url}  # a password is not for the process list
    first = True
    while not stops.first.is_set():
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, env=environment,
            start_new_session=os.name == "posix",  # a Ctrl-C is for this process, which tells the child
        )  # fmt: skip
        ended = asyncio.create_task(child.wait())
        if await until(stops.first, ended) and not ended.done():
            if child.stdin is not None:
                child.stdin.close()
            if await until(stops.second, ended) and not ended.done():
                child.send_signal(stops.number)
                await asyncio.wait([ended], timeout=20)
            if not ended.done():
                child.kill()
            return
        if first and await ended == CANNOT_START:
            raise GatewayError("The worker can't start; the line above says why. The gateway ends with it.")
        first = False
        log.error("the worker ended; it is started again", extra={"status": await ended})  # a print can fail
        await asyncio.sleep(1)


def worker(arguments: argparse.Namespace) -> None:
    """Run a worker agent; exits with CANNOT_START when a setting is wrong."""
    from .worker.main import run_worker

    settings = _settings(arguments)
    _database(settings).close()
    set_up_logs(arguments.log_level)
    try:
        run_worker(arguments, settings)
    except EngineError as error:
        print(f"wan-flf2v: {error}", file=sys.stderr)
        raise SystemExit(CANNOT_START) from None


def keys(arguments: argparse.Namespace) -> None:
    """Create, list, renew or revoke API keys, or show a key's webhook secret. Raises GatewayError."""
    store = KeyStore(_database(_settings(arguments)))
    if arguments.action == "create":
        scopes = [scope for scope in arguments.scopes.split(",") if scope]
        key, secret = store.create(arguments.key, scopes, arguments.days)
        print(secret)
        print(f"Key {key.name!r} ({', '.join(key.scopes)}). It is shown only now: keep it safe.", file=sys.stderr)
    elif arguments.action == "list":
        for key in store.every():
            print(f"{key.id}  {key.name:20}  {','.join(key.scopes):22}  {key.state}")
    elif arguments.action == "webhook":
        key = store.one(arguments.key)
        if arguments.change:
            store.turn_webhook(key.id)
        print(f"whsec_{WebhookSigner(shared_secret(store.database, 'webhooks'), store).secret(key.id)}")
    elif arguments.action == "renew":
        print(store.renew(arguments.key, arguments.hours))
        print(f"It is shown only now. The one before works for {arguments.hours:g} hours more.", file=sys.stderr)
    else:
        going = [key for key in store.every() if arguments.key in (key.id, key.name)]
        if not store.revoke(arguments.key):
            raise GatewayError(f"There is no usable key {arguments.key!r}; wan-flf2v keys list shows them.")
        print(f"Revoked {arguments.key}; links to its files work no more.", file=sys.stderr)
        if arguments.cancel_jobs:
            jobs, is_open = JobStore(store.database), JOBS.c.state.in_(OPEN_STATES)
            mine = [job for key in going for job in jobs.page(key.id, is_open, limit=1_000_000)]
            print(f"Cancelled {sum(jobs.cancel(job.id, job.owner) != 'over' for job in mine)} jobs.", file=sys.stderr)


def status(arguments: argparse.Namespace) -> None:
    """Print the workers and the queue."""
    from .offer import every_workflow

    settings = _settings(arguments)
    database = _database(settings)
    counts = JobStore(database).counts()
    living = WorkerStore(database, settings).living()
    print("Jobs:   ", ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "none")
    print("Workers:" if living else "Workers: none is alive. Start one: wan-flf2v serve, or wan-flf2v worker")
    for one in living:
        about = f"ComfyUI {one.info.get('comfyui', '?')} on {', '.join(one.info.get('devices', []))[:60]}"
        print(f"  {one.id}  {one.status}  {about}  restarts {one.restarts}")
        for name, bindings in every_workflow().items():
            files = ", ".join(f"models/{kind}/{file}" for kind, file in bindings.model_files())
            able = name in one.workflows
            print(f"    can run  {bindings.model}" if able else f"    lacks    {bindings.model}  needs {files}")


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = settings_of(arguments)
    prepare_data(settings)
    return settings


def _database(settings: Settings) -> Database:
    import sqlalchemy.exc

    try:
        return Database(settings.database_url)
    except sqlalchemy.exc.OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0] if error.orig else "no reason given"
        raise GatewayError(f"The database can't be opened: {reason}") from None


def _data_option(arguments: argparse.Namespace) -> str:
    data = f" --data {shlex.quote(str(arguments.data))}" if arguments.data else ""
    return data + (" --database …" if arguments.database else "")


def add_parsers(commands: Any) -> None:
    """Add the four commands to a parser."""
    server = commands.add_parser("serve", help="serve RunComfy's and WaveSpeed's APIs from this machine")
    server.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    server.add_argument("--port", type=_port, default=DEFAULT_PORT, help=f"port to listen on (default {DEFAULT_PORT})")
    server.add_argument("--no-auth", dest="auth", action="store_false", default=None, help="no keys; on loopback only")
    server.add_argument("--demo", action="store_true", default=None, help="micro models, no GPU, no key; loopback only")
    server.add_argument("--no-worker", action="store_true", help="only the gateway; workers run elsewhere")
    add_flags(server, "public_url", "trusted_origins", "egress_proxy")
    add_flags(server.add_argument_group("limits"), *Limits.model_fields)
    server.set_defaults(run=serve)
    agent = commands.add_parser("worker", help="run a worker: one ComfyUI, and the jobs on it")
    agent.add_argument("--tiny", action="store_true", help="micro models on the CPU, as in the demo")
    agent.add_argument("--follow-parent", action="store_true", help=argparse.SUPPRESS)
    agent.set_defaults(run=worker)
    for command in (server, agent):
        command.add_argument("--comfyui", metavar="PATH", help="folder of the ComfyUI to start")
        command.add_argument("--comfyui-url", metavar="URL", help="use a ComfyUI that runs already")
        command.add_argument("--comfyui-command", metavar="COMMAND", help="start ComfyUI so; {port} is its port")
        command.add_argument("--models", metavar="DIR", help="folder laid out as ComfyUI's models/")
        command.add_argument("--keep-metadata", action="store_true", help="let ComfyUI write the graph into videos")
        command.add_argument("--name", type=_name, default=_default_name(), help="a name that no other worker has")
        command.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
        add_flags(command.add_argument_group("times"), *Timing.model_fields)
    maker = commands.add_parser("keys", help="create, list, renew and revoke the gateway's API keys")
    actions = maker.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key and print it once")
    create.add_argument("key", metavar="NAME")
    create.add_argument("--scopes", default="submit,read", help=f"some of {','.join(SCOPES)} (default submit,read)")
    create.add_argument("--days", type=float, metavar="N", help="for how many days it works (default: until revoked)")
    shown = actions.add_parser("list", help="show every key, without its secret")
    revoke = actions.add_parser("revoke", help="switch a key off")
    revoke.add_argument("key", metavar="NAME_OR_ID")
    revoke.add_argument("--cancel-jobs", action="store_true", help="also cancel its jobs, which otherwise go on")
    renew = actions.add_parser("renew", help="make a new secret for a key, which keeps its jobs and files")
    renew.add_argument("key", metavar="NAME_OR_ID")
    renew.add_argument("--hours", type=float, default=24, help="for how long the one before still works (default 24)")
    webhook = actions.add_parser("webhook", help="show the secret that signs a key's webhooks")
    webhook.add_argument("key", metavar="NAME_OR_ID")
    webhook.add_argument("--change", action="store_true", help="make a new one; for a day the old one signs too")
    for action in (create, shown, renew, revoke, webhook):
        action.set_defaults(run=keys)
    overview = commands.add_parser("status", help="show the gateway's workers and queue")
    overview.set_defaults(run=status)
    for command in (server, agent, create, shown, renew, revoke, webhook, overview):
        add_flags(command, "data", "database")
        command.add_argument("--config", metavar="FILE", help="settings in TOML: a line `name = value` for each")


def _name(text: str) -> str:
    """A worker's name, which also names its folder."""
    if not 0 < len(text) <= 100 or text.startswith(".") or not text.isprintable() or set(text) & set("/\\:"):
        raise argparse.ArgumentTypeError(f"must have 1 to 100 characters, no / \\ or : and no dot first; got {text!r}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be between 0 and 65535; got {text!r}")
    return int(text)


def _default_name() -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", platform.node())[:60] or "worker"


def main(argv: list[str] | None = None) -> int:
    """Run one of the four commands; returns the exit status."""
    parser = argparse.ArgumentParser(prog="wan-flf2v")
    add_parsers(parser.add_subparsers(dest="command", required=True))
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except EngineError as error:
        print(f"wan-flf2v: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
