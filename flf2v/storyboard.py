"""A storyboard: keyframes and the clips between them, read from its JSON text, and the exact count of their frames.

The text's fields are in ``storyboard.schema.json``. The clips of segments that go through a keyframe are one clip.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from .errors import FLF2VError
from .json_text import check_value, read_json
from .video_model import WAN, VideoModel

SCHEMA: Mapping[str, Any] = json.loads(Path(__file__).with_name("storyboard.schema.json").read_text(encoding="utf-8"))
MAX_KEYFRAMES: int = SCHEMA["properties"]["keyframes"]["maxItems"]
MAX_TEXT = 2**18
VIDEOS = ("video_before", "video_after")
_LENGTH_FIELDS = {"length", "seconds"}


@dataclass(frozen=True)
class Keyframe:
    """A picture by its name, or by the number of the node's input (``slot``)."""

    picture: str | None = None
    slot: int | None = None


@dataclass(frozen=True)
class Video:
    """A video that the film begins or ends with, by its name, or as connected to the node's input ``slot``."""

    slot: str
    name: str | None = None


@dataclass(frozen=True)
class Clip:
    """All that decides one clip's frames: two equal clips are the same work, wherever they stand in a storyboard.

    ``middle`` are the keyframes that it goes through, by frame number, held with ``strengths`` in the high- and in the
    low-noise stage; ``settings`` what differs from the node's own.
    """

    start: Keyframe | Video
    end: Keyframe | Video
    length: int
    prompt: str
    negative: str
    seed: int
    middle: tuple[tuple[int, Keyframe], ...] = ()
    strengths: tuple[float, float] = (1.0, 1.0)
    settings: tuple[tuple[str, int | float], ...] = ()


@dataclass(frozen=True)
class Storyboard:
    """The clips in order. ``closed``: the last ends on the first one's start; ``carry``: frames handed to the next."""

    clips: tuple[Clip, ...]
    closed: bool = False
    carry: int = 0
    colour: bool = True

    @property
    def video_before(self) -> Video | None:
        """The video that the film begins with."""
        return self.clips[0].start if isinstance(self.clips[0].start, Video) else None

    @property
    def video_after(self) -> Video | None:
        """The video that the film ends with."""
        return self.clips[-1].end if isinstance(self.clips[-1].end, Video) else None

    @property
    def joining(self) -> int:
        """How many frames a clip shares with a video."""
        return max(self.carry, 1)

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The frames of each clip that the film shows, as (first, behind the last): none of them twice.

        A keyframe that two clips share is shown as the second one's first frame, carried frames as the first one's, and
        what a clip shares with a video as the video's.
        """
        last = len(self.clips) - 1
        spans = []
        for number, clip in enumerate(self.clips):
            first = self.carry if number else self.joining * (self.video_before is not None)
            shared_end = (
                self.closed + self.joining * (self.video_after is not None) if number == last else not self.carry
            )
            spans.append((first, clip.length - shared_end))
        return tuple(spans)

    @property
    def frames(self) -> int:
        """The film's frames, those of videos left out: the sum of the lengths, less what is shared."""
        return sum(end - first for first, end in self.spans)

    @property
    def keyframes(self) -> tuple[tuple[int, Keyframe], ...]:
        """Every keyframe with its frame number, counted behind ``video_before``; a closed film's first one comes once."""
        found, begin = [], 0
        for clip, (first, end) in zip(self.clips, self.spans, strict=True):
            shown = [(0, clip.start), *clip.middle, (clip.length - 1, clip.end)]
            found += [
                (begin + at - first, keyframe)
                for at, keyframe in shown
                if first <= at < end and isinstance(keyframe, Keyframe)
            ]
            begin += end - first
        return tuple(found)

    @property
    def identities(self) -> tuple[tuple[Clip, ...], ...]:
        """What each clip's frames depend on: itself, and with ``carry`` all clips before it."""
        return tuple(self.clips[0 if self.carry else number : number + 1] for number in range(len(self.clips)))


