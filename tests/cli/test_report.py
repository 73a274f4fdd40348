"""``wan-flf2v report`` measures a real file and refuses what is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from wan_flf2v.cli import main


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A square that crosses the picture, as H.264, with its first and last frame as PNG, in a folder of a user's naming."""
    folder = tmp_path / "ein Ordner ü 日本"
    folder.mkdir()
    path = folder / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "8"}
        for index in range(9):
            pixels = np.full((64, 64, 3), 90, np.uint8)
            pixels[24:40, 4 + 5 * index : 20 + 5 * index] = 240
            if index in (0, 8):
                Image.fromarray(pixels).save(folder / ("first.png" if index == 0 else "last.png"))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_report_of_a_file(video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = video.parent
    ends = ["--first", str(folder / "first.png"), "--last", str(folder / "last.png")]
    pictures = ["--plot", str(folder / "plot.png"), "--filmstrip", str(folder / "strip.png")]
    assert main(["report", str(video), *ends, *pictures, "--json", "--joints", "3, 5"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["frames"] == 9
    assert figures["first"]["psnr"] > 30 < figures["last"]["psnr"]
    assert figures["motion"] > 0.5
    assert Image.open(folder / "plot.png").size == (768, 670)
    assert Image.open(folder / "strip.png").width > 1000
    assert main(["report", str(video), *ends]) == 0
    assert "last frame  PSNR" in capsys.readouterr().out


def test_what_is_no_video_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.mp4"
    assert main(["report", str(path)]) == 1
    assert "there is no video file" in capsys.readouterr().err
    path.write_bytes(b"no video")
    assert main(["report", str(path)]) == 1
    assert "is no video that can be read" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--first", "--last", "--joints"])
def test_a_bad_option_of_a_report_is_named(option: str, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(video), option, "gone.png"]) == 1
    assert option in capsys.readouterr().err


def test_a_plot_that_is_no_picture_by_its_name_is_one_line(video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(video), "--plot", str(video.with_name("plot.none"))]) == 1
    assert "plot.none cannot be written" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wan_flf2v.flf2v.report", None)  # what import makes of it: a missing module
    assert main(["report", str(tmp_path / "video.mp4")]) == 1
    assert "report needs the package wan_flf2v.flf2v.report, which is not installed" in capsys.readouterr().err


def test_a_full_disk_is_one_line(
    video: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device", "video.mp4")

    monkeypatch.setattr("wan_flf2v.flf2v.video_frames.VideoFrames", full)
    assert main(["report", str(video)]) == 1
    assert capsys.readouterr().err == "wan-flf2v: [Errno 28] No space left on device: 'video.mp4'\n"
