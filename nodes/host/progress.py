"""A node's bar and text while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.utils
from comfy_execution.progress import get_progress_state

logger = logging.getLogger(__name__)


def progress_bar(total: int) -> Callable[[int], None]:
    """Shows on the node how much is done. Raises ComfyUI's InterruptProcessingException once the user has cancelled."""
    bar = comfy.utils.ProgressBar(total)

    def show(done: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return show


def prompt_server() -> Any | None:
    """ComfyUI's server, or None where none is running, as in a script that imports the nodes."""
    try:
        from server import PromptServer
    except ImportError:
        return None
    return getattr(PromptServer, "instance", None)


@dataclass(frozen=True)
class LastRun:
    """The prompt that ComfyUI ran last, or runs (``live``): its graph, and the (value, max) of the nodes at work."""

    id: str
    graph: Mapping[str, Any]
    at_work: Mapping[str, tuple[float, float]]
    live: bool


def run_id() -> str:
    """The id of the prompt that runs."""
    return str(get_progress_state().prompt_id)


def last_run() -> LastRun | None:
    """The last prompt, or None before the first."""
    state, server = get_progress_state(), prompt_server()
    if server is None or state.dynprompt is None:
        return None
    live = any(item[1] == state.prompt_id for item in list(server.prompt_queue.currently_running.values()))
    at_work = {
        node: (each["value"], each["max"])
        for node, each in list(state.nodes.items())
        if each["state"].value == "running"
    }
    return LastRun(state.prompt_id, state.dynprompt.get_original_prompt(), at_work, live)


def show_on_node(text: str, node_id: str | None) -> None:
    """Show a text on the node. Does nothing where there is no server, no node, or a ComfyUI that can't show one."""
    send = getattr(prompt_server(), "send_progress_text", None)
    if send is not None and node_id is not None:
        send(text, node_id)


def warn_on_node(hidden: Any, notes: Sequence[str]) -> None:
    """Tell the user's node (a part's own node is not on the canvas) and the log what is likely wrong."""
    for note in notes:
        logger.warning("Wan FLF2V: %s", note)
    if notes and hidden is not None:
        show_on_node(
            "\n".join(f"Warning: {note}" for note in notes), hidden.dynprompt.get_display_node_id(hidden.unique_id)
        )


def reporter(node_id: str | None) -> Callable[[str], None]:
    """Shows text on the node: every new phase at once, the rest once a second."""
    shown: dict[str, Any] = {"phase": "", "at": 0.0}

    def report(text: str) -> None:
        phase = text.split(" · ")[0]
        now = time.monotonic()
        if phase == shown["phase"] and now - shown["at"] < 0.9:
            return
        shown.update(phase=phase, at=now)
        show_on_node(text, node_id)

    return report
