"""``wan-flf2v batch``: many pairs of pictures, each to a video; a killed batch goes on where it was."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..engine.client import ComfyClient
from ..engine.errors import EngineError, Unreachable
from ..providers import Job as RemoteJob
from ..providers import Journal, ProviderError, RemoteClient, model
from ..providers.retry import Policy
from ..workflows import Bindings, FieldError
from . import remote
from .accounts import store_of
from .batch_folder import BatchFolder, Result
from .errors import CliError
from .generate import add_job_arguments, check_job, pictures, read_fields, run_cancellable, run_locally
from .job import Job, run_on
from .pairs import Pair, read_pairs
from .remote import Progress

J = TypeVar("J")
ROW_ERRORS = (CliError, FieldError, ProviderError, EngineError)
SIDE_BY_SIDE = 8  # remote jobs under way


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "batch",
        help="make videos of many pairs of pictures",
        description="Make a video of each pair: of a .csv or .jsonl file with the columns first, last, prompt, negative, "
        "name and fields of the workflow, or of a folder of pictures (a1/b1, a2/b2 …, else each with the next one). Run "
        "again after an interruption, it makes what is missing. A pair that fails does not stop the others.",
    )
    parser.add_argument("pairs", type=Path, metavar="PAIRS", help="a .csv or .jsonl file, or a folder of pictures")
    add_job_arguments(parser)
    parser.set_defaults(out=Path("batch"))  # a folder
    parser.add_argument("--comfyui-url", metavar="URL", help="a running ComfyUI, such as http://127.0.0.1:8188")
    parser.add_argument(
        "--free", action="store_true", help="accept all that the nodes accept, beyond RunComfy's ranges"
    )
    remote.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Make the videos of all pairs. Raises CliError when some failed, after all others are made."""
    pairs = read_pairs(arguments.pairs)
    folder = BatchFolder(arguments.out)
    batch = RemoteBatch(arguments, folder, pairs) if arguments.remote else LocalBatch(arguments, folder, pairs)
    try:
        batch.run()
    finally:
        folder.close(batch.results)
    failed = [result for result in batch.results if result.error]
    print(f"{len(pairs) - len(failed)} of {len(pairs)} videos are in {arguments.out}, with report.csv and contact.jpg")
    if failed:
        raise CliError(
            f"{len(failed)} of {len(pairs)} pairs failed; see {arguments.out / 'report.csv'}. {failed[0].error}"
        )


class Batch(Generic[J]):
    """The rows of a batch: each is checked on its own, what is made already is not made again."""

    def __init__(self, arguments: argparse.Namespace, folder: BatchFolder, pairs: Sequence[Pair]) -> None:
        self.arguments, self.folder = arguments, folder
        self.results = [Result(pair.number, pair.name, "to do", prompt=pair.prompt or "") for pair in pairs]
        self.jobs: list[tuple[Result, J, str]] = []  # to make, each with its key
        for pair, result in zip(pairs, self.results, strict=True):
            try:
                job, key = self.check(pair, self._row(pair))
            except ROW_ERRORS as error:
                self.fail(result, error)
                continue
            file = folder.done(key)
            if file is None:
                self.jobs.append((result, job, key))
            else:
                result.state, result.file = "done", file
        print(f"{len(pairs)} pairs: {len(self.jobs)} to make", file=sys.stderr, flush=True)

    def check(self, pair: Pair, row: argparse.Namespace) -> tuple[J, str]:
        """The checked job of a row and a key of all that decides its video."""
        raise NotImplementedError

    def run(self) -> None:
        """Make all that is to do."""
        raise NotImplementedError

    def _row(self, pair: Pair) -> argparse.Namespace:
        """The arguments that ``generate`` would have for this pair."""
        if "broken" in pair.fields:
            raise CliError(str(pair.fields["broken"]))
        names = self.names()
        columns = [
            f"{names.get(name, name)}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in pair.fields.items()
        ]
        given = {name: getattr(pair, name) for name in ("first", "last", "prompt", "negative") if getattr(pair, name)}
        return argparse.Namespace(**{**vars(self.arguments), **given, "set": [*self.arguments.set, *columns]})

    def names(self) -> Mapping[str, str]:
        """What a column may be called, beside the fields' own names."""
        raise NotImplementedError

    async def make(self, result: Result, key: str, work: Callable[[Path], Awaitable[None]]) -> None:
        """Make one video; a fault of its own is written down."""
        began = time.monotonic()
        file = f"{result.row:03d}_{result.name}.mp4"
        print(f"{result.row} of {len(self.results)}: {result.name}", file=sys.stderr, flush=True)
        try:
            await work(self.folder.out / file)
        except Unreachable:
            raise  # no other row can do better
        except ROW_ERRORS as error:
            self.folder.add(key=key, error=str(error))
            self.fail(result, error)
            return
        result.state, result.file, result.seconds = "done", file, round(time.monotonic() - began, 2)
        self.folder.add(key=key, file=file)

    def fail(self, result: Result, error: Exception) -> None:
        """Note a row's fault and tell it."""
        result.state, result.error = "failed", str(error)
        print(f"{result.row} of {len(self.results)}: {result.name}: {error}", file=sys.stderr, flush=True)


