"""Long bodies: parsed beside the gateway, their pictures in files; what is refused is not read."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wan_flf2v.gateway.bodies import SMALL, Scratch, parse, request_digest, take_apart
from wan_flf2v.gateway.errors import BadRequest, TooLarge
from wan_flf2v.gateway.settings import Limits

from .local import BODY, FLF2V, local, run


def noise() -> str:
    """The data URI of a picture whose file is long."""
    out = io.BytesIO()
    Image.frombytes("RGB", (500, 500), os.urandom(750_000)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def apart(folder: Path, body: Any) -> tuple[Any, Scratch]:
    """What becomes of a body in a file, as the gateway gets it back from its child process."""
    file = folder / "body"
    file.write_text(json.dumps(body), encoding="utf-8")
    value, found = take_apart(file)
    return value, Scratch(folder, {text: folder / text[-64:] for text in found})


def test_taken_apart_a_body_keeps_its_data_uris_in_files_and_the_rest_as_it_is(tmp_path: Path) -> None:
    long = "data:image/png;base64," + "A" * 9000
    body = {"a": long, "b": [1, {"c": "x" * 9000, "d": "DATA:" + "é" * 9000}], "e": "data:short", "f": None}
    value, scratch = apart(tmp_path, body)

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: whole(item) for name, item in part.items()}
        if isinstance(part, list):
            return [whole(item) for item in part]
        return scratch.long[part].read_text(encoding="utf-8") if part in scratch.long else part

    assert whole(value) == body
    assert len(scratch.long) == 2
    assert value["a"].startswith("data:image/png;base64,")
    assert len(json.dumps(value)) < 12_000


def test_whichever_way_a_body_is_read_an_idempotency_key_stands_for_the_same(tmp_path: Path) -> None:
    body = {"a": "data:image/png;base64," + "A" * 9000, "b": "x" * 5000, "c": [1.5, "data:"]}
    whole = request_digest("/v1", body, Scratch(tmp_path))
    assert whole == request_digest("/v1", *apart(tmp_path, body))
    for other in ({**body, "a": body["a"] + "A"}, {**body, "b": "y" * 5000}):
        assert request_digest("/v1", *apart(tmp_path, other)) != whole


@pytest.mark.parametrize("body", [{"6_text": "x" * SMALL}, [[]] * SMALL, {str(n): n for n in range(SMALL // 8)}])
def test_what_is_long_beside_the_pictures_is_refused_where_it_is_parsed(tmp_path: Path, body: Any) -> None:
    with pytest.raises(TooLarge, match="at most 512 KiB beside its pictures"):
        apart(tmp_path, body)


@pytest.mark.parametrize("text", [b'{"a": 1', b"NaN", b"\xff", b"[" * 100_000, b'{"a": 1, "a": 2}'])
def test_no_json_is_refused_in_the_same_words_however_long(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(BadRequest) as short:
        parse(text)
    (tmp_path / "body").write_bytes(text)
    with pytest.raises(BadRequest) as long:
        take_apart(tmp_path / "body")
    assert str(short.value) == str(long.value)


def test_long_pictures_come_through_and_leave_nothing_behind(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            uri = noise()
            job = await here.submit({**BODY, "62_image": uri, "68_image": uri}, headers={"Idempotency-Key": "k"})
            await here.until(job, "succeeded")
            damaged = {**BODY, "62_image": uri[:-5] + "@@@@@"}
            answer = await here.call("POST", f"/v1/models/{FLF2V}", damaged)
            assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "62_image"])
            assert "base64 is damaged" in answer.json["error_message"]
            text = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "6_text": "x" * (SMALL + 1)})
            assert text.status == 413
            assert [*here.settings.data.glob("scratch/*")] == []

    run(main)


def test_a_picture_in_a_long_body_keeps_to_the_limit_of_pictures(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, limits=Limits(picture_bytes=700_000)) as here:
            answer = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "62_image": noise()})
            assert (answer.status, "at most 0 MiB" in answer.json["error_message"]) == (422, True)

    run(main)


@pytest.mark.parametrize("where", ["facades.call._append", "assets.AssetStore._scratch"])
def test_a_full_disk_is_a_503_that_leaves_nothing(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def main() -> None:
        async with local(tmp_path) as here:
            monkeypatch.setattr(f"wan_flf2v.gateway.{where}", full)
            answer = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "62_image": noise()})
            assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
            assert [*here.settings.data.glob("scratch/*"), *here.settings.data.glob("assets/*")] == []
            assert here.jobs.counts() == {}

    run(main)


def test_the_body_of_a_refused_request_is_not_read(tmp_path: Path) -> None:
    size = 60 * 2**20

    async def main() -> None:
        async with local(tmp_path) as here:
            host, port = here.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            head = f"POST /v1/models/{FLF2V} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
            writer.write(head.encode())
            answer = asyncio.create_task(reader.read(12))
            sent = 0
            try:
                while sent < size:
                    writer.write(b" " * 2**18)
                    await writer.drain()
                    sent += 2**18
            except ConnectionError:
                pass
            assert sent < size / 2  # what the system's buffers took
            assert await answer == b"HTTP/1.1 401"
            writer.close()

    run(main)


def test_who_waits_for_a_100_is_refused_before_the_body_or_told_to_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            host, port = here.url.removeprefix("http://").split(":")
            body = json.dumps(BODY).encode()
            for secret, size, said in (
                ("wrong", len(body), b"HTTP/1.1 401"),
                (here.secret, 2**40, b"HTTP/1.1 413"),
                (here.secret, len(body), b"HTTP/1.1 100"),
            ):
                reader, writer = await asyncio.open_connection(host, int(port))
                lines = (
                    f"POST /v1/models/{FLF2V} HTTP/1.1",
                    "Host: a",
                    f"Content-Length: {size}",
                    "Expect: 100-continue",
                    f"Authorization: Bearer {secret}",
                )
                writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
                assert await reader.read(12) == said
                if said.endswith(b"100"):
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(body)
                    assert await reader.read(12) == b"HTTP/1.1 200"
                writer.close()

    run(main)
