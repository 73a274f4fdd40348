"""Text files that people write."""

from __future__ import annotations

from pathlib import Path

from .errors import CliError


def read_text(path: Path) -> str:
    """The text of a file, which may begin with a byte order mark. Raises CliError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}.") from None
