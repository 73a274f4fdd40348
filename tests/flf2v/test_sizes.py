"""Presets, render size and placement."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.sizes import PRESETS, check_picture_size, check_size, place, preset_size, render_size
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


@pytest.mark.parametrize("check", [check_size, check_picture_size])
@pytest.mark.parametrize("bad", ["width", "height"])
@pytest.mark.parametrize(
    ("value", "passes"), [(14, False), (15, False), (16, True), (16384, True), (16385, False), (16386, False)]
)
def test_each_side_has_between_16_and_16384_pixels(check, bad: str, value: int, passes: bool) -> None:
    size = {"width": 640, "height": 640, bad: value}
    if passes:
        check(**size)
        return
    with pytest.raises(FLF2VError, match=rf"between 16 and 16384 pixels.*{value}"):
        check(**size)


@pytest.mark.parametrize(("value", "cure"), [(15, "Give a larger one"), (16385, "Scale it down first")])
def test_a_picture_of_a_wrong_size_is_told_which_way_to_go(value: int, cure: str) -> None:
    for size in ((value, 640), (640, value)):
        with pytest.raises(FLF2VError, match=cure):
            check_picture_size(*size)


@pytest.mark.parametrize("text", ["custom", "480x480", "481x480 (1:1)", ""])
def test_only_the_presets_are_presets(text: str) -> None:
    with pytest.raises(FLF2VError, match="the resolution must be one of 480x480"):
        preset_size(text)


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


@pytest.mark.parametrize(
    ("picture", "frame", "fit", "source", "target"),
    [
        ((120, 80), (64, 48), "stretch", (0, 0, 120, 80), (0, 0, 64, 48)),
        # Too wide: 80 x 4/3 = 106.67 columns of 120 are kept, so 6.67 go on each side.
        ((120, 80), (64, 48), "crop", (7, 0, 106, 80), (0, 0, 64, 48)),
        # Too high: 80 / 1.5 = 53.3 rows of 120 are kept.
        ((80, 120), (96, 64), "crop", (0, 33, 80, 54), (0, 0, 96, 64)),
        ((80, 60), (64, 48), "crop", (0, 0, 80, 60), (0, 0, 64, 48)),
        ((120, 80), (64, 48), "pad", (0, 0, 120, 80), (0, 2, 64, 43)),
        ((80, 120), (64, 48), "pad", (0, 0, 80, 120), (16, 0, 32, 48)),
        ((4000, 16), (64, 48), "pad", (0, 0, 4000, 16), (0, 23, 64, 1)),  # one row at least
        ((16, 4000), (64, 48), "pad", (0, 0, 16, 4000), (31, 0, 1, 48)),
    ],
)
def test_a_picture_is_placed_in_the_middle(picture, frame, fit, source, target) -> None:
    placement = place(*picture, *frame, fit)
    assert (placement.source, placement.target) == (source, target)
