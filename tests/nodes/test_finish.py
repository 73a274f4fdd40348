"""A video whose ComfyUI was killed, in the middle of decoding or encoding, is finished without sampling again."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from wan_flf2v.cli import main
from wan_flf2v.engine.client import ComfyClient
from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.workflows import Bindings

KILLS = int(os.environ.get("WAN_FLF2V_KILLS", 4))  # each costs a start of ComfyUI


def read(path: Path) -> tuple[np.ndarray[Any, Any], dict[str, str]]:
    with av.open(str(path)) as container:
        texts = {key.lower(): value for key, value in container.metadata.items()}
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return frames, {key: texts.get(key, "") for key in ("prompt", "workflow")}


async def until_saving(url: str, graph: dict[str, Any]) -> None:
    """Queue the graph and return when its save node begins."""
    async with ComfyClient(url) as client:
        events = client.events()
        await anext(events)
        await client.queue(graph, metadata={"workflow": {"nodes": []}})
        async for message in events:
            if message["type"] == "executing" and message["data"].get("node") == "73":
                return


async def until_done(url: str, graph: dict[str, Any]) -> float:
    """Run the graph; returns the seconds from the save node's beginning."""
    await until_saving(url, graph)
    start = time.monotonic()
    async with ComfyClient(url) as client:
        while await client.queue_state() != ([], []):
            await asyncio.sleep(0.02)
    return time.monotonic() - start


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills_lose_no_sampling_and_leave_no_broken_video(
    engine: Engine, models: Path, pictures: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "comfyui"
    (home / "input").mkdir(parents=True)
    for path in pictures:
        (home / "input" / path.name).write_bytes(path.read_bytes())
    bindings = Bindings.load("wan22_flf2v")
    small = {"71_width": 64, "71_height": 64, "67_length": 81, "57_steps": 2, "6_text": "a puppy"}
    values = {**small, bindings.first_image: pictures[0].name, bindings.last_image: pictures[1].name}
    graph = bindings.apply(bindings.check(values, free=True))
    graph["73"]["inputs"] |= {"format": "mkv", "filename_prefix": "clip%CLIPTextEncode.text%"}  # lossless
    output = home / "output"
    made = tmp_path / "finished.mkv"
    chance = random.Random(12)

    def finish(url: str) -> None:
        (left,) = output.glob("*.latent")
        assert main(["finish", str(left), "--comfyui-url", url, "--out", str(made)]) == 0
        assert not left.exists()
        frames, texts = read(made)
        assert np.array_equal(frames, expected[0])
        assert texts == expected[1]
        assert "step" not in capfd.readouterr().err.replace("0 steps", "")

    with ComfyServer(engine, home, models, tiny=True) as server:
        seconds = asyncio.run(until_done(server.url, graph))
        (whole,) = output.iterdir()
        expected = read(whole)
        whole.unlink()
    kills = 0
    while True:
        with ComfyServer(engine, home, models, tiny=True) as server:
            if list(output.glob("*.latent")):
                finish(server.url)
                kills += 1
            for path in output.iterdir():
                assert path.suffix in {".mkv", ".partial"}, path
                path.unlink()
            if kills == KILLS:
                break
            asyncio.run(until_saving(server.url, graph))
            time.sleep(0.9 * (kills + chance.random()) / KILLS * seconds)
            was_whole = any(output.glob("*.mkv"))  # it was quicker this time
            server.kill()
            assert was_whole or not any(output.glob("*.mkv")), "a video that is not whole has a name"
