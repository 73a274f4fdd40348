"""Which version of this package is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """This package's version; 0 where it is a folder that nothing installed."""
    try:
        return version("wan-flf2v")
    except PackageNotFoundError:
        return "0"
