"""One key misbehaves in every way, another is not held up. Short here; ``benchmarks.greedy`` measures each for a minute."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from wan_flf2v.benchmarks.greedy import WAYS, run

# What half of the submits and the slowest one may take: above a busy machine's noise, far below what one key once cost
# another (seconds to a minute).
HALF_S, SLOWEST_S = 1.0, 5.0


@pytest.mark.slow
def test_a_key_is_not_held_up_by_what_another_does(tmp_path: Path) -> None:
    felt = run(tmp_path, 6, (None, *range(len(WAYS))), [])
    alone = felt.pop("A does nothing")
    for way, one in felt.items():
        assert one.errors == [], way
        assert statistics.median(one.submits) <= HALF_S, way
        assert max(one.submits) <= max(SLOWEST_S, 4 * max(alone.submits)), way
        assert one.hooks, way
        assert max(one.hooks) <= max(SLOWEST_S, 4 * max(alone.hooks)), way
        assert one.memory <= 1000, way
