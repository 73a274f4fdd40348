"""The figures of a video mean what their names say; the repairs of the last frames do only what was asked."""

from __future__ import annotations

import json
import math
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wan_flf2v.flf2v.end_frames import match_end_colour, trim_end
from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.motion import Joint
from wan_flf2v.flf2v.report import Endpoint, Report, measure, psnr, ssim
from wan_flf2v.flf2v.report_picture import draw_filmstrip, draw_report
from wan_flf2v.tests.doubles.elsewhere import elsewhere, two_devices

COUNT, SIDE = 17, 48


def moving_square() -> torch.Tensor:
    """A white square that crosses a grey frame at constant speed."""
    frames = torch.full((COUNT, SIDE, SIDE, 3), 0.4)
    for index in range(COUNT):
        left = 2 + 2 * index
        frames[index, 16:28, left : left + 12] = 1.0
    return frames


def cross_fade() -> torch.Tensor:
    ends = moving_square()
    part = torch.linspace(0, 1, COUNT)[:, None, None, None]
    return ends[0] * (1 - part) + ends[-1] * part


def report_of(frames: torch.Tensor) -> Report:
    ends = moving_square()
    return measure(frames, ends[0], ends[-1])


def test_reached_ends_are_exact_and_missed_ends_are_not() -> None:
    report = report_of(moving_square())
    assert report.first is not None
    assert report.last is not None
    assert math.isinf(report.first.psnr)
    assert report.first.ssim == pytest.approx(1, abs=1e-5)
    missed = report_of(moving_square().flip(0))
    assert missed.last is not None
    assert missed.last.psnr < 20
    assert any("last frame is missed" in note for note in missed.warnings())


END = Endpoint(psnr=30, ssim=1, mae=0, ceiling=None)
FINE = Report(frames=9, first=END, last=END, luma_drift=0, colour_drift=0, end_flash=1, frozen=0, pace_variation=0, motion=1,
              loop_seam=1, luma=[], change=[], sharpness=[])  # fmt: skip
