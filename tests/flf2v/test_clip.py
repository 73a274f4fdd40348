"""Any part of a clip is that part of the whole, and the grey frames are those that no picture gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.clip import Clip
from wan_flf2v.flf2v.errors import FLF2VError

CLIPS = st.builds(
    lambda latents, start, end, seed: Clip(
        4 * latents + 1,
        2,
        2,
        torch.rand(start, 2, 2, 3, generator=torch.Generator().manual_seed(seed)) if start else None,
        torch.rand(end, 2, 2, 3, generator=torch.Generator().manual_seed(seed + 9)) if end else None,
    ),
    st.integers(3, 30),
    st.integers(0, 9),
    st.integers(0, 4),
    st.integers(0, 2),
)


@given(CLIPS, st.data())
def test_any_part_of_a_clip_is_that_part_of_the_whole(clip: Clip, data: Any) -> None:
    first = data.draw(st.integers(0, clip.length - 1))
    last = data.draw(st.integers(first + 1, clip.length))
    assert torch.equal(clip.frames(first, last), clip.whole()[first:last])
    assert clip.whole().shape == clip.shape


@given(CLIPS)
def test_the_frames_that_no_picture_gives_are_mid_grey(clip: Clip) -> None:
    pixels = clip.whole()
    assert [index for index in range(clip.length) if pixels[index].eq(0.5).all()] == list(clip.grey)


def test_frames_that_overlap_are_refused() -> None:
    with pytest.raises(FLF2VError, match="3 start and 3 end frames do not fit into a length of 5 frames"):
        Clip(5, 16, 16, torch.zeros(3, 16, 16, 3), torch.zeros(3, 16, 16, 3))
