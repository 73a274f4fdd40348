"""Save the decoded frames as the video that was asked for: size, rate, one file per video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import InputImpl, io, ui

from ..flf2v.errors import FLF2VError
from ..flf2v.sizes import MAX_SIZE, check_size
from .host.schema import schema
from .video_file import FORMATS, QUALITIES, crop_to, split_videos, write_video

MIN_RATE, MAX_RATE = 1.0, 120.0


class WanFLF2VSaveVideo(io.ComfyNode):
    """The saved video file or files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VSaveVideo",
            display_name="Wan FLF2V Save Video",
            description="Saves frames as mp4 (H.264) or webm (VP9) that every browser plays, in exactly the asked size, "
            "one file for each video of a batch.",
            search_aliases=["video combine", "save mp4", "export video", "frame rate"],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                io.Image.Input("images", tooltip="The decoded frames."),
                io.Float.Input(
                    "frame_rate",
                    default=16.0,
                    min=MIN_RATE,
                    max=MAX_RATE,
                    step=0.01,
                    tooltip="Frames per second. Wan makes 16; another rate plays the same frames faster or slower.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/wan_flf2v",
                    tooltip="Folder and start of the file name in ComfyUI's output folder.",
                ),
                io.Combo.Input(
                    "format", options=list(FORMATS), default="mp4", tooltip="mp4 (H.264) or webm (VP9), both yuv420p."
                ),
                io.Combo.Input(
                    "quality",
                    options=list(QUALITIES),
                    default="default",
                    tooltip="default takes ComfyUI's own encoder settings for mp4; best makes the largest files.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=MAX_SIZE,
                    step=2,
                    tooltip="Width to crop to; connect Wan FLF2V Resolution. 0 = as decoded.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=MAX_SIZE,
                    step=2,
                    tooltip="Height to crop to; connect Wan FLF2V Resolution. 0 = as decoded.",
                ),
                io.Int.Input(
                    "frames_per_video",
                    default=0,
                    min=0,
                    max=MAX_SIZE,
                    tooltip="Frames of one video when batch_size is more than 1: the length. 0 = all in one file.",
                ),
                io.Audio.Input("audio", optional=True, tooltip="Sound for the video, cut to its length."),
            ],
            outputs=[
                io.Video.Output(
                    "video", display_name="video", is_output_list=True, tooltip="The saved video or videos."
                )
            ],
        )

    @classmethod
    def validate_inputs(
        cls, width: int | None = None, height: int | None = None, frame_rate: float | None = None
    ) -> bool | str:
        try:
            if width and height:
                check_size(width, height)
            if frame_rate is not None:
                check_rate(frame_rate)
        except FLF2VError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        images: torch.Tensor,
        frame_rate: float,
        filename_prefix: str,
        format: str,
        quality: str,
        width: int,
        height: int,
        frames_per_video: int,
        audio: Any = None,
    ) -> io.NodeOutput:
        check_rate(frame_rate)
        videos = split_videos(crop_to(images, width, height), frames_per_video)
        metadata = _metadata(cls.hidden)
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), videos[0].shape[2], videos[0].shape[1]
        )
        saved, files = [], []
        for number, frames in enumerate(videos, counter):
            path = Path(folder) / f"{name}_{number:05}_.{format}"
            write_video(path, frames, frame_rate, container=format, quality=quality, audio=audio, metadata=metadata)
            saved.append(ui.SavedResult(path.name, subfolder, io.FolderType.output))
            files.append(InputImpl.VideoFromFile(str(path)))
        return io.NodeOutput(files, ui=ui.PreviewVideo(saved))


def check_rate(frame_rate: float) -> None:
    """Raise FLF2VError unless the frame rate lies between 1 and 120."""
    if not MIN_RATE <= frame_rate <= MAX_RATE:
        raise FLF2VError(
            f"frame_rate must be between {MIN_RATE:g} and {MAX_RATE:g} frames per second; got {frame_rate:g}."
        )


def _metadata(hidden: Any) -> dict[str, Any] | None:
    """Prompt and workflow for the file, or None where ComfyUI runs with --disable-metadata."""
    if args.disable_metadata:
        return None
    found = dict(hidden.extra_pnginfo or {})
    if hidden.prompt is not None:
        found["prompt"] = hidden.prompt
    return found or None
