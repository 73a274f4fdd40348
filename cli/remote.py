"""``wan-flf2v generate --remote``: the same job on RunComfy, WaveSpeed or a gateway, without ComfyUI."""

from __future__ import annotations

import argparse
import asyncio
import mimetypes
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..providers import Job, Journal, Outcome, Picture, RemoteClient, model
from ..providers.models import Model, Service
from ..providers.profiles import Profile, ProfileStore
from ..providers.retry import Policy
from .accounts import store_of
from .errors import CliError
from .job import save_file
from .pictures import check_picture

ReadFields = Callable[..., dict[str, object]]
RunCancellable = Callable[[Coroutine[Any, Any, None]], None]
A = TypeVar("A")
B = TypeVar("B")
SIDE_BY_SIDE = 8  # jobs under way
MAX_WAIT = 60  # minutes
REMOTE_ONLY = {"deployment", "max_wait", "no_wait"}
MAIN = "wan22_flf2v"  # the workflow of every job that names none
_PICTURE_TYPES = ("image/png", "image/jpeg", "image/webp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that ``generate`` and ``batch`` have for remote jobs."""
    parser.add_argument(
        "--remote", metavar="PROFILE", help="run on runcomfy, wavespeed or a profile of yours (see wan-flf2v login)"
    )
    parser.add_argument(
        "--deployment", metavar="ID", help="with --remote: a RunComfy serverless deployment of --workflow"
    )
    parser.add_argument(
        "--max-wait", type=float, metavar="MINUTES", help=f"with --remote: how long to wait (default {MAX_WAIT})"
    )


def check_together(arguments: argparse.Namespace) -> None:
    """Raise CliError for an option that does nothing beside the others, or without one."""
    given = {name for name, value in vars(arguments).items() if value not in (None, False)}
    if "remote" in given:
        useless, why = {"comfyui_url", "models", "free"}, "with --remote"
    elif "comfyui_url" in given:
        useless, why = {"comfyui", "models", *REMOTE_ONLY}, "with --comfyui-url"
    else:
        useless, why = REMOTE_ONLY, "without --remote"
    if "remote" in given and not arguments.deployment and vars(arguments).get("workflow", MAIN) != MAIN:
        useless, why = {"workflow"}, "with --remote and without --deployment"
    for name in sorted(useless & given):
        raise CliError(f"--{name.replace('_', '-')} does nothing {why}. Leave it out.")


def generate(arguments: argparse.Namespace, read_fields: ReadFields, run_cancellable: RunCancellable) -> bool:
    """Make the video remotely and save it; False when it was submitted only.

    Raises CliError, FieldError or ProviderError.
    """
    store = store_of(arguments)
    profile = store.load(arguments.remote)
    service = service_of(profile, arguments.deployment)
    chosen = model(service, arguments.deployment or "", arguments.workflow)
    job = read_job(arguments, chosen, read_fields)
    with Progress() as progress:
        outcome: list[Outcome] = []

        async def work() -> None:
            async with client_of(arguments, store, profile, service, progress) as client:
                outcome.append(await client.generate(job, wait=not arguments.no_wait))

        try:
            run_cancellable(work())
        except KeyboardInterrupt:
            progress.close()
            print("A job that was submitted goes on there: run the same command again to collect it.", file=sys.stderr)
            raise
    return finish(outcome[0], arguments.out)


@asynccontextmanager
async def client_of(
    arguments: argparse.Namespace, store: ProfileStore, profile: Profile, service: Service, progress: Progress
) -> AsyncIterator[RemoteClient]:
    """The client of a command's jobs; its journal knows what was submitted."""
    policy = replace(Policy(), deadline_s=60 * (MAX_WAIT if arguments.max_wait is None else arguments.max_wait))
    with Journal(store.folders[0]) as journal:
        async with RemoteClient(profile, service, journal, policy=policy, report=progress.show) as client:
            yield client


async def side_by_side(work: Callable[[A], Awaitable[B]], items: Iterable[A]) -> list[B]:
    """What the work makes of each item, some at a time. Raises the first fault once all have ended: none is left alone."""
    free = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(item: A) -> B:
        async with free:
            return await work(item)

    found: list[B] = []
    for each in await asyncio.gather(*map(one, items), return_exceptions=True):
        if isinstance(each, BaseException):
            raise each
        found.append(each)
    return found


def service_of(profile: Profile, deployment: str | None) -> Service:
    """Which API a profile's job goes to. Raises CliError for a deployment elsewhere than at RunComfy."""
    if deployment is None:
        return profile.provider
    if profile.provider != "runcomfy":
        raise CliError(f"--deployment is for RunComfy; the profile {profile.name} is {profile.provider}'s.")
    return "runcomfy-deployment"


def read_job(arguments: argparse.Namespace, chosen: Model, read_fields: ReadFields) -> Job:
    """The checked job of the arguments. Raises CliError, FieldError or BadInput."""
    prompt, negative = chosen.names["prompt"], chosen.names.get("negative_prompt")
    if negative is None and arguments.negative is not None:
        raise CliError(f"--negative: {chosen.id} takes no negative prompt.")
    fields = read_fields(arguments, chosen.fields, prompt=prompt, negative=negative or "")
    first = picture_of(arguments.first or fields.pop(chosen.first_image, None), "first")
    last = picture_of(arguments.last or fields.pop(chosen.last_image, None), "last")
    fields = {name: value for name, value in fields.items() if name not in (chosen.first_image, chosen.last_image)}
    return Job.build(chosen, fields, first, last)


def picture_of(given: object, option: str) -> Picture:
    """The picture of a path or URL; ``option`` is whose frame it is. Raises CliError."""
    if not isinstance(given, str) or not given:
        raise CliError(f"the {option} frame is missing. Give it with --{option} PICTURE (a file or a URL).")
    if given.startswith(("https://", "http://")):
        return Picture(url=given)
    path = Path(given)
    check_picture(path, f"{option} frame")
    kind = mimetypes.guess_type(path.name)[0]
    if kind not in _PICTURE_TYPES:
        raise CliError(f"{option} frame: {path.name} must be a PNG, JPEG or WebP file for a remote API.")
    return Picture(data=path.read_bytes(), media_type=kind)


def finish(outcome: Outcome, out: Path) -> bool:
    """Save the video and say True; False for a job that is submitted only, whose id is printed."""
    for note in outcome.notes:
        print(note, file=sys.stderr)
    if outcome.video is None:
        print(outcome.request_id)
        print(f"Submitted to {outcome.title}. Collect it: wan-flf2v jobs fetch {outcome.request_id}", file=sys.stderr)
        return False
    how = "collected, not submitted again" if outcome.collected else "done"
    print(f"{outcome.title} job {outcome.request_id}: {how}", file=sys.stderr)
    save(outcome.video, out)
    return True


def save(video: Path, out: Path) -> None:
    """Copy a collected video to where the user wants it. Raises CliError."""
    if video.suffix != out.suffix.lower():
        raise CliError(f"the provider made a {video.suffix} file, which was kept as {video}; give --out that ending.")
    save_file(out, video)


class Progress:
    """The client's lines on standard error: one that changes on a terminal, one for each new phase elsewhere."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._phase = ""
        self._open = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, text: str) -> None:
        """Show what goes on now."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text[:110]}", end="", file=sys.stderr, flush=True)
            self._open = True
            return
        phase = text.split(" · ")[0]
        if phase != self._phase:
            self._phase = phase
            print(f"[{time.monotonic() - self._start:6.1f} s] {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the changing line."""
        if self._open:
            print(file=sys.stderr)
            self._open = False
