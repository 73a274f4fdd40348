"""What a storyboard expands to: a clip's video, the film of all of them, its frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..flf2v.colour import match_colours
from ..flf2v.errors import FLF2VError
from ..flf2v.frames import fit_to_video
from ..flf2v.sizes import Fit
from ..flf2v.storyboard import MAX_KEYFRAMES, VIDEOS
from .host.pieces import Shown, join_film, write_images, write_latent, write_video
from .host.progress import run_id
from .host.schema import SEGMENTS, part_schema
from .host.types import Latent, Pictures, Vae, Video
from .host.videos import check_rate, fitted_frames
from .inputs import fit_input
from .storyboard_runs import finish

CLIP = io.Custom("WAN_FLF2V_CLIP")
MATCH = io.Custom("WAN_FLF2V_COLOUR_MATCH")
_NUMBERS = range(1, MAX_KEYFRAMES + 4)  # one clip more than keyframes, and two videos


class WanFLF2VStoryboardPictures(io.ComfyNode):
    """Pictures of any sizes as one batch of the video's size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardPictures",
            display_name="Wan FLF2V Storyboard Pictures",
            inputs=[
                io.Int.Input("width", default=0),
                io.Int.Input("height", default=0),
                fit_input(),
                *(io.Image.Input(f"picture_{number}", optional=number > 1) for number in _NUMBERS),
            ],
            outputs=[io.Image.Output("images")],
        )

    @classmethod
    def execute(cls, width: int, height: int, fit: Fit, **pictures: Any) -> io.NodeOutput:
        fitted = [fit_to_video(picture, (height, width), fit) for picture in _in_order("picture", pictures)]
        return io.NodeOutput(torch.stack(fitted))


class WanFLF2VStoryboardCarry(io.ComfyNode):
    """A clip's last frames as the next one's first, with the colours of the keyframe that they should have reached."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardCarry",
            display_name="Wan FLF2V Storyboard Carry",
            inputs=[
                io.Image.Input("tail"),
                io.Image.Input("keyframe"),
                io.Int.Input("carry", default=1),
                io.Boolean.Input("colour", default=True),
            ],
            outputs=[io.Image.Output("images"), MATCH.Output("match")],
        )

    @classmethod
    def execute(cls, tail: Pictures, keyframe: Pictures, carry: int, colour: bool) -> io.NodeOutput:
        tail = tail[-carry:]
        if not colour:
            return io.NodeOutput(tail, None)
        match = match_colours(tail[-1], keyframe[0])
        return io.NodeOutput(match.moved(tail), match)


class WanFLF2VStoryboardClip(io.ComfyNode):
    """A clip's video file, whole, its last frames, and all of them where it was given frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardClip",
            display_name="Wan FLF2V Storyboard Clip",
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                io.Int.Input("width", default=0),
                io.Int.Input("height", default=0),
                io.Float.Input("frame_rate", default=16.0),
                io.Latent.Input("latent", optional=True),
                io.Vae.Input("vae", optional=True),
                io.Image.Input("images", optional=True),
                io.Int.Input("carried", optional=True, default=0),
                io.Int.Input("kept", optional=True, default=0),
                io.Int.Input("ending", optional=True, default=1),
                MATCH.Input("match", optional=True),
            ],
            outputs=[CLIP.Output("out"), io.Image.Output("tail"), io.Image.Output("shown")],
        )

    @classmethod
    def execute(
        cls, latent: Latent | None = None, vae: Vae | None = None, images: Pictures | None = None, **shown: Any
    ) -> io.NodeOutput:
        """``shown`` is what Shown has."""
        given, node = Shown(**shown), cls.hidden.dynprompt.get_display_node_id(cls.hidden.unique_id)
        if images is not None:
            images = given.frames(images, 0, len(images))
            file = write_images(images, replace(given, match=None))
        else:
            file = write_latent(latent or {}, vae, given, node)
        finish(node, cls.hidden.unique_id, file.saved[0], run_id())
        return io.NodeOutput(str(file.saved[0]), file.tail, images)


class WanFLF2VStoryboardVideo(io.ComfyNode):
    """A given video as a clip's file, its last or first frames, and all of them where they are wanted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardVideo",
            display_name="Wan FLF2V Storyboard Video",
            inputs=[
                io.Video.Input("video"),
                io.String.Input("name"),
                io.Int.Input("width", default=0),
                io.Int.Input("height", default=0),
                fit_input(),
                io.Float.Input("frame_rate", default=16.0),
                io.Int.Input("kept", default=1),
                io.Boolean.Input("whole", default=False),
            ],
            outputs=[CLIP.Output("out"), io.Image.Output("joining"), io.Image.Output("shown")],
        )

    @classmethod
    def execute(
        cls, video: Video, name: str, width: int, height: int, fit: Fit, frame_rate: float, kept: int, whole: bool
    ) -> io.NodeOutput:
        check_rate(video, frame_rate, name)
        file, head = write_video(video, Shown(width, height, frame_rate, kept=kept), fit)
        joining = file.tail if name == VIDEOS[0] else head
        if len(joining) < kept:
            raise FLF2VError(f"{name} has {len(joining)} frames, fewer than the {kept} that join it to a segment.")
        shown = torch.cat(list(fitted_frames(video, width, height, fit))) if whole else None
        return io.NodeOutput(str(file.saved[0]), joining, shown)


class WanFLF2VStoryboardFilm(io.ComfyNode):
    """The clips' videos, joined; and the files of the segments'."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardFilm",
            display_name="Wan FLF2V Storyboard Film",
            inputs=[
                io.String.Input("spans"),
                *(CLIP.Input(f"clip_{number}", optional=number > 1) for number in _NUMBERS),
            ],
            outputs=[io.Video.Output("video"), SEGMENTS.Output("segments")],
        )

    @classmethod
    def execute(cls, spans: str, **clips: Any) -> io.NodeOutput:
        pieces = list(zip(_in_order("clip", clips), _spans(spans), strict=True))
        film = join_film([Path(path) for path, _ in pieces], [span for _, span in pieces])
        made = tuple(path for path, (_, end) in pieces if end is not None)  # the rest is given videos
        return io.NodeOutput(film, made)


class WanFLF2VStoryboardImages(io.ComfyNode):
    """The film's frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardImages",
            display_name="Wan FLF2V Storyboard Images",
            inputs=[
                io.String.Input("spans"),
                *(io.Image.Input(f"images_{number}", optional=number > 1) for number in _NUMBERS),
            ],
            outputs=[io.Image.Output("images")],
        )

    @classmethod
    def execute(cls, spans: str, **images: Any) -> io.NodeOutput:
        clips = zip(_in_order("images", images), _spans(spans), strict=True)
        return io.NodeOutput(torch.cat([clip[first:end] for clip, (first, end) in clips]))


def _in_order(name: str, given: dict[str, Any]) -> list[Any]:
    return [given[f"{name}_{number}"] for number in _NUMBERS if f"{name}_{number}" in given]


def _spans(text: str) -> list[tuple[int, int | None]]:
    pairs = (span.split(":") for span in text.split())
    return [(int(first), int(end) if end else None) for first, end in pairs]
