"""What is turned away at the door, and with which words: pictures, fields, keys, sizes, rates."""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wan_flf2v.gateway.logs import redact
from wan_flf2v.gateway.settings import Limits

from .local import BODY, EXAMPLES, FLF2V, Local, local, png, run


def data_uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def bomb(width: int, height: int) -> bytes:
    """A valid little PNG file that decodes to very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (width + 1)) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bad_pictures_are_refused_in_words_and_disturb_nothing(tmp_path: Path) -> None:
    end = png()[-12:]
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
    bad = {
        "bomb": bomb(20000, 20000),
        "truncated": png(400, 400)[:-200],
        "empty": b"",
        "text": b"not a picture",
        "svg": svg,
        "gif": b"GIF89a" + b"\0" * 40,
        "tiny": png(8, 8),
        "claims": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        "metadata": png()[:-12] + struct.pack(">I4s6sI", 6, b"cHRM", bytes(6), zlib.crc32(b"cHRM" + bytes(6))) + end,
    }

    async def main() -> None:
        async with local(tmp_path) as here:
            for name, data in bad.items():
                answer = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "62_image": data_uri(data)})
                assert answer.status == 422, name
                assert answer.json["detail"][0]["loc"] == ["body", "62_image"], name
            for text in ("data:image/png;base64,@@@@", "data:text/html;base64,AAAA", "data:image/png,AAAA", "data:"):
                assert (await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "62_image": text})).status == 422
            job = await here.submit({**BODY, "62_image": data_uri(png()), "68_image": data_uri(png())})
            assert (await here.until(job))["state"] == "succeeded"

    run(main)


def test_a_stored_picture_carries_no_metadata_and_stands_upright(tmp_path: Path) -> None:
    async def main() -> None:
        source = Image.new("RGB", (60, 40), (10, 200, 10))
        exif = source.getexif()
        exif[0x0112] = 6  # turned by 90 degrees
        exif[0x010E] = "where I live"
        out = io.BytesIO()
        source.save(out, "JPEG", exif=exif)
        async with local(tmp_path) as here:
            form = {"file": io.BytesIO(out.getvalue())}
            answer = await here.call("POST", "/api/v3/media/upload/binary", data=form)
            assert answer.status == 200, answer.json
            stored = (await here.call("GET", answer.json["data"]["download_url"])).body
            assert b"where I live" not in stored
            assert Image.open(io.BytesIO(stored)).size == (40, 60)

    run(main)


PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\windows\\x.png",
    "input/x.png",
    "a.png [output]",
    "a\0b.png",
    "..%2f",
    "con",
]


@pytest.mark.parametrize("field", ["62_image", "68_image"])
def test_no_field_takes_a_path(tmp_path: Path, field: str) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            for path in PATHS:
                assert (await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, field: path})).status == 422, path
                body = {"first_image": path, "last_image": path}
                assert (await here.call("POST", "/api/v3/wavespeed-ai/wan-flf2v", body)).status == 422, path

    run(main)


def test_path_tricks_elsewhere_name_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            for path in PATHS:
                quoted = path.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")
                for address in (f"/v1/requests/{quoted}/status", f"/static/{quoted}", f"/api/v3/predictions/{quoted}"):
                    assert (await here.call("GET", address)).status == 404, address
                assert (await here.call("GET", f"/files/{quoted}/x?expires=9999999999&signature=00")).status in (
                    403,
                    404,
                )
            ticket = await here.call("POST", "/api/v3/media/uploads", {"filename": "../../x.png", "size": 10})
            assert "/upload.png?" in ticket.json["data"]["upload"]["url"]

    run(main)


FIELDS = {
    "unknown": {"evil": 1},
    "wrong type": {"6_text": 5},
    "out of range": {"57_steps": 21},
    "not whole": {"57_steps": 7.5},
    "infinite": {"57_cfg": 1e400},
    "huge": {"57_noise_seed": 2**64},
    "negative seed": {"57_noise_seed": -1},
    "not in the list": {"67_length": 80},
    "long text": {"6_text": "x" * 4001},
    "NUL": {"6_text": "a\0b"},
    "half a surrogate": {"6_text": "\ud800"},
    "truth for a number": {"57_steps": True},
    "a list": {"6_text": ["x"]},
}


@pytest.mark.parametrize("change", FIELDS.values(), ids=FIELDS.keys())
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=0) as here:
            answer = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, **change})
            if change == FIELDS["infinite"]:
                assert answer.status == 400  # not JSON
            else:
                assert answer.status == 422, answer.json
                assert next(iter(change)) in answer.json["error_message"]
                assert answer.json["detail"][0]["loc"] == ["body", next(iter(change))]

    run(main)


def test_a_graph_is_never_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            root = "/prod/v1/deployments/wan22_flf2v/inference"
            graph = {"1": {"class_type": "LoadImage", "inputs": {}}}
            assert (await here.call("POST", root, {"workflow_api_json": graph, "overrides": {}})).status == 422
            for overrides in (
                {"37": {"inputs": {"unet_name": "x"}}},
                {"6": {"inputs": {"clip": ["1", 0]}}},
                {"6": "x"},
                [],
            ):
                answer = await here.call("POST", root, {"overrides": overrides})
                assert answer.status == 422, overrides

    run(main)


def test_sizes_rates_and_the_queue_have_limits(tmp_path: Path) -> None:
    limits = Limits(body_bytes=200_000, queued_jobs=5, queue_share=1, submits_per_second=0.1, submits_burst=20)

    async def main() -> None:
        async with local(tmp_path, limits=limits, seconds=300) as here:
            big = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "6_text": "x" * 300_000})
            assert big.status == 413

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(100):
                    yield b"x" * 10_000

            url, headers = f"{here.url}/v1/models/{FLF2V}", {"Authorization": f"Bearer {here.secret}"}
            streamed = await here.session.post(url, data=chunks(), headers=headers)
            assert streamed.status == 413
            answers = [await here.call("POST", f"/v1/models/{FLF2V}", BODY) for _ in range(40)]
            assert {answer.status for answer in answers} == {200, 429}
            full = [answer for answer in answers if answer.status == 429]
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in full)
            words = " ".join(answer.json["error_message"] for answer in full)
            assert "queue is full" in words
            assert "requests a second" in words
            assert sum(answer.status == 200 for answer in answers) in (5, 6)
            assert (await here.call("GET", "/v1/models")).status == 200  # reading goes on

    run(main)


def test_a_key_has_its_part_of_the_queue_and_leaves_the_rest_to_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, limits=Limits(queued_jobs=10, queue_share=0.5), seconds=300) as here:
            await here.until(await here.submit(), "running")
            answers = [await here.call("POST", f"/v1/models/{FLF2V}", BODY) for _ in range(20)]
            assert sum(answer.status == 200 for answer in answers) == 5
            assert {answer.json["error_message"][:27] for answer in answers if answer.status == 429} == {
                "This key has 5 jobs waiting"
            }
            other = await second_key(here)
            assert [(await here.call("POST", f"/v1/models/{FLF2V}", BODY, headers=other)).status for _ in range(6)] == [
                200, 200, 200, 200, 200, 429,
            ]  # fmt: skip

    run(main)


def test_a_slow_body_is_given_up_and_holds_nobody_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, limits=Limits(body_read_s=2)) as here:
            host, port = here.url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            head = f"POST /v1/models/{FLF2V} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {here.secret}\r\n"
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{".encode())
            await writer.drain()
            job = await here.submit()
            assert b"408" in await asyncio.wait_for(reader.readline(), 30)
            await here.until(job)
            writer.close()

    run(main)


def test_ten_thousand_jobs_are_refused_beyond_the_limit_and_the_rest_is_kept(tmp_path: Path) -> None:
    limits = Limits(queued_jobs=1000, queue_share=1, submits_per_second=0)

    async def main() -> None:
        async with local(tmp_path, limits=limits, seconds=300) as here:
            gate = asyncio.Semaphore(64)

            async def one() -> int:
                async with gate:
                    return (await here.call("POST", f"/v1/models/{FLF2V}", BODY)).status

            statuses = await asyncio.gather(*(one() for _ in range(2000)))
            assert set(statuses) == {200, 429}
            assert 1000 <= statuses.count(200) <= 1002
            counts = here.jobs.counts()
            assert counts["queued"] + counts.get("running", 0) == statuses.count(200)

    run(main, timeout_s=120)


async def second_key(here: Local, *scopes: str) -> dict[str, str]:
    secret = (await asyncio.to_thread(here.keys.create, "other", scopes or ("submit", "read")))[1]
    return {"Authorization": f"Bearer {secret}"}


def test_without_keys_only_this_machines_own_pages_are_served(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, auth=False) as here:
            assert (await here.call("GET", "/v1/models")).status == 200
            assert (await here.call("GET", "/v1/models", headers={"Host": "evil.example"})).status == 403
            assert (await here.call("GET", "/v1/models", headers={"Origin": "https://evil.example"})).status == 403
            assert (await here.call("GET", "/v1/models", headers={"Origin": here.url})).status == 200

    run(main)


def test_logs_carry_no_secret() -> None:
    text = "Authorization: Bearer abc123 wf2v_SECRET data:image/png;base64,AAAA https://u:p@host/x ?signature=deadbeef"
    shown = redact(text)
    for secret in ("abc123", "SECRET", "AAAA", "u:p", "deadbeef"):
        assert secret not in shown


def test_no_secret_is_stored_in_clear(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            await here.until(await here.submit({**EXAMPLES, "6_text": "x"}))
            for path in tmp_path.rglob("*"):
                if path.is_file():
                    assert here.secret.encode() not in path.read_bytes(), path

    run(main)


def test_the_compose_file_uses_commands_that_exist() -> None:
    import yaml

    from wan_flf2v.gateway import cli

    compose = yaml.safe_load((Path(cli.__file__).parent / "compose.yaml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser()
    cli.add_parsers(parser.add_subparsers())
    gateway = compose["services"]["gateway"]
    assert "/health/ready" in " ".join(gateway["healthcheck"]["test"])
    assert "WAN_FLF2V_PUBLIC_URL" in gateway["environment"]
    commands = [service["command"].split() for service in compose["services"].values() if "command" in service]
    assert len(commands) == 3
    for command in commands:
        assert command[0] == "wan-flf2v"
        parser.parse_args(command[1:])
