"""A storyboard's clips, each as a video of its own."""

from __future__ import annotations

from comfy_api.latest import io

from ..flf2v.errors import FLF2VError
from ..flf2v.storyboard import MAX_KEYFRAMES
from .host.pieces import video_of
from .host.schema import SEGMENTS, schema


class WanFLF2VSegments(io.ComfyNode):
    """The videos of a storyboard's segments."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="WanFLF2VSegments",
            display_name="Wan FLF2V Segments",
            description="The segments of a storyboard as videos of their own, each whole with both its keyframes, as they "
            "were made: nothing is encoded again. Save Video behind it saves each.",
            search_aliases=["split film", "clips", "segment videos", "storyboard parts"],
            inputs=[
                SEGMENTS.Input("segments", tooltip="From Wan FLF2V Storyboard."),
                io.Int.Input(
                    "number",
                    default=0,
                    min=0,
                    max=MAX_KEYFRAMES + 1,
                    tooltip="Which one, from 1; 0 = all of them. Segments that go on in one clip are one video.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    "videos", display_name="videos", is_output_list=True, tooltip="The videos, one after the other."
                )
            ],
        )

    @classmethod
    def execute(cls, segments: tuple[str, ...], number: int) -> io.NodeOutput:
        if number > len(segments):
            raise FLF2VError(f"number must be at most {len(segments)}, as many videos as there are; got {number}.")
        return io.NodeOutput([video_of(path) for path in (segments[number - 1 : number] if number else segments)])
