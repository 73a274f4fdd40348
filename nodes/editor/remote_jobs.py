"""What the editor's list of remote jobs asks for: the journal, the accounts without their keys, fetch and cancel."""

from __future__ import annotations

import time
from typing import Any

from ...providers import Journal, RemoteClient
from ...providers.errors import ConfigError, ProviderError
from ...providers.profiles import KEY_VARIABLES, PROVIDERS
from ...providers.row import Row
from ..host import remote as remote_host
from .panels import Request

LATEST = 50
NO_KEY = (
    "No API key is stored for {profile}. Run `wan-flf2v login {provider}` in a terminal on ComfyUI's machine, or set "
    "{variable} in its environment. A key is never typed into the editor."
)


def list_jobs(_: object) -> dict[str, Any]:
    """The newest jobs of the journal, newest first, without links or answers of the provider."""
    with Journal(remote_host.store().folders[0]) as journal:
        return {"now": time.time(), "jobs": [_shown(row) for row in journal.newest(LATEST)]}


def _shown(row: Row) -> dict[str, Any]:
    told = row.response if row.state == "running" and isinstance(row.response, dict) else {}
    return {
        "row": row.row,
        "state": "queued" if told.get("state") == "queued" else row.state,
        "queue_position": told.get("queue_position"),
        "service": row.service,
        "profile": row.profile,
        "model": row.model,
        "request_id": row.request_id,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "prompt": row.prompt[:200],
        "error": row.error,
        "price": row.price,
        "has_video": row.video_path is not None,
    }


def list_accounts(_: object) -> dict[str, Any]:
    """Every profile, whether a key is stored for it, and how to store one."""
    store = remote_host.store()
    accounts = []
    for provider in PROVIDERS:
        for name in store.names(provider):
            try:
                store.load(name)
                advice = None
            except ConfigError:
                advice = NO_KEY.format(profile=name, provider=provider, variable=KEY_VARIABLES[provider][0])
            accounts.append({"name": name, "provider": provider, "advice": advice})
    return {"accounts": accounts}


async def cancel_job(body: object) -> dict[str, Any]:
    """Ask the provider to stop the job ``row``; its answer in words. Raises ProviderError."""
    store = remote_host.store()
    with Journal(store.folders[0]) as journal:
        row = _row(journal, body)
        async with RemoteClient(store.load(row.profile), row.service, journal) as client:
            return {"answer": await client.cancel(row)}


async def fetch_job(body: object) -> dict[str, Any]:
    """The video of the job ``row``, copied into ComfyUI's output folder, or its state while it runs."""
    store = remote_host.store()
    with Journal(store.folders[0]) as journal:
        row = _row(journal, body)
        async with RemoteClient(store.load(row.profile), row.service, journal) as client:
            outcome = await client.collect(row.ticket.request_id, row.model, wait=False)
    if outcome.video is None:
        return {"state": "running", "file": None}
    return {"state": "finished", "file": remote_host.copy_to_output(outcome.video)}


def _row(journal: Journal, body: object) -> Row:
    number = Request(body).read("row", "integer")
    row = journal.get(number)
    if row is None:
        raise ProviderError(f"there is no job {number} in the journal.")
    return row


HANDLERS: dict[str, Any] = {
    "remote/jobs": list_jobs,
    "remote/accounts": list_accounts,
    "remote/cancel": cancel_job,
    "remote/fetch": fetch_job,
}
"""By the name of their route."""
