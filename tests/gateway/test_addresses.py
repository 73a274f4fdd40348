"""Addresses that clients name: what the gateway fetches, and what it never connects to."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from wan_flf2v.gateway.dial import Dialer, DialRefused
from wan_flf2v.providers.addresses import check_media_url, is_public
from wan_flf2v.providers.errors import DownloadRefused

from .local import BODY, FLF2V, local, png, run, web_server

REFUSED_URLS = {
    "private": "https://192.168.1.10/a.png",
    "private 10": "https://10.0.0.1/a.png",
    "loopback": "https://127.0.0.1/a.png",
    "loopback name": "https://localhost/a.png",
    "loopback v6": "https://[::1]/a.png",
    "link-local": "https://169.254.10.10/a.png",
    "metadata": "https://169.254.169.254/latest/meta-data/",
    "carrier NAT": "https://100.64.0.1/a.png",
    "multicast": "https://224.0.0.1/a.png",
    "unspecified": "https://0.0.0.0/a.png",
    "IPv4-mapped v6": "https://[::ffff:127.0.0.1]/a.png",
    "6to4": "https://[2002:7f00:1::]/a.png",
    "NAT64": "https://[64:ff9b::a9fe:a9fe]/a.png",
    "NAT64 of one's own": "https://[64:ff9b:1::7f00:1]/a.png",
    "unique local v6": "https://[fd00::1]/a.png",
    "site local v6": "https://[fec0::1]/a.png",
    "IPv4-compatible v6": "https://[::127.0.0.1]/a.png",
    "short address": "https://127.1/a.png",
    "zero": "https://0/a.png",
    "hexadecimal address": "https://0x7f000001/a.png",
    "number as last label": "https://pictures.example.1/a.png",
    "number and a dot": "https://pictures.0x7f./a.png",
    "local name": "https://nas.local/a.png",
    "integer address": "https://2130706433/a.png",
    "octal address": "https://0177.0.0.1/a.png",
    "userinfo": "https://user:pass@example.com/a.png",
    "odd port": "https://example.com:8443/a.png",
    "http": "http://example.com/a.png",
    "file": "file:///etc/passwd",
    "ftp": "ftp://example.com/a.png",
    "no host": "https:///a.png",
    "backslash": "https://example.com\\@127.0.0.1/a.png",
}


@pytest.mark.parametrize("url", REFUSED_URLS.values(), ids=REFUSED_URLS.keys())
def test_an_address_in_the_own_network_is_refused_before_any_byte_is_sent(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        for call in (Dialer().get(url, 1000, tmp_path / "got"), Dialer().post(url, b"", {})):
            with pytest.raises(DialRefused):
                await call

    monkeypatch.setattr(Dialer, "_answer", lambda *_, **__: pytest.fail("it is dialled"))
    run(main)


def test_every_refused_address_is_a_clear_422_at_the_api(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=True) as here:
            for name, url in REFUSED_URLS.items():
                answer = await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "62_image": url})
                assert answer.status == 422, (name, answer.json)
                assert answer.json["error_message"].startswith("62_image: "), name
                hook = await here.call("POST", f"/v1/models/{FLF2V}", BODY, params={"webhook": url})
                assert hook.status in (422, 200), name  # names are looked up at delivery
            await here.until(await here.submit())  # nothing else is disturbed

    run(main)


class Script(AbstractResolver):
    """A name server whose answers change from question to question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in found
        ]

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    "answers", [[["127.0.0.1"]], [["93.184.216.34", "10.0.0.5"]]], ids=["private", "one of two private"]
)
def test_a_name_is_refused_unless_every_address_is_public(tmp_path: Path, answers: list[list[str]]) -> None:
    async def main() -> None:
        with pytest.raises(DialRefused, match="private network"):
            await Dialer(timeout_s=3, resolver=Script(*answers)).get(
                "https://pictures.example/a.png", 1000, tmp_path / "got"
            )

    run(main)