def parse_storyboard(
    text: str, slots: Sequence[int] = (), model: VideoModel = WAN, *, videos: Container[str] = ()
) -> Storyboard:
    """The storyboard of a JSON text; ``slots`` are the connected keyframe inputs, ``videos`` those for videos.

    Raises FLF2VError with one sentence that names the segment or keyframe.
    """
    return check_storyboard(read_json(text, "the storyboard", MAX_TEXT), slots, model, videos=videos)


def check_storyboard(
    value: Any,
    slots: Sequence[int] = (),
    model: VideoModel = WAN,
    *,
    videos: Container[str] = (),
    schema: Mapping[str, Any] = SCHEMA,
) -> Storyboard:
    """As ``parse_storyboard``, of the text's value; ``schema`` may know fewer of the fields."""
    board = check_value(value, schema, "the storyboard")
    keyframes = board.get("keyframes", [{"slot": slot} for slot in slots])
    before, after = (_video(board, name, videos) for name in VIDEOS)
    closed = board.get("closed", False)
    if closed and (before or after):
        raise FLF2VError("a storyboard with a video before or after it can't be closed to a ring.")
    least = 2 - len(before) - len(after)
    if not least <= len(keyframes) <= MAX_KEYFRAMES:
        raise FLF2VError(
            f"a storyboard needs between {least} and {MAX_KEYFRAMES} keyframes; got {len(keyframes)}. "
            "List them in keyframes, or connect them."
        )
    fields = schema["properties"]["keyframes"]["items"]["properties"]
    through = [_check_keyframe(number, keyframe, slots, fields) for number, keyframe in enumerate(keyframes, 1)]
    if through and ((through[0] and not before) or (through[-1] and not (closed or after))):
        which = 1 if through[0] and not before else len(keyframes)
        raise FLF2VError(f"keyframe {which} begins or ends the film, so there is nothing to go through it to.")
    through = [False] * len(before) + through + [False] * len(after)
    pictures = [Keyframe(keyframe.get("picture"), keyframe.get("slot")) for keyframe in keyframes]
    points: list[Keyframe | Video] = [*before, *pictures, *after]
    ends = list(zip(points, points[1:] + points[:1], strict=True))[: None if closed else -1]
    segments = board.get("segments", [{} for _ in ends])
    if len(segments) != len(ends):
        ring = "closed: as many as keyframes" if closed else "one between each two"
        with_videos = "" if least == 2 else f" and {2 - least} video{'s' * (not least)}"
        raise FLF2VError(
            f"{len(keyframes)} keyframes{with_videos} need {len(ends)} segments ({ring}); got {len(segments)}."
        )
    carry = board.get("carry", 0)
    clips: list[Clip] = []
    for number, (segment, (start, end)) in enumerate(zip(segments, ends, strict=True), 1):
        length = _length(segment, board, model, f"segment {number}")
        if through[number - 1]:
            _check_goes_on(segment, number)
            clips[-1] = _go_on(
                clips[-1], length, end, _strengths(keyframes[number - 1 - len(before)]), f"segment {number}"
            )
        else:
            clips.append(_clip(segment, board, start, end, length))
        if not (number < len(through) and through[number]):
            _check_clip(clips[-1], carry, model, f"segment {number}", first=len(clips) == 1)
    return Storyboard(tuple(clips), closed, carry, board.get("colour", True))


def _video(board: Mapping[str, Any], name: str, connected: Container[str]) -> list[Video]:
    """The video of this name, if there is one."""
    if name in board and name in connected:
        raise FLF2VError(f"the storyboard names a {name}, and one is connected: leave one of them out.")
    return [Video(name, board.get(name))] if name in board or name in connected else []


