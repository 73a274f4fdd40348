"""Measure a finished video, and repair its last frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from comfy_api.latest import io, ui

from ..flf2v.drawing import picture_tensor
from ..flf2v.end_frames import match_end_colour, trim_end
from ..flf2v.errors import FLF2VError
from ..flf2v.frames import fit_to_video, read_frame_numbers
from ..flf2v.report import measure, psnr
from ..flf2v.report_picture import draw_filmstrip, draw_report
from ..flf2v.sizes import MAX_SIZE, Fit, Resize
from ..flf2v.video_frames import VideoFrames
from .host.progress import progress_bar
from .host.schema import schema
from .host.videos import frames_of
from .inputs import NOT_CONNECTED, fit_input, resize_input


class WanFLF2VReport(io.ComfyNode):
    """Numbers, a plot and a filmstrip of a video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VReport",
            display_name="Wan FLF2V Report",
            description="Measures a video: are both pictures reached, does brightness drift or flash at the end, is the "
            "middle frozen or a mere cross-fade, does it loop. No model is needed; with the VAE connected, the ends are "
            "compared with what the VAE itself can keep.",
            search_aliases=["metrics", "psnr", "ssim", "quality", "flicker", "filmstrip"],
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="The decoded frames of one video. Leave it free when video is connected.",
                ),
                fit_input(),
                io.Image.Input("start_image", optional=True, tooltip="The picture that the video should start with."),
                io.Image.Input("end_image", optional=True, tooltip="The picture that the video should end with."),
                io.Vae.Input("vae", optional=True, tooltip="The VAE, to know the best that the ends could be."),
                resize_input(),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="A video in place of images; a file is read frame by frame, in the memory of a few frames.",
                ),
                io.String.Input(
                    "joints",
                    default="",
                    optional=True,
                    tooltip='The frames at which two clips meet, counted from 0: "80, 160". Each is measured by itself.',
                ),
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="The figures in words, with warnings."),
                io.String.Output("figures", display_name="figures", tooltip="All figures as JSON, also per frame."),
                io.Image.Output(
                    "plot", display_name="plot", tooltip="Brightness, change, sharpness and flicker over the frames."
                ),
                io.Image.Output(
                    "filmstrip", display_name="filmstrip", tooltip="Nine frames of the video side by side."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, images: object = NOT_CONNECTED, video: object = NOT_CONNECTED, joints: str | None = ""
    ) -> bool | str:
        try:
            read_frame_numbers(joints or "", "joints")
            check_source(images is not NOT_CONNECTED, video is not NOT_CONNECTED)
        except FLF2VError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        fit: Fit,
        images: torch.Tensor | None = None,
        start_image: torch.Tensor | None = None,
        end_image: torch.Tensor | None = None,
        vae: Any = None,
        resize: Resize = "bilinear",
        video: Any = None,
        joints: str = "",
    ) -> io.NodeOutput:
        check_source(images is not None, video is not None)
        numbers = read_frame_numbers(joints, "joints")
        frames = images if images is not None else frames_of(video)
        size: Sequence[int]
        if isinstance(frames, VideoFrames):
            size, total = frames.size(), video.get_frame_count()
        else:
            frames = frames[..., :3]
            size, total = frames.shape[1:3], len(frames)
        show = progress_bar(total)
        first = None if start_image is None else fit_to_video(start_image[:1], size, fit, resize)
        last = None if end_image is None else fit_to_video(end_image[-1:], size, fit, resize)
        ceilings = tuple(_ceiling(vae, picture) for picture in (first, last))
        report = measure(frames, first, last, (ceilings[0], ceilings[1]), show, numbers)
        strip = draw_filmstrip(frames, report.frames, each=lambda _: show(report.frames), joints=numbers)
        text = report.text()
        return io.NodeOutput(
            text,
            json.dumps(report.to_dict()),
            picture_tensor(draw_report(report)),
            picture_tensor(strip),
            ui=ui.PreviewText(text),
        )


def check_source(images: bool, video: bool) -> None:
    """Raise FLF2VError unless either images or a video is connected."""
    if images == video:
        raise FLF2VError(f"connect either images or video; connected: {'both' if images else 'none of them'}.")


class WanFLF2VEndFrames(io.ComfyNode):
    """Repairs of the last frames, each off by default."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VEndFrames",
            display_name="Wan FLF2V End Frames",
            description="Repairs the last frames: leaves some out, or brings their colours to the given last frame. "
            "Put it before the save node when the end of a video flashes or changes colour. Both are off at 0.",
            search_aliases=["trim", "flash", "color match", "end frame"],
            inputs=[
                io.Image.Input("images", tooltip="The decoded frames of one video."),
                io.Int.Input(
                    "trim", default=0, min=0, max=MAX_SIZE, tooltip="How many frames to leave out at the end; 0 = none."
                ),
                io.Int.Input(
                    "match_colour",
                    default=0,
                    min=0,
                    max=MAX_SIZE,
                    tooltip="How many of the last frames to bring to the colours of end_image, before trimming; 0 = none.",
                ),
                fit_input(),
                io.Image.Input("end_image", optional=True, tooltip="The given last frame; match_colour needs it."),
                resize_input(),
            ],
            outputs=[io.Image.Output("out_images", display_name="images", tooltip="The repaired frames.")],
        )

    @classmethod
    def execute(
        cls,
        images: torch.Tensor,
        trim: int,
        match_colour: int,
        fit: Fit,
        end_image: torch.Tensor | None = None,
        resize: Resize = "bilinear",
    ) -> io.NodeOutput:
        frames = images[..., :3]
        if match_colour:
            if end_image is None:
                raise FLF2VError(
                    "match_colour needs the given last frame. Connect end_image, or set match_colour to 0."
                )
            picture = fit_to_video(end_image[-1:], frames.shape[1:3], fit, resize)
            frames = match_end_colour(frames, picture, match_colour, progress_bar(match_colour))
        return io.NodeOutput(trim_end(frames, trim))


def _ceiling(vae: Any, picture: torch.Tensor | None) -> float | None:
    """The PSNR of a picture after the VAE's encoder and decoder."""
    if vae is None or picture is None:
        return None
    height, width = (side // 16 * 16 for side in picture.shape[:2])
    part = picture[None, :height, :width]
    back = vae.decode(vae.encode(part))
    return psnr(back.reshape(-1, height, width, back.shape[-1])[0].cpu(), part[0].cpu())
