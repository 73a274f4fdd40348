"""Brings a finished prompt's videos from ComfyUI into the store. The render is done: what fails here is tried again.

On the way each may be checked. No checker ships; packages bring one as an entry point of the group
``wan_flf2v.safety_checkers``, a callable ``(video: bytes) -> bool``: True where the video should be flagged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from ...engine.client import ComfyClient, OutputFile, outputs_of
from ..assets import UNKNOWN, AssetStore
from ..database import is_away
from ..errors import DISK_FULL
from ..jobs import SAFETY
from ..tables import Job

_MEDIA = {".mp4": "video/mp4", ".webm": "video/webm", ".webp": "image/webp", ".png": "image/png"}
SafetyChecker = Callable[[bytes], bool]
Checkers = Sequence[SafetyChecker]
GROUP = "wan_flf2v.safety_checkers"
_PAUSES_S = (0.5, 1, 2, 4, 8, 15, 30, 60)
log = logging.getLogger(__name__)


def installed_checkers() -> list[SafetyChecker]:
    """The checkers that packages in this environment bring."""
    return [point.load() for point in entry_points(group=GROUP)]


class NotCollected(Exception):
    """The video could not be fetched or stored, however often it was tried."""


@dataclass
class Collector:
    """Fetches, checks and stores. ``pauses`` lie between the tries."""

    assets: AssetStore
    checkers: Checkers = ()
    pauses: tuple[float, ...] = _PAUSES_S

    async def collect(self, client: ComfyClient, job: Job, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The job's outputs, stored. Raises NotCollected."""
        return [await self._one(client, job, file) for file in outputs_of(record) if file.type == "output"]

    async def _one(self, client: ComfyClient, job: Job, file: OutputFile) -> dict[str, Any]:
        pauses = iter(self.pauses)
        while True:
            try:
                return await self._try(client, job, file)
            except Exception as error:  # noqa: BLE001 - whatever it is, rendering again would not help
                log.warning("a video was not collected", extra={"job": job.id, "problem": f"{error}"[:300]})
                pause, passes = next(pauses, None), is_away(error) or getattr(error, "errno", None) in DISK_FULL
                if pause is None and not passes:
                    raise NotCollected(f"The video was rendered, but it could not be stored: {error}"[:500]) from None
                await asyncio.sleep(pause or self.pauses[-1])

    async def _try(self, client: ComfyClient, job: Job, file: OutputFile) -> dict[str, Any]:
        data = await client.fetch(file)
        checked = job.values.get(SAFETY) and self.checkers
        flagged = any([await asyncio.to_thread(check, data) for check in self.checkers]) if checked else None
        media_type = _MEDIA.get("." + file.filename.rsplit(".", 1)[-1].lower(), UNKNOWN)
        asset = await asyncio.to_thread(
            self.assets.put, data, owner=job.owner, job=job.id, filename=file.filename, media_type=media_type
        )
        place = {"asset": asset.id, "node": file.node, "channel": file.channel, "filename": file.filename}
        return {**place, "media_type": media_type, "flagged": flagged}
