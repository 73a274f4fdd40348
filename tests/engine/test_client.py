"""What a ComfyUI is asked for, and what each of its answers comes to. A server that records stands in for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from wan_flf2v.engine.client import ComfyClient, OutputFile, outputs_of
from wan_flf2v.engine.errors import EngineError, JobFailed, JobInterrupted, Refused, Unreachable
from wan_flf2v.tests.doubles.vendor import Fault, VendorDouble

T = TypeVar("T")


class Recorder(VendorDouble):
    """Answers ComfyUI's addresses with what a test puts into ``answers``."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Any] = {}

    def routes(self) -> Any:
        addresses = {
            "stats": ("GET", "/system_stats"),
            "info": ("GET", "/object_info"),
            "one": ("GET", "/object_info/{node}"),
            "upload": ("POST", "/upload/image"),
            "prompt": ("POST", "/prompt"),
            "history": ("GET", "/history/{id}"),
            "forget": ("POST", "/history"),
            "state": ("GET", "/queue"),
            "delete": ("POST", "/queue"),
            "interrupt": ("POST", "/interrupt"),
            "free": ("POST", "/free"),
            "jobs": ("GET", "/api/jobs"),
            "job": ("GET", "/api/jobs/{id}"),
            "view": ("GET", "/view"),
            "ws": ("GET", "/ws"),
        }
        self.open_steps = frozenset(addresses)
        return [(step, method, path, self._answer(step)) for step, (method, path) in addresses.items()]

    def _answer(self, step: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            if step == "ws":
                socket = web.WebSocketResponse()
                await socket.prepare(request)
                for message in self.answers["ws"]:
                    await (socket.send_bytes if isinstance(message, bytes) else socket.send_str)(message)
                await socket.close()
                return socket
            given = self.answers.get(step, {})
            return web.Response(body=given) if isinstance(given, bytes) else web.json_response(given)

        return answer


@pytest.fixture
def comfyui() -> Iterator[Recorder]:
    with Recorder() as server:
        yield server


def ask(server: Recorder, work: Callable[[ComfyClient], Awaitable[T]], **options: Any) -> T:
    async def run() -> T:
        async with ComfyClient(server.url + "/", **options) as client:
            return await work(client)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "fault",
    [Fault(drop=True), Fault(status=500, body="{}"), Fault(status=502, body="busy"), Fault(status=200, body="")],
    ids=["dropped", "500", "502", "empty"],
)
def test_a_prompt_is_sent_once_whatever_comes_back(fault: Fault, comfyui: Recorder) -> None:
    comfyui.fail_always("prompt", fault)
    with pytest.raises(EngineError):
        ask(comfyui, lambda client: client.queue({"1": {}}, prompt_id="p1"))
    assert comfyui.count("prompt") == 1


def test_a_prompt_carries_the_id_that_tells_it_again(comfyui: Recorder) -> None:
    comfyui.answers["prompt"] = {"prompt_id": "p1"}

    async def queue(client: ComfyClient) -> tuple[str, str]:
        return await client.queue({"1": {"class_type": "X"}}, prompt_id="p1"), client.client_id

    prompt_id, client_id = ask(comfyui, queue)
    assert prompt_id == "p1"
    assert comfyui.last("prompt").json == {
        "prompt": {"1": {"class_type": "X"}}, "client_id": client_id, "prompt_id": "p1"
    }  # fmt: skip
    ask(comfyui, lambda client: client.queue({}, metadata={"workflow": {"nodes": []}}))
    sent = comfyui.last("prompt").json
    assert sent["extra_data"] == {"extra_pnginfo": {"workflow": {"nodes": []}}}
    assert "prompt_id" not in sent
    assert sent["client_id"] != client_id


