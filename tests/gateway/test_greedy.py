"""One key misbehaves in every way, another is not held up. Short here; ``benchmarks.greedy`` measures each for a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_flf2v.benchmarks.greedy import WAYS, run

# What a submit may take: above a busy machine's noise, far below what one key once cost another (seconds to a minute).
BOUND_S = 1.0


@pytest.mark.slow
def test_a_key_is_not_held_up_by_what_another_does(tmp_path: Path) -> None:
    felt = run(tmp_path, 6, (None, *range(len(WAYS))), [])
    alone = felt.pop("A does nothing")
    for way, one in felt.items():
        assert one.errors == [], way
        assert one.p99 <= max(BOUND_S, 4 * alone.p99), (way, one.p99, alone.p99)
        assert one.hooks, way
        assert max(one.hooks) <= max(5, 4 * max(alone.hooks)), way
        assert one.memory <= 1000, way
