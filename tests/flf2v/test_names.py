"""Dates and widget values in file names, as ComfyUI's editor fills them in for its own save nodes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from wan_flf2v.flf2v.names import expand_name

NOW = datetime(2026, 3, 4, 15, 6, 7)
PROMPT: dict[str, Any] = {
    "57": {
        "class_type": "Sampler",
        "inputs": {"seed": 12, "cfg": 8.0, "model": ["1", 0]},
        "_meta": {"title": "My: node"},
    },
    "58": {"class_type": "Sampler", "inputs": {"seed": 99}, "_meta": {"title": "Second"}},
    "59": {"class_type": "Other", "inputs": {"seed": 3}, "_meta": {"title": "Sampler"}},
    "60": {"class_type": "Other", "inputs": {"seed": 4}, "_meta": {"title": "58"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": 'a/b\\c: "d"?'}},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("video/%date:yyyy-MM-dd%/clip", "video/2026-03-04/clip"),
        ("%date:d.M.yy h-m-s%", "4.3.26 15-6-7"),
        ("%date:hh:mm:ss%", "15_06_07"),
        ("%date:yyyyMMdd%_%Sampler.seed%", "20260304_12"),
        ("%My: node.seed%", "12"),
        ("%Second.seed%-%6.seed%-%58.seed%-%60.seed%", "99-%6.seed%-4-4"),
        ("%Sampler.cfg%", "8"),
        ("%CLIPTextEncode.text%", "a_b_c_ _d__"),
        ("%Sampler.model% %Nobody.seed% %year% 100%", "%Sampler.model% %Nobody.seed% %year% 100%"),
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("sub/folder\\name", "sub/folder\\name"),
    ],
)
def test_tokens_are_filled_in_and_nothing_is_left_that_windows_forbids(template: str, expected: str) -> None:
    assert expand_name(template, PROMPT, NOW) == expected
