"""One key misbehaves in every way, another does not feel it. Short here; ``benchmarks.greedy`` does each for a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_flf2v.benchmarks.greedy import WAYS, run


@pytest.mark.slow
def test_a_key_does_not_feel_what_another_does(tmp_path: Path) -> None:
    felt = run(tmp_path, 6, (None, *range(len(WAYS))), [])
    alone = felt.pop("A does nothing")
    for way, one in felt.items():
        assert one.errors == [], way
        assert one.p99 <= max(0.25, 4 * alone.p99), (way, one.p99, alone.p99)  # on a busy machine B alone is slow too
        assert one.hooks, way
        assert max(one.hooks) <= 5, way
        assert one.memory <= 1000, way
