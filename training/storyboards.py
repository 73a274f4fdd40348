"""Measures what a storyboard does with micro models, on clips that training never saw.

Clips, masks and colours are made by the package's own code; a run is 20 steps, as in ``evaluate``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean, median

import torch

from ..flf2v.clip import Clip as Given
from ..flf2v.colour import match_colours
from ..flf2v.frames import TEMPORAL_STRIDE, build_mask, weaken
from ..flf2v.report import psnr
from .clips import FRAMES, SIZE
from .evaluate import unseen_clips
from .shipped import Models, given

BOARDS, NEIGHBOURS = 16, 8
LAST = FRAMES - 1


def long_clips(count: int, segments: int) -> list[torch.Tensor]:
    """Unseen clips, drawn over the frames of so many segments at constant speed."""
    return [clip.frames(segments * LAST + 1) for clip in unseen_clips(count)]


def change(frames: torch.Tensor, order: int) -> list[float]:
    """Mean size of the differences between frames, or of those between the differences with ``order`` 2."""
    return [float(step) for step in frames.diff(n=order, dim=0).abs().mean((1, 2, 3))]


def over_median(changes: Sequence[float], at: int) -> float:
    """A change over the median of those up to NEIGHBOURS before and behind it."""
    around = [*changes[max(at - NEIGHBOURS, 0) : at], *changes[at + 1 : at + 1 + NEIGHBOURS]]
    return changes[at] / median(around)


def joint(film: torch.Tensor, first: int) -> tuple[float, float]:
    """Seam and velocity break where frame ``first`` is the second segment's first shown one."""
    speeds = change(film, 2)
    return over_median(change(film, 1), first - 1), max(over_median(speeds, at) for at in (first - 2, first - 1))


def carried_films(models: Models, true: Sequence[torch.Tensor], carry: int, colour: bool) -> list[torch.Tensor]:
    """Films of two segments; the second one's end is chosen so that the true motion has one speed."""
    firsts = models.make([given(video[:1], video[LAST : LAST + 1]) for video in true])
    if not carry:
        seconds = models.make([given(video[LAST : LAST + 1], video[2 * LAST :]) for video in true])
        return [torch.cat([a[:-1], b]) for a, b in zip(firsts, seconds, strict=True)]
    matches = [
        match_colours(first[-1], video[LAST]) if colour else None for first, video in zip(firsts, true, strict=True)
    ]
    tails = [
        first[-carry:] if match is None else match.moved(first[-carry:])
        for first, match in zip(firsts, matches, strict=True)
    ]
    end = 2 * LAST - carry + 1
    seconds = models.make([given(tail, video[end : end + 1]) for tail, video in zip(tails, true, strict=True)])
    films = []
    for first, second, match in zip(firsts, seconds, matches, strict=True):
        shown = second if match is None else match.inverse().faded(second, 0, carry - 1, LAST)
        films.append(torch.cat([first, shown[carry:]]))
    return films


def measure_joints(models: Models) -> None:
    """Print seam and velocity break of each way over the joint."""
    true = long_clips(BOARDS, 2)
    ways: dict[str, Callable[[], list[torch.Tensor]]] = {
        "the true clip after the VAE": lambda: [
            torch.cat([a[:-1], b])
            for a, b in zip(
                models.round_trip([v[:FRAMES] for v in true]), models.round_trip([v[LAST:] for v in true]), strict=True
            )
        ],
        "last frame handed on (chain)": lambda: carried_films(models, true, 1, False),
        "carry 0": lambda: carried_films(models, true, 0, False),
        "carry 1": lambda: carried_films(models, true, 1, True),
        "carry 5": lambda: carried_films(models, true, 5, True),
        "carry 9": lambda: carried_films(models, true, 9, True),
    }
    print("| over the joint | seam | velocity break |\n|---|---|---|")
    for name, films in ways.items():
        shared = name.startswith(("carry 0", "the true"))
        seams, breaks = zip(*(joint(film, LAST if shared else FRAMES) for film in films()), strict=True)
        print(f"| {name} | {median(seams):.2f} | {median(breaks):.2f} |", flush=True)


