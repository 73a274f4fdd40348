"""An asynchronous client of one ComfyUI server: upload, queue, follow, interrupt, fetch.

The HTTP answers are the truth; the websocket only tells progress, and may break without the job being lost.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp

from .errors import EngineError, JobFailed, JobInterrupted, Refused, Unreachable


@dataclass(frozen=True)
class OutputFile:
    """A file that a node left in ComfyUI's output or temp folder."""

    node: str
    filename: str
    subfolder: str
    type: str
    channel: str = "images"  # of the node's outputs


def checked_url(url: str) -> str:
    """A ComfyUI's address without a slash at its end. Raises EngineError for what is no URL."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise EngineError(f"ComfyUI's address must be a URL such as http://127.0.0.1:8188; got {url!r}.")
    return url.rstrip("/")


class ComfyClient:
    """Calls one ComfyUI at ``url``; an async context manager. It and all methods raise EngineError or its children."""

    def __init__(self, url: str, *, timeout_s: float = 60) -> None:
        self.url = checked_url(url)
        self.client_id = uuid.uuid4().hex
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=10)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ComfyClient:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _call(self, method: str, path: str, **kwargs: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("use ComfyClient as an async context manager")
        try:
            async with self._session.request(method, self.url + path, **kwargs) as response:
                yield response
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:  # also one that breaks off within the answer
            raise Unreachable(
                f"no ComfyUI answers at {self.url} ({type(error).__name__}). "
                "Start ComfyUI there, or leave out --comfyui-url to have one started."
            ) from None

    async def _json(self, method: str, path: str, **kwargs: Any) -> Any:
        async with self._call(method, path, **kwargs) as response:
            if response.status != 200:
                raise EngineError(f"{method} {path} of {self.url} answered HTTP {response.status}; is this a ComfyUI?")
            return await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> Any:
        found = None  # which an empty answer gives, too
        with suppress(ValueError):
            found = await response.json(content_type=None)
        if found is None:
            where = f"{response.method} {response.url.path} of {self.url}"
            raise EngineError(f"{where} answered no JSON (HTTP {response.status}); is this a ComfyUI?")
        return found

    async def system_stats(self) -> dict[str, Any]:
        """ComfyUI's version, Python and devices."""
        stats: dict[str, Any] = await self._json("GET", "/system_stats")
        return stats

    async def object_info(self, node: str | None = None) -> dict[str, Any]:
        """The node definitions, of all nodes or of one (``{}`` when there is no such node)."""
        info: dict[str, Any] = await self._json("GET", f"/object_info/{node}" if node else "/object_info")
        return info

    async def upload_image(self, path: Path, *, name: str | None = None) -> str:
        """Upload a picture into the input folder; returns the name to give to LoadImage.

        ComfyUI keeps an equal file of that name and gives a different one a new name, so nothing is overwritten.
        """
        return await self.upload_bytes(path.read_bytes(), name or path.name)

    async def upload_bytes(self, data: bytes, name: str) -> str:
        """As ``upload_image``, from memory."""
        form = aiohttp.FormData()
        form.add_field("image", data, filename=name, content_type="application/octet-stream")
        answer = await self._json("POST", "/upload/image", data=form)
        return f"{answer['subfolder']}/{answer['name']}" if answer.get("subfolder") else str(answer["name"])

    async def queue(
        self, graph: Mapping[str, Any], *, prompt_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> str:
        """Queue an API graph; returns the prompt id. Raises Refused with ComfyUI's node errors.

        ``metadata`` is what the saved files carry beside the graph, as the editor gives {"workflow": …}.
        """
        body: dict[str, Any] = {"prompt": graph, "client_id": self.client_id}
        if prompt_id is not None:
            body["prompt_id"] = prompt_id
        if metadata is not None:
            body["extra_data"] = {"extra_pnginfo": metadata}
        async with self._call("POST", "/prompt", json=body) as response:
            answer = await self._read(response)
            if response.status == 200:
                return str(answer["prompt_id"])
            error = answer.get("error", {}) if isinstance(answer, dict) else {}
            reason = error.get("message", "") if isinstance(error, dict) else str(error)
            raise Refused(f"ComfyUI refused the workflow: {reason}", answer.get("node_errors") or {})

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The record of a finished job, or None while it is not finished (or unknown)."""
        records = await self._json("GET", f"/history/{prompt_id}")
        record: dict[str, Any] | None = records.get(prompt_id)
        return record

    async def queue_state(self) -> tuple[list[str], list[str]]:
        """The prompt ids that (run, wait) now."""
        state = await self._json("GET", "/queue")
        return [item[1] for item in state["queue_running"]], [item[1] for item in state["queue_pending"]]

    async def where(self, prompt_id: str) -> Literal["waiting", "running", "ended", "unknown"]:
        """Where a job stands. To ask is the truth; a websocket may be dead without a sign."""
        if await self.history(prompt_id) is not None:
            return "ended"
        running, waiting = await self.queue_state()
        if prompt_id in running:
            return "running"
        if prompt_id in waiting:
            return "waiting"
        # It may have ended between the two questions.
        return "unknown" if await self.history(prompt_id) is None else "ended"

    async def free(self) -> None:
        """Ask for models to be unloaded and memory to be given back."""
        async with self._call("POST", "/free", json={"unload_models": True, "free_memory": True}):
            pass

    async def interrupt(self, prompt_id: str) -> None:
        """Stop this job wherever it is: taken out of the queue, or interrupted when it runs."""
        for path, body in (("/queue", {"delete": [prompt_id]}), ("/interrupt", {"prompt_id": prompt_id})):
            async with self._call("POST", path, json=body):
                pass

    async def forget(self, prompt_id: str) -> None:
        """Drop a finished job's record, and with it the graph that it was given."""
        async with self._call("POST", "/history", json={"delete": [prompt_id]}):
            pass

    async def fetch(self, file: OutputFile) -> bytes:
        """The bytes of an output file."""
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with self._call("GET", "/view", params=params, timeout=timeout) as response:
            if response.status != 200:
                raise EngineError(f"the result {file.filename} could not be fetched: HTTP {response.status}")
            return await response.read()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The websocket's JSON messages (``{"type": …, "data": …}``), until the connection ends."""
        if self._session is None:
            raise RuntimeError("use ComfyClient as an async context manager")
        try:
            async with self._session.ws_connect(
                f"{self.url}/ws", params={"clientId": self.client_id}, heartbeat=30, max_msg_size=0
            ) as socket:
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.TEXT:
                        yield json.loads(message.data)
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return


def outputs_of(record: Mapping[str, Any]) -> list[OutputFile]:
    """Every file that a finished job's nodes left. Raises JobFailed or JobInterrupted where it did not succeed."""
    raise_for_status(record)
    files = []
    for node, channels in record.get("outputs", {}).items():
        for channel, items in channels.items():
            for item in items if isinstance(items, list) else []:
                if isinstance(item, dict) and "filename" in item:
                    place = item.get("subfolder", ""), item.get("type", "output")
                    files.append(OutputFile(node, item["filename"], *place, channel))
    return files


def raise_for_status(record: Mapping[str, Any]) -> None:
    """Raise what a job's history record says went wrong; return when it succeeded."""
    status = record.get("status") or {}
    for kind, data in status.get("messages", []):
        if kind == "execution_interrupted":
            raise JobInterrupted("the job was interrupted")
        if kind == "execution_error":
            message = str(data.get("exception_message", "")).strip() or str(data.get("exception_type", "error"))
            raise JobFailed(message, node=str(data.get("node_id")), kind=str(data.get("exception_type", "")))
    if status.get("status_str") == "error":
        raise JobFailed("the job failed and ComfyUI gave no reason; see its log")
