"""Presets, render size and placement."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.sizes import PRESETS, check_size, place, preset_size, render_size
from wan_flf2v.workflows import Bindings

sides = st.integers(16, 4000)


def test_the_presets_are_the_published_ones() -> None:
    assert Bindings.load().fields["71_widthx71_height"].enum == PRESETS


def test_presets_read_as_their_numbers() -> None:
    assert preset_size("540x960 (9:16)") == (540, 960)
    for preset in PRESETS:
        check_size(*preset_size(preset))


@pytest.mark.parametrize("side", ["width", "height"])
def test_odd_sizes_are_refused_with_the_reason_and_both_neighbours(side: str) -> None:
    size = {"width": 640, "height": 480, side: 541}
    with pytest.raises(FLF2VError, match=rf"{side} must be even, because yuv420p.*got 541. Use 540 or 542"):
        check_size(**size)


@given(sides, sides)
def test_the_render_size_is_the_next_multiple_of_16(width: int, height: int) -> None:
    for asked, rendered in zip((width, height), render_size(width, height), strict=True):
        assert rendered % 16 == 0
        assert 0 <= rendered - asked < 16


@given(sides, sides, sides, sides)
def test_crop_and_pad_stay_inside_and_keep_the_aspect(sw: int, sh: int, tw: int, th: int) -> None:
    crop = place(sw, sh, tw, th, "crop")
    x, y, width, height = crop.source
    assert crop.target == (0, 0, tw, th)
    assert min(x, y) >= 0
    assert x + width <= sw
    assert y + height <= sh
    assert (x == 0) or (y == 0)
    pad = place(sw, sh, tw, th, "pad")
    left, top, inner_width, inner_height = pad.target
    assert pad.source == (0, 0, sw, sh)
    assert left + inner_width <= tw
    assert top + inner_height <= th
    assert inner_width == tw or inner_height == th


def test_an_unknown_fit_is_refused() -> None:
    with pytest.raises(FLF2VError, match="fit must be one of crop, stretch, pad; got 'zoom'"):
        place(10, 20, 30, 40, "zoom")  # type: ignore[arg-type]
