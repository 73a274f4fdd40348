"""One remote job from submit to video: journalled, resumed instead of paid twice, and collected."""

from __future__ import annotations

from types import TracebackType

from .calls import Ticket, is_request_id
from .errors import BadInput, ConfigError
from .follow import follow
from .models import Job
from .outcome import Outcome
from .remote import Remote
from .row import Row
from .submit import claim, resubmit, submit


class RemoteClient(Remote):
    """Runs jobs of one service with one profile. Use as an asynchronous context manager, once per event loop."""

    async def __aenter__(self) -> RemoteClient:
        self.journal.prune()
        await self.transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.__aexit__(kind, error, trace)

    async def generate(self, job: Job, *, wait: bool = True) -> Outcome:
        """The job's video; without ``wait`` only its request id. A job of the same content is collected, not paid again.

        Raises ProviderError's children; a job that has an id stays in the journal whatever happens.
        """
        async with self.slot:
            claimed = await claim(self, job)
            if claimed.kind == "finished" and claimed.row.video_path is not None:
                return self.served(claimed.row)
            if claimed.kind == "new":
                row = await submit(self, claimed.row, job)
            elif claimed.kind == "uncertain":
                row = await resubmit(self, claimed.row, job)
            else:
                row = claimed.row
            if not wait:
                self.report(f"{self.vendor.title}: submitted as {row.request_id}")
                return self.outcome(row, collected=claimed.kind != "new")
            return await follow(self, row, collected=claimed.kind != "new")

    async def collect(self, request_id: str, model: str = "", *, wait: bool = True) -> Outcome:
        """The video of a job that is already submitted, here or elsewhere; submits nothing."""
        request_id = request_id.strip()
        if not is_request_id(request_id):
            raise BadInput(f"A request id has letters, digits, - and _ only; got {request_id[:80]!r}.")
        row = self.journal.adopt(
            Ticket(request_id, model), profile=self.profile.name, base_url=self.base_url, service=self.service
        )
        self._check_address(row)
        if row.state == "completed" and row.video_path is not None:
            return self.served(row)
        return await follow(self, row, collected=True, wait=wait)

    async def cancel(self, row: Row) -> str:
        """Ask the provider to stop a job; returns a sentence about what came of it."""
        self._check_address(row)
        said = await self.transport.run(self.provider.cancel(row.ticket))
        if said.startswith(("cancelled", "deleted")):
            self.journal.finish(row.row, "cancelled", response=row.response, error=said)
        return said

    def _check_address(self, row: Row) -> None:
        """Raise ConfigError for a job at another address than the profile's now: its key would go to another host."""
        if row.base_url != self.base_url:
            raise ConfigError(
                f"The job {row.ticket.request_id} is at {row.base_url}, but profile {self.profile.name} points to "
                f"{self.base_url} now."
            )
