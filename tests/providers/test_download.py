"""Results are fetched from public places and the profile's own origin only, whole, and up to a size."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from wan_flf2v.providers.addresses import PublicResolver, allowed_networks, check_media_url, is_public, origin
from wan_flf2v.providers.download import Downloader
from wan_flf2v.providers.errors import DownloadError, DownloadRefused
from wan_flf2v.providers.video_check import check_video
from wan_flf2v.tests.doubles.remote import QUICK, generate
from wan_flf2v.tests.doubles.vendor import Fault, Script, tiny_video
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

PRIVATE = [
    "https://127.0.0.1/a.mp4",
    "https://10.0.0.8/a.mp4",
    "https://192.168.1.1/a.mp4",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/a.mp4",
    "https://[::ffff:10.0.0.1]/a.mp4",
    "https://[2002:0a00:0001::]/a.mp4",
    "https://[fd00::1]/a.mp4",
    "https://100.64.0.1/a.mp4",
    "https://224.0.0.1/a.mp4",
    "https://0.0.0.0/a.mp4",
    "https://localhost/a.mp4",
    "https://x.localhost/a.mp4",
]


# The first and the last address of each network that is not public, and their neighbours that are.
BOUNDS = [
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
    ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
    ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"),
    ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
    ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
    ("224.0.0.0", "255.255.255.255", "223.255.255.255", "223.255.255.254"),
    ("0.0.0.0", "0.255.255.255", "1.0.0.0", "1.0.0.1"),
]
EMBEDDED = ("{}", "::ffff:{}", "64:ff9b::{}", "2002:{:x}:{:x}::1")
NEVER = ("::", "::1", "::7f00:1", "fc00::", "fdff::1", "fe80::1", "febf::1", "fec0::1", "feff::1", "ff02::1",
         "64:ff9b:1::808:808")  # fmt: skip


@pytest.mark.parametrize("form", EMBEDDED)
def test_each_private_network_ends_where_it_ends_in_every_notation(form: str) -> None:
    for *private, before, after in BOUNDS:
        for address, public in [*((each, False) for each in private), (before, True), (after, True)]:
            number = int(ipaddress.IPv4Address(address))
            text = form.format(number >> 16, number & 0xFFFF) if ":x" in form else form.format(address)
            assert is_public(text) is public, text


def test_ipv6_that_is_nobodys_is_not_public_and_an_allowed_network_is() -> None:
    assert [address for address in NEVER if is_public(address)] == []
    assert is_public("2606:4700::1111")
    allowed = [ipaddress.ip_network("10.0.0.0/30")]
    assert [is_public(f"10.0.0.{last}", allowed) for last in (0, 3, 4)] == [True, True, False]


def test_a_name_with_one_private_address_among_others_is_refused() -> None:
    class Answers(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: int = 0) -> Any:
            return [{"host": address} for address in host.split("_")]

        async def close(self) -> None:
            pass

    resolver = PublicResolver(Answers())
    assert len(asyncio.run(resolver.resolve("8.8.8.8_1.1.1.1"))) == 2
    for host in ("8.8.8.8_10.0.0.1", "10.0.0.1_8.8.8.8", "10.0.0.1"):
        with pytest.raises(DownloadRefused, match="private network"):
            asyncio.run(resolver.resolve(host))


def left_over(folder: Path) -> list[str]:
    """Everything in the folder of videos."""
    return sorted(path.name for path in (folder / "videos").glob("*")) if (folder / "videos").exists() else []


def redirect(to: str) -> Fault:
    return Fault(status=302, body="", headers={"Location": to})


@pytest.mark.parametrize("url", PRIVATE)
def test_a_result_at_a_private_address_is_refused_and_the_job_kept(url, wavespeed: WaveSpeedDouble, tmp_path) -> None:
    wavespeed.script = Script(video_url=url)
    with pytest.raises(DownloadRefused, match="private network"):
        generate(wavespeed, tmp_path)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("url", [PRIVATE[0], PRIVATE[4], "https://localhost:1/x"])
def test_a_redirect_to_a_private_address_is_refused(url, wavespeed: WaveSpeedDouble, tmp_path) -> None:
    wavespeed.fail_always("media", redirect(url))
    with pytest.raises(DownloadRefused, match="private network"):
        generate(wavespeed, tmp_path)
    assert left_over(tmp_path) == []


def test_a_redirect_to_another_port_of_loopback_is_refused(wavespeed, runcomfy, tmp_path) -> None:
    wavespeed.fail_always("media", redirect(f"{runcomfy.url}/media/x.mp4"))
    with pytest.raises(DownloadRefused, match="not https"):
        generate(wavespeed, tmp_path)
    assert runcomfy.seen == []


def test_a_name_that_leads_to_a_private_address_is_refused_when_it_is_connected_to(tmp_path, monkeypatch) -> None:
    async def inside(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        return [{"hostname": host, "host": "10.1.2.3", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    monkeypatch.setattr("wan_flf2v.providers.addresses.DefaultResolver.resolve", inside)
    monkeypatch.setattr("wan_flf2v.providers.download.proxy_for", lambda url: None)
    downloader = Downloader("https://api.example", QUICK)
    with pytest.raises(DownloadRefused, match="private network"):
        asyncio.run(downloader.fetch("https://rebinding.example/a.mp4", tmp_path / "a"))
    monkeypatch.setattr("wan_flf2v.providers.download.proxy_for", lambda url: "http://127.0.0.1:1")
    with pytest.raises(DownloadRefused, match="private network"):
        asyncio.run(downloader.fetch("https://rebinding.example/a.mp4", tmp_path / "a"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/a.mp4", "over http, not https"),
        ("https://user:pass@example.com/a.mp4", "carries a user name"),
        ("file:///etc/passwd", "no usable address"),
        ("javascript:alert(1)", "no usable address"),
        ("https://", "no usable address"),
        ("https://[::1", "no usable address"),
    ],
)
def test_only_plain_https_addresses_are_fetched(url, why, wavespeed, tmp_path) -> None:
    wavespeed.script = Script(video_url=url)
    with pytest.raises(DownloadRefused, match=why):
        generate(wavespeed, tmp_path)


def test_the_profiles_own_origin_is_allowed_and_gets_no_key(wavespeed, tmp_path) -> None:
    generate(wavespeed, tmp_path)
    headers = wavespeed.last("media").headers
    assert "Authorization" not in headers
    assert (headers["User-Agent"], headers["Accept-Encoding"]) == ("wan-flf2v", "identity")
    assert check_media_url("http://192.168.0.9:8189/out/a.mp4", origin("http://192.168.0.9:8189/base"))
    with pytest.raises(DownloadRefused):
        check_media_url("http://192.168.0.9:8188/out/a.mp4", origin("http://192.168.0.9:8189"))


def test_redirects_on_the_own_origin_are_followed_up_to_three_times(wavespeed, tmp_path) -> None:
    wavespeed.fail("media", *[redirect("/media/next.mp4")] * 3)
    assert generate(wavespeed, tmp_path).video is not None
    wavespeed.fail_always("media", redirect("/media/next.mp4"))
    with pytest.raises(DownloadRefused, match="redirects more than 3 times"):
        asyncio.run(Downloader(wavespeed.url, QUICK).fetch(f"{wavespeed.url}/media/a.mp4", tmp_path / "b"))


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    await answer.prepare(request)
    await answer.write(tiny_video()[:64])
    while True:
        await answer.write(b"\0" * 65536)


async def trickle(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    await answer.prepare(request)
    while True:
        await answer.write(tiny_video()[:16])
        await asyncio.sleep(0.02)


async def three_gib(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(3 * 2**30)})
    await answer.prepare(request)
    await answer.write(tiny_video())
    return answer


async def cut_short(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(len(tiny_video()))})
    await answer.prepare(request)
    await answer.write(tiny_video()[:200])
    assert request.transport is not None
    request.transport.abort()
    return answer


async def cut_whole(request: web.Request) -> web.StreamResponse:
    return web.Response(body=tiny_video()[:-100], content_type="video/mp4")


async def page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>sign in</html>", content_type="text/html")


async def page_called_video(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"<html>not a video at all</html>", content_type="video/mp4")


@pytest.mark.parametrize(
    ("respond", "error", "why"),
    [
        (endless, DownloadRefused, "larger than 2 MiB"),
        (trickle, DownloadRefused, "did not end within 1 s"),
        (three_gib, DownloadRefused, "3072 MiB, more than the 2 MiB"),
        (cut_short, DownloadError, "broke off"),
        (cut_whole, DownloadError, "incomplete"),
        (page, DownloadRefused, "text/html, not a video"),
        (page_called_video, DownloadRefused, "no MP4 or WebM"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_whole_video_of_sane_size_is_refused_and_not_kept(respond, error, why, wavespeed, tmp_path) -> None:
    wavespeed.fail_always("media", Fault(respond=respond))
    small = Downloader(wavespeed.url, QUICK, max_bytes=2 * 2**20, max_seconds=1)
    with pytest.raises(error, match=why):
        generate(wavespeed, tmp_path, downloader=small)
    assert left_over(tmp_path) == []
    wavespeed.fail_always("media", None)
    assert generate(wavespeed, tmp_path).video is not None  # the job was kept and is collected
    assert wavespeed.count("submit") == 1


def test_a_download_that_breaks_off_is_tried_again(wavespeed, tmp_path) -> None:
    wavespeed.fail("media", Fault(respond=cut_short), Fault(status=503, body=""), Fault(drop=True))
    outcome = generate(wavespeed, tmp_path)
    assert outcome.video is not None
    assert outcome.video.read_bytes() == wavespeed.video
    assert wavespeed.count("media") == 4


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_address_is_asked_for_anew_once(status, wavespeed, tmp_path) -> None:
    wavespeed.fail("media", Fault(status=status, body=""))
    assert generate(wavespeed, tmp_path).video is not None
    assert [seen.step for seen in wavespeed.seen][-3:] == ["media", "status", "media"]
    wavespeed.fail_always("media", Fault(status=status, body=""))
    with pytest.raises(DownloadError, match="no longer at"):
        asyncio.run(Downloader(wavespeed.url, QUICK).fetch(f"{wavespeed.url}/media/a.mp4", tmp_path / "b"))


def test_a_network_that_the_user_allows_is_allowed(monkeypatch) -> None:
    assert not is_public("198.18.0.7", allowed_networks())
    monkeypatch.setenv("WAN_FLF2V_MEDIA_NETWORKS", "198.18.0.0/15")
    assert is_public("198.18.0.7", allowed_networks())
    assert not is_public("10.0.0.1", allowed_networks())
    monkeypatch.setenv("WAN_FLF2V_MEDIA_NETWORKS", "everything")
    with pytest.raises(DownloadRefused, match="must list networks"):
        allowed_networks()


def test_the_resolver_passes_public_addresses(monkeypatch) -> None:
    asked = []

    async def outside(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        asked.append((host, port, family))
        return [{"hostname": host, "host": "93.184.216.34", "port": port, "family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr("wan_flf2v.providers.addresses.DefaultResolver.resolve", outside)

    async def resolve() -> object:
        return (await PublicResolver().resolve("example.com", 443, socket.AF_INET6))[0]["host"]

    assert asyncio.run(resolve()) == "93.184.216.34"
    assert asked == [("example.com", 443, socket.AF_INET6)]


@given(cut=st.integers(1, len(tiny_video()) - 1))
def test_no_cut_of_a_video_passes_as_whole(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.mp4"
    path.write_bytes(tiny_video()[:cut])
    with pytest.raises(DownloadError):
        check_video(path)


def test_a_whole_video_passes(tmp_path) -> None:
    path = tmp_path / "a"
    path.write_bytes(tiny_video())
    assert check_video(path) == ".mp4"
    to_the_end = b"\0\0\0\0mdat and whatever follows"
    path.write_bytes(tiny_video() + to_the_end)
    assert check_video(path) == ".mp4"


def test_the_shipped_limits() -> None:
    shipped = Downloader("https://api.example")
    assert (shipped.max_bytes, shipped.max_seconds, shipped.idle_s, shipped.max_redirects) == (512 * 2**20, 900, 60, 3)


def announced(length: int) -> Fault:
    """An answer that promises so many bytes and then breaks off."""

    async def respond(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(length)})
        await answer.prepare(request)
        await answer.write(tiny_video()[:64])
        assert request.transport is not None
        request.transport.abort()
        return answer

    return Fault(respond=respond)


@pytest.mark.parametrize(
    ("length", "error", "why"),
    [(512 * 2**20, DownloadError, "broke off"), (512 * 2**20 + 1, DownloadRefused, "more than the 512 MiB")],
)
def test_a_video_of_just_the_shipped_limit_is_begun_and_a_larger_one_is_not(
    length, error, why, wavespeed, tmp_path
) -> None:
    wavespeed.fail_always("media", announced(length))
    shipped = Downloader(wavespeed.url, QUICK)
    with pytest.raises(error, match=why) as caught:
        asyncio.run(shipped.fetch(f"{wavespeed.url}/media/a.mp4", tmp_path / "a"))
    assert type(caught.value) is error
    assert wavespeed.count("media") == (QUICK.download_attempts if error is DownloadError else 1)
    assert list(tmp_path.iterdir()) == []


async def unannounced(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    answer.enable_chunked_encoding()
    await answer.prepare(request)
    for start in range(0, len(tiny_video()), 100):
        await answer.write(tiny_video()[start : start + 100])
    return answer


@pytest.mark.parametrize("respond", [unannounced, None], ids=["without a length", "with a length"])
@pytest.mark.parametrize(("spare", "passes"), [(1, True), (0, True), (-1, False)])
def test_a_video_just_above_the_limit_is_refused_and_one_just_below_kept(
    spare, passes, respond, wavespeed, tmp_path
) -> None:
    if respond is not None:
        wavespeed.fail_always("media", Fault(respond=respond))
    limited = Downloader(wavespeed.url, QUICK, max_bytes=len(tiny_video()) + spare)
    fetching = limited.fetch(f"{wavespeed.url}/media/a.mp4", tmp_path / "a", (told := []).append)
    if passes:
        assert asyncio.run(fetching).read_bytes() == tiny_video()
        assert told[-1] == len(tiny_video())
        assert told == sorted(told)
    else:
        with pytest.raises(DownloadRefused):
            asyncio.run(fetching)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("count", "passes"), [(3, True), (4, False)])
def test_three_redirects_are_followed_and_not_a_fourth(count, passes, wavespeed, tmp_path) -> None:
    wavespeed.fail("media", *[redirect("/media/next.mp4")] * count)
    fetching = Downloader(wavespeed.url, QUICK).fetch(f"{wavespeed.url}/media/a.mp4", tmp_path / "a")
    if passes:
        assert asyncio.run(fetching) == tmp_path / "a.mp4"
    else:
        with pytest.raises(DownloadRefused, match="redirects more than 3 times"):
            asyncio.run(fetching)


async def stalled(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": "5000"})
    await answer.prepare(request)
    await answer.write(tiny_video()[:64])
    await asyncio.sleep(30)
    return answer


def test_a_download_that_stands_still_is_given_up_and_tried_again(wavespeed, tmp_path) -> None:
    wavespeed.fail("media", Fault(respond=stalled))
    impatient = Downloader(wavespeed.url, QUICK, idle_s=0.2, max_seconds=15)
    assert asyncio.run(impatient.fetch(f"{wavespeed.url}/media/a.mp4", tmp_path / "a")).exists()
    assert wavespeed.count("media") == 2
