"""The report and the end-frame repairs as nodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.tests.doubles.elsewhere import elsewhere, two_devices

Call = Callable[..., tuple[Any, ...]]


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.rand(5, 32, 48, 3, generator=torch.Generator().manual_seed(0))


def test_report_with_pictures_of_another_size_and_the_vae(call: Call, vae: Any, frames: torch.Tensor) -> None:
    first = torch.rand(1, 64, 96, 3)
    text, figures, plot, strip = call(
        "WanFLF2VReport", images=frames, fit="crop", start_image=first, end_image=frames[-1:], vae=vae
    )
    values = json.loads(figures)
    assert values["last"]["psnr"] is None  # exact
    assert "PSNR exact" in text
    assert values["first"]["ceiling"] > 0
    assert plot.shape[-1] == strip.shape[-1] == 3
    assert plot.shape[0] == strip.shape[0] == 1


def test_report_without_any_picture(call: Call, frames: torch.Tensor) -> None:
    values = json.loads(call("WanFLF2VReport", images=frames, fit="crop")[1])
    assert values["first"] is None
    assert len(values["luma"]) == 5


def test_end_frames_are_left_alone_by_default_and_repaired_when_asked(call: Call, frames: torch.Tensor) -> None:
    node = "WanFLF2VEndFrames"
    assert torch.equal(call(node, images=frames, trim=0, match_colour=0, fit="crop")[0], frames)
    end = frames[-1:] * 0.5
    (repaired,) = call(node, images=frames, trim=1, match_colour=2, fit="crop", end_image=end)
    assert len(repaired) == 4
    assert torch.equal(repaired[:3], frames[:3])
    assert not torch.equal(repaired[3], frames[3])


def test_colour_match_without_a_picture_says_what_to_connect(call: Call, frames: torch.Tensor) -> None:
    with pytest.raises(FLF2VError, match="Connect end_image"):
        call("WanFLF2VEndFrames", images=frames, trim=0, match_colour=2, fit="crop")


def test_pictures_and_video_may_lie_on_different_devices(call: Call, frames: torch.Tensor) -> None:
    picture = torch.rand(1, 64, 96, 3)
    report = {"fit": "crop", "start_image": picture, "end_image": picture, "resize": "lanczos"}
    repair = {"trim": 1, "match_colour": 2, "fit": "pad", "end_image": picture}
    expected = call("WanFLF2VReport", images=frames, **report)
    (repaired,) = call("WanFLF2VEndFrames", images=frames, **repair)
    with two_devices():
        found = call("WanFLF2VReport", images=elsewhere(frames), **report)
        (given,) = call("WanFLF2VEndFrames", images=elsewhere(frames), **repair)
        assert torch.equal(given.cpu(), repaired)
    assert found[:2] == expected[:2]


def test_a_cancel_stops_the_report_and_the_repair(call: Call, frames: torch.Tensor) -> None:
    import comfy.model_management as management

    runs = [
        ("WanFLF2VReport", {"fit": "crop"}),
        ("WanFLF2VEndFrames", {"trim": 0, "match_colour": 2, "fit": "crop", "end_image": frames[-1:]}),
    ]
    for node, inputs in runs:
        management.interrupt_current_processing()
        with pytest.raises(management.InterruptProcessingException):
            call(node, images=frames, **inputs)
