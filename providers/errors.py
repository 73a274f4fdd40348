"""What can go wrong with a remote job, one class per thing a caller can act on.

    ProviderError                 every error of this package; carries ``provider`` and ``request_id``
    ├── ConfigError               profile, key or base URL: nothing was sent
    ├── JournalError              the job journal cannot be used: nothing was submitted
    ├── NotSent                   no connection could be made, so the request was surely not received
    ├── ConnectionLost            the connection broke or timed out after the request may have been received
    ├── ServerTrouble             HTTP 408, 5xx or an unreadable answer: asking again may help
    ├── Rejected                  the provider answered no; no job was made
    │   ├── KeyRejected           missing, wrong or powerless key
    │   ├── NoCredit              the account cannot pay
    │   ├── RateLimited           HTTP 429, after polite resends; ``retry_after_s`` as the provider asked
    │   └── BadInput              a field or picture was refused
    ├── MaybeSubmitted            the job may have been created and is not submitted again
    ├── JobFailed                 the provider ran the job and it failed
    │   └── Flagged               the safety checker withheld the video
    ├── JobCancelled              the job was cancelled at the provider
    ├── JobGone                   unknown, deleted or expired request id
    ├── StillRunning              the deadline passed; the job goes on and can be collected later
    └── DownloadError             the video could not be fetched
        └── DownloadRefused       it must not be fetched: wrong address, type or size

``Interrupted`` is no error: the user stopped waiting. The job stays in the journal.
Texts are made here or cleaned with ``secret.redact`` before they come in: no key is ever part of one.
"""

from __future__ import annotations


class ProviderError(Exception):
    """Base of all errors of remote jobs."""

    def __init__(self, message: str, *, provider: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.provider = provider
        self.request_id = request_id


class ConfigError(ProviderError):
    """A profile, key or base URL is missing or wrong; nothing was sent."""


class JournalError(ProviderError):
    """The journal cannot be read or written."""


class NotSent(ProviderError):
    """No connection: the request was surely not received."""


class ConnectionLost(ProviderError):
    """The connection broke after the request may have been received."""


class ServerTrouble(ProviderError):
    """The provider could not answer just now."""


class Rejected(ProviderError):
    """The provider answered no; no job was made."""


class KeyRejected(Rejected):
    """The key is missing, wrong, or may not do this."""


class NoCredit(Rejected):
    """The account cannot pay for the job."""


class RateLimited(Rejected):
    """Too many requests. ``retry_after_s`` is None where the provider named no time."""

    def __init__(
        self, message: str, *, provider: str = "", request_id: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, provider=provider, request_id=request_id)
        self.retry_after_s = retry_after_s


class BadInput(Rejected):
    """A field or a picture was refused."""


class MaybeSubmitted(ProviderError):
    """The submit may have been received; it is not sent again."""


class JobFailed(ProviderError):
    """The provider ran the job and it failed."""


class Flagged(JobFailed):
    """The provider's safety checker withheld the video."""


class JobCancelled(ProviderError):
    """The job was cancelled at the provider."""


class JobGone(ProviderError):
    """The provider does not know this request id (any more)."""


class StillRunning(ProviderError):
    """The job was not finished when the deadline passed."""


class DownloadError(ProviderError):
    """The video could not be fetched."""


class DownloadRefused(DownloadError):
    """The video must not be fetched from there, or is not a video."""


class Interrupted(Exception):
    """The user stopped waiting for a remote job."""
