"""First/last-frame conditioning: one node for the user, which expands into the encode and its application.

The expansion lets ComfyUI's cache work inside: a prompt edit does not encode the frames again.
"""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..flf2v.frames import check_length
from ..flf2v.sizes import Fit, check_size
from .host.conditioning import join_clip_vision, with_frames
from .host.expansion import GraphBuilder
from .host.frames import EncodedFrames, empty_latent, encode_frames
from .host.schema import FRAMES, RAW_LINK, schema
from .inputs import END_TOOLTIP, START_TOOLTIP, batch_size_input, check_widgets, fit_input, size_inputs

LAST_OF_BATCH = 4095  # ImageFromBatch's highest index; it stops at the last picture


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
            enable_expand=True,
            inputs=[
                io.Conditioning.Input("positive", tooltip="The encoded prompt.", extra_dict=RAW_LINK),
                io.Conditioning.Input("negative", tooltip="The encoded negative prompt.", extra_dict=RAW_LINK),
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE; Wan 2.2 A14B uses it too.", extra_dict=RAW_LINK),
                *size_inputs(),
                batch_size_input(),
                fit_input(),
                io.Image.Input("start_image", optional=True, tooltip=START_TOOLTIP, extra_dict=RAW_LINK),
                io.Image.Input("end_image", optional=True, tooltip=END_TOOLTIP, extra_dict=RAW_LINK),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="CLIP vision for Wan 2.1 FLF2V, applied to each picture. Wan 2.2 needs none.",
                    extra_dict=RAW_LINK,
                ),
            ],
            outputs=_conditioning_outputs(),
        )

    @classmethod
    def validate_inputs(
        cls, width: int | None = None, height: int | None = None, length: int | None = None
    ) -> bool | str:
        return check_widgets(width, height, length)

    @classmethod
    def execute(
        cls,
        positive: Any,
        negative: Any,
        vae: Any,
        width: int,
        height: int,
        length: int,
        batch_size: int,
        fit: Fit,
        start_image: Any = None,
        end_image: Any = None,
        clip_vision: Any = None,
    ) -> io.NodeOutput:
        check_size(width, height)
        check_length(length)
        pictures = {"start": (start_image, 0), "end": (end_image, LAST_OF_BATCH)}
        given = {side: picture for side, picture in pictures.items() if picture[0] is not None}
        graph = GraphBuilder()
        frames = graph.node(
            "WanFLF2VEncodeFrames",
            id="encode",
            vae=vae,
            width=width,
            height=height,
            length=length,
            fit=fit,
            **{f"{side}_image": link for side, (link, _) in given.items()},
        )
        vision = {}
        if clip_vision is not None:
            for side, (link, index) in given.items():
                one = graph.node("ImageFromBatch", id=f"{side}_frame", image=link, batch_index=index, length=1)
                encoded = graph.node(
                    "CLIPVisionEncode", id=f"{side}_vision", clip_vision=clip_vision, image=one.out(0), crop="none"
                )
                vision[f"clip_vision_{side}"] = encoded.out(0)
        apply = graph.node(
            "WanFLF2VApplyFrames",
            id="apply",
            positive=positive,
            negative=negative,
            frames=frames.out(0),
            batch_size=batch_size,
            **vision,
        )
        return io.NodeOutput(apply.out(0), apply.out(1), apply.out(2), expand=graph.finalize())


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
            ],
            outputs=[FRAMES.Output("frames", display_name="frames", tooltip="For Wan FLF2V Apply Frames.")],
        )

    @classmethod
    def validate_inputs(
        cls, width: int | None = None, height: int | None = None, length: int | None = None
    ) -> bool | str:
        return check_widgets(width, height, length)

    @classmethod
    def execute(
        cls,
        vae: Any,
        width: int,
        height: int,
        length: int,
        fit: Fit,
        start_image: torch.Tensor | None = None,
        end_image: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        return io.NodeOutput(encode_frames(vae, width, height, length, fit, start_image, end_image))


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
            ],
            outputs=_conditioning_outputs(),
        )

    @classmethod
    def execute(
        cls,
        positive: Any,
        negative: Any,
        frames: EncodedFrames,
        batch_size: int,
        clip_vision_start: Any = None,
        clip_vision_end: Any = None,
    ) -> io.NodeOutput:
        vision = join_clip_vision(clip_vision_start, clip_vision_end)
        prompts = (with_frames(prompt, frames.latent, frames.mask, vision) for prompt in (positive, negative))
        return io.NodeOutput(*prompts, empty_latent(frames, batch_size))


def _conditioning_outputs() -> list[Any]:
    return [
        io.Conditioning.Output("out_positive", display_name="positive", tooltip="The prompt with the frames."),
        io.Conditioning.Output("out_negative", display_name="negative", tooltip="The negative prompt with the frames."),
        io.Latent.Output("latent", display_name="latent", tooltip="The empty latent to sample."),
    ]
