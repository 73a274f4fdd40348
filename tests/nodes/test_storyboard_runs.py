"""What the panel knows of a storyboard's clips: noted at every run, also of the longest board."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

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


def test_a_clips_key_holds_all_that_decides_its_frames_and_nothing_else(comfy: ModuleType) -> None:
    from wan_flf2v.nodes.storyboard_runs import clip_keys

    def keys(*, model: str = "a", file: str = "b.png", first: str = "a.png", second: str = "two", images: bool = False,
             inputs: dict[str, Any] | None = None, **of_all: Any) -> list[str]:  # fmt: skip
        keyframes = [{"picture": first}, {"slot": 1}, {"picture": "c.png"}]
        board = {"keyframes": keyframes, "segments": [{"prompt": "one"}, {"prompt": second}], **of_all}
        graph = {
            "37": {"class_type": "UNETLoader", "inputs": {"unet_name": model}},
            "9": {"class_type": "LoadImage", "inputs": {"image": file}},
            "5": {"inputs": {**GIVEN, "model_high": ["37", 0], "keyframe_1": ["9", 0], **(inputs or {})}},
        }
        return clip_keys(parse_storyboard(json.dumps(board), [1]), graph, "5", images)

    before = keys()
    changes: list[tuple[dict[str, Any], list[bool]]] = [
        ({}, [True, True]),
        ({"inputs": {"steps": 4.0, "storyboard": "{ }"}}, [True, True]),
        ({"second": "other"}, [True, False]),
        ({"first": "other.png"}, [False, True]),
        ({"file": "other.png"}, [False, False]),
        *(
            ({name: value}, [False, False])
            for name, value in (("model", "b"), ("images", True), ("carry", 5), ("colour", False))
        ),
        *(({"inputs": {name: 7}}, [False, False]) for name in GIVEN),
    ]
    for change, same in changes:
        assert [key == known for key, known in zip(keys(**change), before, strict=True)] == same, change
