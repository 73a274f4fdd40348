"""The measures of motion have the values that follow from their definitions, on clips that are drawn for it."""

from __future__ import annotations

import pytest
import torch

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.report import Report, measure
from wan_flf2v.flf2v.report_picture import draw_filmstrip, draw_report

COUNT, SIDE = 41, 32


def fade(shares: torch.Tensor) -> torch.Tensor:
    """A cross-fade of two pictures with these shares of the second one."""
    torch.manual_seed(1)
    first, last = torch.rand(2, SIDE, SIDE, 3)
    part = shares[:, None, None, None]
    return first * (1 - part) + last * part


def ramp(places: torch.Tensor) -> torch.Tensor:
    """A grey ramp whose pixels have moved by these many pixels: its change from frame to frame is the speed alone."""
    return ((torch.arange(SIDE)[None, None, :, None] - places[:, None, None, None]) / 200 + 0.5).expand(-1, SIDE, -1, 3)


def of(frames: torch.Tensor, joints: tuple[int, ...] = ()) -> Report:
    return measure(frames, frames[0], frames[-1], joints=joints)


@pytest.mark.parametrize("end", [10, 20, 40])
def test_arrival_of_a_fade_that_ends_early_is_nine_tenths_of_its_end(end: int) -> None:
    shares = (torch.arange(COUNT) / end).clamp(max=1)
    assert of(fade(shares)).arrival == pytest.approx(0.9 * end / (COUNT - 1))
    notes = " ".join(of(fade(shares)).warnings())
    assert ("stands still from there" in notes) == (end < 40)


def test_arrival_is_none_where_the_picture_is_never_reached_and_where_it_is_there_from_the_start() -> None:
    frames = fade(torch.linspace(0, 0.4, COUNT))
    target = fade(torch.ones(1))[0]
    assert measure(frames, frames[0], target).arrival is None
    assert of(fade(torch.zeros(COUNT))).arrival is None
    assert measure(frames).arrival is None


def test_arrival_counts_from_the_last_return() -> None:
    shares = torch.ones(COUNT)
    shares[0], shares[30] = 0, 0.5
    assert of(fade(shares)).arrival == pytest.approx(31 / (COUNT - 1))


@pytest.mark.parametrize("turns", [1, 2])
def test_dissolve_of_a_cross_fade_of_any_pace_is_one(turns: int) -> None:
    assert of(fade(torch.linspace(0, 1, COUNT) ** turns)).dissolve == pytest.approx(1, abs=1e-4)


def test_dissolve_of_a_shape_that_stands_apart_from_both_places_is_a_quarter() -> None:
    frames = torch.full((COUNT, SIDE, SIDE, 3), 0.2)
    for index in range(COUNT):
        left = 0 if index < COUNT // 3 else 24 if index >= COUNT - COUNT // 3 else 12
        frames[index, 8:16, left : left + 8] = 0.9
    assert of(frames).dissolve == pytest.approx(0.25, abs=1e-4)


def test_dissolve_of_a_hard_cut_is_zero_and_of_equal_pictures_unknown() -> None:
    assert of(fade((torch.arange(COUNT) > 20).float())).dissolve == 0
    assert of(fade(torch.zeros(COUNT))).dissolve is None


