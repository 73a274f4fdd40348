"""A storyboard's clips: how many frames they have and share, and what an edit changes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.json_text import check_value
from wan_flf2v.flf2v.storyboard import SCHEMA, Keyframe, Storyboard, parse_storyboard
from wan_flf2v.flf2v.video_model import WAN, VideoModel

Board = dict[str, Any]


lengths = st.integers(1, 30).map(lambda n: 4 * n + 1)


def parse(board: Board, slots: tuple[int, ...] = tuple(range(1, 13))) -> Storyboard:
    return parse_storyboard(json.dumps(board), slots)


def pictures(names: str) -> list[dict[str, Any]]:
    return [{"picture": f"{name}.png"} for name in names]


@st.composite
def boards(draw: st.DrawFn, carries: tuple[int, ...] = (0,)) -> Board:
    names = draw(st.lists(st.sampled_from("abcdefghijkl"), min_size=2, max_size=12))
    closed = draw(st.booleans())
    carry = draw(st.sampled_from(carries))
    segments = [
        {"prompt": draw(st.text("xyz", max_size=3)), "seed": draw(st.integers(0, 5)), "length": draw(lengths) + 8}
        for _ in range(len(names) - (not closed))
    ]
    return {"keyframes": pictures("".join(names)), "segments": segments, "closed": closed, "carry": carry}


@given(boards(carries=(0, 1, 5, 9)))
def test_frames_are_the_sum_of_the_lengths_less_what_clips_share(board: Board) -> None:
    film = parse(board)
    total = sum(segment["length"] for segment in board["segments"])
    joints = len(board["segments"]) - 1
    assert film.frames == total - joints * max(1, board["carry"]) - board["closed"]


@given(boards())
def test_each_keyframe_comes_once_at_the_sum_of_the_steps_before_it(board: Board) -> None:
    film = parse(board)
    steps = [segment["length"] - 1 for segment in board["segments"]]
    expected = [
        (sum(steps[:number]), Keyframe(keyframe["picture"])) for number, keyframe in enumerate(board["keyframes"])
    ]
    assert film.keyframes == tuple(expected)
    assert film.frames == sum(steps) + (not board["closed"])


@given(boards(carries=(0, 1, 5, 9)))
def test_a_clip_shows_no_frame_that_it_does_not_have(board: Board) -> None:
    film = parse(board)
    for clip, (first, end) in zip(film.clips, film.spans, strict=True):
        assert 0 <= first < end <= clip.length


def test_keyframes_that_are_gone_through_make_one_clip_of_the_same_frames() -> None:
    keyframes = pictures("abcd")
    segments = [{"length": 9, "prompt": "p"}, {"length": 31}, {"length": 19}]
    keyframes[2]["through"] = True
    film = parse({"keyframes": keyframes, "segments": segments})
    assert [(clip.length, clip.middle) for clip in film.clips] == [(9, ()), (49, ((30, Keyframe("c.png")),))]
    assert film.frames == 9 + 31 + 19 - 2
    assert [at for at, _ in film.keyframes] == [0, 8, 38, 56]
    keyframes[1]["through"] = True
    with pytest.raises(FLF2VError, match="segment 3: length must be 4n"):
        parse({"keyframes": keyframes, "segments": [{"length": 10}, {"length": 31}, {"length": 19}]})


@given(boards(carries=(0, 1, 5, 9)), st.sampled_from(["video_before", "video_after", "both"]), st.booleans())
def test_videos_are_one_more_end_each_and_share_at_least_one_frame(board: Board, which: str, connected: bool) -> None:
    names = ["video_before", "video_after"] if which == "both" else [which]
    board |= {"closed": False, "keyframes": board["keyframes"][len(names) :]}
    board["segments"] = board["segments"][: len(board["keyframes"]) - 1 + len(names)]
    for segment in board["segments"]:
        segment["length"] += 12
    if not connected:
        board |= {name: f"{name}.mp4" for name in names}
    film = parse_storyboard(json.dumps(board), range(1, 13), videos=names if connected else ())
    total, joints = sum(segment["length"] for segment in board["segments"]), len(board["segments"]) - 1
    shared = max(1, board["carry"])
    assert film.frames == total - shared * (joints + len(names))
    assert [film.video_before is not None, film.video_after is not None] == [
        name in names for name in ("video_before", "video_after")
    ]
    for video in (film.video_before, film.video_after):
        assert video is None or video.name == (None if connected else f"{video.slot}.mp4")
    assert [keyframe.picture for _, keyframe in film.keyframes] == [each["picture"] for each in board["keyframes"]]
    for clip, (first, end) in zip(film.clips, film.spans, strict=True):
        assert 0 <= first < end <= clip.length


@pytest.mark.parametrize(("carry", "least", "most"), [(0, 1, 7), (5, 1, 7)])
def test_a_keyframe_is_gone_through_at_any_frame_that_is_not_given(carry: int, least: int, most: int) -> None:
    """The first clip's first frame is given, or those carried over; of each its last one, too."""

    def clip(at: int, before: int) -> Storyboard:
        keyframes = pictures("abcd"[: 3 + before])
        keyframes[1 + before]["through"] = True
        ends = [{"length": 13}] * before
        segments = [*ends, {"length": at + 1, "steps": 4}, {"length": 9 - at}]
        return parse({"keyframes": keyframes, "segments": segments, "carry": carry if before else 0})

    for before in (0, 1):
        first = max(least, carry * before)
        for at in (first, most):
            last = clip(at, before).clips[-1]
            assert (last.length, [number for number, _ in last.middle], last.settings) == (9, [at], (("steps", 4),))
        if first > 1:
            with pytest.raises(FLF2VError, match=f"at its frame {first - 1}, but its first {first} and its last 1"):
                clip(first - 1, before)