# Of each figure what passes just, what does not, and the words.
BOUNDS: dict[str, tuple[Any, Any, str]] = {
    "first": (replace(END, psnr=20), replace(END, psnr=19.9), "the first frame is missed: 19.9 dB"),
    "last": (replace(END, psnr=20), replace(END, psnr=19.9), "the last frame is missed: 19.9 dB"),
    "ceiling": (replace(END, ceiling=33), replace(END, ceiling=33.1), "3.1 dB below what the VAE allows"),
    "end_flash": (4, 4.1, "brightness jumps in the last frames, 4.1 times"),
    "frozen": (0.5, 0.51, "51% of the video stands still"),
    "motion": (0.2, 0.19, "rather than motion"),
    "luma_drift": (0.08, 0.09, "brightness drifts by 0.09"),
    "arrival": (0.75, 0.74, "there after 74% of the length"),
    "flicker": (0.01, 0.011, "pixels flicker by 0.011"),
    "joints": ([Joint(4, 3, 0.5)], [Joint(4, 3.1, 0)], "jumps at the joint 4, 3.1 times"),
    "velocity": ([Joint(4, 3, 0.5)], [Joint(4, 3, 0.51)], "motion breaks at the joint 4"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_viewer_is_warned_from_just_beyond_each_bound(name: str) -> None:
    within, beyond, words = BOUNDS[name]
    field = {"ceiling": "last", "velocity": "joints"}.get(name, name)
    assert FINE.warnings() == replace(FINE, **{field: within}).warnings() == []
    (note,) = replace(FINE, **{field: beyond}).warnings()
    assert words in note
    assert f"Warning: {note}" in replace(FINE, **{field: beyond}).text()


def test_each_end_has_its_own_ceiling_and_drift_begins_at_the_first_pictures_colour() -> None:
    frames = cross_fade() * torch.tensor([1.0, 0.5, 0.25])
    report = measure(frames, frames[0], frames[-1], ceilings=(31, 32))
    assert [end and end.ceiling for end in (report.first, report.last)] == [31, 32]
    assert report.colour_drift == pytest.approx(0, abs=1e-5)
    assert measure(frames.flip(0), frames[0], frames[-1]).colour_drift == pytest.approx(
        float((frames[0] - frames[-1]).mean((0, 1)).norm()), abs=1e-5
    )


def test_psnr_of_a_known_error() -> None:
    picture = torch.full((8, 8, 3), 0.5)
    assert psnr(picture, picture + 0.1) == pytest.approx(20, abs=1e-4)


def test_ssim_of_a_constant_shift_is_the_luminance_term() -> None:
    # flat pictures leave only (2 a b + C1) / (a^2 + b^2 + C1)
    a, b = torch.full((16, 16, 3), 0.5), torch.full((16, 16, 3), 0.7)
    assert ssim(a, b) == pytest.approx((2 * 0.35 + 1e-4) / (0.25 + 0.49 + 1e-4), abs=1e-4)


def test_motion_and_cross_fade_are_told_apart() -> None:
    moving, fading = report_of(moving_square()), report_of(cross_fade())
    assert moving.motion is not None
    assert fading.motion is not None
    assert moving.motion > 0.9
    assert fading.motion < 0.01
    assert any("cross-fade" in note for note in fading.warnings())
    assert not moving.warnings()


def test_a_jump_of_brightness_in_the_last_frames_is_a_flash() -> None:
    frames = moving_square()
    frames[-2:] += 0.2
    assert report_of(frames).end_flash > 10 > report_of(moving_square()).end_flash


def test_a_frozen_middle_is_counted() -> None:
    frames = moving_square()
    frames[4:13] = frames[4]
    assert report_of(frames).frozen == pytest.approx(8 / 16)
    assert report_of(moving_square()).frozen == 0
    assert measure(moving_square()[:1].expand(9, -1, -1, -1)).frozen == 1


def test_drift_is_measured_against_the_straight_line_between_the_pictures() -> None:
    ends = moving_square()
    lighter = cross_fade()
    lighter[8] += 0.1
    report = measure(lighter, ends[0], ends[-1])
    assert report.luma_drift == pytest.approx(0.1, abs=1e-4)
    assert report.colour_drift == pytest.approx(0.1 * math.sqrt(3), abs=1e-4)


def test_a_loop_has_no_seam() -> None:
    frames = moving_square()
    there_and_back = torch.cat([frames, frames.flip(0)[1:]])
    picture = frames[0]
    assert measure(there_and_back, picture, picture).loop_seam == 0
    assert measure(there_and_back, picture, picture).motion is None
    assert measure(frames).loop_seam > 4


def test_figures_are_json_even_where_a_level_is_infinite() -> None:
    figures = json.loads(json.dumps(report_of(moving_square()).to_dict(), allow_nan=False))
    assert figures["first"]["psnr"] is None
    assert len(figures["change"]) == COUNT - 1


def test_pictures_of_another_size_are_refused() -> None:
    other = torch.zeros(32, 48, 3)
    for pictures in ((other, None), (moving_square()[0], other), (other, moving_square()[0])):
        with pytest.raises(FLF2VError, match="48 x 48"):
            measure(moving_square(), *pictures)
    with pytest.raises(FLF2VError, match=r"\[height, width, 3\]; got \[48, 48, 1\]"):
        match_end_colour(moving_square()[..., :1], moving_square()[0], 4)


def test_plot_and_filmstrip_show_every_part() -> None:
    frames = moving_square()
    plot = draw_report(report_of(frames))
    assert {"#ff9f45", "#4aa8ff", "#9be37a"} <= {
        "#{:02x}{:02x}{:02x}".format(*plot.getpixel((x, y))) for x in range(plot.width) for y in range(plot.height)
    }  # type: ignore[misc]
    strip = draw_filmstrip(frames, COUNT)
    assert strip.width == 9 * (1280 // 9)
    assert strip.getpixel((10, 50)) != strip.getpixel((60, 50))  # the square stands at the left of the first picture


def test_repairs_are_off_at_zero() -> None:
    frames = moving_square()
    assert torch.equal(trim_end(match_end_colour(frames, frames[-1], 0), 0), frames)


def test_colour_match_brings_the_last_frame_to_the_picture_and_leaves_the_others() -> None:
    frames = moving_square()
    wrong = frames.clone()
    wrong[-4:] = wrong[-4:] * 0.8 + 0.05
    wrong[-4:-1] += 0.1  # light that changes on the way is no fault of the last frame
    repaired = match_end_colour(wrong, frames[-1], 4)
    assert torch.equal(repaired[:-4], wrong[:-4])
    assert psnr(repaired[-1], frames[-1]) > psnr(wrong[-1], frames[-1]) + 20
    assert len(trim_end(repaired, 3)) == COUNT - 3


@pytest.mark.parametrize("count", [-1, COUNT])
def test_trimming_everything_is_refused(count: int) -> None:
    with pytest.raises(FLF2VError, match="trim must be between 0 and 16"):
        trim_end(moving_square(), count)


class PeakOfTensors(TorchDispatchMode):
    """The most memory that the results of operations have taken at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._made: list[weakref.ref[torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {item.untyped_storage().data_ptr() for item in tree_leaves(args) if isinstance(item, torch.Tensor)}
        made = [item for item in tree_leaves(result) if isinstance(item, torch.Tensor)]
        self._made = [ref for ref in self._made if ref() is not None]
        self._made += [weakref.ref(item) for item in made if item.untyped_storage().data_ptr() not in given]
        storages = [item.untyped_storage() for ref in self._made if (item := ref()) is not None]
        self.peak = max(self.peak, sum({one.data_ptr(): one.nbytes() for one in storages}.values()))
        return result


def test_a_video_is_measured_in_the_memory_of_a_few_frames() -> None:
    frames = torch.rand(81, SIDE, SIDE, 3)
    with PeakOfTensors() as memory:
        measure(frames, frames[0], frames[-1])
    assert memory.peak < 0.4 * frames.nbytes


def test_colours_are_matched_in_the_memory_of_the_result_and_a_few_frames() -> None:
    frames = torch.rand(81, SIDE, SIDE, 3)
    with PeakOfTensors() as memory:
        match_end_colour(frames, frames[0], 40)
    assert frames.nbytes <= memory.peak < 1.1 * frames.nbytes


def test_the_figures_are_those_of_the_whole_video_at_once() -> None:
    frames = torch.rand(COUNT, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(3)).cumsum(0) / COUNT
    first, last = frames[0] * 0.9, frames[-1] * 0.9
    report = measure(iter(frames), first, last)
    luma = frames @ torch.tensor([0.2126, 0.7152, 0.0722])
    change = frames.diff(dim=0).abs().mean((1, 2, 3))
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    assert report.luma == pytest.approx(luma.mean((1, 2)).tolist(), rel=1e-5)
    assert report.change == pytest.approx(change.tolist(), rel=1e-5)
    assert report.sharpness == pytest.approx(conv2d(luma[:, None], kernel).var((1, 2, 3)).tolist(), rel=1e-4)
    way = (last - first).flatten()
    offset = (frames[COUNT // 3 : COUNT - COUNT // 3] - first).flatten(1)
    part = (offset @ way / way.square().sum()).clamp(0, 1)[:, None]
    off = (offset - part * way).square().mean(1).sqrt().median() / (0.5 * way.square().mean().sqrt())
    assert report.motion == pytest.approx(float(off), rel=1e-4)
    assert report.loop_seam == pytest.approx(float((frames[-1] - frames[0]).abs().mean() / change.median()), rel=1e-5)


def test_progress_is_told_of_every_frame_and_can_stop_it() -> None:
    seen: list[int] = []
    measure(moving_square(), each=seen.append)
    assert seen == list(range(COUNT))

    def stop(number: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        measure(moving_square(), each=stop)
    with pytest.raises(InterruptedError):
        match_end_colour(moving_square(), moving_square()[0], 4, stop)


@pytest.mark.parametrize("video_elsewhere", [True, False])
def test_video_and_pictures_on_different_devices_give_the_same(video_elsewhere: bool) -> None:
    frames, wrong = moving_square(), moving_square() * 0.8
    expected, repaired = report_of(frames), match_end_colour(wrong, frames[-1], 4)
    place, place_picture = (elsewhere, torch.clone) if video_elsewhere else (torch.clone, elsewhere)
    with two_devices():
        with pytest.raises(RuntimeError, match="same device"):
            elsewhere(frames) + frames
        report = measure(place(frames), place_picture(frames[0]), place_picture(frames[-1]))
        given = match_end_colour(place(wrong), place_picture(frames[-1]), 4).cpu()
        strip = draw_filmstrip(place(frames), COUNT)
    assert report == expected
    assert torch.equal(given, repaired)
    assert strip.tobytes() == draw_filmstrip(frames, COUNT).tobytes()


def test_half_precision_is_measured_in_full() -> None:
    frames = moving_square().half()
    assert report_of(frames) == report_of(frames.float())


def test_two_frames_are_no_video() -> None:
    with pytest.raises(FLF2VError, match="3 frames or more; got 2"):
        measure(moving_square()[:2])
