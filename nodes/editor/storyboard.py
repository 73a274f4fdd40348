"""What the storyboard's panel shows: the film's length, and for each segment whether a run makes it or finds it kept."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ...flf2v.errors import FLF2VError
from ...flf2v.storyboard import MAX_KEYFRAMES, VIDEOS, Clip
from ..host.expansion import is_link, not_kept
from ..host.pieces import temporary_folder
from ..host.progress import last_run
from ..storyboard import IMAGES, read_board
from ..storyboard_runs import Made, clip_keys, made_of

NODE = "WanFLF2VStoryboard"


def storyboard_preview(body: object) -> dict[str, Any]:
    """The frames, the seconds and the steps to come of the storyboard ``node`` in the API graph ``graph``, and its segments.

    A segment is ``kept`` (of an earlier run), ``done`` (in the last run), ``running`` or ``to do``. Raises FLF2VError.
    """
    graph, node_id = _asked(body)
    inputs = graph[node_id]["inputs"]
    text = inputs.get("storyboard")
    if not isinstance(text, str):
        raise FLF2VError("the storyboard is linked, so it is known after a run.")
    slots = [number for number in range(1, MAX_KEYFRAMES + 1) if f"keyframe_{number}" in inputs]
    board = read_board(text, slots, [name for name in VIDEOS if name in inputs])
    images = any(value == [node_id, IMAGES] for node in graph.values() for value in node["inputs"].values())
    run = last_run()
    kept = run is not None and node_id in run.graph and not not_kept(0)
    made = made_of(node_id) if kept else {}
    segments: list[dict[str, Any]] = []
    to_come: dict[str, int] = {}  # an equal clip is made once
    for clip, key in zip(board.clips, clip_keys(board, graph, node_id, images), strict=True):
        state = _state(made.get(key), run)
        steps = dict(clip.settings).get("steps", inputs.get("steps"))
        if state["state"] in ("to do", "running"):
            to_come[key] = steps if isinstance(steps, int) else 0
        segments += [{"length": length, **state} for length in _lengths(clip)]
    rate = inputs.get("frame_rate")
    return {
        "keyframes": len(board.keyframes),
        "frames": board.frames,
        "seconds": board.frames / rate if isinstance(rate, (int, float)) and rate > 0 else None,
        "steps": None if is_link(inputs.get("steps")) else sum(to_come.values()),
        "segments": segments,
    }


def _asked(body: object) -> tuple[Mapping[str, Any], str]:
    asked = body if isinstance(body, Mapping) else {}
    graph, node_id = asked.get("graph"), asked.get("node")
    if not isinstance(graph, Mapping) or not all(
        isinstance(each, Mapping) and isinstance(each.get("inputs"), Mapping) for each in graph.values()
    ):
        raise FLF2VError("graph must be a graph as ComfyUI's API takes it.")
    if not isinstance(node_id, str) or graph.get(node_id, {}).get("class_type") != NODE:
        raise FLF2VError("this storyboard takes no part in a run: it, or what it needs, is muted or bypassed.")
    return graph, node_id


def _state(made: Made | None, run: Any) -> dict[str, Any]:
    if made is not None and made.video is not None and made.video.is_file():
        file = {"filename": made.video.name, "subfolder": temporary_folder().name, "type": "temp"}
        return {"state": "done" if made.run == run.id else "kept", "video": file}
    at_work = run.at_work.keys() & made.nodes if made is not None and run.live else ()
    if at_work:
        return {"state": "running", "progress": max(run.at_work[node] for node in at_work)}
    return {"state": "to do"}


def _lengths(clip: Clip) -> list[int]:
    """The length of each segment of a clip: one more than there are keyframes that it goes through."""
    ends = [0, *(at for at, _ in clip.middle), clip.length - 1]
    return [end - first + 1 for first, end in pairwise(ends)]
