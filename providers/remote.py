"""A service as a profile reaches it: what every step of a remote job shares."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from .calls import Status, split_url
from .download import Downloader
from .journal import Journal
from .models import Service
from .outcome import Outcome, Report, silent
from .profiles import Profile
from .retry import Clock, Policy
from .row import Row
from .runcomfy import RunComfy
from .transport import Transport
from .wavespeed import WaveSpeed

Provider = RunComfy | WaveSpeed
URLS_ONLY = (
    " RunComfy's Model API documents pictures as public https URLs only: give URLs instead of pictures, or use a "
    "serverless deployment, which takes pictures directly."
)


def provider_of(service: Service, base_url: str) -> Provider:
    """The protocol of a service at this address."""
    if service == "wavespeed":
        return WaveSpeed()
    return RunComfy(serverless=service == "runcomfy-deployment", base_path=split_url(base_url).path)


class Remote:
    """One service with one profile."""

    def __init__(
        self,
        profile: Profile,
        service: Service,
        journal: Journal,
        *,
        clock: Clock | None = None,
        policy: Policy | None = None,
        report: Report = silent,
        slot: AbstractAsyncContextManager[object] | None = None,
        downloader: Downloader | None = None,
    ) -> None:
        self.profile, self.service, self.journal = profile, service, journal
        self.clock, self.policy, self.report = clock or Clock(), policy or Policy(), report
        self.base_url = profile.serverless_base_url if service == "runcomfy-deployment" else profile.base_url
        self.provider = provider_of(service, self.base_url)
        self.vendor = self.provider.vendor
        self.slot = slot if slot is not None else nullcontext()
        self.downloader = downloader or Downloader(self.base_url, self.policy, self.clock)
        self.transport = Transport(profile, self.base_url, self.vendor, self.clock, self.policy)
        self.notes: list[str] = []  # what an outcome says beside the video

    def outcome(self, row: Row, status: Status | None = None, *, collected: bool) -> Outcome:
        """A job as far as it has come."""
        seconds = None if row.submitted_at is None else self.clock.time() - row.submitted_at
        return Outcome(row, self.vendor.title, status, notes=tuple(self.notes), collected=collected, seconds=seconds)

    def served(self, row: Row) -> Outcome:
        """A job whose video is here already."""
        self.report(f"{self.vendor.title}: served from the finished job {row.request_id}")
        return Outcome(row, self.vendor.title, video=row.video_path, notes=tuple(self.notes), collected=True)
