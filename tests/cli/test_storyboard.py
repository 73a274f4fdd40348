"""``wan-flf2v storyboard`` on the real ComfyUI, and what it refuses before anything starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import av
import pytest

from wan_flf2v.cli import main
from wan_flf2v.cli.storyboard import read_job

SMALL = ["--set", "width=64", "--set", "height=48", "--set", "steps=2", "--set", "high_steps=1"]


@pytest.fixture
def board(tmp_path: Path, pictures: tuple[Path, Path]) -> tuple[Path, dict[str, Any]]:
    """A storyboard's file beside its pictures, and what is in it."""
    folder = tmp_path / "scene"
    folder.mkdir()
    for picture, name in zip((*pictures, pictures[0]), "abc", strict=True):
        shutil.copy(picture, folder / f"{name}.png")
    data = {"keyframes": [{"picture": f"{name}.png"} for name in "abc"], "length": 9, "prompt": "p", "closed": True}
    path = folder / "board.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path, data


def test_a_storyboard_becomes_one_film_and_again_from_what_comfyui_has_kept(
    comfy_server: Any, board: tuple[Path, dict[str, Any]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["storyboard", str(board[0]), "--comfyui-url", comfy_server.url, *SMALL]
    assert main([*command, "--out", str(tmp_path / "film.mp4")]) == 0
    said = capfd.readouterr()
    for phase in (
        "Encoding the prompts",
        "Encoding the frames",
        "High noise, step 1 of 1",
        "Low noise",
        "Joining the film",
    ):
        assert phase in said.err
    with av.open(str(tmp_path / "film.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 24
    assert main([*command, "--out", str(tmp_path / "again.mp4")]) == 0
    assert "step" not in capfd.readouterr().err
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "film.mp4").read_bytes()


def test_the_graph_names_pictures_and_videos_as_comfyui_has_them(board: tuple[Path, dict[str, Any]]) -> None:
    path, data = board
    videos = {"video_before": "v.mp4", "closed": False}
    (path.parent / "v.mp4").touch()
    path.write_text(json.dumps({**data, **videos}), encoding="utf-8")
    job = read_job(path, [])
    assert job.pictures == {name: path.parent / name for name in ("a.png", "b.png", "c.png", "v.mp4")}
    text = json.loads(job.graph_with({name: f"sent/{name}" for name in job.pictures})["57"]["inputs"]["storyboard"])
    assert [keyframe["picture"] for keyframe in text["keyframes"]] == ["sent/a.png", "sent/b.png", "sent/c.png"]
    assert text["video_before"] == "sent/v.mp4"
    text = json.loads(job.graph_with({name: f"other/{name}" for name in job.pictures})["57"]["inputs"]["storyboard"])
    assert text["keyframes"][0] == {"picture": "other/a.png"}, "each ComfyUI has names of its own"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keyframes": [{"picture": "a.png"}]}, "board.json: a storyboard needs between 2 and 12 keyframes"),
        ({"keyframes": [{"picture": "a.png"}, {"picture": "z.png"}]}, "keyframe 2: there is no file"),
        ({"keyframes": [{"picture": "a.png"}, {"slot": 1}]}, "keyframe 2 takes slot 1"),
        ({"keyframes": [{"picture": "a.png"}, {"picture": "board.json"}]}, "keyframe 2: board.json is no picture"),
        (
            {"closed": False, "video_before": "gone.mp4", "segments": [{}, {}, {}]},
            "video_before: there is no file",
        ),
        ({"length": 14}, "segment 1: length must be 4n + 1"),
        ({"promt": "x"}, 'the storyboard has no field "promt"'),
        ({"prompt": "x" * 100_000}, "prompt must have between 0 and 10000 characters"),
        ({"carry": 9, "length": 9}, "segment 1: a length of 9 frames leaves none after the 9"),
    ],
)
def test_a_bad_board_is_one_line_before_anything_starts(
    board: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    path, data = board
    path.write_text(json.dumps({**data, **change}), encoding="utf-8")
    assert (
        main(["storyboard", str(path), "--comfyui-url", "http://127.0.0.1:9", "--out", str(path.parent / "f.mp4")]) == 1
    )
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "length=5"], "--set takes INPUT=VALUE with one of width, height"),
        (["--set", "width=wide"], "--set width takes a number; got 'wide'"),
        (["--set", "width=[1]"], "--set width takes a number"),
        (["--set", "width=true"], "--set width takes a number; got 'true'"),
        (["--set", "cfg=NaN"], "--set cfg takes a number; got 'NaN'"),
        (["--out", "film.avi"], "--out must end in .mp4"),
    ],
)
def test_a_bad_argument_is_one_line(
    board: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["storyboard", str(board[0]), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_cut_or_missing_file_is_one_line(
    board: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    board[0].write_bytes(board[0].read_bytes()[:40] + b"\xff")
    assert main(["storyboard", str(board[0])]) == 1
    assert main(["storyboard", str(board[0].with_name("no.json"))]) == 1
    board[0].write_text('{"keyframes": [{"pic', encoding="utf-8")
    assert main(["storyboard", str(board[0])]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    for line, message in zip(said, ("it is no UTF-8", "cannot be read", "is no JSON"), strict=True):
        assert message in line
