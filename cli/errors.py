"""The command line's own errors: one clear line for the user, no traceback."""

from __future__ import annotations


class CliError(Exception):
    """What was asked cannot be done; the message says why and what to do."""
