"""Run once more what the test run failed, and say what needed it.

``python .ci/second_try.py`` after ``run.py test``; 0 when all of it passes now. Each is named at the end, with the reason
that is known for it here: a test that fails by turns without one is a bug of the product until shown otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAST_FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
# The beginning of a test's id -> why it may fail on a busy machine though what it tests is right.
REASONS: dict[str, str] = {}


def main() -> int:
    """Run what failed; returns the exit status of the whole test run."""
    first = failed()
    if not first:
        print("The test run failed before or beside the tests; there is nothing to run again.")
        return 1
    again = [sys.executable, "run.py", "test", "--last-failed", "--last-failed-no-failures", "none"]
    done = subprocess.run(again, cwd=ROOT, check=False)
    needed = sorted(first - failed())
    print(f"\nPassed at the second try: {len(needed)} of {len(first)}")
    reasons = {test: next((why for begin, why in REASONS.items() if test.startswith(begin)), None) for test in needed}
    for test, why in reasons.items():
        print(f"  {test}: {why or 'no reason is known: find it'}")
    return done.returncode


def failed() -> set[str]:
    """The ids of the tests that failed when they were last run."""
    return set(json.loads(LAST_FAILED.read_text())) if LAST_FAILED.exists() else set()


if __name__ == "__main__":
    raise SystemExit(main())
