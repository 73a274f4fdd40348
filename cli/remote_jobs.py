"""``wan-flf2v jobs``: the remote jobs in the journal, to list, fetch, cancel and settle."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from ..providers import Journal, RemoteClient
from ..providers.calls import Ticket, is_request_id
from ..providers.row import Row
from .accounts import add_comfyui, store_of, table
from .errors import CliError
from .generate import check_out, run_cancellable
from .remote import Progress, finish
from .video import describe_video

PROMPT_SHOWN = 40


def add_parser(commands: Any) -> None:
    """Add the command and its actions to the parser."""
    parser = commands.add_parser("jobs", help="list, fetch or cancel remote jobs")
    add_comfyui(parser)
    parser.set_defaults(run=run_list)
    actions = parser.add_subparsers(metavar="ACTION")
    listing = actions.add_parser("list", help="the last jobs (also without an action)")
    listing.set_defaults(run=run_list)
    fetch = actions.add_parser("fetch", help="wait for a job and save its video")
    fetch.add_argument(
        "--out", type=Path, default=Path("wan_flf2v.mp4"), metavar="FILE", help="where to save the video"
    )
    fetch.set_defaults(run=run_fetch)
    cancel = actions.add_parser("cancel", help="ask the provider to stop a job")
    cancel.set_defaults(run=run_cancel)
    adopt = actions.add_parser("adopt", help="say which job a lost submit made")
    adopt.set_defaults(run=run_adopt)
    forget = actions.add_parser("forget", help="say that a lost submit made no job, so that it may be submitted again")
    forget.set_defaults(run=run_forget)
    for action in (fetch, cancel, adopt, forget):
        action.add_argument("job", metavar="JOB", help="the number in the list, or the request id")
    adopt.add_argument("request_id", metavar="REQUEST_ID", help="the id as the provider's page shows it")


def run_list(arguments: argparse.Namespace) -> None:
    """Print the last 50 jobs."""
    with Journal(store_of(arguments).folders[0]) as journal:
        rows = journal.newest()
    if not rows:
        print("No remote jobs yet.")
        return
    lines = [("JOB", "STATE", "PROFILE", "AGE", "REQUEST ID", "PROMPT")]
    for row in rows:
        age = _age(time.time() - row.created_at)
        prompt = row.prompt if len(row.prompt) <= PROMPT_SHOWN else f"{row.prompt[: PROMPT_SHOWN - 1]}…"
        lines.append((str(row.row), row.state, row.profile, age, row.request_id or "-", prompt))
    print(table(lines))


def run_fetch(arguments: argparse.Namespace) -> None:
    """Collect a job's video. Raises CliError or ProviderError."""
    check_out(arguments.out)
    store = store_of(arguments)

    async def work(progress: Progress) -> None:
        with Journal(store.folders[0]) as journal:
            row = _row(journal, arguments.job)
            async with RemoteClient(store.load(row.profile), row.service, journal, report=progress.show) as client:
                outcome = await client.collect(row.ticket.request_id, row.model)
                finish(outcome, arguments.out)

    with Progress() as progress:
        run_cancellable(work(progress))
    print(describe_video(arguments.out))


def run_cancel(arguments: argparse.Namespace) -> None:
    """Ask the provider to stop a job and print what it said."""
    store = store_of(arguments)

    async def work() -> str:
        with Journal(store.folders[0]) as journal:
            row = _row(journal, arguments.job)
            async with RemoteClient(store.load(row.profile), row.service, journal) as client:
                return f"Job {row.row} ({row.ticket.request_id}): {await client.cancel(row)}"

    print(asyncio.run(work()))


def run_adopt(arguments: argparse.Namespace) -> None:
    """Write down which job a lost submit made."""
    if not is_request_id(arguments.request_id):
        raise CliError(f"a request id has letters, digits, - and _ only; got {arguments.request_id[:80]!r}.")
    with Journal(store_of(arguments).folders[0]) as journal:
        row = _uncertain(journal, arguments.job)
        journal.submitted(row.row, Ticket(arguments.request_id, row.model))
    print(f"Job {row.row} is {arguments.request_id} now. Collect it: wan-flf2v jobs fetch {row.row}")


def run_forget(arguments: argparse.Namespace) -> None:
    """Write down that a lost submit made no job."""
    with Journal(store_of(arguments).folders[0]) as journal:
        row = _uncertain(journal, arguments.job)
        journal.finish(row.row, "forgotten", error="the user says that no job was made")
    print(f"Job {row.row} is forgotten; the same inputs may be submitted again.")


def _row(journal: Journal, job: str) -> Row:
    row = journal.get(int(job)) if job.isdigit() else None
    row = row or journal.find(job)
    if row is None:
        raise CliError(f"there is no job {job!r}; see wan-flf2v jobs.")
    return row


def _uncertain(journal: Journal, job: str) -> Row:
    row = _row(journal, job)
    if row.state not in ("uncertain", "submitting"):
        raise CliError(f"job {row.row} is {row.state}; only a lost submit (uncertain) is settled by hand.")
    return row


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
