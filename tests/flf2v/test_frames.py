"""Clip, mask and fitted pictures."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.frames import build_mask, check_length, fit_frames, latent_length

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
