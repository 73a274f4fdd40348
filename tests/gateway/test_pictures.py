"""The picture decoder: its child processes may die or hang, and only the request at fault is told so."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from wan_flf2v.gateway.decode import PictureError, to_png
from wan_flf2v.gateway.errors import Unavailable
from wan_flf2v.gateway.pictures import PictureDecoder

from .local import png, run

PREFIX = b"data:image/png;base64,"


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]


def test_a_decoder_that_died_while_idle_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        decoder = PictureDecoder(1_000_000)
        await asyncio.gather(*(decoder.png(png(), tmp_path / key, key) for key in "ab"))
        for child in children():
            child.kill()
        await asyncio.sleep(0.5)
        for _ in range(6):
            assert (await decoder.png(png(), tmp_path / "a", "a")).read_bytes().startswith(b"\x89PNG")
        decoder.close()

    run(main)


def test_a_decode_that_hangs_costs_its_own_request_alone_and_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    async def main() -> None:
        decoder = PictureDecoder(1_000_000, patience_s=3)
        await asyncio.gather(*(decoder.png(png(), tmp_path / key, key) for key in "ab"))
        one, other = children()
        one.suspend()  # as a machine does that is too busy
        answers = await asyncio.gather(
            *(decoder.png(png(), tmp_path / key, key) for key in "ab"), return_exceptions=True
        )
        assert {type(answer) for answer in answers} == {Unavailable, type(tmp_path)}
        assert other.is_running()
        assert (await decoder.png(png(), tmp_path / "a", "a")).read_bytes().startswith(b"\x89PNG")
        decoder.close()

    run(main)


def test_a_picture_that_kills_its_decoder_twice_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        decoder = PictureDecoder(40_000_000)
        await decoder.png(png(), tmp_path / "a", "a")
        work = asyncio.create_task(decoder.png(png(6000, 6000), tmp_path / "a", "a"))
        until = time.monotonic() + 20
        while not work.done() and time.monotonic() < until:
            for child in children():
                if child.cpu_times().user > 0:
                    os.kill(child.pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
        with pytest.raises(PictureError, match="too much time or memory"):
            await work
        assert (await decoder.png(png(), tmp_path / "a", "a")).read_bytes().startswith(b"\x89PNG")
        decoder.close()

    run(main)


def test_many_pictures_of_one_key_leave_a_decoder_to_another(tmp_path: Path) -> None:
    async def main() -> None:
        decoder = PictureDecoder(40_000_000)
        await asyncio.gather(*(decoder.png(png(), tmp_path / key, key) for key in "ab"))
        big = png(5000, 5000)
        greedy = [asyncio.create_task(decoder.png(big, tmp_path / f"big{number}", "a")) for number in range(3)]
        await asyncio.sleep(0.1)
        await decoder.png(png(), tmp_path / "b", "b")
        assert not all(task.done() for task in greedy)
        await asyncio.gather(*greedy)
        decoder.close()

    run(main)


def test_each_picture_and_body_has_a_share_of_the_processor_of_its_own() -> None:
    resource = pytest.importorskip("resource")

    async def main() -> None:
        decoder = PictureDecoder(1_000_000, processes=1)

        async def ends_at() -> int:
            return int((await decoder._work("a", resource.getrlimit, resource.RLIMIT_CPU))[0])

        before = await ends_at()
        while await ends_at() < before + 2:  # what the earlier ones have used is not the next one's
            await decoder._work("a", sum, range(10_000_000))
        decoder.close()

    run(main)


def test_base64_is_decoded_by_the_child(tmp_path: Path) -> None:
    async def main() -> None:
        decoder = PictureDecoder(1_000_000)
        assert (await decoder.png(PREFIX + base64.b64encode(png()), tmp_path / "a", "a")).read_bytes()[:4] == b"\x89PNG"
        for damaged in ("@@@@", "AAA", "\u00e4\u00e4\u00e4\u00e4"):
            with pytest.raises(PictureError, match="base64 is damaged"):
                await decoder.png(PREFIX + damaged.encode(), tmp_path / "a", "a")
        decoder.close()

    run(main)


def test_damaged_metadata_and_a_transparent_colour_spoil_no_picture(tmp_path: Path) -> None:
    """Regression: each was a 500, though the picture can be seen."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    damaged = exif.tobytes().replace(b"\1\x0f\0\2", b"\1\1\0\2")  # so that a text is the picture's height
    for mode, metadata in (("RGB", {"exif": damaged}), ("I;16", {"transparency": 5}), ("1", {"transparency": 1})):
        Image.new(mode, (64, 48)).save(tmp_path / "in.png", **metadata)
        to_png(tmp_path / "in.png", tmp_path / "out.png", 10**6, 10**6)
        with Image.open(tmp_path / "out.png") as stored:
            assert (stored.mode, stored.size) == ("RGB", (48, 64) if "exif" in metadata else (64, 48))
            assert not stored.info


def test_no_module_of_the_door_imports_a_picture_library(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, wan_flf2v.gateway.web.app; print(any(name.startswith('PIL') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_pictures_bytes_are_seen_by_the_parsers_of_the_three_formats_alone(tmp_path: Path) -> None:
    from PIL import Image

    seen: list[bytes] = []

    def accept(head: bytes) -> bool:
        seen.append(head)
        return False

    Image.init()
    Image.register_open("SPY", lambda *_: pytest.fail("parsed"), accept)
    try:
        for data in (
            b"GIF89a" + bytes(100),
            b"%!PS-Adobe-3.0 EPSF-3.0" + bytes(100),
            b"II*\0" + bytes(100),
            bytes(100),
        ):
            with pytest.raises(PictureError, match="must be a whole PNG, JPEG or WebP"):
                to_png(data, tmp_path / "out.png", 10**6, 10**6)
    finally:
        Image.ID.remove("SPY")
        del Image.OPEN["SPY"]
    assert seen == []
