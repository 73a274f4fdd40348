"""Save a latent, or decoded frames, as the video that was asked for: size, rate, codec, one file per video."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import InputImpl, io, ui

from ..flf2v.errors import FLF2VError
from ..flf2v.sizes import MAX_SIZE, check_size
from .host.codecs import CODECS, FORMATS, QUALITIES, encoding_of
from .host.save import Request, save_images, save_latent
from .host.schema import schema
from .host.types import Latent, Pictures, Vae
from .host.video_files import PLAYBACKS
from .inputs import NOT_CONNECTED

MIN_RATE, MAX_RATE = 1.0, 120.0


class WanFLF2VSaveVideo(io.ComfyNode):
    """The saved video file or files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        size = "to crop to; connect Wan FLF2V Resolution. 0 = as decoded."
        return schema(
            node_id="WanFLF2VSaveVideo",
            display_name="Wan FLF2V Save Video",
            description="Saves a video in exactly the asked size, one file for each video of a batch: mp4 (H.264) or webm "
            "(VP9) that every browser plays, or another codec. With latent and vae connected it decodes while it saves, in "
            "little memory, and a latent whose video was not finished stays beside it.",
            search_aliases=["video combine", "save mp4", "export video", "frame rate", "prores", "h265", "av1"],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.dynprompt, io.Hidden.unique_id],
            inputs=[
                io.Image.Input(
                    "images", optional=True, tooltip="Decoded frames. Leave it free when latent and vae are connected."
                ),
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
                    tooltip="Folder and start of the file name in ComfyUI's output folder; %date:yyyy-MM-dd% and "
                    "%Node.widget% are filled in.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default="mp4",
                    tooltip="The kind of file; png is a folder of pictures. With codec auto: mp4 H.264, webm VP9, "
                    "mov ProRes 422, mkv FFV1 (lossless).",
                ),
                io.Combo.Input(
                    "quality",
                    options=list(QUALITIES),
                    default="default",
                    tooltip="default takes the encoder's own settings; best makes the largest files.",
                ),
                io.Int.Input("width", default=0, min=0, max=MAX_SIZE, step=2, tooltip=f"Width {size}"),
                io.Int.Input("height", default=0, min=0, max=MAX_SIZE, step=2, tooltip=f"Height {size}"),
                io.Int.Input(
                    "frames_per_video",
                    default=0,
                    min=0,
                    max=MAX_SIZE,
                    tooltip="Frames of one video when images hold several: the length. 0 = all in one file; of a latent, "
                    "one file for each video.",
                ),
                io.Audio.Input("audio", optional=True, tooltip="Sound for the video, cut to its length; png has none."),
                io.Latent.Input(
                    "latent", optional=True, tooltip="The sampled latent, to be decoded while it is saved."
                ),
                io.Vae.Input("vae", optional=True, tooltip="The VAE that decodes the latent."),
                io.Combo.Input(
                    "codec",
                    options=["auto", *CODECS],
                    default="auto",
                    optional=True,
                    tooltip="What this ComfyUI can encode. Browsers play h264, vp9 and av1; 10-bit is finer in gradients.",
                ),
                io.Int.Input(
                    "crf",
                    default=-1,
                    min=-1,
                    max=63,
                    optional=True,
                    tooltip="The encoder's own quality number, lower is better. -1 = by quality.",
                ),
                io.Combo.Input(
                    "playback",
                    options=list(PLAYBACKS),
                    default="once",
                    optional=True,
                    tooltip="loop leaves the last frame out, for a video whose last frame is its first; ping-pong also "
                    "plays it backwards.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    "video", display_name="video", is_output_list=True, tooltip="The saved video or videos."
                ),
                io.Image.Output(
                    "last_frame", display_name="last_frame", tooltip="The last frame, to start the next clip with."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        width: int | None = None,
        height: int | None = None,
        frame_rate: float | None = None,
        format: Any = "mp4",
        quality: Any = "default",
        codec: Any = "auto",
        crf: Any = -1,
        images: object = NOT_CONNECTED,
        latent: object = NOT_CONNECTED,
        vae: object = NOT_CONNECTED,
    ) -> bool | str:
        try:
            check_source(*(source is not NOT_CONNECTED for source in (images, latent, vae)))
            if width and height:
                check_size(width, height)
            if frame_rate is not None:
                check_rate(frame_rate)
            if None not in (format, quality, codec, crf):
                encoding_of(format, quality, codec, crf)
        except FLF2VError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        format: str,
        quality: str,
        images: Pictures | None = None,
        latent: Latent | None = None,
        vae: Vae | None = None,
        codec: str = "auto",
        crf: int = -1,
        **asked: Any,
    ) -> io.NodeOutput:
        """``asked`` is what Request has."""
        check_source(images is not None, latent is not None, vae is not None)
        request = Request(hidden=cls.hidden, encoding=encoding_of(format, quality, codec, crf), **asked)
        check_rate(request.frame_rate)
        saved = save_images(images, request) if images is not None else save_latent(latent or {}, vae, request)
        return io.NodeOutput(
            [InputImpl.VideoFromFile(str(path)) for path in saved.playable],
            saved.last_frames,
            ui=ui.SavedImages([ui.SavedResult(*place, io.FolderType.output) for place in saved.shown], format != "png"),
        )


def check_source(images: bool, latent: bool, vae: bool) -> None:
    """Raise FLF2VError unless either images are connected, or latent and vae."""
    if images + latent != 1 or latent != vae:
        given = [name for name, there in (("images", images), ("latent", latent), ("vae", vae)) if there]
        raise FLF2VError(f"connect either images, or latent and vae; connected: {', '.join(given) or 'none of them'}.")


def check_rate(frame_rate: float) -> None:
    """Raise FLF2VError unless the frame rate lies between 1 and 120."""
    if not MIN_RATE <= frame_rate <= MAX_RATE:
        raise FLF2VError(
            f"frame_rate must be between {MIN_RATE:g} and {MAX_RATE:g} frames per second; got {frame_rate:g}."
        )
