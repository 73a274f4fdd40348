"""A storyboard as a field of a request: pictures by address, no inputs of a node and no videos."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.storyboard import MAX_TEXT
from wan_flf2v.workflows.boards import SCHEMA, board_of, pictures_in, text_of, with_length, with_pictures


def board(count: int = 2, **fields: Any) -> dict[str, Any]:
    return {"keyframes": [{"picture": f"https://a.example/{number}.png"} for number in range(count)], **fields}


def test_a_request_may_give_as_many_segments_as_keyframes_and_pictures_of_any_length() -> None:
    inline = "data:image/png;base64," + "A" * 5000
    assert len(board_of(board(12, closed=True, segments=[{"prompt": "a"}] * 12)).clips) == 12
    assert board_of({"keyframes": [{"picture": inline}, {"picture": inline}]}).clips[0].start.picture == inline


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "keyframes"),
        ({"keyframes": [{"picture": "https://a.example/1.png"}, {}]}, "^keyframe 2 must have a picture; got none.$"),
        ({"keyframes": [{"slot": 1}, {"slot": 2}]}, "slot"),
        (board(video_before="a.mp4"), "video_before"),
        (board(video_after="a.mp4"), "video_after"),
        (board(13), "12"),
        (board(2, segments=[{}] * 13), "12"),
    ],
)
def test_what_a_request_cannot_give_is_refused_by_name(value: dict[str, Any], words: str) -> None:
    for given in (value, json.dumps(value)):
        with pytest.raises(FLF2VError, match=words):
            text_of(given)


def test_a_text_that_is_no_board_is_refused_in_one_sentence() -> None:
    twice = '{"keyframes": [], "keyframes": [{"picture": "a"}, {"picture": "b"}]}'
    for text in ("", "{", "[1", twice, "[" * 100_000, " " * (MAX_TEXT + 1)):
        with pytest.raises(FLF2VError):
            board_of(text)


def test_the_published_schema_wants_what_is_checked() -> None:
    assert SCHEMA["required"] == ["keyframes"]
    keyframe = SCHEMA["properties"]["keyframes"]["items"]
    assert (keyframe["required"], "slot" in keyframe["properties"]) == (["picture"], False)
    assert not {"video_before", "video_after"} & set(SCHEMA["properties"])


def test_a_board_keeps_its_words_and_its_other_fields_whatever_is_put_in_its_place() -> None:
    told = board(3, prompt="écume 波", segments=[{"length": 9, "seed": 3}, {"seconds": 1, "prompt": "b"}], length=17)
    text = text_of(told)
    assert "écume 波" in text
    assert json.loads(text) == told
    assert text_of(text) is text
    assert pictures_in(text) == {f"keyframe {n + 1}": f"https://a.example/{n}.png" for n in range(3)}
    moved = json.loads(with_pictures(text, {f"keyframe {n + 1}": f"{n}.png" for n in range(3)}))
    assert moved == {**told, "keyframes": [{"picture": f"{n}.png"} for n in range(3)]}
    again = json.loads(with_length(text, 33))
    assert again == {**told, "length": 33, "segments": [{"seed": 3}, {"prompt": "b"}]}