def _check_keyframe(number: int, keyframe: Mapping[str, Any], slots: Sequence[int], fields: Container[str]) -> bool:
    """Whether this keyframe, which may have these fields, is gone through."""
    given = {"picture", "slot"} & keyframe.keys()
    if len(given) != 1:
        wanted = "either a picture or a slot" if "slot" in fields else "a picture"
        raise FLF2VError(f"keyframe {number} must have {wanted}; got {'both' if given else 'none'}.")
    slot = keyframe.get("slot")
    if slot is not None and slot not in slots:
        raise FLF2VError(f"keyframe {number} takes slot {slot}, but keyframe_{slot} is not connected.")
    through = bool(keyframe.get("through", False))
    if not through and ("strength" in keyframe or "strength_low" in keyframe):
        raise FLF2VError(
            f"keyframe {number} has a strength, but only one with through has: a clip's ends are held wholly."
        )
    return through


def _strengths(keyframe: Mapping[str, Any]) -> tuple[float, float]:
    """How firmly this keyframe is held in either stage."""
    high = keyframe.get("strength", 1.0)
    return high, keyframe.get("strength_low", high)


def _length(segment: Mapping[str, Any], board: Mapping[str, Any], model: VideoModel, name: str) -> int:
    for fields, owner in ((segment, name), (board, "the storyboard")):
        given = _LENGTH_FIELDS & fields.keys()
        if len(given) == 2:
            raise FLF2VError(f"{owner} gives both length and seconds; leave one of them out.")
        if "length" in given:
            return int(fields["length"])
        if "seconds" in given:
            try:
                return model.length_of(fields["seconds"])
            except FLF2VError as error:
                raise FLF2VError(f"{name}: {error}") from None
    return model.length


def _check_goes_on(segment: Mapping[str, Any], number: int) -> None:
    more = segment.keys() - _LENGTH_FIELDS
    if more:
        raise FLF2VError(
            f"segment {number} goes on in the clip before it, because keyframe {number} is gone through, "
            f"so it can only have a length of its own; got {', '.join(sorted(more))}."
        )


def _clip(
    segment: Mapping[str, Any], board: Mapping[str, Any], start: Keyframe | Video, end: Keyframe | Video, length: int
) -> Clip:
    texts = {name: segment.get(name, board.get(name, "")) for name in ("prompt", "negative")}
    settings = {name: segment[name] for name in ("steps", "cfg", "cfg_low", "high_steps") if name in segment}
    seed = segment.get("seed", board.get("seed", 0))
    return Clip(start, end, length, **texts, seed=seed, settings=tuple(settings.items()))


def _go_on(clip: Clip, length: int, end: Keyframe | Video, strengths: tuple[float, float], name: str) -> Clip:
    if clip.middle and clip.strengths != strengths:
        raise FLF2VError(f"{name}: the keyframes that one clip goes through must have the same strengths.")
    middle = (*clip.middle, (clip.length - 1, cast(Keyframe, clip.end)))  # videos are not gone through
    return replace(clip, end=end, length=clip.length + length - 1, middle=middle, strengths=strengths)


def _check_clip(clip: Clip, carry: int, model: VideoModel, name: str, *, first: bool) -> None:
    try:
        model.check_length(clip.length)
    except FLF2VError as error:
        whole = " The lengths of segments that go on in one clip count together." if clip.middle else ""
        raise FLF2VError(f"{name}: {error}{whole}") from None
    end = max(carry, 1) if isinstance(clip.end, Video) else 1
    if clip.length <= carry + end - 1:
        ending = f" and the {end} that lead to video_after" if isinstance(clip.end, Video) else ""
        raise FLF2VError(
            f"{name}: a length of {clip.length} frames leaves none after the {carry} that are carried over{ending}."
        )
    given = max(carry, 1) if not first or isinstance(clip.start, Video) else 1
    for at, _ in clip.middle:
        if not given <= at < clip.length - end:
            raise FLF2VError(
                f"{name}: the clip goes through a keyframe at its frame {at}, but its first {given} and its last {end} "
                "frames are given. Give the segments beside it other lengths."
            )
