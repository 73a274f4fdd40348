"""A storyboard as a field of a request: its pictures are URLs, data URIs or links of uploads; it has no videos."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from ..flf2v.json_text import read_json
from ..flf2v.storyboard import MAX_TEXT, VIDEOS, Storyboard, check_storyboard
from ..flf2v.storyboard import SCHEMA as WHOLE


def _schema() -> dict[str, Any]:
    schema = copy.deepcopy(dict(WHOLE))
    del schema["$schema"]
    for name in VIDEOS:
        del schema["properties"][name]
    keyframes = schema["properties"]["keyframes"]
    keyframes["description"] = "The pictures, in order; at least two."
    keyframe = keyframes["items"]
    del keyframe["oneOf"], keyframe["dependentSchemas"], keyframe["properties"]["slot"]
    picture = keyframe["properties"]["picture"]
    del picture["maxLength"]
    picture["description"] = "An https URL, a data URI, or the link of an upload."
    keyframe["required"] = ["picture"]
    schema["properties"]["segments"]["maxItems"] = keyframes["maxItems"]
    return schema | {"required": ["keyframes"]}


SCHEMA: Mapping[str, Any] = _schema()


def board_of(value: object) -> Storyboard:
    """The storyboard of an object or of its JSON text. Raises FLF2VError with one sentence."""
    if isinstance(value, str):
        value = read_json(value, "the storyboard", MAX_TEXT)
    return check_storyboard(value, schema={"$schema": WHOLE["$schema"], **SCHEMA})


def text_of(value: object) -> str:
    """The JSON text of a storyboard. Raises FLF2VError with one sentence."""
    board_of(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def pictures_in(text: str) -> dict[str, str]:
    """The pictures of a checked storyboard, each by its keyframe's number in words."""
    keyframes = enumerate(json.loads(text)["keyframes"], 1)
    return {f"keyframe {number}": keyframe["picture"] for number, keyframe in keyframes}


def with_pictures(text: str, pictures: Mapping[str, str]) -> str:
    """The text of a checked storyboard with other pictures, by the names that ``pictures_in`` gives them."""
    board = json.loads(text)
    for number, keyframe in enumerate(board["keyframes"], 1):
        keyframe["picture"] = pictures[f"keyframe {number}"]
    return json.dumps(board, ensure_ascii=False)


def with_length(text: str, length: int) -> str:
    """The text of a checked storyboard whose segments all have this length."""
    board = json.loads(text)
    for owner in (board, *board.get("segments", ())):
        owner.pop("length", None)
        owner.pop("seconds", None)
    return json.dumps({**board, "length": length}, ensure_ascii=False)
