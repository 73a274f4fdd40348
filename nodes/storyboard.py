"""A storyboard: expands into the clips between its keyframes and into the film that is joined of them.

An edit makes only the clips anew that it touches, and both experts are loaded once for all clips (see in_turn.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io

from ..flf2v.errors import FLF2VError
from ..flf2v.storyboard import MAX_KEYFRAMES, VIDEOS, Storyboard, parse_storyboard
from ..flf2v.video_model import WAN
from .host.expansion import GraphBuilder, composite_schema, is_link, is_read, not_kept, past_shifts
from .host.input_files import input_file, input_picture
from .host.progress import warn_on_node
from .host.schema import SEGMENTS
from .host.types import Link
from .inputs import check_widgets, expert_inputs, fit_input, guidance_input, size_inputs, split_inputs, steps_input
from .save_video import MAX_RATE, MIN_RATE
from .storyboard_clips import ClipNodes, numbered
from .storyboard_runs import begin, clip_keys

IMAGES = 1  # the number of this output
EXAMPLE = '{\n  "prompt": "",\n  "negative": "",\n  "length": 81,\n  "seed": 0\n}'


class WanFLF2VStoryboard(io.ComfyNode):
    """The film between several keyframes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return composite_schema(
            node_id="WanFLF2VStoryboard",
            display_name="Wan FLF2V Storyboard",
            description="Makes one film from 2 to 12 keyframes, with a prompt, a length and a seed for each segment. "
            "An edit runs only the segments that it touches; both experts are loaded once for all of them.",
            search_aliases=["keyframes", "multi frame", "timeline", "segments", "long video", "loop", "flf2v"],
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
            read_early=("storyboard",),
            inputs=[
                *expert_inputs(),
                io.Clip.Input("clip", tooltip="The text encoder (umt5-xxl)."),
                io.Vae.Input("vae", tooltip="The Wan 2.1 VAE; Wan 2.2 A14B uses it too."),
                io.String.Input(
                    "storyboard",
                    default=EXAMPLE,
                    multiline=True,
                    tooltip="The storyboard as JSON: keyframes (picture or slot), segments (prompt, negative, length or "
                    "seconds, seed, steps, cfg, cfg_low, high_steps), and prompt, negative, length, seed for segments "
                    "without their own; closed makes a ring; carry lets motion go on over the joints. Without keyframes: "
                    "the connected ones in their order.",
                ),
                *size_inputs()[:2],
                fit_input(),
                io.Float.Input(
                    "frame_rate",
                    default=float(WAN.frame_rate),
                    min=MIN_RATE,
                    max=MAX_RATE,
                    step=0.01,
                    tooltip="Frames per second of the film. Wan makes 16.",
                ),
                steps_input(),
                guidance_input("cfg", 4.0, "Guidance of the high-noise stage (and of both while cfg_low is 0)."),
                guidance_input("cfg_low", 0.0, "Guidance of the low-noise stage; 0 = same as cfg."),
                *split_inputs(),
                *(
                    io.Image.Input(
                        f"keyframe_{number}",
                        optional=True,
                        tooltip=f'The picture that the storyboard calls {{"slot": {number}}}; of several the first.',
                    )
                    for number in range(1, MAX_KEYFRAMES + 1)
                ),
                io.Video.Input(
                    "video_before",
                    optional=True,
                    tooltip="A video that the film begins with: the first segment goes on from its last frames.",
                ),
                io.Video.Input(
                    "video_after",
                    optional=True,
                    tooltip="A video that the film ends with: the last segment leads to its first frames.",
                ),
            ],
            outputs=[
                io.Video.Output("video", display_name="video", tooltip="The film, for Save Video."),
                io.Image.Output("images", display_name="images", tooltip="Its frames; only made when connected."),
                io.String.Output("report", display_name="report", tooltip="Frames, keyframes and segments in words."),
                SEGMENTS.Output(
                    "segments", display_name="segments", tooltip="Each segment as a video, for Wan FLF2V Segments."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        storyboard: Any = None,
        width: Any = None,
        height: Any = None,
        keyframe_1: Any = None,
        keyframe_2: Any = None,
        keyframe_3: Any = None,
        keyframe_4: Any = None,
        keyframe_5: Any = None,
        keyframe_6: Any = None,
        keyframe_7: Any = None,
        keyframe_8: Any = None,
        keyframe_9: Any = None,
        keyframe_10: Any = None,
        keyframe_11: Any = None,
        keyframe_12: Any = None,
        video_before: Any = None,
        video_after: Any = None,
    ) -> bool | str:
        slots = [keyframe_1, keyframe_2, keyframe_3, keyframe_4, keyframe_5, keyframe_6, keyframe_7, keyframe_8]
        slots += [keyframe_9, keyframe_10, keyframe_11, keyframe_12]
        videos = {"video_before": video_before, "video_after": video_after}
        if isinstance(storyboard, str):  # a linked text comes later
            try:
                read_board(storyboard, _connected(dict(enumerate(slots, 1))), _connected(videos))
            except FLF2VError as error:
                return str(error)
        return check_widgets(width, height, None)

    @classmethod
    def fingerprint_inputs(cls, storyboard: Any = None, **given: Any) -> Any:
        """What else decides the result: the pictures' contents, which video it is, and whether anybody reads the images."""
        files: list[Any] = []
        if isinstance(storyboard, str):
            try:
                videos = _connected({name: given.get(name) for name in VIDEOS})
                board = parse_storyboard(storyboard, range(1, MAX_KEYFRAMES + 1), videos=videos)
                names = {keyframe.picture for _, keyframe in board.keyframes} - {None}
                for name in sorted(map(str, names)):
                    files.append(hashlib.sha256(input_file(name, name).read_bytes()).hexdigest())
                for video in (board.video_before, board.video_after):
                    if video is not None and video.name is not None:
                        found = input_file(video.name, video.slot).stat()
                        files.append((found.st_mtime_ns, found.st_size))
            except FLF2VError:
                pass  # said by validate_inputs and execute
        return [*files, is_read(None, None, IMAGES)]

    @classmethod
    async def execute(
        cls, model_high: Link, model_low: Link, storyboard: str, frame_rate: Any, **given: Any
    ) -> io.NodeOutput:
        slots = {number: given.pop(f"keyframe_{number}", None) for number in range(1, MAX_KEYFRAMES + 1)}
        videos = {name: given.pop(name, None) for name in VIDEOS}
        board = read_board(storyboard, _connected(slots), _connected(videos))
        graph = GraphBuilder()
        high, low = past_shifts(graph, cls.hidden.dynprompt, model_high, model_low)
        wants_images = is_read(cls.hidden.dynprompt, cls.hidden.unique_id, IMAGES)
        clips = ClipNodes(graph, high, low, slots | videos, {**given, "frame_rate": frame_rate}, wants_images).add(
            board
        )
        keys = clip_keys(board, cls.hidden.dynprompt.get_original_prompt(), cls.hidden.unique_id, wants_images)
        made = clips[board.video_before is not None :][: len(board.clips)]
        begin(cls.hidden.unique_id, keys, graph, [clip.out(0) for clip in made])
        files = numbered("clip", [clip.out(0) for clip in clips])
        whole = "0:"
        spans = " ".join(
            [whole] * (board.video_before is not None)
            + [f"{first}:{end}" for first, end in board.spans]
            + [whole] * (board.video_after is not None)
        )
        film = graph.node("WanFLF2VStoryboardFilm", id="film", spans=spans, **files)
        frames = None
        if wants_images:
            images = numbered("images", [clip.out(2) for clip in clips])
            frames = graph.node("WanFLF2VStoryboardImages", id="images", spans=spans, **images).out(0)
        expansion = graph.finalize()
        notes = not_kept(2 * len(expansion))  # those of the edges expand again
        warn_on_node(cls.hidden, notes)
        return io.NodeOutput(
            film.out(0), frames, "\n".join([report(board, frame_rate), *notes]), film.out(1), expand=expansion
        )


def _connected(links: dict[Any, Any]) -> tuple[Any, ...]:
    return tuple(name for name, link in links.items() if link is not None)


def read_board(text: str, slots: Sequence[int], videos: Sequence[str]) -> Storyboard:
    """The storyboard of this text, its pictures and videos there. Raises FLF2VError."""
    board = parse_storyboard(text, slots, videos=videos)
    for video in (board.video_before, board.video_after):
        if video is not None and video.name is not None:
            input_file(video.name, video.slot)
    for number, (_, keyframe) in enumerate(board.keyframes, 1):
        if keyframe.picture is not None:
            input_picture(keyframe.picture, f"keyframe {number}")
    return board


def report(board: Storyboard, frame_rate: Any) -> str:
    """The storyboard in words: its frames, where each keyframe is, and what each segment takes."""
    rate = "" if is_link(frame_rate) else f", {board.frames / frame_rate:.2f} s at {frame_rate:g} per second"
    ring = ", a ring" if board.closed else ""
    segments = sum(1 + len(clip.middle) for clip in board.clips)
    lines = [f"{len(board.keyframes)} keyframes, {segments} segments{ring}: {board.frames} frames{rate}"]
    behind = " behind video_before" if board.video_before else ""
    if board.video_before or board.video_after:
        lines.append("and all frames of " + " and ".join(v.slot for v in (board.video_before, board.video_after) if v))
    lines += [f"keyframe {number} at frame {at}{behind}" for number, (at, _) in enumerate(board.keyframes, 1)]
    if board.carry:
        lines.append(f"one after the other, each from the last {board.carry} frames of the one before it")
    number = 0
    for clip in board.clips:
        first, number = number + 1, number + 1 + len(clip.middle)
        name = f"segments {first} to {number} in one clip" if clip.middle else f"segment {number}"
        own = "".join(f", {setting} {value:g}" for setting, value in clip.settings)
        lines.append(f"{name}: {clip.length} frames, seed {clip.seed}{own}: {clip.prompt}")
    return "\n".join(lines)
