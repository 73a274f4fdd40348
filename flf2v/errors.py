"""The one exception of this package's maths."""

from __future__ import annotations


class FLF2VError(ValueError):
    """A value that cannot work: the message says what must hold, what was given and what to do."""
