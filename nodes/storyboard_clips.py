"""A storyboard's clips as nodes: text and frames encoded, two stages sampled, a video written.

What a node's id is made of are its inputs: ComfyUI keeps some results by it, so a clip's place must not be in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ..flf2v.storyboard import Clip, Keyframe, Storyboard, Video
from .host.expansion import GraphBuilder
from .host.types import Link
from .in_turn import InTurn
from .stages import StageNodes

SIZE = ("width", "height")
_RUN = ("steps", "sampler_name", "scheduler", "boundary", "high_steps")


class ClipNodes:
    """Adds clips to the graph; an equal clip is the same nodes."""

    def __init__(
        self,
        graph: GraphBuilder,
        high: Link,
        low: Link,
        slots: Mapping[Any, Any],
        given: Mapping[str, Any],
        images: bool,
    ) -> None:
        self._graph = graph
        self._high = high
        self._slots = slots
        self._given = given
        self._images = images
        self._turns = InTurn(graph)
        self._low = low
        self._board = Storyboard(())
        self._added: dict[tuple[Clip, ...], Any] = {}

    def add(self, board: Storyboard) -> list[Any]:
        """The nodes of the board's videos and clips: their files, last frames and, if wanted, all frames."""
        self._board = board
        made: list[Any] = []
        for clip, identity in zip(board.clips, board.identities, strict=True):
            if identity not in self._added:
                carried = self._carried(clip, made[-1]) if board.carry and made else None
                self._added[identity] = self._video(clip, *self._latent(clip, carried), carried)
            made.append(self._added[identity])
        before, after = (
            [] if video is None else [self._given_video(video)] for video in (board.video_before, board.video_after)
        )
        return [*before, *made, *after]

    def latent(self, clip: Clip) -> Link:
        """A link to the clip's latent, there when all clips are sampled."""
        latent, name = self._latent(clip, None)
        return self._turns.after("decode", [latent], latent, name)

    def _carried(self, clip: Clip, before: Any) -> Any:
        """The node that makes a clip's first frames of the one before it."""
        asked = {"tail": before.out(1), "keyframe": self._picture(clip.start), "carry": self._board.carry}
        asked["colour"] = self._board.colour
        return self._graph.node("WanFLF2VStoryboardCarry", id=f"carry_{_digest(asked)}", **asked)

    def _given_video(self, video: Video) -> Any:
        """The node of a video that the film begins or ends with."""
        link = self._slots.get(video.slot)
        if video.name is not None:
            link = self._graph.node("LoadVideo", id=f"video_{_digest(video.name)}", file=video.name).out(0)
        asked = {key: self._given[key] for key in (*SIZE, "fit", "frame_rate")} | {"name": video.slot}
        asked |= {"video": link, "kept": self._board.joining, "whole": self._images}
        return self._graph.node("WanFLF2VStoryboardVideo", id=f"given_{_digest(asked)}", **asked)

    def _applied(self, clip: Clip, carried: Any) -> tuple[list[Any], str]:
        """The nodes that put the encoded frames into the prompts, for either stage, and a name for what they give."""
        texts = [self._text(clip.prompt), self._text(clip.negative)]
        asked = {key: self._given[key] for key in ("fit", *SIZE)} | {"length": clip.length}
        start = carried.out(0) if carried else self._picture(clip.start)
        asked |= {"start_image": start, "end_image": self._picture(clip.end)}
        if clip.middle:
            middle = [keyframe for _, keyframe in clip.middle]
            asked |= {
                "middle_images": self._pictures(middle),
                "middle_frames": ", ".join(str(at) for at, _ in clip.middle),
            }
        name = _digest(asked)
        vae = self._turns.after("encode", texts, self._given["vae"], name, given=asked)
        encoded = self._graph.node("WanFLF2VEncodeFrames", id=f"frames_{name}", vae=vae, **asked)
        prompts = {"positive": texts[0], "negative": texts[1]}
        name = _digest((name, prompts))
        asked = {"frames": encoded.out(0), "batch_size": 1, **prompts}
        held = [{"middle_strength": each} if clip.middle else {} for each in clip.strengths]
        return [
            self._graph.node("WanFLF2VApplyFrames", id=f"apply_{_digest((name, each))}", **asked, **each)
            for each in held
        ], name

    def _latent(self, clip: Clip, carried: Any) -> tuple[Link, str]:
        applied, name = self._applied(clip, carried)
        after = _at_once if carried else self._turns.after  # a clip can't wait for what waits for it
        asked = {**self._given, **dict(clip.settings)}
        run = {key: asked[key] for key in _RUN} | {"denoise": 1.0}
        guidance = {key: asked[key] for key in ("cfg", "cfg_low")} | {"noise_seed": clip.seed}
        of_high = {**run, **guidance, "cfg_low": None}
        of_low = {**guidance, "strength": clip.strengths[1]}
        high_name = _digest((name, clip.strengths[0], of_high))
        low_name = _digest((high_name, of_low))
        prompts, low_prompts = ({"positive": each.out(0), "negative": each.out(1)} for each in applied)
        start = applied[0].out(2)
        stages = StageNodes(
            self._graph,
            self._high,
            self._turns.after("low", [], self._low, "model", late=True),
            prompts,
            low_prompts,
            guidance,
            run,
        )
        high = stages.high_noise(after("high", [start], start, high_name, given=of_high), f"_{high_name}")
        handed = after("low", [high.latent], high.latent, low_name, given=of_low)
        latent = stages.low_noise(high.plan, handed, f"_{low_name}")
        return latent, low_name

    def _video(self, clip: Clip, latent: Link, name: str, carried: Any) -> Any:
        asked = {key: self._given[key] for key in (*SIZE, "frame_rate")} | {"kept": self._board.carry}
        vae = self._given["vae"]
        after = _at_once if carried else self._turns.after
        latent = after("decode", [latent], latent, name, given=asked)
        if carried:
            asked |= {"match": carried.out(1), "carried": self._board.carry}
        elif isinstance(clip.start, Video):
            asked["carried"] = self._board.joining
        if isinstance(clip.end, Video):
            asked["ending"] = self._board.joining
        source = {"latent": latent, "vae": vae}
        if self._images:
            source = {"images": self._graph.node("VAEDecode", id=f"images_{name}", samples=latent, vae=vae).out(0)}
        return self._graph.node("WanFLF2VStoryboardClip", id=f"clip_{name}", **asked, **source)

    def _text(self, text: str) -> Link:
        node = self._graph.node("CLIPTextEncode", id=f"text_{_digest(text)}", text=text, clip=self._given["clip"])
        found: Link = node.out(0)
        return found

    def _picture(self, keyframe: Keyframe | Video) -> Link:
        if isinstance(keyframe, Video):
            return list(self._given_video(keyframe).out(1))
        return self._pictures([keyframe])

    def _pictures(self, keyframes: Iterable[Keyframe]) -> Link:
        """The pictures as one batch in the video's size; of an animated one the first."""
        links = [self._slots[each.slot] if each.picture is None else self._file(each.picture) for each in keyframes]
        asked = {key: self._given[key] for key in ("fit", *SIZE)} | numbered("picture", links)
        found: Link = self._graph.node("WanFLF2VStoryboardPictures", id=f"pictures_{_digest(asked)}", **asked).out(0)
        return found

    def _file(self, name: str) -> Link:
        found: Link = self._graph.node("LoadImage", id=f"picture_{_digest(name)}", image=name).out(0)
        return found


def numbered(name: str, links: Iterable[Link]) -> dict[str, Link]:
    """The links as inputs, the last one first: ComfyUI begins with what the last input needs."""
    return {f"{name}_{number}": link for number, link in reversed(list(enumerate(links, 1)))}


def _at_once(stage: str, done: Iterable[Link], link: Link, name: str, *, given: Any = None) -> Link:
    """The link as it is."""
    return link


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
