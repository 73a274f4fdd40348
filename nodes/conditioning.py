"""First/last-frame conditioning, in one node or as the encode and its application."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host.frames import apply_frames, encode_frames, see_picture
from .host.schema import FRAMES, schema
from .host.types import ClipVision, Conditioning, Pictures
from .inputs import (
    END_TOOLTIP,
    START_TOOLTIP,
    batch_size_input,
    check_widgets,
    fit_input,
    middle_inputs,
    resize_input,
    size_inputs,
    strength_input,
)


class WanFLF2VConditioning(io.ComfyNode):
    """Prompt conditioning and an empty latent for a video between two frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VConditioning",
            display_name="Wan FLF2V Conditioning",
            description="Tells Wan which frames are given: the first, the last, or both. "
            "The frames are encoded once and kept, so editing the prompt costs nothing here.",
            search_aliases=["first last frame", "flf2v", "WanFirstLastFrameToVideo", "start end frame"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="The encoded prompt."),
                io.Conditioning.Input("negative", tooltip="The encoded negative prompt."),
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE; Wan 2.2 A14B uses it too."),
                *size_inputs(),
                batch_size_input(),
                fit_input(),
                io.Image.Input("start_image", optional=True, tooltip=START_TOOLTIP),
                io.Image.Input("end_image", optional=True, tooltip=END_TOOLTIP),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="CLIP vision for Wan 2.1 FLF2V, applied to each picture. Wan 2.2 needs none.",
                ),
                resize_input(),
                *middle_inputs(),
                strength_input("middle_strength", " by positive and negative"),
                strength_input("middle_strength_low", " by positive_low and negative_low"),
            ],
            outputs=[
                *_conditioning_outputs(),
                io.Conditioning.Output(
                    "out_positive_low",
                    display_name="positive_low",
                    tooltip="positive with middle_strength_low, for positive_low of the sampler.",
                ),
                io.Conditioning.Output(
                    "out_negative_low",
                    display_name="negative_low",
                    tooltip="negative with middle_strength_low, for negative_low of the sampler.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, width: Any = None, height: Any = None, length: Any = None, middle_frames: Any = None
    ) -> bool | str:
        return check_widgets(width, height, length, middle_frames)

    @classmethod
    def execute(
        cls,
        positive: Conditioning,
        negative: Conditioning,
        batch_size: int,
        start_image: Pictures | None = None,
        end_image: Pictures | None = None,
        clip_vision: ClipVision | None = None,
        middle_strength: float = 1.0,
        middle_strength_low: float = 1.0,
        **asked: Any,
    ) -> io.NodeOutput:
        """``asked`` is what ``encode_frames`` takes."""
        frames = encode_frames(start_image=start_image, end_image=end_image, **asked)
        first = see_picture(clip_vision, None if start_image is None else start_image[:1])
        last = see_picture(clip_vision, None if end_image is None else end_image[-1:])
        applied = [
            apply_frames(positive, negative, frames, batch_size, first, last, strength)
            for strength in (middle_strength, middle_strength_low)
        ]
        return io.NodeOutput(*applied[0], *applied[1][:2])


class WanFLF2VEncodeFrames(io.ComfyNode):
    """The frames, encoded, without any prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VEncodeFrames",
            display_name="Wan FLF2V Encode Frames",
            description="Encodes the given frames with the VAE, without a prompt, so that the result can serve "
            "several prompts. Wan FLF2V Conditioning does this by itself.",
            search_aliases=["first last frame", "flf2v", "encode start end image"],
            inputs=[
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE; Wan 2.2 A14B uses it too."),
                *size_inputs(),
                fit_input(),
                io.Image.Input("start_image", optional=True, tooltip=START_TOOLTIP),
                io.Image.Input("end_image", optional=True, tooltip=END_TOOLTIP),
                resize_input(),
                *middle_inputs(),
            ],
            outputs=[FRAMES.Output("frames", display_name="frames", tooltip="For Wan FLF2V Apply Frames.")],
        )

    @classmethod
    def validate_inputs(
        cls, width: Any = None, height: Any = None, length: Any = None, middle_frames: Any = None
    ) -> bool | str:
        return check_widgets(width, height, length, middle_frames)

    @classmethod
    def execute(cls, **asked: Any) -> io.NodeOutput:
        return io.NodeOutput(encode_frames(**asked))


class WanFLF2VApplyFrames(io.ComfyNode):
    """Encoded frames put into prompt conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VApplyFrames",
            display_name="Wan FLF2V Apply Frames",
            description="Adds encoded frames to a prompt and makes the empty latent to sample.",
            search_aliases=["first last frame", "flf2v"],
            inputs=[
                io.Conditioning.Input("positive", tooltip="The encoded prompt."),
                io.Conditioning.Input("negative", tooltip="The encoded negative prompt."),
                FRAMES.Input("frames", tooltip="From Wan FLF2V Encode Frames."),
                batch_size_input(),
                io.ClipVisionOutput.Input(
                    "clip_vision_start", optional=True, tooltip="CLIP vision of the first frame; Wan 2.1 only."
                ),
                io.ClipVisionOutput.Input(
                    "clip_vision_end", optional=True, tooltip="CLIP vision of the last frame; Wan 2.1 only."
                ),
                strength_input("middle_strength"),
            ],
            outputs=_conditioning_outputs(),
        )

    @classmethod
    def execute(cls, **given: Any) -> io.NodeOutput:
        return io.NodeOutput(*apply_frames(**given))


def _conditioning_outputs() -> list[Any]:
    return [
        io.Conditioning.Output("out_positive", display_name="positive", tooltip="The prompt with the frames."),
        io.Conditioning.Output("out_negative", display_name="negative", tooltip="The negative prompt with the frames."),
        io.Latent.Output("latent", display_name="latent", tooltip="The empty latent to sample."),
    ]
