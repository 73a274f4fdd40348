"""Matched colours have the picture's mean and deviation, and what is taken back along a clip leaves no step."""

from __future__ import annotations

import pytest
import torch

from wan_flf2v.flf2v.colour import match_colours


def frame(seed: int, low: float = 0.3, high: float = 0.6) -> torch.Tensor:
    return torch.rand(12, 16, 3, generator=torch.Generator().manual_seed(seed)) * (high - low) + low


def test_a_matched_frame_has_the_pictures_mean_and_deviation_in_each_channel() -> None:
    drifted, picture = frame(1) * torch.tensor([1.1, 0.9, 1.0]), frame(2, 0.2, 0.7)
    moved = match_colours(drifted, picture).moved(drifted)
    assert torch.allclose(moved.mean((0, 1)), picture.mean((0, 1)), atol=1e-5)
    assert torch.allclose(moved.std((0, 1)), picture.std((0, 1)), atol=1e-5)


def test_moved_frames_stay_colours_and_of_their_own_kind() -> None:
    match = match_colours(frame(1), frame(2, 0.5, 1.0))
    ends = torch.tensor([0.0, 1.0]).expand(3, 2).T[None].half()
    moved = match.moved(ends)
    assert (float(moved.min()), float(moved.max()), moved.dtype) == (0, 1, torch.float16)


def test_the_inverse_brings_it_back() -> None:
    match = match_colours(frame(1), frame(2, 0.2, 0.7))
    assert torch.allclose(match.inverse().moved(match.moved(frame(1))), frame(1), atol=1e-5)


def test_a_flat_frame_is_moved_and_not_blown_up() -> None:
    flat = torch.full((4, 4, 3), 0.4)
    match = match_colours(flat, frame(2))
    assert match.scale.tolist() == [2.0] * 3
    assert match.moved(flat).isfinite().all()
    assert torch.allclose(match_colours(flat, flat + 0.3).moved(flat), flat + 0.3), "and to a flat one"


@pytest.mark.parametrize("carried", [1, 5, 9])
def test_what_is_taken_back_begins_whole_at_the_joint_and_ends_in_nothing(carried: int) -> None:
    match = match_colours(frame(1), frame(2, 0.25, 0.65))
    given = match.moved(frame(1))
    clip = given.expand(17, *given.shape)
    shown = match.inverse().faded(clip, 0, carried - 1, 16)
    for number in range(carried):
        assert torch.allclose(shown[number], frame(1), atol=1e-5), "as the clip before it showed it"
    assert torch.allclose(shown[-1], given)
    steps = (shown[1:] - shown[:-1]).abs().mean((1, 2, 3))[carried - 1 :]
    assert torch.allclose(steps, steps.mean().expand_as(steps), atol=1e-5)
    parts = [match.inverse().faded(clip[first : first + 4], first, carried - 1, 16) for first in range(0, 17, 4)]
    assert torch.equal(torch.cat(parts), shown), "some frames at a time"
