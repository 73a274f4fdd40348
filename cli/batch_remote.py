"""A batch at a provider or one's own gateway."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..providers import Job, model
from . import remote
from .accounts import store_of
from .batch_folder import BatchFolder
from .batch_rows import Batch, Row
from .generate import read_fields, run_cancellable
from .pairs import Pair
from .remote import Progress


class RemoteBatch(Batch[Job]):
    """At a provider or one's own gateway, side by side; the journal of remote jobs knows what was submitted."""

    def __init__(self, arguments: argparse.Namespace, folder: BatchFolder, pairs: Sequence[Pair]) -> None:
        self.store = store_of(arguments)
        self.profile = self.store.load(arguments.remote)
        self.service = remote.service_of(self.profile, arguments.deployment)
        self.model = model(self.service, arguments.deployment or "", arguments.workflow)
        super().__init__(arguments, folder, pairs)

    def check(self, pair: Pair, row: argparse.Namespace) -> tuple[Job, str]:
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
        async with remote.client_of(self.arguments, self.store, self.profile, self.service, progress) as client:

            async def one(row: Row[Job]) -> None:
                async def work(out: Path) -> None:
                    outcome = await client.generate(row.job)
                    if outcome.video is not None:
                        remote.save(outcome.video, out)

                await self.make(row, work)

            await remote.side_by_side(one, [row for row in self.jobs if row.missing])