def measure_loops(models: Models) -> None:
    """Print the step from a loop's last frame to its first over the median of its neighbours."""
    print("| loop | seam |\n|---|---|")
    true = long_clips(BOARDS, 1)
    still = models.round_trip([video[:1].expand(FRAMES, -1, -1, -1) for video in true])
    forth, aback = models.round_trip(true), models.round_trip([video.flip(0) for video in true])
    true_rings = [torch.cat([a[:-1], b[:-1]]) for a, b in zip(forth, aback, strict=True)]
    once = models.make([given(video[:1], video[:1]) for video in true])
    there = models.make([given(video[:1], video[-1:]) for video in true])
    back = models.make([given(video[-1:], video[:1]) for video in true])
    rings = [torch.cat([a[:-1], b[:-1]]) for a, b in zip(there, back, strict=True)]
    for name, loops in (
        ("a still clip after the VAE", [video[:-1] for video in still]),
        ("one clip with equal ends, its last frame left out", [video[:-1] for video in once]),
        ("a true ring after the VAE", true_rings),
        ("ring of two keyframes", rings),
    ):
        seams = []
        for loop in loops:
            turned = loop.roll(len(loop) // 2, 0)  # the seam in the middle, so that it has neighbours on both sides
            seams.append(over_median(change(turned, 1), len(loop) // 2 - 1))
        print(f"| {name} | {median(seams):.2f} |", flush=True)


def measure_keyframes(models: Models) -> None:
    """Print how far below the VAE's own level each of 5 keyframes is at its frame number."""
    true = long_clips(BOARDS, 4)
    below: list[list[float]] = [[] for _ in range(5)]
    for segment in range(4):
        begin = segment * LAST
        parts = [video[begin : begin + FRAMES] for video in true]
        made, best = models.make([given(part[:1], part[-1:]) for part in parts]), models.round_trip(parts)
        for number, at in [(segment, 0)] + ([(4, -1)] if segment == 3 else []):
            for video, ceiling, part in zip(made, best, parts, strict=True):
                below[number].append(psnr(ceiling[at], part[at]) - psnr(video[at], part[at]))
    print(
        f"| keyframes 1 to 5, dB below the VAE | {' | '.join(f'{mean(levels):.2f}' for levels in below)} |", flush=True
    )


def measure_starts(models: Models) -> None:
    """Print how far below the VAE's own level several given first frames are, and the frames after them."""
    true = long_clips(BOARDS, 1)
    best = models.round_trip(true)
    print("| first frames given | there, dB below the VAE | after them, dB |\n|---|---|---|")
    for count in (1, 5, 9):
        for last in (True, False):
            made = models.make([given(video[:count], video[-1:] if last else None) for video in true])
            below = mean(
                psnr(ceiling[at], video[at]) - psnr(frames[at], video[at])
                for frames, ceiling, video in zip(made, best, true, strict=True)
                for at in range(count)
            )
            after = mean(
                psnr(frames[at], video[at])
                for frames, video in zip(made, true, strict=True)
                for at in range(count, FRAMES)
            )
            print(f"| {count} {'and the last' if last else 'alone'} | {below:.2f} | {after:.1f} |", flush=True)


def snapped(start: torch.Tensor, end: torch.Tensor, picture: torch.Tensor, number: int) -> tuple[Given, torch.Tensor]:
    """The rule of others: the picture at the multiple of 4 below, and that latent frame given as a whole."""
    at = number - number % TEMPORAL_STRIDE
    mask = build_mask(FRAMES, SIZE // 8, SIZE // 8, start, end)
    if not at:
        return given(start, end), mask
    rows = range(at - TEMPORAL_STRIDE + 1, at + 1)
    return given(start, end, {at: picture}), weaken(mask, rows, 1.0)


def measure_middle(models: Models, boards: int = BOARDS // 2) -> None:
    """Print the level at the asked number, for each number."""
    near = long_clips(boards, 1)
    best = models.round_trip(near)
    print("| middle frame at | VAE alone | none | at its number | snapped to 4 |\n|---|---|---|---|---|")
    rows: list[list[float]] = []
    plain = models.make([given(video[:1], video[-1:]) for video in near])
    for number in range(1, LAST):
        pictures = [video[number] for video in near]
        own = models.make(
            [given(video[:1], video[-1:], {number: picture}) for video, picture in zip(near, pictures, strict=True)]
        )
        others = [snapped(v[:1], v[-1:], picture, number) for v, picture in zip(near, pictures, strict=True)]
        theirs = models.make([clip for clip, _ in others], [mask for _, mask in others])
        rows.append(
            [
                mean(psnr(video[number], picture) for video, picture in zip(videos, pictures, strict=True))
                for videos in (best, plain, own, theirs)
            ]
        )
        print(f"| {number} | {' | '.join(f'{level:.1f}' for level in rows[-1])} |", flush=True)
    print(f"| mean | {' | '.join(f'{mean(column):.1f}' for column in zip(*rows, strict=True))} |", flush=True)