def test_dissolve_of_a_frame_off_the_fade_is_one_less_the_square_of_its_share() -> None:
    first, last, other = torch.zeros(SIDE, SIDE, 3), torch.zeros(SIDE, SIDE, 3), torch.zeros(SIDE, SIDE, 3)
    last[:, : SIDE // 2], other[:, SIDE // 2 :] = 0.8, 0.6
    way, off = 0.8, 0.6  # of one half of the pixels each
    frames = torch.stack([first + (last - first) / 2 + other] * COUNT)
    found = measure(frames, first, last).dissolve
    assert found == pytest.approx(1 - off**2 / ((way / 2) ** 2 + off**2), abs=1e-4)


def test_pictures_that_differ_by_little_have_a_fade_and_those_that_differ_by_rounding_none() -> None:
    first = torch.full((SIDE, SIDE, 3), 0.5)
    assert measure(torch.stack([first] * COUNT), first, first + 0.01).dissolve == 0
    assert measure(torch.stack([first] * COUNT), first, first + 1 / 5100).dissolve is None


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_flicker_is_the_height_of_what_goes_up_and_down_times_its_share_of_the_pixels(share: float) -> None:
    frames = torch.full((COUNT, SIDE, SIDE, 3), 0.5)
    frames[1::2, : int(share * SIDE)] += 0.1
    report = of(frames)
    assert report.flicker == pytest.approx(0.1 * share, rel=1e-4)
    assert len(report.flickers) == COUNT - 2
    assert any("flicker" in note for note in report.warnings())


def test_steady_motion_and_a_fade_do_not_flicker() -> None:
    assert of(fade(torch.linspace(0, 1, COUNT))).flicker < 1e-6
    assert of(ramp(torch.arange(COUNT) * 1.0)).flicker < 1e-6


def test_a_joint_of_steady_motion_has_seam_ratio_one_and_no_velocity_break() -> None:
    joint = of(ramp(torch.arange(COUNT) * 1.0), (20,)).joints[0]
    assert (joint.frame, joint.seam_ratio) == (20, pytest.approx(1, rel=1e-3))
    assert joint.velocity_break == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("speed", [3.0, 0.5, 0.0, -1.0])
def test_velocity_break_is_the_change_of_speed_over_the_mean_speed(speed: float) -> None:
    places = torch.cat([torch.arange(21.0), 20 + speed * torch.arange(1.0, 21.0)])
    joint = of(ramp(places), (20,)).joints[0]
    assert joint.velocity_break == pytest.approx(abs(speed - 1) / (0.5 * (1 + abs(speed))), rel=1e-2)


def test_seam_ratio_is_the_jump_in_usual_steps() -> None:
    places = torch.arange(COUNT) * 1.0
    places[21:] += 4
    report = of(ramp(places), (10, 20))
    assert [joint.seam_ratio for joint in report.joints] == pytest.approx([1, 5], rel=1e-3)
    assert [note for note in report.warnings() if "jumps at the joint 20" in note]


def test_texture_in_steady_motion_is_no_velocity_break() -> None:
    texture = torch.rand(SIDE, SIDE + COUNT, 3, generator=torch.Generator().manual_seed(2))
    frames = torch.stack([texture[:, index : index + SIDE] for index in range(COUNT)])
    joint = of(frames, (20,)).joints[0]
    assert joint.velocity_break < 0.1
    assert joint.seam_ratio < 1.1


@pytest.mark.parametrize("number", [0, 1, 39, 40, -3, 99])
def test_a_joint_at_the_border_or_outside_is_refused_in_words(number: int) -> None:
    with pytest.raises(FLF2VError, match=f"between 2 and 38 for 41 frames; got {number}"):
        of(ramp(torch.arange(COUNT) * 1.0), (number,))


def test_a_joint_just_within_the_border_is_measured_also_in_a_video_of_nothing_else() -> None:
    assert [joint.frame for joint in of(ramp(torch.arange(COUNT) * 1.0), (2, 38)).joints] == [2, 38]
    (joint,) = of(ramp(torch.arange(5) * 1.0), (2,)).joints
    assert (joint.seam_ratio, joint.velocity_break) == pytest.approx((1, 0), abs=1e-3)


def test_plot_and_filmstrip_show_arrival_and_joints() -> None:
    frames = fade((torch.arange(COUNT) / 20).clamp(max=1))
    report = of(frames, (21,))
    assert draw_report(report).tobytes() != draw_report(of(frames)).tobytes()
    plain, marked = draw_filmstrip(frames, COUNT), draw_filmstrip(frames, COUNT, joints=(21,))
    assert marked.tobytes() != plain.tobytes()
    assert "joint 21  seam ratio" in report.text()
    assert "arrival 45%" in report.text()
