"""What a storyboard expands to: a clip's video, the film of all of them, its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..flf2v.frames import fit_to_video
from ..flf2v.sizes import Fit
from ..flf2v.storyboard import MAX_KEYFRAMES
from .host.pieces import join_film, write_images, write_latent
from .host.schema import part_schema
from .host.types import Latent, Pictures, Vae
from .inputs import fit_input

CLIP = io.Custom("WAN_FLF2V_CLIP")
_NUMBERS = range(1, MAX_KEYFRAMES + 1)


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


class WanFLF2VStoryboardClip(io.ComfyNode):
    """A clip's video file, whole."""

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
            ],
            outputs=[CLIP.Output("out")],
        )

    @classmethod
    def execute(
        cls,
        width: int,
        height: int,
        frame_rate: float,
        latent: Latent | None = None,
        vae: Vae | None = None,
        images: Pictures | None = None,
    ) -> io.NodeOutput:
        node = cls.hidden.dynprompt.get_display_node_id(cls.hidden.unique_id)
        if images is not None:
            written = write_images(images, (width, height), frame_rate)
        else:
            written = write_latent(latent or {}, vae, (width, height), frame_rate, node)
        return io.NodeOutput(str(written))


class WanFLF2VStoryboardFilm(io.ComfyNode):
    """The clips' videos, joined."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardFilm",
            display_name="Wan FLF2V Storyboard Film",
            inputs=[
                io.String.Input("spans"),
                *(CLIP.Input(f"clip_{number}", optional=number > 1) for number in _NUMBERS),
            ],
            outputs=[io.Video.Output("video")],
        )

    @classmethod
    def execute(cls, spans: str, **clips: Any) -> io.NodeOutput:
        paths = [Path(path) for path in _in_order("clip", clips)]
        return io.NodeOutput(join_film(paths, _spans(spans)))


class WanFLF2VStoryboardImages(io.ComfyNode):
    """The film's frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return part_schema(
            node_id="WanFLF2VStoryboardImages",
            display_name="Wan FLF2V Storyboard Images",
            inputs=[
                io.String.Input("spans"),
                io.Int.Input("width", default=0),
                io.Int.Input("height", default=0),
                *(io.Image.Input(f"images_{number}", optional=number > 1) for number in _NUMBERS),
            ],
            outputs=[io.Image.Output("images")],
        )

    @classmethod
    def execute(cls, spans: str, width: int, height: int, **images: Any) -> io.NodeOutput:
        clips = zip(_in_order("images", images), _spans(spans), strict=True)
        return io.NodeOutput(torch.cat([clip[first:end, :height, :width] for clip, (first, end) in clips]))


def _in_order(name: str, given: dict[str, Any]) -> list[Any]:
    return [given[f"{name}_{number}"] for number in _NUMBERS if f"{name}_{number}" in given]


def _spans(text: str) -> list[tuple[int, int]]:
    pairs = (span.split(":") for span in text.split())
    return [(int(first), int(end)) for first, end in pairs]
