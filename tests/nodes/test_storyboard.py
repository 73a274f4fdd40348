"""A storyboard on the real server: what an edit runs and in which order, what is refused, what an interrupt keeps."""

from __future__ import annotations

import asyncio
import json
import urllib.error
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wan_flf2v.engine.client import ComfyClient
from wan_flf2v.engine.errors import Refused
from wan_flf2v.tests.nodes.boards import (
    LENGTHS,
    LOADERS,
    WORK,
    Board,
    board_of,
    film_of,
    graph_of,
    hashes,
    kind_of,
    run,
    states,
    told,
    work,
)


def test_each_edit_runs_only_the_segments_that_it_touches(comfy_server: Any, names: list[str]) -> None:
    board = board_of(names[:5], seed=101, negative="of this test alone")
    first = run(comfy_server, board)
    assert work(first) == {"text": 5, "frames": 4, "high": 4, "low": 4, "clip": 4, "film": 1}
    assert len(hashes(film_of(comfy_server, first))) == sum(LENGTHS) - 3
    assert work(run(comfy_server, board)) == {}, "nothing has changed"
    assert states(told(comfy_server, board)) == {"kept": 4}
    assert states(told(comfy_server, board, width=96)) == {"to do": 4}

    def edit(change: Callable[[Board], Any], **expected: int) -> None:
        change(board)
        before = told(comfy_server, board)
        done = run(comfy_server, board)
        assert work(done) == {"film": 1, **expected}
        made = expected.get("clip", 0)
        assert states(before)["to do"] == made, "what the panel says before a run is what the run does"
        after = told(comfy_server, board)
        assert states(after) == Counter({"done": made, "kept": len(after["segments"]) - made})
        assert after["steps"] == 0
        assert after["frames"] == len(hashes(film_of(comfy_server, done)))
        assert not [node for node in done.executed if node in LOADERS]

    one = {"high": 1, "low": 1, "clip": 1}
    edit(lambda board: board["segments"][1].update(prompt="another"), text=1, **one)
    edit(lambda board: board["segments"][2].update(seed=6), **one)
    edit(lambda board: board["segments"][3].update(steps=3), **one)
    edit(lambda board: board["segments"][0].update(cfg_low=1.5), low=1, clip=1)
    edit(lambda board: board["keyframes"][2].update(picture=names[5]), frames=2, high=2, low=2, clip=2)

    def insert(board: Board) -> None:
        board["keyframes"].insert(2, {"picture": names[2]})
        board["segments"].insert(1, {"prompt": "inserted", "length": 5})

    # of the segment that was cut in two the prompt is known
    edit(insert, text=1, frames=2, high=2, low=2, clip=2)

    def take_out(board: Board) -> None:
        del board["keyframes"][0], board["segments"][0]

    edit(take_out)

    def turn_round(board: Board) -> None:
        board["keyframes"] = [board["keyframes"][-2], board["keyframes"][-1], *board["keyframes"][:-2]]
        board["segments"] = [board["segments"][-1], {"prompt": "new joint", "length": 5}, *board["segments"][:-2]]

    edit(turn_round, text=1, frames=1, **one)

    def close(board: Board) -> None:
        board["closed"] = True
        board["segments"].append({"prompt": "back", "length": 5})

    edit(close, text=1, frames=1, **one)
    frames = sum(segment["length"] for segment in board["segments"]) - len(board["segments"])
    assert told(comfy_server, board)["frames"] == frames
    done = run(comfy_server, {**board, "negative": "ugly"})
    assert work(done)["frames"] == 0
    assert len(hashes(film_of(comfy_server, done))) == frames, "a ring does not repeat its first frame"


def test_all_segments_pass_a_stage_before_the_next_one_begins(comfy_server: Any, names: list[str]) -> None:
    comfy_server.call(lambda client: client.free())
    asyncio.run(asyncio.sleep(1))
    board = board_of(names[:5], seed=202)

    def stages(done: Any) -> list[str]:
        order = [kind_of(node) for node in done.executed if kind_of(node) in WORK or node in LOADERS]
        return [kind for number, kind in enumerate(order) if number == 0 or order[number - 1] != kind]

    first = stages(run(comfy_server, board))
    assert [kind for kind in first if kind in WORK] == ["text", "frames", "high", "low", "clip", "film"]
    assert first.index("high") < first.index("load low"), "the low-noise expert is loaded when it is needed"
    for segment in board["segments"]:
        segment["seed"] = 203
    assert stages(run(comfy_server, board)) == ["high", "low", "clip", "film"]
    board["segments"][2]["seed"] = 204
    assert stages(run(comfy_server, board, cfg_low=1.5)) == ["high", "low", "clip", "film"]


