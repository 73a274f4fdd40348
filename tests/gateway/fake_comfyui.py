"""A ComfyUI without a model, over real HTTP: its queue, history, uploads, results and websocket, and its misbehaviour.

Run as a program (``python fake_comfyui.py --port N``) it is a process that can be killed; the queue and history die with
it, as ComfyUI's do. ``--log FILE`` appends one line for every prompt it finishes. Environment or ``POST /fake`` set:
``seconds`` (how long a prompt takes), ``deaf`` (ignores interrupts), ``oom`` (the next prompts fail with it), ``forget``,
``cuda`` (every prompt fails as on a GPU that fell over), ``models`` (False: no model files), ``hang`` (prompts never end),
``view_fails`` (so many fetches of a result break off), ``upload_fails`` (pictures can't be stored), ``away`` (so many
questions after a prompt are answered by a proxy), ``odd`` (what it says of itself and of progress makes no sense).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import json
import time
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

ROOT = Path(__file__).resolve().parents[2]
FILES = ["unet_name", "clip_name", "vae_name", "lora_name"]
# Nodes of every ComfyUI that the workflows don't have, with what they must be given.
OWN = {
    "EmptyImage": {"width", "height", "batch_size", "color"},
    "ImageBlur": {"image", "blur_radius", "sigma"},
    "PreviewImage": {"images"},
}


def video_bytes() -> bytes:
    """A playable mp4 of 8 small frames."""
    import av
    import numpy as np

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 30, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


@lru_cache(maxsize=1)
def shipped_nodes() -> list[dict[str, Any]]:
    """The nodes of all shipped workflows."""
    nodes: list[dict[str, Any]] = []
    for bindings in (ROOT / "workflows" / "api").glob("*.bindings.json"):
        path = bindings.with_name(json.loads(bindings.read_text())["workflow"])
        nodes += json.loads(path.read_text()).values()
    return nodes


class FakeComfyUI:
    """The state and the handlers. ``video`` is what every prompt puts out."""

    def __init__(self, video: bytes, *, seconds: float = 0.2, log: Path | None = None) -> None:
        self.video, self.log = video, log
        self.settings: dict[str, Any] = {"seconds": seconds, "oom": 0, "fail": "", "view_fails": 0, "models": True}
        self.settings |= dict.fromkeys(("deaf", "no_ws", "cuda", "hang", "odd", "upload_fails"), False) | {"away": 0}
        self.pending: list[tuple[str, str, dict[str, Any]]] = []
        self.running: tuple[str, str, dict[str, Any]] | None = None
        self.history: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.prompts: list[str] = []
        self.looks: list[int] = []  # how many prompts there were whenever it was asked what it can run
        self._interrupted = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=200 * 1024 * 1024)
        app.add_routes(
            [
                web.get("/system_stats", self.system_stats),
                web.get("/object_info", self.object_info),
                web.post("/upload/image", self.upload),
                web.post("/prompt", self.prompt),
                web.get("/history/{id}", self.get_history),
                web.post("/history", self.post_history),
                web.get("/queue", self.get_queue),
                web.post("/queue", self.post_queue),
                web.post("/interrupt", self.interrupt),
                web.post("/free", self.free),
                web.get("/view", self.view),
                web.get("/ws", self.websocket),
                web.post("/fake", self.fake),
            ]
        )
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._stop)
        return app

    async def _start(self, _app: web.Application) -> None:
        self._task = asyncio.create_task(self._execute())

    async def _stop(self, _app: web.Application) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def system_stats(self, _request: web.Request) -> web.Response:
        stats = {"system": {"comfyui_version": "0.3.75"}, "devices": [{"name": "fake"}]}
        return web.json_response([] if self.settings["odd"] else stats)

    async def object_info(self, _request: web.Request) -> web.Response:
        """Every node and file that the shipped workflows name."""
        info: dict[str, Any] = {}
        self.looks.append(len(self.prompts))
        for node in shipped_nodes():
            inputs = info.setdefault(node["class_type"], {"input": {"required": {}}})["input"]["required"]
            for name, value in node["inputs"].items():
                if name in FILES and self.settings["models"]:
                    inputs.setdefault(name, [[]])[0].append(value)
        return web.json_response(info)

    async def upload(self, request: web.Request) -> web.Response:
        if self.settings["upload_fails"]:
            return web.Response(status=500, text="No space left on device")
        form = await request.post()
        file = form["image"]
        assert isinstance(file, web.FileField)
        self.files[file.filename] = file.file.read()
        return web.json_response({"name": file.filename, "subfolder": "", "type": "input"})

    async def prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt_id = body.get("prompt_id") or str(uuid.uuid4())
        for number, node in body["prompt"].items():
            kind = node["class_type"]
            if all(kind != shipped["class_type"] for shipped in shipped_nodes()) and OWN.get(kind) != set(
                node["inputs"]
            ):
                answer = {"error": {"message": f"Cannot execute {kind}: unknown, or with other inputs than it has"}}
                return web.json_response({**answer, "node_errors": {}}, status=400)
            if not self.settings["models"] and "unet_name" in node["inputs"]:
                missing = {"type": "value_not_in_list", "message": "Value not in list", "details": "unet_name"}
                errors = {number: {"errors": [{**missing, "extra_info": {"input_name": "unet_name"}}]}}
                answer = {"error": {"message": "Prompt outputs failed validation"}, "node_errors": errors}
                return web.json_response(answer, status=400)
            if node["class_type"] == "LoadImage" and node["inputs"]["image"] not in self.files:
                error = {"errors": [{"message": "Invalid image file", "details": node["inputs"]["image"]}]}
                answer = {"error": {"message": "Prompt outputs failed validation"}, "node_errors": {"68": error}}
                return web.json_response(answer, status=400)
        self.prompts.append(prompt_id)
        self.pending.append((prompt_id, body.get("client_id", ""), body["prompt"]))
        self._wake.set()
        return web.json_response({"prompt_id": prompt_id, "number": len(self.prompts), "node_errors": {}})

    async def get_history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        if self.settings["away"]:
            self.settings["away"] -= 1
            return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")
        return web.json_response({prompt_id: self.history[prompt_id]} if prompt_id in self.history else {})

    async def post_history(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json()).get("delete", []):
            self.history.pop(prompt_id, None)
        return web.Response()

    async def get_queue(self, _request: web.Request) -> web.Response:
        running = [[0, self.running[0], {}, {}, []]] if self.running else []
        pending = [[0, item[0], {}, {}, []] for item in self.pending]
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def post_queue(self, request: web.Request) -> web.Response:
        gone = (await request.json()).get("delete", [])
        self.pending = [item for item in self.pending if item[0] not in gone]
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        wanted = (await request.json()).get("prompt_id")
        if self.running is not None and wanted in (None, self.running[0]) and not self.settings["deaf"]:
            self._interrupted.set()
        return web.Response()

    async def free(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def view(self, request: web.Request) -> web.Response:
        if self.settings["view_fails"]:
            self.settings["view_fails"] -= 1
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=self.video, content_type="video/mp4")

    async def fake(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.pop("forget", False):
            self.history.clear()
            self.pending.clear()
            self._interrupted.set()
            self.running = None
        self.settings.update(body)
        return web.json_response({**self.settings, "prompts": self.prompts})

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId", "")
        self.sockets[client] = socket
        async for message in socket:
            if message.type == WSMsgType.ERROR:
                break
        if self.sockets.get(client) is socket:
            del self.sockets[client]
        return socket

    async def _send(self, client: str, kind: str, data: dict[str, Any]) -> None:
        socket = self.sockets.get(client)
        if socket is not None and not self.settings["no_ws"]:
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": kind, "data": data})

    async def _execute(self) -> None:
        while True:
            if not self.pending:
                self._wake.clear()
                await self._wake.wait()
            self.running = self.pending.pop(0)
            prompt_id, client, graph = self.running
            self._interrupted.clear()
            record = await self._run(prompt_id, client, graph)
            if self.running is None:  # forgotten in the meantime
                continue
            self.running = None
            self.history[prompt_id] = record
            await self._send(client, "executing", {"node": None, "prompt_id": prompt_id})
            if self.log is not None:
                with self.log.open("a") as file:
                    file.write(f"{time.time():.3f} {prompt_id} {record['status']['status_str']}\n")

    async def _run(self, prompt_id: str, client: str, graph: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        while (passed := time.monotonic() - began) < self.settings["seconds"] or self.settings["hang"]:
            nodes = {"57": {"value": passed, "max": self.settings["seconds"], "state": "running"}}
            await self._send(client, "progress_state", {"prompt_id": prompt_id, "nodes": nodes})
            if self.settings["odd"]:
                await self._send(client, "progress", {"prompt_id": prompt_id, "node": "57", "value": "much"})
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._interrupted.wait(), 0.05)
            if self._interrupted.is_set():
                return _record("error", ["execution_interrupted", {"prompt_id": prompt_id}])
        if self.settings["oom"]:
            self.settings["oom"] -= 1
            error = {
                "exception_type": "torch.OutOfMemoryError",
                "exception_message": "CUDA out of memory",
                "node_id": "57.0.0.2",
            }
            return _record("error", ["execution_error", error])
        if self.settings["cuda"]:
            text = "CUDA error: an illegal memory access was encountered"
            error = {"exception_type": "torch.AcceleratorError", "exception_message": text, "node_id": "57"}
            return _record("error", ["execution_error", error])
        if "73" not in graph:
            return _record("success")
        if self.settings["fail"]:
            error = {"exception_type": "ValueError", "exception_message": self.settings["fail"], "node_id": "67"}
            return _record("error", ["execution_error", error])
        prefix = graph["73"]["inputs"]["filename_prefix"]
        folder, _, name = prefix.rpartition("/")
        file = {"filename": f"{name}_00001_.mp4", "subfolder": folder, "type": "output"}
        return {**_record("success"), "outputs": {"73": {"images": [file], "animated": [True]}}}


def _record(status: str, *messages: list[Any]) -> dict[str, Any]:
    return {
        "outputs": {},
        "status": {"status_str": status, "completed": status == "success", "messages": list(messages)},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    cached = Path("/tmp") / f"fake-comfyui-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}.mp4"
    if not cached.exists():
        scratch = cached.with_suffix(f".{uuid.uuid4().hex}")
        scratch.write_bytes(video_bytes())
        scratch.rename(cached)
    fake = FakeComfyUI(cached.read_bytes(), seconds=arguments.seconds, log=arguments.log)
    web.run_app(fake.app(), host="127.0.0.1", port=arguments.port, print=None)


if __name__ == "__main__":
    main()
