"""``wan-flf2v generate``: from two pictures and a prompt to a video file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..engine.locate import Engine
from ..engine.process import ComfyServer
from ..engine.setup import is_prepared, models_folder, prepare
from ..workflows import Bindings, Field, FieldError, first_last_workflows
from ..workflows.fields import Value
from ..workflows.models import missing_files
from . import remote
from .errors import CliError
from .job import Job, run_job
from .pictures import check_picture
from .texts import read_text
from .video import describe_video


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "generate",
        help="make a video from two pictures and a prompt",
        description="Make a video from a first and a last frame and a prompt, on a ComfyUI of yours or a remote API.",
    )
    add_job_arguments(parser)
    parser.add_argument("--comfyui-url", metavar="URL", help="a running ComfyUI, such as http://127.0.0.1:8188")
    parser.add_argument(
        "--free", action="store_true", help="accept all that the nodes accept, beyond RunComfy's ranges"
    )
    remote.add_arguments(parser)
    parser.add_argument("--no-wait", action="store_true", help="with --remote: submit only, and print the request id")
    parser.set_defaults(run=run)


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that ``generate`` and ``demo`` share."""
    parser.add_argument("--first", metavar="PICTURE", help="the first frame; with --remote a URL too")
    parser.add_argument("--last", metavar="PICTURE", help="the last frame; with --remote a URL too")
    parser.add_argument("--prompt", help="what happens between the two frames")
    parser.add_argument("--negative", help="what the video should not show")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the workflow, such as 57_steps=8 (repeat for more)",
    )
    parser.add_argument("--payload", type=Path, metavar="FILE", help="a JSON file with fields, as RunComfy takes them")
    parser.add_argument("--workflow", default=remote.MAIN, choices=first_last_workflows(), help="which workflow to run")
    parser.add_argument(
        "--out", type=Path, default=Path("wan_flf2v.mp4"), metavar="FILE", help="where to save the video"
    )
    parser.add_argument("--comfyui", metavar="PATH", help="the ComfyUI folder to start (else COMFYUI_PATH)")
    parser.add_argument("--models", type=Path, metavar="DIR", help="ComfyUI's models folder, with the real weights")


def run(arguments: argparse.Namespace) -> None:
    """Check the request, run it and save the video. Raises CliError, EngineError, ProviderError or FieldError."""
    remote.check_together(arguments)
    if arguments.remote:
        check_out(arguments.out)
        if remote.generate(arguments, read_fields, run_cancellable):
            print(describe_video(arguments.out))
        return
    bindings = Bindings.load(arguments.workflow)
    fields = read_fields(arguments, bindings.every_field)
    first, last = pictures(arguments, bindings, fields)
    free = arguments.free or arguments.negative is not None
    job = check_job(bindings, fields, first, last, free=free)
    check_out(arguments.out)
    if arguments.comfyui_url:
        run_cancellable(run_job(arguments.comfyui_url, job, arguments.out))
    else:
        run_locally(arguments, job)
    print(describe_video(arguments.out))


def read_fields(
    arguments: argparse.Namespace, known: Mapping[str, Field], *, prompt: str = "6_text", negative: str = "7_text"
) -> dict[str, object]:
    """The fields of --payload, --prompt, --negative and --set, unchecked; later ones win.

    ``prompt`` and ``negative`` are what the model calls the two texts.
    """
    fields: dict[str, object] = {}
    if arguments.payload is not None:
        try:
            payload = json.loads(read_text(arguments.payload))
        except ValueError as error:
            raise CliError(f"--payload: {arguments.payload} is no JSON: {error}.") from None
        if not isinstance(payload, dict):
            raise CliError(f"--payload: {arguments.payload} must hold a JSON object of fields.")
        fields |= payload
    if arguments.prompt is not None:
        fields[prompt] = arguments.prompt
    if arguments.negative is not None:
        fields[negative] = arguments.negative
    for item in arguments.set:
        name, found, text = item.partition("=")
        if not found:
            raise CliError(f"--set takes FIELD=VALUE, such as 57_steps=8; got {item!r}.")
        field = known.get(name)
        fields[name] = text if field is None or field.type == "string" else _number(text)
    return fields


