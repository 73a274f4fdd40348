"""The client under test, pointed at a double and made quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wan_flf2v.providers import Journal, Outcome, Picture, RemoteClient, model, run_interruptible
from wan_flf2v.providers.download import Downloader
from wan_flf2v.providers.models import Job, Service
from wan_flf2v.providers.profiles import Profile
from wan_flf2v.providers.retry import Clock, Policy
from wan_flf2v.providers.secret import Secret

from .vendor import VendorDouble

QUICK = Policy(
    backoff_s=0.01,
    backoff_cap_s=0.05,
    poll_s=0.02,
    slow_poll_s=0.02,
    deadline_s=20,
    unknown_grace_s=0.1,
    reconcile_wait_s=0.01,
    interrupt_grace_s=0.2,
    connect_s=2,
)
PNG = b"\x89PNG\r\n\x1a\n first"
FIRST, LAST = Picture(data=PNG), Picture(data=b"\x89PNG\r\n\x1a\n last")
URLS = Picture(url="https://example.com/first.png"), Picture(url="https://example.com/last.png")


def profile_of(double: VendorDouble, service: Service, key: str | None = None) -> Profile:
    """A profile that points at the double."""
    provider = "wavespeed" if service == "wavespeed" else "runcomfy"
    return Profile(provider, provider, Secret(key or double.key), double.url, double.url, "test")


def job_of(service: Service = "wavespeed", *, pictures: tuple[Picture, Picture] | None = None, **inputs: Any) -> Job:
    """A job with the local nodes' input names."""
    chosen = model(service, "dep-1" if service == "runcomfy-deployment" else "")
    first, last = pictures or (FIRST, LAST)
    return Job.build(chosen, chosen.from_local({"prompt": "a flower", "noise_seed": 7, **inputs}), first, last)


def generate(
    double: VendorDouble,
    folder: Path,
    service: Service = "wavespeed",
    *,
    job: Job | None = None,
    wait: bool = True,
    key: str | None = None,
    policy: Policy = QUICK,
    clock: Clock | None = None,
    report: Callable[[str], None] = lambda _: None,
    interrupted: Callable[[], bool] = lambda: False,
    downloader: Downloader | None = None,
) -> Outcome:
    """Run one job to its end, in a loop of its own as ComfyUI does for every prompt."""

    async def work() -> Outcome:
        with Journal(folder) as journal:
            async with RemoteClient(
                profile_of(double, service, key),
                service,
                journal,
                policy=policy,
                clock=clock,
                report=report,
                downloader=downloader,
            ) as client:
                return await client.generate(job or job_of(service), wait=wait)

    return asyncio.run(run_interruptible(work(), interrupted))


def rows(folder: Path) -> list[Any]:
    """The journal's rows, newest first."""
    with Journal(folder) as journal:
        return journal.newest()
