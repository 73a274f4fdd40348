"""What a storyboard is made of beside its clips: given videos, and pictures of the input folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.tests.nodes.boards import board_of, film_of, graph_of, pixels_of, run, work


@pytest.mark.parametrize("name", ["video_before", "video_after"])
def test_a_video_shorter_than_the_joint_is_refused_with_both_numbers(
    call: Callable[..., tuple[Any, ...]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths
    from comfy_api.latest import InputImpl, Types

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=torch.rand(4, 48, 64, 3), frame_rate=16))
    asked = {"width": 64, "height": 48, "fit": "crop", "frame_rate": 16.0, "whole": False}
    assert len(call("WanFLF2VStoryboardVideo", video=video, name=name, kept=4, **asked)[1]) == 4
    with pytest.raises(FLF2VError, match=f"^{name} has 4 frames, fewer than the 5 that join it to a segment.$"):
        call("WanFLF2VStoryboardVideo", video=video, name=name, kept=5, **asked)


def test_a_link_in_the_input_folder_is_followed_and_nothing_leads_out_of_it(
    comfy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    from wan_flf2v.nodes.host.input_files import input_file

    folder, elsewhere = tmp_path / "input", tmp_path / "elsewhere"
    for each in (folder, elsewhere):
        each.mkdir()
    (elsewhere / "a.png").write_bytes(b"a")
    (folder / "shared").symlink_to(elsewhere)
    monkeypatch.setattr(folder_paths, "input_directory", str(folder))
    assert input_file("shared/a.png", "keyframe 1").read_bytes() == b"a"
    for name in ("../elsewhere/a.png", str(elsewhere / "a.png"), "shared/../../elsewhere/a.png"):
        with pytest.raises(FLF2VError, match="keyframe 1 must be in ComfyUI's input folder"):
            input_file(name, "keyframe 1")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "^keyframe 2: 'b.png' is no picture that can be read. Give a PNG, JPEG or WebP.$"),
        (
            "tiny",
            "^keyframe 2: a picture must be between 16 and 16384 pixels on each side; got 1 x 1. Give a larger one.$",
        ),
    ],
)
def test_a_keyframe_that_can_be_no_frame_is_refused_before_a_run(
    comfy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    import folder_paths

    from wan_flf2v.nodes.storyboard import read_board

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    if kind == "text":
        (tmp_path / "b.png").write_text("no picture")
    else:
        Image.new("RGB", (1, 1)).save(tmp_path / "b.png")
    with pytest.raises(FLF2VError, match=message):
        read_board('{"keyframes": [{"picture": "a.png"}, {"picture": "b.png"}]}', (), ())


def test_of_an_animated_keyframe_the_first_picture_is_taken(comfy_server: Any, names: list[str]) -> None:
    folder = Path(comfy_server.server.home) / "input"
    with Image.open(folder / names[0]) as picture:
        still = picture.convert("RGB").resize((80, 60)).quantize(64)
    others = [still.rotate(angle) for angle in (90, 180, 270)]
    still.save(folder / "still.gif")
    still.save(folder / "animated.gif", save_all=True, append_images=others)
    films = []
    for name in ("still.gif", "animated.gif"):
        done = run(comfy_server, board_of([name, names[1], name], (9, 5), seed=350))
        assert work(done)["film"] == 1
        films.append(pixels_of(film_of(comfy_server, done)))
    assert np.array_equal(*films)


def test_swapped_experts_are_refused_before_anything_is_loaded(comfy_server: Any, names: list[str]) -> None:
    graph = graph_of(board_of(names[:2], (5,), seed=351), model_high=["54", 1], model_low=["54", 0])
    done = comfy_server.run(graph)
    assert "the unet_name files are swapped: " in done.error
    assert not done.ran("37")
    assert not done.ran("56")