def test_where_a_prompt_stands_is_told_apart(comfyui: Recorder) -> None:
    comfyui.answers["state"] = {"queue_running": [[0, "a", {}]], "queue_pending": [[1, "b", {}], [2, "c", {}]]}
    assert ask(comfyui, lambda client: client.queue_state()) == (["a"], ["b", "c"])
    comfyui.answers["history"] = {"p1": {"status": {}}}
    assert ask(comfyui, lambda client: client.history("p1")) == {"status": {}}
    assert comfyui.last("history").path == "/history/p1"
    wheres = {name: ask(comfyui, lambda client, name=name: client.where(name)) for name in ("p1", "a", "c", "d")}
    assert wheres == {"p1": "ended", "a": "running", "c": "waiting", "d": "unknown"}
    comfyui.answers["history"] = {}
    assert ask(comfyui, lambda client: client.history("p1")) is None


@pytest.mark.parametrize(
    ("answer", "message", "errors"),
    [
        (
            {"error": {"message": "no such node"}, "node_errors": {"3": {"errors": []}}},
            "no such node",
            {"3": {"errors": []}},
        ),
        ({"error": "in words", "node_errors": []}, "in words", {}),
        ({"node_errors": None}, "refused the workflow: $", {}),
    ],
)
def test_a_refused_prompt_says_why(answer: Any, message: str, errors: Any, comfyui: Recorder) -> None:
    comfyui.fail("prompt", Fault(status=400, body=answer))
    with pytest.raises(Refused, match=message) as caught:
        ask(comfyui, lambda client: client.queue({}))
    assert caught.value.node_errors == errors


@pytest.mark.parametrize("fault", [Fault(status=404, body="{}"), Fault(status=200, body="<html>")], ids=["404", "page"])
def test_what_is_no_comfyui_is_called_so(fault: Fault, comfyui: Recorder) -> None:
    comfyui.fail_always("stats", fault)
    with pytest.raises(EngineError, match=r"GET /system_stats of http://127\.0\.0\.1.*is this a ComfyUI"):
        ask(comfyui, lambda client: client.system_stats())


def test_an_address_without_an_answer_is_unreachable(comfyui: Recorder) -> None:
    comfyui.fail_always("stats", Fault(seconds=5))
    with pytest.raises(Unreachable, match=r"no ComfyUI answers at http://127\.0\.0\.1:\d+ \(.*Start ComfyUI there"):
        ask(comfyui, lambda client: client.system_stats(), timeout_s=0.2)
    comfyui.fail_always("stats", Fault(drop=True))
    with pytest.raises(Unreachable):
        ask(comfyui, lambda client: client.system_stats())


