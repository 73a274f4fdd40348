"""The plug-in point for a check of finished videos. None ships; packages bring one as an entry point.

An entry point of the group ``wan_flf2v.safety_checkers`` names a callable ``(video: bytes) -> bool``: True where the
video should be flagged. It runs in the worker, before the job ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

GROUP = "wan_flf2v.safety_checkers"
Checker = Callable[[bytes], bool]


@dataclass(frozen=True)
class SafetyCheckers:
    """The installed checkers."""

    checkers: Sequence[Checker] = ()

    @classmethod
    def installed(cls) -> SafetyCheckers:
        """Those that packages in this environment bring."""
        return cls([point.load() for point in entry_points(group=GROUP)])

    def check(self, video: bytes) -> bool | None:
        """Whether any checker flags the video; None when there is no checker."""
        return any([checker(video) for checker in self.checkers]) if self.checkers else None
