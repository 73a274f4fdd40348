"""Fixtures of all tests: the real ComfyUI with tiny models, as a server process that many tests share."""

from __future__ import annotations

import asyncio
import copy
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from PIL import Image

from wan_flf2v.engine.client import ComfyClient
from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.engine.setup import micro_models, prepare, tiny_models

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")
signal.signal(signal.SIGTERM, signal.default_int_handler)  # fixtures stop what they started, as after a Ctrl-C

T = TypeVar("T")


def pytest_configure(config: pytest.Config) -> None:
    """What several workers would make at the same time is there before they start."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        from wan_flf2v.tests.frontend.conftest import newest_frontend

        micro_models(prepare())
        newest_frontend()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that two workers end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The ComfyUI that the tests run: COMFYUI_PATH, else the copy of 0.3.75 that this project sets up."""
    return prepare()


@pytest.fixture(scope="session")
def models(engine: Engine) -> Path:
    """The folder with the tiny models."""
    return tiny_models(engine)


@dataclass
class Finished:
    """A finished job: ComfyUI's record of it and the ids of the nodes that were executed (not taken from the cache)."""

    record: Mapping[str, Any]
    executed: list[str] = field(default_factory=list)
    progressed: set[str] = field(default_factory=set)
    """Ids of the nodes that showed progress: samplers by step, the conditioning while it encodes."""

    @property
    def status(self) -> str:
        """ "success" or "error"."""
        return str(self.record["status"]["status_str"])

    @property
    def error(self) -> str:
        """The message of the node that failed."""
        return str(
            next(data for kind, data in self.record["status"]["messages"] if kind == "execution_error")[
                "exception_message"
            ]
        )

    def ran(self, name: str) -> bool:
        """Whether the node of this id, or a child of this name that a composite node expanded to, was executed."""
        return any(node == name or node.rpartition(".")[2] == name for node in self.executed)


class Comfy:
    """A running ComfyUI and the calls that tests make."""

    def __init__(self, server: ComfyServer) -> None:
        self.server = server
        self.url = server.url
        self.output = server.home / "output"

    def run(self, graph: Mapping[str, Any], timeout_s: float = 300) -> Finished:
        """Queue a graph and wait for its end, listening to the websocket as the editor does."""
        return asyncio.run(asyncio.wait_for(self._run(graph), timeout_s))

    async def _run(self, graph: Mapping[str, Any]) -> Finished:
        executed: list[str] = []
        progressed: set[str] = set()
        async with ComfyClient(self.url) as client:
            events = client.events()
            await anext(events)  # the connection is up when the first status arrives
            prompt_id = await client.queue(graph)
            async for message in events:
                data = message.get("data", {})
                if message["type"] == "progress":
                    progressed.add(data["node"])
                if message["type"] == "executing" and data.get("prompt_id") == prompt_id:
                    if data["node"] is None:
                        break
                    executed.append(data["node"])
            while (record := await client.history(prompt_id)) is None:
                await asyncio.sleep(0.05)
            await events.aclose()
        return Finished(record, executed, progressed)

    def call(self, work: Callable[[ComfyClient], Awaitable[T]]) -> T:
        """Run one coroutine with a client."""

        async def inner() -> T:
            async with ComfyClient(self.url) as client:
                return await work(client)

        return asyncio.run(inner())

    def upload(self, path: Path) -> str:
        """Upload a picture; returns its name for LoadImage."""
        return self.call(lambda client: client.upload_image(path))


@pytest.fixture(scope="session")
def comfy_server(engine: Engine, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    """One ComfyUI process with the pack and the tiny models, for the whole test run."""
    # Newer versions drop what earlier prompts left whenever memory is asked for; tests of the cache need all of it.
    home = tmp_path_factory.mktemp("comfyui")
    server = ComfyServer(engine, home, models, tiny=True, extra_args=["--cache-classic"])
    with server:
        yield Comfy(server)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A first and a last frame: two colour gradients, 120 x 80."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = folder / "first.png", folder / "last.png"
    horizontal = Image.linear_gradient("L").rotate(90).resize((120, 80))
    vertical = Image.linear_gradient("L").resize((120, 80))
    flat = Image.new("L", (120, 80), 90)
    Image.merge("RGB", (horizontal, vertical, flat)).save(paths[0])
    Image.merge("RGB", (flat, horizontal, vertical)).save(paths[1])
    return paths


@pytest.fixture
def small_graph(comfy_server: Comfy, pictures: tuple[Path, Path]) -> Callable[..., dict[str, Any]]:
    """Makes a shipped workflow's API graph, small enough for a test; keywords change fields."""
    from wan_flf2v.workflows import Bindings

    first, last = (comfy_server.upload(path) for path in pictures)

    def make(workflow: str = "wan22_flf2v", **fields: Any) -> dict[str, Any]:
        bindings = Bindings.load(workflow)
        small = {"71_width": 64, "71_height": 48, "67_length": 9, "57_steps": 4, "6_text": "a puppy"}
        values = {**small, bindings.first_image: first, bindings.last_image: last, **fields}
        return copy.deepcopy(bindings.apply(bindings.check(values, free=True)))

    return make
