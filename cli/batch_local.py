"""A batch on a ComfyUI, started for it or running anyway."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engine.client import ComfyClient
from ..workflows import Bindings
from .batch_rows import Batch, Row
from .errors import CliError
from .generate import check_job, pictures, read_fields, run_cancellable, run_locally
from .job import Job, graph_on, run_graph, run_on, save_file
from .pairs import Pair
from .together import NODE, common, fits, together

TOGETHER = 8  # pairs in one job: with more, the first video would come late


class LocalBatch(Batch[Job]):
    """On a ComfyUI, which may outlive the command: a job that is under way there is collected, not queued again.

    Rows that share all but pictures, texts, lengths and seeds run together: each prompt is encoded and each model loaded
    once for them. If that fails, each runs alone.
    """

    def check(self, pair: Pair, row: argparse.Namespace) -> tuple[Job, str]:
        """The checked job of a row and a key of all that decides its video."""
        bindings = Bindings.load(row.workflow)
        fields = read_fields(row, bindings.every_field)
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
        return {"seed": found.get("noise_seed", ""), **found}

    def run(self) -> None:
        """Make all that is to do."""
        if not any(row.missing for row in self.jobs):
            return
        if self.arguments.comfyui_url:
            run_cancellable(self.make_on(self.arguments.comfyui_url))
        else:
            run_locally(self.arguments, _AllOf(self))

    async def make_on(self, url: str) -> None:
        """Make all that is to do on the ComfyUI at ``url``."""
        async with ComfyClient(url) as client:
            await client.system_stats()
            for rows in self._groups():
                if any(row.missing for row in rows):
                    await self._make_group(client, rows)

    def _groups(self) -> list[list[Row[Job]]]:
        """All rows, those that run together in one list, whatever is made already: a job under way is found again."""
        alike: dict[str, list[Row[Job]]] = {}
        for row in self.jobs:
            graph = row.job.bindings.apply(row.job.values)
            alike.setdefault(common(graph) if fits(graph) else row.key, []).append(row)
        for rows in alike.values():
            rows.sort(key=lambda row: str(row.job.values["6_text"]))
        return [rows[at : at + TOGETHER] for rows in alike.values() for at in range(0, len(rows), TOGETHER)]

    async def _make_group(self, client: ComfyClient, rows: list[Row[Job]]) -> None:
        if await client.history(await self._prompt_id(client, rows)) is None:
            rows = await self._missing(client, rows)
        if len(rows) > 1:
            self.folder.add(together=[row.key for row in rows])
            try:
                return await self._make_together(client, rows)
            except CliError as error:
                print(f"{error} Each pair alone:", file=sys.stderr, flush=True)
        for row in rows:
            if row.missing:
                prompt_id = await self._prompt_id(client, [row])
                await self.make(row, lambda out, job=row.job, prompt_id=prompt_id: run_on(client, job, out, prompt_id))  # type: ignore[misc]

    async def _missing(self, client: ComfyClient, rows: list[Row[Job]]) -> list[Row[Job]]:
        """The rows that are to be made; with those that ran with them where ComfyUI still has that job's videos."""
        missing = [row for row in rows if row.missing]
        known = {row.key: row for row in rows}
        before = [known[key] for key in self.folder.together(missing[0].key) if key in known]
        there = before and await client.history(await self._prompt_id(client, before)) is not None
        return before if there else missing

    async def _make_together(self, client: ComfyClient, rows: list[Row[Job]]) -> None:
        graphs = [await graph_on(client, row.job) for row in rows]
        steps = sum(int(row.job.values["57_steps"]) for row in rows)
        prompt_id = await self._prompt_id(client, rows)
        files = await run_graph(client, together(graphs), NODE, steps=steps, prompt_id=prompt_id)
        saved = {int(file.node.rpartition("_")[2]): file for file in files}
        for number, row in enumerate(rows, 1):
            if row.missing:

                async def fetch(out: Path, number: int = number) -> None:
                    save_file(out, await client.fetch(saved[number]))

                await self.make(row, fetch)

    async def _prompt_id(self, client: ComfyClient, rows: Sequence[Row[Job]]) -> str:
        """The id of the job that makes these rows' videos: the same after a kill, another one after a failure."""
        keys = "/".join(row.key for row in rows)
        for number in itertools.count(max(self.folder.attempt(row.key) for row in rows)):
            prompt_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"wan-flf2v/batch/{keys}/{number}"))
            record = await client.history(prompt_id)
            if record is None or record["status"]["status_str"] == "success":
                break
        return prompt_id


@dataclass(frozen=True)
class _AllOf:
    """A batch as one job of a ComfyUI that is started for it."""

    batch: LocalBatch

    def model_files(self) -> list[tuple[str, str]]:
        """The (folder, name) of each model file."""
        return self.batch.jobs[0].job.model_files()

    async def run(self, url: str, out: Path) -> None:
        """Make all that is to do on the ComfyUI at ``url``."""
        await self.batch.make_on(url)
