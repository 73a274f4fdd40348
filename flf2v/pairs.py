"""Which files are the high- and the low-noise file of one pair, told by names that differ in high and low alone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import FLF2VError

OTHER = {"high": "low", "low": "high", "hn": "ln", "ln": "hn"}
# A word of its own, or the beginning of one as in HighNoise: not in slow, flow or highres.
_SIDE = re.compile(
    r"(?:(?<![A-Za-z])(?:high|low|HIGH|LOW)|High|Low)(?=[Nn]oise|NOISE|[^A-Za-z]|$)|(?<![A-Za-z])(?:HN|LN|hn|ln)(?![A-Za-z])"
)


def side_of(name: str) -> str | None:
    """ "high" or "low", as the name says; None where it says neither or both."""
    sides = {"high" if word.lower() in ("high", "hn") else "low" for word in _SIDE.findall(name)}
    return sides.pop() if len(sides) == 1 else None


def partner(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is this file's other half."""

    def swapped(found: re.Match[str]) -> str:
        word, other = found[0], OTHER[found[0].lower()]
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    other = _SIDE.sub(swapped, name)
    return other if other != name and other in names else None


def check_sides(what: str, high: str, low: str) -> None:
    """Raise FLF2VError where the names say that a pair is swapped."""
    if (side_of(high), side_of(low)) == ("low", "high"):
        raise FLF2VError(
            f"the {what} files are swapped: {high} is named as the low-noise one and {low} as the high-noise one. "
            "Choose them the other way round."
        )
