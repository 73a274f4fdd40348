"""The figures of a video mean what their names say; the repairs of the last frames do only what was asked."""

from __future__ import annotations

import json
import math

import pytest
import torch

from wan_flf2v.flf2v.end_frames import match_end_colour, trim_end
from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.report import Report, measure, psnr, ssim
from wan_flf2v.flf2v.report_picture import draw_filmstrip, draw_report

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
    with pytest.raises(FLF2VError, match="48 x 48"):
        measure(moving_square(), torch.zeros(32, 48, 3))


def test_plot_and_filmstrip_show_every_part() -> None:
    frames = moving_square()
    plot = draw_report(report_of(frames))
    assert {"#ff9f45", "#4aa8ff", "#9be37a"} <= {
        "#{:02x}{:02x}{:02x}".format(*plot.getpixel((x, y))) for x in range(plot.width) for y in range(plot.height)
    }  # type: ignore[misc]
    strip = draw_filmstrip(frames)
    assert strip.width == 9 * (1280 // 9)
    assert strip.getpixel((10, 50)) != strip.getpixel((60, 50))  # the square stands at the left of the first picture


def test_repairs_are_off_at_zero() -> None:
    frames = moving_square()
    assert torch.equal(trim_end(match_end_colour(frames, frames[-1], 0), 0), frames)


def test_colour_match_brings_the_last_frame_to_the_picture_and_leaves_the_others() -> None:
    frames = moving_square()
    wrong = frames.clone()
    wrong[-4:] = wrong[-4:] * 0.8 + 0.05
    repaired = match_end_colour(wrong, frames[-1], 4)
    assert torch.equal(repaired[:-4], wrong[:-4])
    assert psnr(repaired[-1], frames[-1]) > psnr(wrong[-1], frames[-1]) + 20
    assert len(trim_end(repaired, 3)) == COUNT - 3


@pytest.mark.parametrize("count", [-1, COUNT])
def test_trimming_everything_is_refused(count: int) -> None:
    with pytest.raises(FLF2VError, match="trim must be between 0 and 16"):
        trim_end(moving_square(), count)
