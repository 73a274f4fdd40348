"""Clip, mask and fitted pictures."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.frames import (
    build_mask,
    check_length,
    check_middle,
    count_given,
    fit_frames,
    latent_length,
    read_frame_numbers,
    weaken,
)
from wan_flf2v.flf2v.sizes import FITS, RESIZES, Fit, Resize

LENGTHS = st.integers(1, 40).map(lambda n: 4 * n + 1)


@given(st.integers(-20, 400))
def test_only_4n_plus_1_frames_pass_and_others_name_their_neighbours(length: int) -> None:
    if length >= 5 and length % 4 == 1:
        check_length(length)
        return
    with pytest.raises(FLF2VError) as caught:
        check_length(length)
    suggested = [int(word.strip(".")) for word in str(caught.value).split("Use ")[1].replace("or", " ").split()]
    for value in suggested:
        check_length(value)
    if length > 5:
        assert suggested[0] < length < suggested[1]


def test_140_frames_are_refused_with_both_neighbours() -> None:
    with pytest.raises(FLF2VError, match=r"length must be 4n \+ 1 frames.*got 140. Use 137 or 141\."):
        check_length(140)


@given(LENGTHS)
def test_the_mask_of_two_pictures_is_the_official_layout(length: int) -> None:
    picture = torch.zeros(1, 16, 16, 3)
    mask = 1 - build_mask(length, 2, 2, picture, picture)[0, :, :, 0, 0]  # 1 = given, [4, T]
    expected = torch.zeros(4, latent_length(length))
    expected[:, 0] = 1
    expected[3, -1] = 1
    assert torch.equal(mask, expected)


def test_several_frames_count_per_pixel_frame() -> None:
    start, end = torch.zeros(3, 16, 16, 3), torch.zeros(5, 16, 16, 3)
    given_ = 1 - build_mask(21, 2, 2, start, end)[0, :, :, 0, 0].T  # [T, 4]
    assert given_.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@given(st.integers(16, 90), st.integers(16, 90), st.integers(8, 45), st.integers(8, 45))
def test_any_picture_fits_any_even_size_in_every_way(
    fit: str, width: int, height: int, half_width: int, half_height: int
) -> None:
    fitted = fit_frames(torch.rand(1, height, width, 4), 2 * half_width, 2 * half_height, fit)  # type: ignore[arg-type]
    assert fitted.shape[-1] == 3
    assert fitted.shape[1] % 16 == 0
    assert fitted.shape[2] % 16 == 0
    assert 0 <= fitted.shape[1] - 2 * half_height < 16


def test_padding_to_16_repeats_the_edge_and_leaves_the_asked_part_alone() -> None:
    picture = torch.rand(1, 90, 96, 3)
    fitted = fit_frames(picture, 96, 90, "crop")
    assert fitted.shape == (1, 96, 96, 3)
    assert torch.equal(fitted[:, :90], picture)
    assert torch.equal(fitted[:, 90:], picture[:, -1:].expand(1, 6, 96, 3))


def test_pad_leaves_black_bars_and_the_whole_picture() -> None:
    fitted = fit_frames(torch.ones(1, 32, 64, 3), 64, 64, "pad")
    assert fitted[:, :16].eq(0).all()
    assert fitted[:, 16:48].eq(1).all()
    assert fitted[:, 48:].eq(0).all()


@pytest.mark.parametrize(("size", "cure"), [((1, 1), "larger"), ((8, 100), "larger"), ((20, 20000), "Scale it down")])
def test_pictures_that_are_too_small_or_too_large_are_refused(size: tuple[int, int], cure: str) -> None:
    with pytest.raises(FLF2VError, match=f"between 16 and 16384 pixels.*{cure}"):
        fit_frames(torch.zeros(1, 1, 1, 3).expand(1, size[1], size[0], 3), 64, 64, "crop")


@pytest.mark.parametrize("start", [0, 1, 2, 4])
@pytest.mark.parametrize("end", [0, 1, 3, 5])
def test_the_mask_names_exactly_the_given_frames(start: int, end: int) -> None:
    clips = [torch.zeros(count, 16, 16, 3) if count else None for count in (start, end)]
    mask = build_mask(21, 3, 5, *clips)
    assert mask.shape == (1, 4, 6, 3, 5)
    # Frame by frame, where the first one stands for four: [4, T] read column by column.
    frames = mask[0].movedim(0, 1).reshape(24, 15)
    assert torch.equal(frames, frames[:, :1].expand(24, 15))
    assert frames[3:, 0].tolist() == [0.0] * start + [1.0] * (21 - start - end) + [0.0] * end
    assert frames[:3, 0].tolist() == [0.0 if start else 1.0] * 3


# Where a middle frame stands among the four frames of its latent frame: (latent frame, [which of the four is given]).
MIDDLE = {
    4: (1, [0, 0, 0, 1]), 5: (2, [1, 0, 0, 0]), 6: (2, [0, 1, 0, 0]), 7: (2, [0, 0, 1, 0]), 8: (2, [0, 0, 0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("number", range(1, 80))
def test_the_mask_gives_a_middle_frame_at_its_own_number_and_no_other(number: int) -> None:
    picture = torch.zeros(1, 16, 16, 3)
    with_it = 1 - build_mask(81, 2, 2, picture, None, [number])[0, :, :, 0, 0].T  # [T, 4]
    latent, row = MIDDLE[4 + number % 4]
    latent += (number - 4 - number % 4) // 4
    assert with_it[latent].tolist() == row
    with_it[latent] = 0
    assert torch.equal(with_it, 1 - build_mask(81, 2, 2, picture, None)[0, :, :, 0, 0].T)


def test_strength_weakens_the_middle_frames_alone() -> None:
    picture = torch.zeros(1, 16, 16, 3)
    whole = build_mask(81, 2, 2, picture, picture, [5, 40])
    weak = weaken(whole, [5, 40], 0.25)
    assert set(weak[whole != weak].tolist()) == {0.75}
    assert (whole != weak).sum() == 2 * 4
    assert torch.equal(weaken(whole, [5, 40], 1.0), whole)
    assert torch.equal(weaken(whole, [5, 40], 0.0), build_mask(81, 2, 2, picture, picture))


def test_frame_numbers_are_read_or_refused() -> None:
    assert read_frame_numbers("24, 48") == read_frame_numbers("24,48") == read_frame_numbers(" 24 48 ") == (24, 48)
    assert read_frame_numbers("") == ()
    for text in ("0.5", "24; 48", "half", "24-48"):
        with pytest.raises(FLF2VError, match='frame numbers such as "24, 48", from 0; got'):
            read_frame_numbers(text)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0], "between 1 and 79"),
        ([80], "between 1 and 79"),
        ([-1], "got -1"),
        ([4, 9, 4], "each frame once; got 4, 9, 4"),
    ],
)
def test_middle_frames_that_are_not_free_are_refused(numbers: list[int], message: str) -> None:
    with pytest.raises(FLF2VError, match=message):
        check_middle(81, numbers)
    with pytest.raises(FLF2VError, match="between 1 and 79"):
        check_middle(81, [0], 0, 0)
    check_middle(81, [1, 79], 1, 1)
    with pytest.raises(FLF2VError, match="between 5 and 77"):
        check_middle(81, [4], 5, 3)


def test_given_frames_may_fill_the_clip_and_no_more() -> None:
    def clip(count: int) -> torch.Tensor:
        return torch.zeros(count, 16, 16, 3)

    assert count_given(9, clip(4), clip(5)) == (4, 5)
    assert count_given(9, None, clip(9)) == (0, 9)
    assert build_mask(9, 2, 2, clip(4), clip(5)).eq(0).all()
    with pytest.raises(FLF2VError, match="5 start and 5 end frames do not fit into a length of 9 frames"):
        count_given(9, clip(5), clip(5))


@pytest.mark.parametrize("shape", [(16, 16, 3), (1, 16, 16, 2), (1, 1, 16, 16, 3), (0, 16, 16, 3)])
def test_what_is_no_picture_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(FLF2VError, match=r"a picture must be \[1 or more frames, .*, 3 or more channels\]; got \["):
        fit_frames(torch.zeros(shape), 64, 64, "crop")


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_a_frame_that_fits_already_is_not_touched(fit: str) -> None:
    picture = torch.rand(2, 48, 64, 3)
    assert torch.equal(fit_frames(picture, 64, 48, fit), picture)  # type: ignore[arg-type]


def test_crop_keeps_the_middle_and_stretch_all_of_it() -> None:
    thirds = torch.zeros(1, 16, 48, 3)
    for third in range(3):
        thirds[:, :, 16 * third : 16 * third + 16, third] = 1
    assert torch.equal(fit_frames(thirds, 16, 16, "crop"), thirds[:, :, 16:32])
    assert fit_frames(thirds, 96, 16, "stretch").mean((0, 1, 2)).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)
    tall = thirds.transpose(1, 2)
    assert torch.equal(fit_frames(tall, 16, 16, "crop"), tall[:, 16:32])


def test_pad_puts_an_odd_rest_to_the_right_and_below() -> None:
    wide = fit_frames(torch.ones(1, 40, 60, 3), 64, 48, "pad")  # 64 x 42.67: 43 rows, 2 above and 3 below
    assert wide[0, :, 0, 0].tolist() == pytest.approx([0.0] * 2 + [1.0] * 43 + [0.0] * 3)
    tall = fit_frames(torch.ones(1, 100, 90, 3), 64, 48, "pad")  # 43.2: 43 columns, 10 before and 11 after
    assert tall[0, 0, :, 0].tolist() == pytest.approx([0.0] * 10 + [1.0] * 43 + [0.0] * 11)


def stripes(period: int) -> torch.Tensor:
    """A picture of 12 megapixels with upright stripes: half of each period white."""
    line = (torch.arange(4000) % period < period / 2).float()
    return line[None, None, :, None].expand(1, 3000, 4000, 3)


@pytest.mark.parametrize(
    ("resize", "least", "most"), [("bilinear", 0.3, 0.5), ("area", 0, 0.06), ("lanczos", 0, 0.004)]
)
@pytest.mark.parametrize("period", [2, 4])
def test_stripes_too_fine_to_be_shown_stay_as_a_pattern_without_antialiasing_alone(
    resize: Resize, least: float, most: float, period: int
) -> None:
    fitted = fit_frames(stripes(period), 480, 360, "crop", resize)
    assert fitted.mean() == pytest.approx(0.5, abs=0.03)
    assert least <= float(fitted.std()) <= most


@pytest.mark.parametrize("resize", ["area", "lanczos"])
def test_several_frames_are_scaled_like_single_ones(resize: Resize) -> None:
    pictures = torch.rand(3, 90, 120, 4)
    fitted = fit_frames(pictures, 64, 48, "crop", resize)
    assert torch.equal(fitted, torch.cat([fit_frames(one[None], 64, 48, "crop", resize) for one in pictures]))
    assert 0 <= float(fitted.min()) <= float(fitted.max()) <= 1


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("resize", RESIZES)
def test_a_picture_of_the_videos_size_stays_as_it_is(fit: Fit, resize: Resize) -> None:
    picture = torch.rand(1, 48, 64, 3)
    assert torch.allclose(fit_frames(picture, 64, 48, fit, resize), picture, atol=1e-6)


def test_an_unknown_resize_is_refused() -> None:
    with pytest.raises(FLF2VError, match="bilinear, area, lanczos; got 'nearest'"):
        fit_frames(torch.rand(1, 48, 64, 3), 32, 32, "crop", "nearest")  # type: ignore[arg-type]


def test_lanczos_overshoots_no_edge_into_blacker_than_black() -> None:
    step = torch.zeros(1, 32, 32, 3)
    step[:, :, 16:] = 1.0
    fitted = fit_frames(step, 64, 64, "stretch", "lanczos")
    assert (float(fitted.min()), float(fitted.max())) == (0.0, 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_a_value_that_is_no_number_is_found_and_bright_pictures_are_not(value: float, kind: torch.dtype) -> None:
    pictures = torch.ones(4, 256, 256, 3, dtype=kind)  # their sum is beyond what half precision can hold
    assert fit_frames(pictures, 32, 32, "crop").shape == (4, 32, 32, 3)
    pictures[2, 5, 5, 1] = value
    with pytest.raises(FLF2VError, match="no numbers"):
        fit_frames(pictures, 32, 32, "crop")