def test_connected_keyframes_are_used_and_a_changed_file_counts_as_an_edit(
    comfy_server: Any, names: list[str], keyframes: list[Path]
) -> None:
    load = {name: {"class_type": "LoadImage", "inputs": {"image": name}} for name in names[:2]}
    own = Path(comfy_server.server.home) / "input" / "changing.png"
    own.write_bytes(keyframes[2].read_bytes())
    board = {"keyframes": [{"slot": 1}, {"slot": 2}, {"picture": own.name}], "length": 5, "prompt": "p", "seed": 505}
    slots = {f"keyframe_{number}": [name, 0] for number, name in enumerate(names[:2], 1)}

    def run_board(board: Board) -> Any:
        done = comfy_server.run({**load, **graph_of(board, **slots)})
        assert done.status == "success", done.error
        return done

    assert work(run_board(board))["high"] == 2
    own.write_bytes(keyframes[3].read_bytes())
    assert work(run_board(board)) == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    own.unlink()
    del board["keyframes"]
    assert work(run_board(board)) == {"film": 1}, "without keyframes in the text the connected ones are taken"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"keyframes": [{"slot": 1}', "the storyboard is no JSON"),
        (json.dumps({"keyframes": [{"slot": 3}, {"slot": 1}]}), "keyframe 1 takes slot 3, but keyframe_3 is not connected"),
        (json.dumps({"keyframes": [{"slot": 1}, {"picture": "no.png"}]}), "keyframe 2: there is no file 'no.png'"),
        (json.dumps({"keyframes": [{"slot": 1}, {"picture": "../../etc/passwd"}]}), "keyframe 2 must be in ComfyUI's input"),
        (json.dumps({"length": 14}), "segment 1: length must be 4n"),
        (json.dumps({"carry": 5, "length": 5}), "segment 1: a length of 5 frames leaves none after the 5"),
        (
            json.dumps({"keyframes": [{"slot": 1}, {"slot": 2, "through": True}, {"slot": 1}], "length": 6}),
            "segment 2: length must be 4n + 1 frames, so that the last frame is not lost in the VAE; got 11.",
        ),
    ],
)  # fmt: skip
def test_bad_boards_are_refused_at_the_door(comfy_server: Any, names: list[str], text: str, message: str) -> None:
    graph = {
        str(number): {"class_type": "LoadImage", "inputs": {"image": names[number]}} for number in range(2)
    } | graph_of(text, keyframe_1=["0", 0], keyframe_2=["1", 0])
    with pytest.raises(Refused) as refused:
        comfy_server.run(graph)
    details = [error["details"] for error in refused.value.node_errors["57"]["errors"]]
    assert any(message in detail for detail in details), details
    with pytest.raises(urllib.error.HTTPError) as told_too:
        told(comfy_server, text, keyframe_1=["0", 0], keyframe_2=["1", 0])
    assert message in json.load(told_too.value)["error"], "the panel says the same"


def test_an_interrupt_keeps_the_stages_that_are_done(comfy_server: Any, names: list[str]) -> None:
    board = board_of(names[:4], LENGTHS[:3], seed=606)
    graph = graph_of(board)

    async def interrupted(client: ComfyClient) -> list[str]:
        events = client.events()
        await anext(events)
        prompt_id = await client.queue(graph)
        executed = []
        async for message in events:
            if message["type"] == "executing":
                executed.append(message["data"]["node"] or "")
                if [kind_of(node) for node in executed].count("low") == 2:
                    await client.interrupt(prompt_id)
                    break
        while await client.history(prompt_id) is None:
            await asyncio.sleep(0.05)
        return executed

    comfy_server.call(interrupted)
    assert work(run(comfy_server, board))["high"] == 0