def test_an_answer_that_changes_wins_nothing_because_the_checked_address_is_the_dialled_one(tmp_path: Path) -> None:
    async def main() -> None:
        script = Script(["192.0.2.1"], ["127.0.0.1"])
        with pytest.raises(DialRefused):
            await Dialer(timeout_s=2, resolver=script).get("https://pictures.example/a.png", 1000, tmp_path / "got")
        assert script.asked == 1  # no second look-up between check and connection

    run(main)


@pytest.mark.parametrize(
    "target", ["https://169.254.169.254/", "http://127.0.0.1:1/", "https://[::ffff:10.0.0.1]/", "file:///etc/passwd"]
)
def test_a_redirect_is_checked_like_a_first_address(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[str] = []
    answer_of = Dialer._answer

    def noted(self: Dialer, method: str, url: URL, timeout_s: float) -> Any:
        dialled.append(str(url))
        return answer_of(self, method, url, timeout_s)

    monkeypatch.setattr(Dialer, "_answer", noted)

    async def main() -> None:
        async def answer(_request: web.Request) -> web.Response:
            raise web.HTTPFound(target)

        async with web_server(answer) as origin:
            with pytest.raises(DialRefused):
                await Dialer((origin,), 3).get(f"{origin}/a.png", 1000, tmp_path / "got")
            assert dialled == [f"{origin}/a.png"]

    run(main)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_webhook_goes_nowhere_else_than_to_its_address(status: int) -> None:
    called: list[str] = []

    async def main() -> None:
        async def inside(request: web.Request) -> web.Response:
            called.append(request.method)
            return web.Response()

        async with web_server(inside) as elsewhere:

            async def answer(request: web.Request) -> web.Response:
                called.append(await request.text())
                return web.Response(status=status, headers={"Location": f"{elsewhere}/hook"})

            async with web_server(answer) as origin:
                assert await Dialer((origin, elsewhere), 30).post(f"{origin}/hook", b"told", {}) == status
        assert called == ["told"]

    run(main)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_not_said_to_be_the_other_sides_fault() -> None:
    async def main() -> None:
        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=bytes(200_000))

        async with web_server(answer) as origin:
            with pytest.raises(OSError, match="No space left"):
                await Dialer((origin,), 30).get(f"{origin}/a.png", 2**20, Path("/dev/full"))

    run(main)


def test_endless_redirects_large_bodies_and_slow_servers_end(tmp_path: Path) -> None:
    async def main() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == "/loop":
                raise web.HTTPFound("/loop")
            if request.path == "/slow":
                await asyncio.sleep(60)
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(100):
                await response.write(b"x" * 65536)
            return response

        async with web_server(answer) as origin:
            for path, words, timeout_s in (
                ("loop", "redirects more", 30),
                ("big", "larger than", 30),
                ("slow", "did not answer", 1),
            ):
                with pytest.raises(DialRefused, match=words):
                    await Dialer((origin,), timeout_s).get(f"{origin}/{path}", 1024 * 1024, tmp_path / "got")

    run(main)


def test_a_trusted_origin_is_fetched_and_becomes_a_video(tmp_path: Path) -> None:
    async def main() -> None:
        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=png())

        async with web_server(answer) as origin, local(tmp_path, trusted=(origin,)) as here:
            job = await here.submit({**BODY, "62_image": f"{origin}/a.png"})
            assert (await here.until(job))["state"] == "succeeded"

    run(main)


def test_the_providers_guard_is_the_same_one() -> None:
    for name, url in REFUSED_URLS.items():
        if name not in ("odd port", "backslash"):  # a vendor's result may lie at any port
            with pytest.raises(DownloadRefused):
                check_media_url(url, ("https", "own.example", 443))


def test_a_proxy_is_given_no_name_that_leads_into_the_own_network(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for addresses, words in ((["10.0.0.1"], "private network"), (["93.184.216.34"], "can't be reached")):
            with pytest.raises(DialRefused, match=words):
                await Dialer(proxy=proxy, resolver=Script(addresses)).get(
                    "https://pictures.example/a.png", 1000, tmp_path / "got"
                )
        assert set(seen) == {b"CONNECT pictures.example:443 HTTP/1.1\r\n"}
        server.close()

    run(main)


def test_public_addresses_are_public() -> None:
    assert all(is_public(address) for address in ("93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"))