def _number(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def pictures(arguments: argparse.Namespace, bindings: Bindings, fields: dict[str, object]) -> tuple[Path, Path]:
    """The two picture files: --first and --last, else the payload's entries as paths."""
    found = []
    for option, name in (("first", bindings.first_image), ("last", bindings.last_image)):
        given = getattr(arguments, option) or fields.get(name)
        if given is None:
            raise CliError(f"the {option} frame is missing. Give it with --{option} PICTURE.")
        if not isinstance(given, (str, Path)):
            raise CliError(f"{name} must be the path of a picture; got {json.dumps(given)[:80]}.")
        check_picture(Path(given), f"{option} frame")
        fields[name] = str(given)
        found.append(Path(given))
    return found[0], found[1]


def check_job(bindings: Bindings, fields: dict[str, object], first: Path, last: Path, *, free: bool) -> Job:
    """The checked job; a field that only --free accepts says so."""
    try:
        values: dict[str, Value] = bindings.check(fields, free=free)
    except FieldError as error:
        if not free and _fits_free(bindings, fields):
            raise CliError(f"{error} With --free the workflow takes it.") from None
        raise
    return Job(bindings, values, first, last)


def _fits_free(bindings: Bindings, fields: dict[str, object]) -> bool:
    try:
        bindings.check(fields, free=True)
    except FieldError:
        return False
    return True


def check_out(out: Path) -> None:
    """Raise CliError when the video could not be saved there, before any work is done."""
    if out.suffix.lower() != ".mp4":
        raise CliError(f"--out must end in .mp4, which is what the workflow saves; got {out}.")
    if out.is_dir():
        raise CliError(f"--out: {out} is a folder; give a file name.")
    folder = next(parent for parent in (out.absolute()).parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise CliError(f"--out: nothing can be written in {folder}.")


class LocalJob(Protocol):
    """What runs on a ComfyUI and needs model files there."""

    def model_files(self) -> list[tuple[str, str]]:
        """The (folder, name) of each."""

    async def run(self, url: str, out: Path) -> None:
        """Run it on the ComfyUI at ``url`` and save the video."""


def run_locally(
    arguments: argparse.Namespace, job: LocalJob, *, weights: Callable[[Engine], Path] | None = None
) -> None:
    """Start a ComfyUI, run the job on it and stop it again; ``weights`` makes the models folder of a demo."""
    if not is_prepared(arguments.comfyui):
        print(
            "Fetching ComfyUI and writing its small text encoder (about half a minute, once) …",
            file=sys.stderr,
            flush=True,
        )
    engine = prepare(arguments.comfyui)
    models = models_folder(engine, arguments.models) if weights is None else weights(engine)
    if models is None:
        raise CliError(
            "no model files are known. Give ComfyUI's models folder with --models DIR, a ComfyUI with --comfyui PATH, "
            "or a running one with --comfyui-url URL. Without any weights, try `demo`."
        )
    if weights is None and arguments.models is not None:
        absent = missing_files(job.model_files(), models)
        if absent:
            raise CliError(f"{models} lacks model files. " + "; ".join(file.advice() for file in absent))
    with tempfile.TemporaryDirectory(prefix="wan-flf2v-", ignore_cleanup_errors=True) as home:
        print(f"Starting ComfyUI ({engine.comfyui.name}) …", file=sys.stderr, flush=True)
        with ComfyServer(engine, Path(home), models, tiny=weights is not None) as server:
            run_cancellable(job.run(server.url, arguments.out))


def run_cancellable(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; Ctrl-C or SIGTERM cancels ``work``, which may clean up, and then raises KeyboardInterrupt."""

    async def guarded() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows: asyncio.run itself cancels since Python 3.11
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, task.cancel)
        await task

    try:
        asyncio.run(guarded())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
