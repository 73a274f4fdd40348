"""What ComfyUI still keeps of each storyboard's clips: noted when they run, so that the panel can say what a run will do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..flf2v.storyboard import MAX_KEYFRAMES, VIDEOS, Storyboard, Video
from .host.expansion import GraphBuilder, is_link
from .host.types import Link

Graph = Mapping[str, Any]


@dataclass
class Made:
    """A clip of the last run: its nodes and, once it is there, its video and the run that made it."""

    nodes: frozenset[str]
    clip_node: str
    video: Path | None = None
    run: str | None = None


_made: dict[str, dict[str, Made]] = {}  # by the storyboard's node, then by all that decides the clip


def begin(node_id: str, keys: Sequence[str], graph: GraphBuilder, videos: Sequence[Link]) -> None:
    """Remember the clips of the run that begins, by their keys; ComfyUI drops what is not among them.

    ``graph`` is what the storyboard expands to, ``videos`` the clips' links in it.
    """
    before, now = _made.get(node_id, {}), {}
    earlier: set[str] = set()
    for key, video in zip(keys, videos, strict=True):
        nodes = _above(graph, video[0])  # with carried frames those of the clip before, too
        known = before.get(key)
        kept = (known.video, known.run) if known is not None else (None, None)
        now[key] = Made(frozenset(nodes - earlier), video[0], *kept)
        earlier |= nodes
    _made[node_id] = now


def _above(graph: GraphBuilder, node_id: str) -> set[str]:
    """The node and all that it needs; each looked at once, for with carried frames many ways lead to a clip's first node."""
    found, rest = {node_id}, [node_id]
    while rest:
        links = filter(is_link, graph.nodes[rest.pop()].inputs.values())
        new = {link[0] for link in links if link[0] in graph.nodes} - found
        found |= new
        rest += new
    return found


def finish(node_id: str, clip_node: str, video: Path, run: str) -> None:
    """Remember a clip's video, and in which run it was made."""
    for made in _made.get(node_id, {}).values():
        if made.clip_node == clip_node:
            made.video, made.run = video, run


def made_of(node_id: str) -> Mapping[str, Made]:
    """The clips of this node's last run."""
    return _made.get(node_id, {})


def clip_keys(board: Storyboard, graph: Graph, node_id: str, images: bool) -> list[str]:
    """For each clip all that decides its frames, by the prompt's graph; ``images``: whether those are asked for."""
    inputs = graph[node_id]["inputs"]
    own = {f"keyframe_{number}" for number in range(1, MAX_KEYFRAMES + 1)} | {"storyboard", *VIDEOS}
    around = {name: value for name, value in inputs.items() if name not in own}
    known: dict[str, str] = {}
    rest = _digest(graph, [images, board.carry, board.colour, around], known)
    keys = []
    for clips in board.identities:
        ends = [each for clip in clips for each in (clip.start, clip.end, *(keyframe for _, keyframe in clip.middle))]
        links = [inputs.get(end.slot if isinstance(end, Video) else f"keyframe_{end.slot}") for end in ends]
        keys.append(_digest(graph, [rest, repr(clips), links], known))
    return keys


def _digest(graph: Graph, value: Any, known: dict[str, str]) -> str:
    """A name for the value, links in it followed to all that they come from."""
    if is_link(value) and value[0] in graph:
        node_id, output = value
        if node_id not in known:
            node = graph[node_id]
            known[node_id] = _digest(graph, [node["class_type"], node["inputs"]], known)
        value = [known[node_id], output]
    elif isinstance(value, Mapping):
        value = [[name, _digest(graph, each, known)] for name, each in sorted(value.items())]
    elif isinstance(value, list):
        value = [_digest(graph, each, known) for each in value]
    elif isinstance(value, float) and value.is_integer():
        value = int(value)  # a run makes 4 to 4.0
    return hashlib.sha256(repr(value).encode()).hexdigest()
