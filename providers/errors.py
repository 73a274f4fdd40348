"""What can go wrong with a remote job, one class per thing a caller can act on.

Texts are made here or cleaned with ``secret.redact`` before they come in: no key is ever part of one.
"""

from __future__ import annotations


class ProviderError(Exception):
    """Every error of a remote job."""

    def __init__(self, message: str, *, provider: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.provider = provider
        self.request_id = request_id


class ConfigError(ProviderError):
    """A profile, key or base URL is missing or wrong; nothing was sent."""


class JournalError(ProviderError):
    """The job journal cannot be used: nothing was submitted."""


class NotSent(ProviderError):
    """No connection could be made, so the request was surely not received."""


class ConnectionLost(ProviderError):
    """The connection broke or timed out after the request may have been received."""


class ServerTrouble(ProviderError):
    """HTTP 408, 5xx or an unreadable answer: asking again may help."""


class Rejected(ProviderError):
    """The provider answered no; no job was made."""


class KeyRejected(Rejected):
    """The key is missing, wrong, or may not do this."""


class NoCredit(Rejected):
    """The account cannot pay for the job."""


class RateLimited(Rejected):
    """HTTP 429, after polite resends. ``retry_after_s`` is None where the provider named no time."""

    def __init__(self, message: str, *, provider: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, provider=provider)
        self.retry_after_s = retry_after_s


class BadInput(Rejected):
    """A field or a picture was refused."""


class MaybeSubmitted(ProviderError):
    """The job may have been created, and is not submitted again."""


class JobFailed(ProviderError):
    """The provider ran the job and it failed."""


class Flagged(JobFailed):
    """The provider's safety checker withheld the video."""


class JobCancelled(ProviderError):
    """The job was cancelled at the provider."""


class JobGone(ProviderError):
    """An unknown, deleted or expired request id."""


class StillRunning(ProviderError):
    """The deadline passed; the job goes on and can be collected later."""


class DownloadError(ProviderError):
    """The video could not be fetched."""


class DownloadRefused(DownloadError):
    """The video must not be fetched: wrong address, type or size."""


class Interrupted(Exception):
    """No error: the user stopped waiting. The job stays in the journal."""