def test_with_carried_frames_and_beside_videos_a_keyframe_may_be_gone_through_where_none_is_given() -> None:
    board = {"keyframes": [*pictures("a"), {"picture": "b", "through": True}, *pictures("c")], "carry": 5}
    (clip,) = parse({**board, "segments": [{"length": 5}, {"length": 9}]}).clips
    assert clip.middle[0][0] == 4, "nothing is carried into the first clip"
    alone = {"keyframes": [{"picture": "b", "through": True}], "video_before": "a.mp4", "video_after": "c.mp4"}
    (clip,) = parse({**alone, "length": 9, "segments": [{}, {}]}).clips
    assert ([at for at, _ in clip.middle], clip.length) == ([8], 17)


def test_every_number_is_taken_up_to_both_of_its_bounds_and_not_beyond() -> None:
    properties = {**SCHEMA["properties"], **SCHEMA["properties"]["segments"]["items"]["properties"]}
    bounded = {name: rules for name, rules in properties.items() if "maximum" in rules}
    assert set(bounded) >= {"length", "seconds", "seed", "steps", "cfg", "cfg_low", "high_steps"}
    for name, rules in bounded.items():
        assert check_value(rules["maximum"], rules, name) == rules["maximum"]
        least = rules.get("minimum", rules.get("exclusiveMinimum"))
        if "minimum" in rules:
            assert check_value(least, rules, name) == least
        for beyond in (rules["maximum"] + 1, least - ("minimum" in rules)):
            with pytest.raises(FLF2VError, match=name):
                check_value(beyond, rules, name)


def test_two_videos_are_connected_without_a_keyframe() -> None:
    board = {"keyframes": [], "video_before": "a.mp4", "video_after": "b.mp4", "length": 81, "carry": 5}
    film = parse(board)
    assert film.spans == ((5, 76),)
    assert film.frames == 71
    assert film.keyframes == ()


def edited(board: Board, edit: str, at: int) -> Board:
    board = copy.deepcopy(board)
    keyframes, segments = board["keyframes"], board["segments"]
    if edit == "prompt":
        segments[at % len(segments)]["prompt"] = "new"
    elif edit == "seed":
        segments[at % len(segments)]["seed"] = 99
    elif edit == "keyframe":
        keyframes[at % len(keyframes)] = {"picture": "new.png"}
    elif edit == "insertion":
        place = at % (len(keyframes) - 1)
        keyframes.insert(place + 1, {"picture": "new.png"})
        segments.insert(place, {"prompt": "new", "length": 9})
    elif edit == "removal of the last":
        keyframes.pop()
        segments.pop()
    elif edit == "turned round":
        board["keyframes"] = keyframes[1:] + keyframes[:1]
        board["segments"] = segments[1:] + segments[:1]
    elif edit == "closed":
        board["closed"] = True
        segments.append({"prompt": "back", "length": 9})
    return board


def changed_clips(before: Storyboard, after: Storyboard) -> tuple[int, ...]:
    """The places (from 0) of the clips that an edit makes anew; all others are kept, whatever their place was."""
    return tuple(number for number, identity in enumerate(after.identities) if identity not in before.identities)


