"""The pack's HTTP routes, for its own part of the editor. They read; only the remote routes act, on POST."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from ...flf2v.errors import FLF2VError
from ...providers.errors import ProviderError
from ...workflows.api_call import ApiCallError, api_call
from ..host.progress import prompt_server
from .panels import frames_preview, schedule_preview
from .remote_jobs import HANDLERS
from .storyboard import storyboard_preview

logger = logging.getLogger(__name__)
PREFIX = "/wan_flf2v"
Answer = Callable[[Any], Any]


def register_routes() -> None:
    """Add the routes to ComfyUI's server, where one is running. Raises RuntimeError where another copy of the pack has."""
    server = prompt_server()
    if server is None:
        return
    handlers: dict[str, Answer] = {
        "schedule": schedule_preview,
        "frames": frames_preview,
        "storyboard": storyboard_preview,
        "api_call": api_call,
        **HANDLERS,
    }
    # another pack's may be a folder of files, which has no handler
    ours = [route for route in server.routes if hasattr(route, "handler") and route.path.startswith(f"{PREFIX}/")]
    known = {route.path: route.handler.__code__.co_filename for route in ours}
    for name, answer in handlers.items():
        path = f"{PREFIX}/{name}"
        if path not in known:
            server.routes.post(path)(_handler(answer))
        elif known[path] != __file__:  # a pack that is reloaded finds its own
            raise RuntimeError(
                f"Wan FLF2V is installed twice. This copy is not loaded; the other one is: {Path(known[path]).parents[2]}. "
                "Move one of the two out of custom_nodes."
            )


def _handler(answer: Answer) -> Callable[[Any], Awaitable[Any]]:
    from aiohttp import web

    async def handle(request: Any) -> Any:
        if request.content_type != "application/json":
            return web.json_response({"error": "the body must be application/json"}, status=415)
        try:
            body = await request.json()
        except ValueError:
            return web.json_response({"error": "the body must be JSON"}, status=400)
        try:
            result = answer(body) if inspect.iscoroutinefunction(answer) else asyncio.to_thread(answer, body)
            found: Mapping[str, Any] = await result
        except (FLF2VError, ApiCallError, ProviderError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(found)

    return handle
