"""Resolution: RunComfy's ten sizes, or any even one."""

from __future__ import annotations

from comfy_api.latest import io

from ..flf2v.sizes import CUSTOM, MAX_SIZE, MIN_SIZE, PRESETS, check_size, preset_size
from .host import schema


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
                io.Combo.Input(
                    "preset",
                    options=[CUSTOM, *PRESETS],
                    default="720x720 (1:1)",
                    tooltip="A common size, or custom to use width and height below.",
                ),
                io.Int.Input(
                    "width",
                    default=832,
                    min=MIN_SIZE,
                    max=MAX_SIZE,
                    step=2,
                    tooltip="Width in pixels for custom; even. Sizes that are no multiple of 16 are rendered "
                    "larger and cropped back when saved.",
                ),
                io.Int.Input(
                    "height",
                    default=480,
                    min=MIN_SIZE,
                    max=MAX_SIZE,
                    step=2,
                    tooltip="Height in pixels for custom; even.",
                ),
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
