"""What the panel knows of a storyboard's clips: noted at every run, also of the longest board."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from wan_flf2v.flf2v.storyboard import parse_storyboard

GIVEN = {
    **{"vae": ["39", 0], "clip": ["38", 0], "fit": "crop", "width": 64, "height": 48, "frame_rate": 16.0, "steps": 4},
    **{"sampler_name": "euler", "scheduler": "simple", "boundary": 0.9, "high_steps": -1, "cfg": 1.0, "cfg_low": 0.0},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("carry", [0, 5])
def test_the_longest_board_is_noted_at_once_and_each_node_belongs_to_one_clip(comfy: ModuleType, carry: int) -> None:
    """Regression: with carried frames every way to a clip's nodes was walked, five times as many for each clip more."""
    from wan_flf2v.nodes.host.expansion import GraphBuilder
    from wan_flf2v.nodes.storyboard_clips import ClipNodes
    from wan_flf2v.nodes.storyboard_runs import begin, made_of

    keyframes = [{"picture": f"{number}.png"} for number in range(12)]
    board = parse_storyboard(json.dumps({"keyframes": keyframes, "carry": carry, "length": 9}))
    graph = GraphBuilder()
    videos = [clip.out(0) for clip in ClipNodes(graph, ["37", 0], ["56", 0], {}, GIVEN, images=False).add(board)]
    begin("board", [str(number) for number in range(11)], graph, videos)
    nodes = [made.nodes for made in made_of("board").values()]
    assert len(nodes) == 11
    assert all(video[0] in own for video, own in zip(videos, nodes, strict=True))
    assert sum(map(len, nodes)) == len(frozenset().union(*nodes))
