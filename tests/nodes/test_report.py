"""The report and the end-frame repairs as nodes."""

from __future__ import annotations

import json
import struct
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.video_frames import VideoFrames
from wan_flf2v.tests.doubles.elsewhere import elsewhere, two_devices

Call = Callable[..., tuple[Any, ...]]


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.rand(5, 32, 48, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def write_video(comfy: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Writes frames as Save Video does; returns the file."""
    from wan_flf2v.nodes.host.codecs import encoding_of
    from wan_flf2v.nodes.host.video_files import to_pixels
    from wan_flf2v.nodes.host.writer import Contents, open_writer

    def write(frames: torch.Tensor, format: str, codec: str, quality: str = "default") -> Path:
        height, width = frames.shape[1:3]
        path = tmp_path / f"{codec}.{format}"
        writer = open_writer(path, encoding_of(format, quality, codec, -1), Contents(Fraction(16), width, height))
        writer.encode(to_pixels(frames, 8))
        writer.finish()
        return path

    return write


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


def levels(frames: torch.Tensor) -> torch.Tensor:
    """The frames as 8 bits a colour hold them."""
    return (frames * 255).round() / 255


def test_a_lossless_file_gives_the_report_of_its_frames(
    call: Call, vae: Any, frames: torch.Tensor, write_video: Callable[..., Path]
) -> None:
    from comfy_api.latest import InputImpl

    frames = levels(frames)
    given = {"fit": "crop", "start_image": torch.rand(1, 64, 96, 3), "end_image": frames[-1:], "vae": vae}
    expected = call("WanFLF2VReport", images=frames, **given)
    path = write_video(frames, "mkv", "ffv1")
    for source in (str(path), BytesIO(path.read_bytes())):
        found = call("WanFLF2VReport", video=InputImpl.VideoFromFile(source), **given)
        assert found[:2] == expected[:2]
        assert torch.equal(found[2], expected[2])
        assert torch.equal(found[3], expected[3])


def test_a_video_that_is_no_file_gives_the_report_of_its_frames(call: Call, frames: torch.Tensor) -> None:
    from comfy_api.latest import InputImpl, Types

    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=frames, frame_rate=Fraction(16)))
    found = call("WanFLF2VReport", video=video, fit="crop")
    assert found[:2] == call("WanFLF2VReport", images=frames, fit="crop")[:2]


def test_a_lossy_file_gives_nearly_the_report_of_its_frames(call: Call, write_video: Callable[..., Path]) -> None:
    from comfy_api.latest import InputImpl

    along = torch.linspace(0, 0.4, 96)[None, None, :, None] + torch.linspace(0, 0.4, 9)[:, None, None, None]
    frames = (along + torch.tensor([0.0, 0.1, 0.2])).expand(9, 64, 96, 3)
    ends = {"fit": "crop", "start_image": frames[:1], "end_image": frames[-1:]}
    video = InputImpl.VideoFromFile(str(write_video(frames, "mp4", "h264", "best")))
    found = json.loads(call("WanFLF2VReport", video=video, **ends)[1])
    exact = json.loads(call("WanFLF2VReport", images=frames, **ends)[1])
    assert found["luma"] == pytest.approx(exact["luma"], abs=2 / 255)
    assert found["change"] == pytest.approx(exact["change"], abs=2 / 255)
    assert min(found["first"]["psnr"], found["last"]["psnr"]) > 40


def test_of_a_file_a_few_frames_are_held_at_a_time(
    call: Call, write_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy_api.latest import InputImpl

    held: list[weakref.ref[torch.Tensor]] = []
    most = 0
    real = VideoFrames.__iter__

    def watched(self: VideoFrames) -> Iterator[torch.Tensor]:
        nonlocal most
        for frame in real(self):
            held.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in held))
            yield frame

    monkeypatch.setattr(VideoFrames, "__iter__", watched)
    video = InputImpl.VideoFromFile(str(write_video(torch.rand(81, 32, 48, 3), "mkv", "ffv1")))
    ends = {"start_image": torch.rand(1, 32, 48, 3), "end_image": torch.rand(1, 32, 48, 3)}
    values = json.loads(call("WanFLF2VReport", video=video, fit="crop", **ends)[1])
    assert values["frames"] == 81
    assert len(held) >= 2 * 81  # the figures, then the filmstrip
    assert most <= 4


@pytest.mark.parametrize(
    ("given", "words"),
    [([], "connect either images or video; connected: none of them"), (["images", "video"], "connected: both")],
)
def test_images_or_a_video_must_be_connected(call: Call, pack: dict[str, Any], given: list[str], words: str) -> None:
    assert words in pack["WanFLF2VReport"].validate_inputs(**dict.fromkeys(given))
    with pytest.raises(FLF2VError, match=words):
        call("WanFLF2VReport", fit="crop", **dict.fromkeys(given, 1))


def test_one_source_is_enough(pack: dict[str, Any]) -> None:
    for name in ("images", "video"):
        assert pack["WanFLF2VReport"].validate_inputs(**{name: None}) is True


def test_a_file_without_a_frame_is_refused(call: Call) -> None:
    from comfy_api.latest import InputImpl

    with pytest.raises(FLF2VError, match="the video is no video that can be read"):
        call("WanFLF2VReport", video=InputImpl.VideoFromFile(BytesIO(b"no video")), fit="crop")


def test_only_the_trimmed_part_is_read(frames: torch.Tensor, write_video: Callable[..., Path]) -> None:
    path = str(write_video(frames, "mkv", "ffv1"))
    (part,) = VideoFrames(path, start=2 / 16, duration=1 / 16)
    assert torch.equal(part, levels(frames)[2])
    assert torch.equal(torch.stack(list(VideoFrames(path, start=2 / 16))), levels(frames)[2:])
    with pytest.raises(FLF2VError, match="holds no frame"):
        list(VideoFrames(path, start=9.0))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_video_that_is_to_be_turned_is_read_as_it_is_shown(
    frames: torch.Tensor, write_video: Callable[..., Path], turns: int
) -> None:
    path = write_video(frames, "mp4", "h264", "best")
    as_stored = torch.stack(list(VideoFrames(str(path))))
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the matrix that a phone's camera writes, clockwise (ISO/IEC 14496-12 8.3.2)
    data[at : at + 20] = struct.pack(">5i", cos << 16, sin << 16, 0, -sin << 16, cos << 16)
    path.write_bytes(data)
    assert torch.equal(torch.stack(list(VideoFrames(str(path)))), as_stored.rot90(-turns, (1, 2)))
    assert VideoFrames(str(path)).size() == ((48, 32) if turns % 2 else (32, 48))


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
