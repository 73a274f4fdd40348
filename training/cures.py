"""Measures what is said to make a last frame better, each clip with and without it.

Over-length: 8 frames more are made with the last picture held over them, and cut off. End strength: less than 1 leaves the
model free to move away from the last picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import torch

from ..flf2v.clip import Clip as Given
from ..flf2v.frames import weaken
from ..flf2v.motion import Motion
from ..flf2v.report import psnr
from .clips import FRAMES, SIZE
from .evaluate import unseen_clips
from .shipped import Models, mask_of

CLIPS, BATCH = 64, 16
WIDTH = 2.0  # standard errors on each side of a 95 % interval, for 64 clips


@dataclass(frozen=True)
class Cure:
    """A way to run a clip; as it stands, the usual one."""

    name: str = "as it is"
    more: int = 0
    strength: float = 1.0


CURES = (
    Cure("8 frames more, cut off", more=8),
    Cure("end strength 0.9", strength=0.9),
    Cure("end strength 0.7", strength=0.7),
    Cure("end strength 0.5", strength=0.5),
)
# Name, digits, and whether more is better.
MEASURES = (
    ("between, dB", 2, True),
    ("last frame, dB", 2, True),
    ("dissolve off the truth's", 3, False),
    ("flicker", 5, False),
    ("arrival off the truth's", 3, False),
)


def make(models: Models, videos: Sequence[torch.Tensor], cure: Cure) -> torch.Tensor:
    """The videos [N, FRAMES, H, W, 3] that come of the ends of these."""
    length = FRAMES + cure.more
    clips = [Given(length, SIZE, SIZE, video[:1], video[-1:].expand(1 + cure.more, -1, -1, -1)) for video in videos]
    masks = [weaken(mask_of(clip), range(FRAMES - 1, length), cure.strength) for clip in clips]
    return models.make(clips, masks)[:, :FRAMES]


def measures(video: torch.Tensor, true: torch.Tensor) -> list[float | None]:
    """MEASURES of a video against the true one; None where it has none."""
    found, truth = Motion(true[0], true[-1]), Motion(true[0], true[-1])
    for here, there in zip(video, true, strict=True):
        found.add(here)
        truth.add(there)
    levels = [psnr(here, there) for here, there in zip(video, true, strict=True)]
    dissolve, arrival = off(found.dissolve(), truth.dissolve()), off(found.arrival(), truth.arrival())
    return [mean(levels[1:-1]), levels[-1], dissolve, mean(found.flicker), arrival]


def off(value: float | None, truth: float | None) -> float | None:
    """The distance of a measure from what it should be; None where one of them is missing."""
    return None if value is None or truth is None else abs(value - truth)


def interval(steps: Sequence[float]) -> tuple[float, float]:
    """Mean of the differences and half the width of its 95 % interval."""
    return mean(steps), WIDTH * stdev(steps) / len(steps) ** 0.5


def measure_cures(models: Models, count: int = CLIPS) -> None:
    """Print each cure's difference to the usual run, clip by clip; what gains without doubt in bold."""
    true = [clip.frames() for clip in unseen_clips(count)]

    def rows(cure: Cure) -> list[list[float | None]]:
        return [
            measures(video, video_true)
            for begin in range(0, count, BATCH)
            for part in (true[begin : begin + BATCH],)
            for video, video_true in zip(make(models, part, cure), part, strict=True)
        ]

    usual = rows(Cure())
    print(f"| cure | {' | '.join(name for name, _, _ in MEASURES)} |\n|---|{'---|' * len(MEASURES)}")
    for cure in CURES:
        cells = []
        for (_, digits, more), before, after in zip(
            MEASURES, zip(*usual, strict=True), zip(*rows(cure), strict=True), strict=True
        ):
            steps = [b - a for a, b in zip(before, after, strict=True) if a is not None and b is not None]
            if len(steps) < 2:
                cells.append("has none")
                continue
            step, half = interval(steps)
            cell = f"{step:+.{digits}f} ± {half:.{digits}f}"
            few = "" if len(steps) == count else f" ({len(steps)} clips)"
            cells.append((f"**{cell}**" if (step if more else -step) > half else cell) + few)
        print(f"| {cure.name} | {' | '.join(cells)} |", flush=True)
