"""What can go wrong between this package and a ComfyUI, each with a message that says what to do."""

from __future__ import annotations


class EngineError(Exception):
    """ComfyUI could not be found, set up, started or reached, or it refused or failed a job."""


class Unreachable(EngineError):
    """No ComfyUI answers at the address; nothing was queued there by this call, or its fate is unknown."""


class Refused(EngineError):
    """ComfyUI refused the workflow before running it (HTTP 400). ``node_errors`` is its answer, by node id."""

    def __init__(self, message: str, node_errors: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.node_errors = node_errors or {}


class JobFailed(EngineError):
    """A node raised while the job ran. ``node`` is its id in the prompt, ``kind`` the exception's type name."""

    def __init__(self, message: str, *, node: str | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.node = node
        self.kind = kind


class JobInterrupted(EngineError):
    """The job was interrupted, here or by somebody else at the same ComfyUI."""