@pytest.mark.parametrize(
    ("edit", "closed", "most"),
    [
        ("prompt", False, 1),
        ("seed", False, 1),
        ("keyframe", False, 2),
        ("keyframe", True, 2),
        ("insertion", False, 2),
        ("removal of the last", False, 0),
        ("turned round", True, 0),
        ("closed", False, 1),
    ],
)
@given(board=boards(), at=st.integers(0, 11))
def test_an_edit_changes_only_the_clips_that_it_touches(
    edit: str, closed: bool, most: int, board: Board, at: int
) -> None:
    while len(board["keyframes"]) < 3:
        board["keyframes"].append({"picture": "z.png"})
    if edit == "insertion":
        board["keyframes"] = board["keyframes"][:11]
    count = len(board["keyframes"]) - (not closed)
    board["segments"] = ([*board["segments"], *({"length": 9, "seed": 7} for _ in range(count))])[:count]
    board["closed"] = closed
    changed = changed_clips(parse(board), parse(edited(board, edit, at)))
    assert len(changed) <= most
    if edit in ("prompt", "seed"):
        assert changed == (at % count,)


@given(boards(carries=(1, 5)), st.integers(0, 11))
def test_with_carried_frames_an_edit_changes_all_clips_after_it(board: Board, at: int) -> None:
    at %= len(board["segments"])
    assert changed_clips(parse(board), parse(edited(board, "seed", at))) == tuple(range(at, len(board["segments"])))


def test_a_segment_takes_what_it_does_not_set_from_the_storyboard_and_else_the_models_length() -> None:
    board = {"prompt": "p", "negative": "n", "seed": 5, "keyframes": pictures("abc")}
    own = {"prompt": "own", "negative": "", "seconds": 0.5, "seed": 6, "steps": 4, "cfg": 1}
    own |= {"cfg_low": 2.5, "high_steps": 3}
    first, second = parse({**board, "segments": [own, {}]}).clips
    assert (first.prompt, first.negative, first.length, first.seed) == ("own", "", 9, 6)
    assert dict(first.settings) == {"steps": 4, "cfg": 1.0, "cfg_low": 2.5, "high_steps": 3}
    assert (second.prompt, second.negative, second.length, second.seed, second.settings) == ("p", "n", 81, 5, ())
    assert parse({**board, "length": 33}).clips[0].length == 33
    assert parse({**board, "seconds": 2}).clips[0].length == 33
    assert [parse({**board, **more}).colour for more in ({}, {"colour": False})] == [True, False]


def test_without_keyframes_in_the_text_the_connected_ones_are_taken_in_order() -> None:
    film = parse_storyboard('{"prompt": "p"}', slots=(1, 2, 5))
    assert [keyframe for _, keyframe in film.keyframes] == [Keyframe(slot=1), Keyframe(slot=2), Keyframe(slot=5)]


def test_too_few_seconds_name_the_fewest() -> None:
    for seconds in (0.1, 0):
        with pytest.raises(FLF2VError, match=rf"got {seconds}\. Use 0\.25 or 0\.5\."):
            WAN.length_of(seconds)


def test_a_keyframe_gone_through_has_strengths_for_either_stage() -> None:
    keyframes = pictures("abcd")
    for keyframe in keyframes[1:3]:
        keyframe |= {"through": True, "strength": 0.5}
    board = {"keyframes": keyframes, "length": 13}
    board["segments"] = [{}, {"length": 9}, {"length": 17}]
    assert parse(board).clips[0].strengths == (0.5, 0.5)
    keyframes[2]["strength_low"] = 0.25
    with pytest.raises(FLF2VError, match=r"^segment 3: the keyframes that one clip goes through must have the same"):
        parse(board)
    keyframes[1]["strength_low"] = 0.25
    assert parse(board).clips[0].strengths == (0.5, 0.25)
    assert changed_clips(parse(board), parse({**board, "keyframes": pictures("ab") + keyframes[2:]})) == (0, 1)


def test_another_model_brings_its_own_numbers() -> None:
    other = VideoModel(stride=8, min_length=9, length=121, frame_rate=24)
    board = {"keyframes": pictures("ab")}
    assert parse_storyboard(json.dumps(board), model=other).frames == 121
    assert parse_storyboard(json.dumps({**board, "seconds": 2}), model=other).frames == 49
    with pytest.raises(FLF2VError, match=r"segment 1: length must be 8n \+ 1 .* got 13. Use 9 or 17"):
        parse_storyboard(json.dumps({**board, "length": 13}), model=other)
