"""A storyboard at a provider or one's own gateway: one job for each segment, side by side, and the film made here."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from ..flf2v.storyboard import Clip, Keyframe, Storyboard
from ..flf2v.video_model import WAN
from ..providers import Job, ProviderError, model
from ..providers.models import Model
from ..workflows import FieldError
from . import remote
from .accounts import store_of
from .errors import CliError
from .film import join_videos
from .generate import read_fields, run_cancellable


def make_film(arguments: argparse.Namespace, board: Storyboard, pictures: Mapping[str, Path]) -> None:
    """Make the film and save it; every job is in the journal, so that a second call collects what was submitted.

    Raises CliError or ProviderError.
    """
    if board.carry or board.video_before or board.video_after or any(clip.middle for clip in board.clips):
        raise CliError("--remote: a job has a first and a last frame alone; leave out carry, through and videos.")
    store = store_of(arguments)
    profile = store.load(arguments.remote)
    service = remote.service_of(profile, arguments.deployment)
    chosen = model(service, arguments.deployment or "")
    clips = enumerate(board.clips, 1)
    jobs = [_job(f"segment {number}", clip, chosen, arguments.set, pictures) for number, clip in clips]
    videos: list[Path] = []

    async def work(progress: remote.Progress) -> None:
        async with remote.client_of(arguments, store, profile, service, progress) as client:

            async def one(numbered: tuple[int, Job]) -> Path:
                number, job = numbered
                try:
                    outcome = await client.generate(job)
                except ProviderError as error:
                    raise CliError(f"segment {number}: {error}") from None
                if outcome.video is None:
                    raise CliError(f"segment {number}: the job has no video yet; run the same command again.")
                return outcome.video

            videos.extend(await remote.side_by_side(one, enumerate(jobs, 1)))

    with remote.Progress() as progress:
        run_cancellable(work(progress))
    dropped = [clip.length - end for clip, (_, end) in zip(board.clips, board.spans, strict=True)]
    join_videos(list(zip(videos, dropped, strict=True)), arguments.out)


def _job(name: str, clip: Clip, chosen: Model, settings: list[str], pictures: Mapping[str, Path]) -> Job:
    """The segment's job. Raises CliError that names the segment."""
    own: dict[str, object] = {"prompt": clip.prompt, "noise_seed": clip.seed, **dict(clip.settings)}
    if clip.negative:
        own["negative_prompt"] = clip.negative
    if "length" in chosen.names:
        own["length"] = clip.length
    else:
        own["duration"] = (clip.length - 1) / WAN.frame_rate
    unknown = sorted(own.keys() - chosen.names.keys())
    if unknown:
        raise CliError(f"{name}: {chosen.id} takes no {unknown[0]}; leave it out.")
    fields: dict[str, object] = {chosen.names[field]: value for field, value in own.items()}
    fields |= read_fields(argparse.Namespace(payload=None, prompt=None, negative=None, set=settings), chosen.fields)
    first, last = (
        remote.picture_of(str(pictures[str(end.picture)]), f"{name}'s {side}")
        for side, end in (("first", clip.start), ("last", clip.end))
        if isinstance(end, Keyframe)
    )
    try:
        return Job.build(chosen, fields, first, last)
    except (FieldError, ProviderError) as error:
        raise CliError(f"{name}: {error}") from None
