"""A storyboard's clips on the real server are the clips made alone, also gone through, carried on and between videos."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from wan_flf2v.engine.errors import Refused
from wan_flf2v.tests.nodes.boards import (
    LENGTHS,
    WORK,
    board_of,
    clip_alone,
    files_of,
    film_graph,
    film_of,
    graph_of,
    hashes,
    kind_of,
    picture,
    pixels_of,
    run,
    work,
)


def test_the_films_frames_are_the_clips_frames_and_a_clip_alone_is_the_same_work(
    comfy_server: Any, names: list[str]
) -> None:
    board = board_of(names[:3], LENGTHS[:2], seed=303)
    film = hashes(film_of(comfy_server, run(comfy_server, board)))
    alone = run(comfy_server, {**board, "keyframes": board["keyframes"][1:], "segments": board["segments"][1:]})
    assert work(alone) == {"film": 1}
    last = hashes(film_of(comfy_server, alone))
    assert len(last) == LENGTHS[1]
    assert film[LENGTHS[0] - 1 :] == last
    assert len(film) == len(set(film)) == sum(LENGTHS[:2]) - 1

    # each segment as a video of its own: whole, the same frames, and no work for it
    graph = graph_of(board)
    for number in (0, 2, 3):
        graph[f"8{number}"] = {"class_type": "WanFLF2VSegments", "inputs": {"segments": ["57", 3], "number": number}}
        saved = {"video": [f"8{number}", 0], "filename_prefix": "storyboard/part", "format": "auto", "codec": "auto"}
        graph[f"9{number}"] = {"class_type": "SaveVideo", "inputs": saved}
    refused = comfy_server.run(graph)
    assert "number must be at most 2, as many videos as there are; got 3" in refused.error
    del graph["83"], graph["93"]
    done = comfy_server.run(graph)
    assert (done.status, work(done)) == ("success", Counter())
    parts = [hashes(path) for path in files_of(comfy_server, done, "90")]
    assert [len(part) for part in parts] == list(LENGTHS[:2])
    assert parts[0][:-1] + parts[1] == hashes(film_of(comfy_server, done))
    assert [hashes(path) for path in files_of(comfy_server, done, "92")] == parts[1:]


def test_a_keyframe_gone_through_is_a_middle_frame_of_one_clip(comfy_server: Any, names: list[str]) -> None:
    board = board_of(names[:3], (8, 6), seed=313)
    board["keyframes"][1]["through"] = True
    del board["segments"][1]["prompt"]
    done = run(comfy_server, board)
    first = work(done)
    first.pop("text", None)  # an earlier test may have had the same prompts
    assert first == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 8 + 6 - 1
    held = copy.deepcopy(board)
    held["keyframes"][1] |= {"strength": 0.5, "strength_low": 1.0}
    assert work(run(comfy_server, held)) == {"high": 1, "low": 1, "clip": 1, "film": 1}, "nothing is encoded again"
    held["keyframes"][1]["strength_low"] = 0.25
    done = run(comfy_server, held)
    assert work(done) == {"low": 1, "clip": 1, "film": 1}
    weak = pixels_of(film_of(comfy_server, done))
    edited = copy.deepcopy(board)
    edited["keyframes"][1]["picture"] = names[3]
    assert work(run(comfy_server, edited)) == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    edited["segments"][0]["length"], edited["segments"][1]["length"] = 6, 8
    assert work(run(comfy_server, edited)) == {"frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}

    for made, strengths in ((film, {}), (weak, {"middle_strength": 0.5, "middle_strength_low": 0.25})):
        middle = {"middle_images": picture(names[1]), "middle_frames": "7", **strengths}
        done = comfy_server.run(film_graph([clip_alone(names[0], names[2], 13, 313, **middle)], "0:13"))
        assert done.status == "success", done.error
        alone = pixels_of(film_of(comfy_server, done))
        assert np.abs(alone - made).mean() < 0.5, "the same clip, made by the other nodes"
    assert np.abs(weak - film).mean() > 0.5


def test_a_segment_starts_with_the_last_frames_of_the_one_before(comfy_server: Any, names: list[str]) -> None:
    first, middle, last = names[4::-2]  # ends of no other test, whose encoded frames may be kept
    board = board_of([first, middle, last], (9, 13), carry=5, colour=False)
    for segment, seed in zip(board["segments"], (321, 322), strict=True):
        segment |= {"prompt": "prompt 0", "seed": seed}
    done = run(comfy_server, board)
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 9 + 13 - 5
    order = [kind_of(node) for node in done.executed if kind_of(node) in WORK]
    assert [kind for kind in order if kind != "text"] == [*["frames", "high", "low", "clip"] * 2, "film"]
    board["segments"][1]["seed"] = 323
    assert work(run(comfy_server, board)) == {"high": 1, "low": 1, "clip": 1, "film": 1}, "the first one is kept"
    board["segments"][0]["seed"] = 324
    assert work(run(comfy_server, board)) == {"frames": 1, "high": 2, "low": 2, "clip": 2, "film": 1}

    clips = [clip_alone(first, middle, 9, 321), clip_alone(["tail321", 0], last, 13, 322, carried=5)]
    done = comfy_server.run(film_graph(clips, "0:9 5:13"))
    assert done.status == "success", done.error
    alone = pixels_of(film_of(comfy_server, done))
    assert np.abs(alone - film).mean() < 0.5, "the same clips, the second on the first one's last five frames"


def test_a_video_is_extended_and_two_are_connected(comfy_server: Any, names: list[str]) -> None:
    source = film_of(comfy_server, run(comfy_server, board_of(names[:3], (9, 9), seed=331)))
    own = Path(comfy_server.server.home) / "input" / "before.mp4"
    own.write_bytes(source.read_bytes())
    video = pixels_of(source)
    assert len(video) == 17
    board = {"video_before": own.name, "keyframes": [{"picture": names[3]}], "length": 13, "carry": 5}
    board |= {"prompt": "on", "seed": 332}
    done = run(comfy_server, board)
    assert work(done) == {"text": 1, "frames": 1, "high": 1, "low": 1, "clip": 1, "film": 1}
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 17 + 13 - 5
    assert np.abs(film[:17] - video).mean() < 4, "its frames, encoded once more"

    load = {"loaded": {"class_type": "LoadVideo", "inputs": {"file": own.name}}}
    graph = load | graph_of({**board, "keyframes": []}, video_after=["loaded", 0])
    graph["preview"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["57", 1], "filename_prefix": "storyboard/frame"},
    }
    done = comfy_server.run(graph)
    assert done.status == "success", done.error
    film = pixels_of(film_of(comfy_server, done))
    assert len(film) == 17 + 13 - 2 * 5 + 17 == len(done.record["outputs"]["preview"]["images"])
    assert np.abs(film[:17] - video).mean() < 4
    assert np.abs(film[-17:] - video).mean() < 4
    graph["57"]["inputs"]["storyboard"] = json.dumps({**board, "keyframes": [], "seed": 333})
    done = comfy_server.run(graph)
    assert work(done) == {"high": 1, "low": 1, "clip": 1, "film": 1}
    assert not any(kind_of(node) == "given" for node in done.executed), "the videos are not read again"

    done = comfy_server.run(graph_of(board, frame_rate=24.0))
    assert done.status == "error"
    assert "video_before has 16 frames per second and the film 24: set frame_rate to 16" in done.error
    own.unlink()
    with pytest.raises(Refused) as refused:
        comfy_server.run(graph_of(board))
    assert "video_before: there is no file 'before.mp4'" in str(refused.value.node_errors)


def test_images_are_made_only_for_somebody_who_reads_them(comfy_server: Any, names: list[str]) -> None:
    graph = graph_of(board_of(names[:3], LENGTHS[:2], seed=404), width=50, height=34)
    done = comfy_server.run(graph)
    assert done.status == "success", done.error
    assert not done.ran("images")
    film = film_of(comfy_server, done)
    graph["preview"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["57", 1], "filename_prefix": "storyboard/frame"},
    }
    done = comfy_server.run(graph)
    assert done.status == "success", done.error
    assert work(done) == {"clip": 2, "film": 1}, "frames were decoded, nothing was sampled"
    saved = [
        Path(comfy_server.output) / item["subfolder"] / item["filename"]
        for item in done.record["outputs"]["preview"]["images"]
    ]
    assert len(saved) == len(hashes(film)) == sum(LENGTHS[:2]) - 1
    with av.open(str(film)) as video:
        shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    for number, path in enumerate(saved):
        with Image.open(path) as picture:
            assert picture.size == (50, 34)
            distances = [np.abs(np.asarray(picture).astype(int) - frame).mean() for frame in shown]
        assert distances.index(min(distances)) == number, "the same frames in the same order"
