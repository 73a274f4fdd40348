"""Resolution: RunComfy's ten sizes, or any even one."""

from __future__ import annotations

from comfy_api.latest import io

from ..flf2v.sizes import CUSTOM, check_size, preset_size
from .host.schema import schema
from .inputs import preset_inputs


class WanFLF2VResolution(io.ComfyNode):
    """Width and height from a preset or by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VResolution",
            display_name="Wan FLF2V Resolution",
            description="The size of the video: one of RunComfy's presets, or any even width and height. "
            "Connect it to the conditioning node and to the save node, so that the file has exactly this size.",
            search_aliases=["size", "aspect ratio", "720p", "width height"],
            inputs=[
                *preset_inputs(" Sizes that are no multiple of 16 are rendered larger and cropped back when saved.")
            ],
            outputs=[
                io.Int.Output("out_width", display_name="width", tooltip="Width in pixels."),
                io.Int.Output("out_height", display_name="height", tooltip="Height in pixels."),
            ],
        )

    @classmethod
    def execute(cls, preset: str, width: int, height: int) -> io.NodeOutput:
        if preset != CUSTOM:
            width, height = preset_size(preset)
        check_size(width, height)
        return io.NodeOutput(width, height)
