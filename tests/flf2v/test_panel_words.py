"""The editor panels' Chinese knows every sentence of this maths that a panel can show."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.flf2v.frames import check_length
from wan_flf2v.flf2v.shift import check_boundary
from wan_flf2v.flf2v.sizes import check_picture_size, check_size
from wan_flf2v.flf2v.split import Run, check_hand_over, split_steps, warnings_for
from wan_flf2v.flf2v.stages import with_first
from wan_flf2v.flf2v.storyboard import parse_storyboard

TABLE: dict[str, str] = json.loads(
    (Path(__file__).resolve().parents[2] / "js" / "words" / "zh.json").read_text(encoding="utf-8")
)["server"]
GRID = (1.0, 0.95, 0.9, 0.8, 0.5, 0.0)


def known(sentence: str) -> bool:
    """Whether the table has this sentence, as js/lib/words.mjs looks for it."""
    patterns = ("(.+?)".join(map(re.escape, re.split(r"\{[ns]?\}", english))) for english in TABLE)
    return any(re.fullmatch(pattern, sentence, re.DOTALL) for pattern in patterns)


@pytest.mark.parametrize("high", [-1, 0, 1, 5])
def test_warnings_of_a_split(high: int) -> None:
    notes = warnings_for(split_steps(GRID, 0.9, high), forced=high != -1, cfg=4.0, distilled=True)
    assert notes
    assert [note for note in notes if not known(note)] == []


@pytest.mark.parametrize(
    "refused",
    [
        lambda: check_length(3),
        lambda: check_length(50),
        lambda: check_size(33, 64),
        lambda: check_size(2, 64),
        lambda: check_picture_size(2, 64),
        lambda: check_picture_size(99999, 64),
        lambda: check_boundary(0),
        lambda: split_steps(GRID, 0.9, 9),
        lambda: split_steps((1.0,), 0.9),
        lambda: check_hand_over(GRID, (*GRID[:2], 0.7, *GRID[3:]), 2),
        lambda: check_hand_over(GRID, GRID[1:], 2),
        lambda: with_first(split_steps(GRID, 0.9), 4, GRID, 1),
        lambda: Run(4, "euler", "simple", first_steps=5).check(),
    ],
)
def test_refusals(refused: Callable[[], object]) -> None:
    with pytest.raises(FLF2VError) as error:
        refused()
    assert known(str(error.value)[:1].upper() + str(error.value)[1:]) or known(str(error.value))


TWO = '"keyframes": [{"picture": "a"}, {"picture": "b"}]'


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"keyframes": [{"picture": "a"}]}',
        '{"keyframes": [{"picture": "a"}, {}]}',
        '{"keyframes": [{"picture": "a"}, {"picture": "b", "slot": 1}]}',
        '{"keyframes": [{"picture": "a"}, {"slot": 3}]}',
        '{"keyframes": [{"picture": "a"}, {"picture": "b", "through": true}]}',
        '{"keyframes": [{"picture": "a"}, {"picture": "b", "through": true}, {"picture": "c"}], "length": 14}',
        '{"keyframes": [{"picture": "a"}, {"slot": 1, "through": true}, {"picture": "c"}], "segments": [{}, {"seed": 1}]}',
        f'{{{TWO}, "segments": [{{}}, {{}}]}}',
        f'{{{TWO}, "segments": [{{"length": 14}}]}}',
        f'{{{TWO}, "segments": [{{"seconds": 0.3}}]}}',
        f'{{{TWO}, "promt": ""}}',
        f'{{{TWO}, "seed": -1}}',
        f'{{{TWO}, "prompt": "{"x" * 10_001}"}}',
    ],
)
def test_refusals_of_a_storyboard(text: str) -> None:
    with pytest.raises(FLF2VError) as error:
        parse_storyboard(text)
    assert known(str(error.value))


def test_the_words_of_a_split() -> None:
    assert known(split_steps(GRID, 0.9).describe())
    assert known(with_first(split_steps(GRID, 0.9), 1, GRID, 1).describe())
    assert not known("A sentence that nobody has translated.")
