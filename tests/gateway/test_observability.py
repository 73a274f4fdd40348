"""The board and the alert rules speak of metrics that the gateway has; requests are logged with their id."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer as Server

from wan_flf2v.gateway.logs import REQUEST_ID, JsonFormatter
from wan_flf2v.gateway.settings import Settings
from wan_flf2v.gateway.worker.keeper import Keeper
from wan_flf2v.gateway.worker.supervisor import Supervisor

from .fake_comfyui import FakeComfyUI
from .local import local, run

FOLDER = Path(__file__).parents[2] / "gateway" / "observability"


def test_the_board_and_the_alerts_name_only_metrics_and_labels_that_there_are(tmp_path: Path) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert len(json.loads(texts["grafana.json"])["panels"]) >= 12
    assert texts["alerts.yml"].count("- alert:") >= 7
    named = {name for text in texts.values() for name in re.findall(r"flf2v_\w+", text)}

    async def main() -> None:
        async with local(tmp_path) as here:
            await here.until(await here.submit())
            text = ""
            while "flf2v_attempts_total{" not in text:
                text = (await here.call("GET", "/metrics")).body.decode()
                await asyncio.sleep(0.1)
            known = set(re.findall(r"^(flf2v_\w+)", text, re.MULTILINE))
            assert named <= known
            for label in ("workflow", "worker", "status", "outcome", "path"):
                assert f"{label}=" in text

    run(main)


def test_every_request_is_logged_with_its_id_and_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False) as here:
            caplog.set_level(logging.INFO, "wan_flf2v.access")
            answer = await here.call("GET", "/v1/requests/none/status", headers={"X-Request-Id": "mine-7"})
            assert (answer.status, answer.headers["X-Request-Id"]) == (404, "mine-7")
            forged = await here.call("GET", "/health/live", headers={"X-Request-Id": "a b"})
            assert len(forged.headers["X-Request-Id"]) == 36
            line = next(record for record in caplog.records if getattr(record, "status", 0) == 404)
            assert line.path == "/v1/requests/{request_id}/status"
            REQUEST_ID.set("mine-7")
            text = JsonFormatter().format(line)
            written = json.loads(text)
            assert [written[name] for name in ("request_id", "level", "logger")] == ["mine-7", "info", "access"]
            assert {"at", "message", "status", "ms"} <= set(written)
            assert here.secret not in text

    run(main)


def test_a_comfyui_that_goes_on_lacking_model_files_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def told() -> None:
        return None

    async def main() -> None:
        comfy = FakeComfyUI(b"")
        async with Server(comfy.app()) as server:
            keeper = Keeper(Supervisor(str(server.make_url("/"))), Settings(data=tmp_path), lambda: False, told)
            for models in (False, False, False, True, False):
                comfy.settings["models"] = models
                await keeper._look()
                assert bool(keeper.workflows) is models

    run(main)
    assert [record.message for record in caplog.records if "of no workflow" in record.message] == [
        "this ComfyUI has the model files of no workflow; wan-flf2v status says what is missing"
    ] * 2
