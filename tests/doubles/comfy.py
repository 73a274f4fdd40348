"""A ComfyUI whose profiles point at the doubles, and graphs with remote nodes for it."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.providers import Journal
from wan_flf2v.providers.profiles import ProfileStore
from wan_flf2v.providers.row import Row
from wan_flf2v.providers.secret import Secret

from .runcomfy import RunComfyDouble
from .wavespeed import WaveSpeedDouble

_seeds = itertools.count(1000)
COMMON: Mapping[str, Any] = {
    "prompt": "a flower", "wait": True, "max_wait_minutes": 5, "start_image": ["1", 0], "end_image": ["2", 0]
}  # fmt: skip
NODES: Mapping[str, Mapping[str, Any]] = {
    "WanFLF2VWaveSpeed": {
        **COMMON, "profile": "ws", "negative_prompt": "", "duration": 5, "size": "832*480", "steps": 30,
        "enable_fast_mode": False, "cfg": 5.0, "enable_safety_checker": True,
    },
    "WanFLF2VRunComfy": {
        **COMMON, "profile": "rc", "preset": "720x720 (1:1)", "length": 81, "frame_rate": 16, "steps": 20, "cfg": 4.0,
        "shift": 8.0,
    },
    "WanFLF2VRunComfyDeployment": {
        **COMMON, "profile": "rc", "deployment_id": "dep-1", "workflow": "wan22_flf2v", "negative_prompt": "blurred",
        "preset": "custom", "width": 640, "height": 360, "length": 33, "frame_rate": 16, "steps": 20, "cfg": 4.0,
        "shift": 8.0,
    },
}  # fmt: skip


class RemoteComfy:
    """A ComfyUI in the folder ``home``, the doubles, and the journal of the one beside the other."""

    def __init__(
        self, engine: Engine, home: Path, ws: WaveSpeedDouble, rc: RunComfyDouble, extra_args: Sequence[str] = ()
    ) -> None:
        self.home, self.ws, self.rc = home, ws, rc
        self.state = home / "user" / "__wan_flf2v"
        store = ProfileStore([self.state])
        store.save("ws", "wavespeed", Secret(ws.key), base_url=ws.url)
        store.save("rc", "runcomfy", Secret(rc.key), base_url=rc.url)
        (home / "input").mkdir(parents=True, exist_ok=True)
        for name, colour in (("first.png", (200, 90, 30)), ("last.png", (30, 60, 200))):
            Image.new("RGB", (96, 64), colour).save(home / "input" / name)
        self.server = ComfyServer(engine, home, None, tiny=True, extra_args=extra_args)

    def post(self, path: str, body: Any) -> Any:
        """POST JSON to ComfyUI."""
        request = urllib.request.Request(
            self.server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: HTTP {error.code}: {error.read().decode()}") from None
        return json.loads(text) if text else None

    def get(self, path: str) -> Any:
        """GET JSON from ComfyUI."""
        with urllib.request.urlopen(self.server.url + path) as answer:
            return json.loads(answer.read())

    def queue(self, graph: Mapping[str, Any]) -> str:
        """Queue a graph; returns the prompt id."""
        return str(self.post("/prompt", {"prompt": graph})["prompt_id"])

    def record(self, prompt_id: str) -> Any:
        """The finished job's record, None while it is not finished."""
        return self.get(f"/history/{prompt_id}").get(prompt_id)

    def finish(self, prompt_id: str, timeout_s: float = 60) -> Any:
        """Wait for a job's end; returns its record."""
        self.ws.wait_for(lambda: self.record(prompt_id) is not None, timeout_s)
        return self.record(prompt_id)

    def rows(self) -> list[Row]:
        """The journal, newest first."""
        with Journal(self.state) as journal:
            return journal.newest()


def graph(*nodes: str, seed: int | None = None, **inputs: Any) -> dict[str, Any]:
    """A graph with these remote nodes, each with a Save Video behind it; a fresh seed makes it a new job.

    The remote nodes have the ids 10, 11, ..., the Save Video nodes 20, 21, ..., and previews of id and info 30, 40, ...
    """
    made: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "first.png"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "last.png"}},
    }
    for number, name in enumerate(nodes):
        own = {**NODES[name], "noise_seed": next(_seeds) if seed is None else seed + number, **inputs}
        made[f"{10 + number}"] = {"class_type": name, "inputs": own}
        made |= sinks(number)
    return made


def sinks(number: int = 0) -> dict[str, Any]:
    """What is connected behind remote node ``10 + number``."""
    source = f"{10 + number}"
    save = {"video": [source, 0], "filename_prefix": f"remote/{number}", "format": "auto", "codec": "auto"}
    return {
        f"{20 + number}": {"class_type": "SaveVideo", "inputs": save},
        f"{30 + number}": {"class_type": "PreviewAny", "inputs": {"source": [source, 1]}},
        f"{40 + number}": {"class_type": "PreviewAny", "inputs": {"source": [source, 2]}},
    }


def error_of(record: Any) -> str:
    """The message of the node that failed, or the word "interrupted"."""
    for kind, data in record["status"]["messages"]:
        if kind == "execution_error":
            return str(data["exception_message"])
        if kind == "execution_interrupted":
            return "interrupted"
    return ""
