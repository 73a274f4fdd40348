"""Any part of a clip is that part of the whole, and the grey frames are those that no picture gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.clip import Clip
from wan_flf2v.flf2v.errors import FLF2VError


def noise(count: int, seed: int) -> torch.Tensor:
    return torch.rand(count, 2, 2, 3, generator=torch.Generator().manual_seed(seed))


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    length, start = 4 * draw(st.integers(3, 30)) + 1, draw(st.integers(0, 9))
    end = draw(st.integers(0, 4) | st.integers(0, length - start))
    free = st.integers(max(start, 1), length - 1 - max(end, 1)) if length > 2 + start + end else st.nothing()
    middle = draw(st.lists(free, unique=True, max_size=4)) if length > 2 + start + end else []
    given_middle = {number: noise(1, 100 + number)[0] for number in middle}
    return Clip(length, 2, 2, noise(start, 0) if start else None, noise(end, 1) if end else None, given_middle)


CLIPS = clips()


@given(CLIPS, st.data())
def test_any_part_of_a_clip_is_that_part_of_the_whole(clip: Clip, data: Any) -> None:
    first = data.draw(st.integers(0, clip.length - 1))
    last = data.draw(st.integers(first + 1, clip.length))
    assert torch.equal(clip.frames(first, last), clip.whole()[first:last])
    assert clip.whole().shape == clip.shape


@given(CLIPS)
def test_the_frames_that_no_picture_gives_are_mid_grey(clip: Clip) -> None:
    pixels = clip.whole()
    assert all(clip.is_grey(index, index + 1) == bool(pixels[index].eq(0.5).all()) for index in range(clip.length))


@given(CLIPS, st.data())
def test_a_part_is_grey_when_each_of_its_frames_is(clip: Clip, data: Any) -> None:
    first = data.draw(st.integers(0, clip.length - 1))
    last = data.draw(st.integers(first + 1, clip.length))
    assert clip.is_grey(first, last) == bool(clip.whole()[first:last].eq(0.5).all())


@given(CLIPS)
def test_each_middle_frame_lies_at_its_own_number(clip: Clip) -> None:
    for number, frame in clip.middle.items():
        assert torch.equal(clip.whole()[number], frame)


def test_frames_that_overlap_are_refused() -> None:
    with pytest.raises(FLF2VError, match="3 start and 3 end frames do not fit into a length of 5 frames"):
        Clip(5, 16, 16, torch.zeros(3, 16, 16, 3), torch.zeros(3, 16, 16, 3))
    with pytest.raises(FLF2VError, match="must be between 3 and 7, what start_image and end_image leave of 9"):
        Clip(9, 2, 2, noise(3, 0), noise(1, 1), {2: noise(1, 2)[0]})