class LocalBatch(Batch[Job]):
    """On a ComfyUI, which may outlive the command: a job that is under way there is collected, not queued again.

    Equal prompts run after one another, so that ComfyUI encodes each once.
    """

    def check(self, pair: Pair, row: argparse.Namespace) -> tuple[Job, str]:
        """The checked job of a row and a key of all that decides its video."""
        bindings = Bindings.load(row.workflow)
        fields = read_fields(row, {**bindings.fields, **bindings.extra})
        first, last = pictures(row, bindings, fields)
        job = check_job(bindings, fields, first, last, free=row.free or row.negative is not None)
        values = {
            name: value for name, value in job.values.items() if name not in (bindings.first_image, bindings.last_image)
        }
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, last)]
        content = [str(self.folder.out.resolve()), pair.number, bindings.name, values, digests]
        return job, hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def names(self) -> Mapping[str, str]:
        """The nodes' input names, and seed."""
        bindings = Bindings.load(self.arguments.workflow)
        found = {
            target.input: name
            for name, field in {**bindings.extra, **bindings.fields}.items()
            for target in field.bind
            if target.transform == "value" and target.input != "text"
        }
        return {**found, "seed": found["noise_seed"]}

    def run(self) -> None:
        """Make all that is to do."""
        self.jobs.sort(key=lambda each: (str(each[1].values["6_text"]), str(each[1].values.get("7_text", ""))))
        if not self.jobs:
            return
        if self.arguments.comfyui_url:
            run_cancellable(self._on(self.arguments.comfyui_url))
        else:
            run_locally(self.arguments, _AllOf(self))

    async def _on(self, url: str) -> None:
        async with ComfyClient(url) as client:
            await client.system_stats()
            for result, job, key in self.jobs:
                attempt = str(uuid.uuid5(uuid.NAMESPACE_URL, f"wan-flf2v/batch/{key}/{self.folder.attempt(key)}"))
                await self.make(result, key, lambda out, job=job, attempt=attempt: run_on(client, job, out, attempt))


@dataclass(frozen=True)
class _AllOf:
    """A batch as one job of a ComfyUI that is started for it."""

    batch: LocalBatch

    def model_files(self) -> list[tuple[str, str]]:
        """The (folder, name) of each model file."""
        return self.batch.jobs[0][1].model_files()

    async def run(self, url: str, out: Path) -> None:
        """Make all that is to do on the ComfyUI at ``url``."""
        await self.batch._on(url)


class RemoteBatch(Batch[RemoteJob]):
    """At a provider or one's own gateway, side by side; the journal of remote jobs knows what was submitted."""

    def __init__(self, arguments: argparse.Namespace, folder: BatchFolder, pairs: Sequence[Pair]) -> None:
        self.store = store_of(arguments)
        self.profile = self.store.load(arguments.remote)
        self.service = remote.service_of(self.profile, arguments.deployment)
        self.model = model(self.service, arguments.deployment or "", arguments.workflow)
        super().__init__(arguments, folder, pairs)

    def check(self, pair: Pair, row: argparse.Namespace) -> tuple[RemoteJob, str]:
        """The checked job of a row and a key of all that decides its video."""
        job = remote.read_job(row, self.model, read_fields)
        return job, f"{pair.number} {job.content_key(self.profile.name, self.profile.base_url)}"

    def names(self) -> Mapping[str, str]:
        """The nodes' input names, and seed."""
        found = self.model.names
        return {**found, "seed": found["noise_seed"]} if "noise_seed" in found else found

    def run(self) -> None:
        """Make all that is to do."""
        with Progress() as progress:
            run_cancellable(self._all(progress))

    async def _all(self, progress: Progress) -> None:
        policy = replace(Policy(), deadline_s=60 * self.arguments.max_wait)
        free = asyncio.Semaphore(SIDE_BY_SIDE)
        with Journal(self.store.folders[0]) as journal:
            async with RemoteClient(self.profile, self.service, journal, policy=policy, report=progress.show) as client:

                async def one(result: Result, job: RemoteJob, key: str) -> None:
                    async def work(out: Path) -> None:
                        outcome = await client.generate(job)
                        if outcome.video is not None:
                            remote.save(outcome.video, out)

                    async with free:
                        await self.make(result, key, work)

                await asyncio.gather(*(one(*each) for each in self.jobs))
