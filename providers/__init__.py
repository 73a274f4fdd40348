"""Remote video APIs: RunComfy and WaveSpeed. Async, without torch and without ComfyUI.

``profiles`` holds keys and base URLs, ``models`` says what can be asked for, ``journal`` remembers every job, and
``client`` takes one from ``submit`` to video (``follow``). ``runcomfy`` and ``wavespeed`` are the protocols, as pure
generators of ``calls``; ``transport`` and ``download`` are the only modules that open connections.
"""

from .calls import Picture
from .client import RemoteClient
from .errors import Interrupted, ProviderError
from .interrupt import run_interruptible
from .journal import Journal
from .models import Job, model
from .outcome import Outcome
from .profiles import ProfileStore, state_folders

__all__ = [
    "Interrupted",
    "Job",
    "Journal",
    "Outcome",
    "Picture",
    "ProfileStore",
    "ProviderError",
    "RemoteClient",
    "model",
    "run_interruptible",
    "state_folders",
]