def test_one_job_is_taken_out_of_the_queue_stopped_or_forgotten_and_no_other(comfyui: Recorder) -> None:
    ask(comfyui, lambda client: client.interrupt("p1"))
    ask(comfyui, lambda client: client.forget("p1"))
    assert [(seen.step, seen.json) for seen in comfyui.seen] == [
        ("delete", {"delete": ["p1"]}),
        ("interrupt", {"prompt_id": "p1"}),
        ("forget", {"delete": ["p1"]}),
    ]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ({"name": "a (1).png"}, "a (1).png"),
        ({"name": "a.png", "subfolder": ""}, "a.png"),
        ({"name": "a.png", "subfolder": "s"}, "s/a.png"),
    ],
)
def test_an_uploaded_picture_goes_by_the_name_that_comfyui_gave_it(answer, name, comfyui, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    path.write_bytes(b"picture")
    comfyui.answers["upload"] = answer
    assert ask(comfyui, lambda client: client.upload_image(path)) == name
    raw = comfyui.last("upload").raw
    assert b"picture" in raw
    assert b'filename="mine.png"' in raw
    assert b'name="image"' in raw
    assert b"overwrite" not in raw
    ask(comfyui, lambda client: client.upload_image(path, name="other.png"))
    assert b'filename="other.png"' in comfyui.last("upload").raw


def test_node_definitions_memory_and_files(comfyui: Recorder) -> None:
    comfyui.answers |= {"info": {"A": {}}, "one": {"B": {}}, "view": b"video", "stats": {"system": {}}}
    assert ask(comfyui, lambda client: client.object_info()) == {"A": {}}
    assert ask(comfyui, lambda client: client.object_info("B")) == {"B": {}}
    assert comfyui.last("one").path == "/object_info/B"
    assert ask(comfyui, lambda client: client.system_stats()) == {"system": {}}
    ask(comfyui, lambda client: client.free())
    assert comfyui.last("free").json == {"unload_models": True, "free_memory": True}
    file = OutputFile("73", "a b.mp4", "wan", "temp")
    assert ask(comfyui, lambda client: client.fetch(file)) == b"video"
    assert comfyui.last("view").query == "filename=a b.mp4&subfolder=wan&type=temp"
    comfyui.fail("view", Fault(status=404, body=""))
    with pytest.raises(EngineError, match=r"a b\.mp4 could not be fetched: HTTP 404"):
        ask(comfyui, lambda client: client.fetch(file))


def test_an_answer_that_breaks_off_is_no_answer(comfyui: Recorder) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half of it")
        assert request.transport is not None
        request.transport.close()
        return response

    comfyui.fail_always("view", Fault(respond=cut))
    with pytest.raises(Unreachable, match="no ComfyUI answers"):
        ask(comfyui, lambda client: client.fetch(OutputFile("73", "a.mp4", "", "output")))


def test_progress_is_the_json_messages_and_ends_with_the_connection(comfyui: Recorder) -> None:
    comfyui.answers["ws"] = [json.dumps({"type": "status"}), b"a preview", json.dumps({"type": "progress", "data": {}})]

    async def listen(client: ComfyClient) -> list[Any]:
        return [message async for message in client.events()], client.client_id

    messages, client_id = ask(comfyui, listen)  # type: ignore[misc]
    assert messages == [{"type": "status"}, {"type": "progress", "data": {}}]
    assert comfyui.last("ws").query == f"clientId={client_id}"
    comfyui.fail("ws", Fault(status=404, body=""))
    assert ask(comfyui, listen)[0] == []


def test_a_client_is_used_as_a_context_manager() -> None:
    async def work() -> None:
        client = ComfyClient("http://127.0.0.1:1")
        with pytest.raises(RuntimeError, match="async context manager"):
            await client.system_stats()
        with pytest.raises(RuntimeError, match="async context manager"):
            await anext(client.events())

    asyncio.run(work())


def ended(*messages: tuple[str, dict[str, Any]], status: str = "success", outputs: Any = None) -> dict[str, Any]:
    return {"status": {"status_str": status, "messages": list(messages)}, "outputs": outputs or {}}


def test_every_file_that_a_finished_job_left_is_listed() -> None:
    outputs = {
        "73": {"images": [{"filename": "a.mp4", "subfolder": "wan", "type": "output"}], "animated": [True]},
        "8": {"gifs": [{"filename": "c.gif", "type": "temp"}]},
        "9": {"text": "no list", "count": 3, "images": [{"filename": "b.png"}, {"no": "file"}]},
    }
    assert outputs_of(ended(outputs=outputs)) == [
        OutputFile("73", "a.mp4", "wan", "output"),
        OutputFile("8", "c.gif", "", "temp", "gifs"),
        OutputFile("9", "b.png", "", "output"),
    ]
    assert outputs_of({}) == outputs_of({"status": None}) == []


@pytest.mark.parametrize(
    ("record", "error", "message", "node", "kind"),
    [
        (ended(("execution_interrupted", {}), status="error"), JobInterrupted, "interrupted", None, ""),
        (
            ended(("execution_start", {}), ("execution_error", {"exception_message": " no memory\n", "node_id": 57,
                  "exception_type": "OOM"}), status="error"),
            JobFailed, "^no memory$", "57", "OOM",
        ),
        (ended(("execution_error", {"exception_type": "Boom", "node_id": "8"})), JobFailed, "^Boom$", "8", "Boom"),
        (ended(("execution_error", {"node_id": "8"})), JobFailed, "^error$", "8", ""),
        (ended(status="error"), JobFailed, "gave no reason", None, ""),
    ],
)  # fmt: skip
def test_a_job_that_did_not_succeed_has_no_files(record, error, message, node, kind) -> None:
    with pytest.raises(error, match=message) as caught:
        outputs_of(record)
    if error is JobFailed:
        assert (caught.value.node, caught.value.kind) == (node, kind)
