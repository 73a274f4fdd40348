"""The clips that the micro models learn from and are measured on, and which of their frames are given."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from wan_flf2v.flf2v.frames import build_mask
from wan_flf2v.training.__main__ import FIRST_CLIP, seeds_of
from wan_flf2v.training.animate import DEMO_SEED, PICTURES
from wan_flf2v.training.clips import FRAMES, Clip, make_clip
from wan_flf2v.training.cures import interval, measures
from wan_flf2v.training.drawings import drawings, share_at_place
from wan_flf2v.training.drawn import HAND_DRAWN, PLAIN, any_clip, draw_clip, plain_clip
from wan_flf2v.training.latents import PIECE, draw_given, ends, mask_of

ENDS = torch.tensor([0.0, 1.0])
WHOLE = [plain_clip(number) for number in range(64) if not number // len(PLAIN) % 2]
CUT = [plain_clip(number) for number in range(64) if number // len(PLAIN) % 2]


def in_view(clip: Clip) -> torch.Tensor:
    """The share of the first shape inside the frame at its start, in the middle and at its end."""
    centred = replace(clip, shapes=[replace(clip.shapes[0], start=(0.5, 0.5), end=(0.5, 0.5))])
    here, whole = (one.cover(torch.tensor([0.0, 0.5, 1.0])).sum((1, 2, 3)) for one in (clip, centred))
    return here / whole


def test_the_demo_pictures_are_the_ends_of_the_clip_with_its_seed() -> None:
    for path, frame in zip(PICTURES, make_clip(DEMO_SEED, {}).at(ENDS), strict=True):
        kept = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()) / 255
        assert float((kept - frame).abs().max()) < 1.5 / 255


def test_a_seed_gives_the_same_clip_again_and_its_kind_by_its_range() -> None:
    for seed in (FIRST_CLIP, HAND_DRAWN + 3):
        assert torch.equal(any_clip(seed, {}).frames(3), any_clip(seed, {}).frames(3))
    assert all(shape.pattern != "flat" for shape in any_clip(FIRST_CLIP, {}).shapes)
    assert all(shape.pattern == "flat" for seed in range(20) for shape in any_clip(HAND_DRAWN + seed, {}).shapes)


def test_half_of_the_data_set_is_of_either_kind() -> None:
    firsts = list(seeds_of(6 * PIECE, PIECE))
    assert sorted(firsts) == [first + piece * PIECE for first in (FIRST_CLIP, HAND_DRAWN) for piece in range(3)]


def test_hand_drawn_clips_are_all_scenes() -> None:
    clips = [draw_clip(HAND_DRAWN + number, {}) for number in range(200)]
    counts = [len(clip.shapes) for clip in clips]
    assert 0.04 < counts.count(0) / 200 < 0.2  # a camera alone
    assert 0.1 < counts.count(2) / 200 < 0.3  # two that cross
    ways = [math.dist(clip.shapes[0].start, clip.shapes[0].end) for clip in clips if clip.shapes]
    assert 0.02 < ways.count(0.0) / 200 < 0.12  # equal ends
    assert max(ways) <= 0.75


@pytest.mark.parametrize("number", range(len(PLAIN)))
def test_plain_shapes_are_each_kind_in_turn(number: int) -> None:
    kinds = {plain_clip(number + turn * len(PLAIN)).shapes[0].kind for turn in range(4)}
    assert all(len(kind) == 1 for kind in kinds) if PLAIN[number] == "letter" else kinds == {PLAIN[number]}


def test_plain_shapes_move_a_tenth_to_seven_tenths_of_the_frame_and_differ_from_the_ground() -> None:
    for clip in WHOLE + CUT:
        shape = clip.shapes[0]
        assert 0.05 <= math.dist(shape.start, shape.end) <= 0.75
        assert float((shape.colours[0] - clip.texture[:, 0, 0]).norm()) > 0.5


def test_half_of_the_plain_shapes_is_cut_by_the_edge_and_at_least_half_seen_in_the_middle() -> None:
    for clip in WHOLE:
        assert float(in_view(clip).min()) > 0.95  # one that grows or turns may touch the edge
    cut = torch.stack([in_view(clip) for clip in CUT])
    assert float((cut.min(1).values < 0.9).float().mean()) > 0.7  # a letter may only just not reach the edge
    assert float(cut.min()) < 0.4
    assert float(cut[:, 1].min()) >= 0.5
    assert float(cut.min()) >= 0.1  # of what is out of view at an end nobody knows the way


def test_the_truth_scores_one_and_a_cross_fade_and_an_empty_frame_nothing() -> None:
    for clip in drawings(16):
        first, true, last = clip.at(torch.tensor([0.0, 0.5, 1.0]))
        assert share_at_place(clip, true) > 0.97  # pixels at the edge may be nearer to the background
        assert share_at_place(clip, (first + last) / 2) == 0
        assert share_at_place(clip, replace(clip, shapes=[]).at(torch.tensor([0.5]))[0]) == 0


def test_a_box_half_its_width_off_has_half_its_share() -> None:
    box = replace(plain_clip(1).shapes[0], kind="square", radius=(0.15, 0.15), angle=(0.0, 0.0))
    clip = replace(plain_clip(1), shapes=[replace(box, start=(0.2, 0.2), end=(0.8, 0.8))])
    aside = clip.at(torch.tensor([0.5]), torch.tensor([[0.5 + 0.15 * 0.82, 0.5]]))[0]
    assert share_at_place(clip, aside) == pytest.approx(0.5, abs=0.05)


def test_given_frames_are_ends_alone_in_half_of_the_clips_and_the_first_frame_always() -> None:
    given = torch.stack([draw_given(seed) for seed in range(4000)])
    plain = (given == ends(1)[0]).all(1)
    middle = given[:, -1] & ~given[:, 1] & ~plain | given[:, 1] & ~given[:, 2:5].all(1)
    starts = given[:, :5].all(1)
    assert given[:, 0].all()
    assert float(plain.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(middle.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float(starts.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float((~given[:, -1]).float().mean()) == pytest.approx(1 / 12, abs=0.02)
    assert set(given[starts].sum(1).tolist()) == {5, 6, 9, 10}


@pytest.mark.parametrize(("start", "middle", "last"), [(1, (), 1), (1, (3, 8), 1), (5, (), 1), (9, (), 0)])
def test_the_mask_in_training_is_the_one_that_the_nodes_give(start: int, middle: tuple[int, ...], last: int) -> None:
    given = torch.zeros(1, FRAMES, dtype=torch.bool)
    given[:, [*range(start), *middle, *range(FRAMES - last, FRAMES)]] = True
    picture = torch.zeros(1, 8, 8, 3)
    nodes = build_mask(FRAMES, 1, 1, picture.expand(start, -1, -1, -1), picture if last else None, middle)
    assert torch.equal(mask_of(given), 1 - nodes)


def test_an_interval_is_two_standard_errors_and_the_truth_has_no_distance_from_itself() -> None:
    assert interval([1.0, 3.0]) == pytest.approx((2.0, 2.0))
    video = make_clip(1, {}).frames()
    between, last, dissolve, flicker, arrival = measures(video, video)
    assert between == last == math.inf
    assert dissolve == arrival == 0
    assert flicker is not None
    assert flicker < 0.01
