"""The demo's words, and the progress that it and generate show."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from wan_flf2v.cli import main, progress
from wan_flf2v.cli.progress import JobProgress
from wan_flf2v.cli.video import terminal_filmstrip
from wan_flf2v.workflows import first_last_workflows
from wan_flf2v.workflows.bindings import Bindings

GRAPH = Bindings.load().graph


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def step(node: str, value: int, of: int) -> tuple[str, dict[str, Any]]:
    return "progress", {"node": node, "value": value, "max": of}


def test_a_phase_that_is_come_back_to_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with JobProgress(GRAPH, 4) as shown:
        shown.phase("Queued")
        for node in ("67", "37", "67.0.0.encode"):
            shown.message("executing", {"node": node})
    lines = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["Queued", "Encoding the frames", "Loading the models"]


def test_the_time_that_is_left_counts_steps_and_not_what_was_loaded_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with JobProgress(GRAPH, 20) as shown:
        clock.now = 300  # the models are read
        for value in (1, 2, 3):
            clock.now += 10
            shown.message(*step("57.0.0.high", value, 10))
        clock.now += 200  # the other expert is read
        for value in (1, 2):
            clock.now += 10
            shown.message(*step("57.0.0.low", value, 10))
    told = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert told[0] == "High noise, step 1 of 10"
    assert told[1] == "High noise, step 2 of 10, 3:00 of sampling left"
    assert told[-1] == "Low noise, step 2 of 10, 1:20 of sampling left"


def test_the_parts_of_a_continuous_run_count_the_steps_of_the_whole_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with JobProgress(GRAPH, 8) as shown:
        for node, value in (("high", 1), ("high", 2), ("low", 3), ("low", 4)):
            clock.now += 10
            shown.message(*step(f"57.0.0.part_{node}", value, 8))
    told = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert told[-1] == "Sampling, step 4 of 8, 0:40 of sampling left"
    assert shown._steps == 8, "what the bar counts to"


def test_a_first_model_and_an_own_low_stage_count_more_steps_than_the_job_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    with JobProgress(GRAPH, 8) as shown:
        for stage, steps in (("first", 5), ("high", 2), ("low", 5)):
            for value in range(1, steps + 1):
                clock.now += 10
                shown.message(*step(f"57.0.0.{stage}", value, steps))
    told = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert told[4] == "First model, step 5 of 5, 0:30 of sampling left"
    assert told[-2:] == ["Low noise, step 4 of 5, 0:10 of sampling left", "Low noise, step 5 of 5"]


def test_a_terminal_has_a_bar_with_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with JobProgress(GRAPH, 20) as shown:
        for value in (1, 2):
            shown.message(*step("57.0.0.high", value, 10))
    assert "High noise, step 2 of 10" in terminal.getvalue()
    assert "2/20 steps" in terminal.getvalue()
    assert "of sampling left" in terminal.getvalue()


@pytest.mark.parametrize("workflow", [name for name in first_last_workflows() if name != "wan22_flf2v"])
def test_a_workflow_without_micro_models_asks_for_the_real_ones(
    workflow: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["demo", "--workflow", workflow, "--out", str(tmp_path / "x.mp4")]) == 1
    assert "--models" in capsys.readouterr().err


@pytest.fixture
def red_to_blue(tmp_path: Path) -> Path:
    """A video of seven frames that begins red and ends blue."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv444p"
        for index in range(7):
            colour = np.array([255 - 40 * index, 0, 40 * index], np.uint8)
            frame = av.VideoFrame.from_ndarray(np.broadcast_to(colour, (32, 64, 3)).copy(), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_terminal_with_colours_shows_the_video_from_its_first_to_its_last_frame(
    red_to_blue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("COLUMNS", "80")
    line = terminal_filmstrip(red_to_blue).splitlines()[0]
    colours = [tuple(map(int, part.split(";")[:3])) for part in line.split("\x1b[38;2;")[1:]]
    assert len(colours) <= 80
    assert colours[0][0] > 200 > 60 > colours[0][2]
    assert colours[-1][2] > 200 > 60 > colours[-1][0]
    monkeypatch.delenv("COLORTERM")
    monkeypatch.delenv("WT_SESSION", raising=False)
    assert terminal_filmstrip(red_to_blue) == ""
