"""Boards that are refused: in one sentence that names the place, by the parser and by the JSON schema alike."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.storyboard import MAX_TEXT, SCHEMA, parse_storyboard
from wan_flf2v.tests.flf2v.test_storyboard import Board, parse, pictures

SCHEMA_RULES = jsonschema_rs.validator_for(dict(SCHEMA))
GOOD: Board = {"keyframes": pictures("abc"), "segments": [{"prompt": "p", "length": 81}, {}]}


GONE_THROUGH = [{"picture": "b", "through": True}, *pictures("c")]


def bad(**fields: Any) -> str:
    return json.dumps({**GOOD, **fields})


BAD = {
    "cut in the middle": ('{"keyframes": [{"picture": "a.png"}, {"pict', "no JSON: .* at line 1, column"),
    "empty": ("", "the storyboard is no JSON"),
    "a list": ("[]", r"the storyboard must be an object \{ … \}; got \[\]"),
    "nested": ("[" * 100_000, "nested too deep"),
    "endless": (" " * (MAX_TEXT + 1), "at most 262144 characters"),
    "a number of 5000 digits": ('{"seed": ' + "9" * 5000 + "}", "no usable JSON"),
    "one keyframe": (
        bad(keyframes=pictures("a"), segments=[{}]),
        "a storyboard needs between 2 and 12 keyframes; got 1",
    ),
    "13 keyframes": (bad(keyframes=pictures("abcdefghijklm")), "between 0 and 12 entries; got 13"),
    "no keyframes": ("{}", "between 2 and 12 keyframes; got 1. List them in keyframes, or connect them"),
    "a keyframe without a picture": (
        bad(keyframes=[*pictures("ab"), {}]),
        "keyframe 3 must have either a picture or a",
    ),
    "both": (bad(keyframes=[*pictures("ab"), {"picture": "a", "slot": 1}]), "keyframe 3 must have either"),
    "slot 13": (bad(keyframes=[*pictures("ab"), {"slot": 13}]), "keyframe 3: slot must be between 1 and 12; got 13"),
    "a free slot": (bad(keyframes=[*pictures("ab"), {"slot": 2}]), "keyframe 3 takes slot 2, but keyframe_2 is not"),
    "through the first": (bad(keyframes=[{"picture": "a", "through": True}, *pictures("bc")]), "keyframe 1 begins or"),
    "through the last": (bad(keyframes=[*pictures("bc"), {"picture": "a", "through": True}]), "keyframe 3 begins or"),
    "a segment too many": (bad(segments=[{}, {}, {}]), "3 keyframes need 2 segments .* got 3"),
    "one too few for a ring": (
        bad(closed=True),
        r"3 keyframes need 3 segments \(closed: as many as keyframes\); got 2",
    ),
    "length 140": (bad(segments=[{}, {"length": 140}]), "segment 2: length must be 4n .* got 140. Use 137 or 141"),
    "length 2": (bad(length=2), "segment 2: length must be at least 5"),
    "seconds between": (bad(segments=[{"seconds": 3.1}, {}]), "segment 1: seconds .* got 3.1. Use 3 or 3.25"),
    "both lengths": (bad(segments=[{}, {"length": 5, "seconds": 1}]), "segment 2 gives both length and seconds"),
    "both lengths for all": (bad(length=5, seconds=1), "the storyboard gives both length and seconds"),
    "no time": (bad(seconds=0), "seconds must be between 0.25 and 1024; got 0"),
    "endless seconds": ('{"seconds": 1e999}', "seconds must be a number; got Infinity"),
    "an unknown field": (
        bad(segments=[{}, {"promt": "x"}]),
        'segment 2 has no field "promt". It takes prompt, negative',
    ),
    "an unknown field of all": (bad(sed=5), 'the storyboard has no field "sed"'),
    "given twice": ('{"segments": [{}, {"seed": 1, "seed": 2}]}', 'segment 2 gives "seed" twice'),
    "a prompt of 100 KB": (bad(segments=[{}, {"prompt": "x" * 100_000}]), "segment 2: prompt must have .* 10000 ch"),
    "a prompt that is a number": (bad(prompt=5), "prompt must be a text; got 5"),
    "half a character": (bad(prompt="\ud800"), "prompt holds half a character"),
    "a yes for a number": (bad(segments=[{"seed": True}, {}]), "segment 1: seed must be a whole number; got true"),
    "a seed of 65 bits": (bad(seed=2**64), "seed must be between 0 and 18446744073709551615"),
    "half a step": (bad(segments=[{"steps": 1.5}, {}]), "segment 1: steps must be a whole number; got 1.5"),
    "carry 2": (bad(carry=2), "carry must be one of 0, 1, 5, 9; got 2"),
    "nothing left": (
        bad(carry=9, length=9, segments=[{}, {}]),
        "segment 1: a length of 9 frames leaves none after the 9",
    ),
    "a ring with a video": (bad(closed=True, video_before="a.mp4"), "a video before or after it can't be closed"),
    "a video named and connected": (bad(video_after="b.mp4"), "names a video_after, and one is connected"),
    "too short between videos": (
        bad(keyframes=[], segments=[{}], video_before="a.mp4", video_after="c.mp4", carry=5, length=9),
        "segment 1: a length of 9 frames leaves none after the 5 that are carried over and the 5 that lead to video_after",
    ),
    "no keyframe beside one video": (
        bad(keyframes=[], segments=[{}], video_before="a.mp4"),
        "needs between 1 and 12 keyframes; got 0",
    ),
    "segments beside videos": (bad(video_before="a.mp4"), "3 keyframes and 1 video need 3 segments .* got 2"),
    "a keyframe among carried frames": (
        bad(
            keyframes=[*pictures("ab"), {"picture": "c", "through": True}, *pictures("d")],
            segments=[{"length": 13}, {"length": 6}, {"length": 8}],
            carry=9,
        ),
        "segment 3: the clip goes through a keyframe at its frame 5, but its first 9 and its last 1 frames are given",
    ),
    "a keyframe among those that lead to a video": (
        bad(keyframes=GONE_THROUGH, segments=[{"length": 5}, {"length": 9}], video_before="a.mp4", carry=5),
        "segment 2: the clip goes through a keyframe at its frame 4, but its first 5 and its last 1 frames are given",
    ),
    "a keyframe among those that lead to another": (
        bad(
            keyframes=[*pictures("a"), GONE_THROUGH[0]],
            segments=[{"length": 9}, {"length": 5}],
            video_after="b",
            carry=5,
        ),
        "segment 2: the clip goes through a keyframe at its frame 8, but its first 1 and its last 5 frames are given",
    ),
    "a strength at an end": (bad(keyframes=[{"picture": "a", "strength": 1}, *pictures("bc")]), "keyframe 1 has a str"),
    "a strength of 2": (
        bad(keyframes=[*pictures("a"), {"picture": "b", "through": True, "strength": 2}, *pictures("c")]),
        "keyframe 2: strength must be between 0 and 1; got 2",
    ),
    "a closed that is a text": (bad(closed="yes"), 'closed must be true or false; got "yes"'),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_board_is_refused_in_one_sentence_that_names_the_place(case: str) -> None:
    text, message = BAD[case]
    with pytest.raises(FLF2VError, match=message) as error:
        parse_storyboard(text, slots=(1,), videos=("video_after",) if "connected" in case else ())
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_through_segments_take_nothing_but_a_length() -> None:
    keyframes = pictures("abc")
    keyframes[1]["through"] = True
    with pytest.raises(FLF2VError, match=r"segment 2 goes on in the clip before it.*got seed"):
        parse({"keyframes": keyframes, "segments": [{}, {"seed": 3}]})


# What no JSON schema can say is the parser's alone; in all else the two must agree.
PARSERS_ALONE = {
    "one keyframe", "no keyframes", "a free slot", "through the first", "through the last", "a segment too many",
    "one too few for a ring", "length 140", "length 2", "seconds between", "given twice", "nothing left",
    "a keyframe among carried frames", "a ring with a video", "a video named and connected", "too short between videos",
    "no keyframe beside one video", "segments beside videos", "a keyframe among those that lead to a video",
    "a keyframe among those that lead to another",
}  # fmt: skip


NOT_EVEN_JSON = {"cut in the middle", "empty", "nested", "endless", "a number of 5000 digits", "half a character"} | {
    "endless seconds"
}


@pytest.mark.parametrize("case", sorted(BAD.keys() - NOT_EVEN_JSON))
def test_the_json_schema_refuses_what_the_parser_refuses(case: str) -> None:
    assert SCHEMA_RULES.is_valid(json.loads(BAD[case][0])) == (case in PARSERS_ALONE)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 20), st.floats(-1, 20), st.text(max_size=3), st.just([]), st.just({})
)


PARSERS_WORDS = ("4n", "segments (", "goes on", "begins or", "leaves none", "a storyboard needs", "closed to a ring")


@given(st.data())
def test_schema_and_parser_agree_on_any_field_with_any_value(data: st.DataObject) -> None:
    board: Board = {"keyframes": [{"slot": 1}, {"slot": 2}], "segments": [{}]}
    inside = data.draw(st.sampled_from(["storyboard", "segment", "keyframe"]))
    target = {"storyboard": board, "segment": board["segments"][0], "keyframe": board["keyframes"][0]}[inside]
    fields = SCHEMA["properties"]
    known = {"storyboard": fields, "segment": fields["segments"]["items"]["properties"]}
    known["keyframe"] = fields["keyframes"]["items"]["properties"]
    target[data.draw(st.sampled_from([*known[inside], "unknown"]))] = data.draw(values)
    try:
        parse(board)
        refused = None
    except FLF2VError as error:
        refused = str(error)
    if refused is None:
        assert SCHEMA_RULES.is_valid(board)
    elif not any(words in refused for words in PARSERS_WORDS):
        assert not SCHEMA_RULES.is_valid(board), refused


@given(st.text(max_size=200) | st.text('{}[]":,0123 keyframspictu', max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse_storyboard(text, slots=(1, 2))
    except FLF2VError as error:
        assert str(error)
