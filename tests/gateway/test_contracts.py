"""Contracts enumerated from the code: a limit, a time or a setting that has no row here fails."""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway import cli
from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.bodies import SCRATCH, Scratch
from wan_flf2v.gateway.service import JobService
from wan_flf2v.gateway.settings import GatewayError, Limits, Settings, Timing, flag_of, settings_of
from wan_flf2v.gateway.tables import ASSETS, ATTEMPTS, IDEMPOTENCY, JOBS, OUTBOX
from wan_flf2v.gateway.upkeep import Upkeep

from . import (
    test_addresses,
    test_answers,
    test_attempts,
    test_door,
    test_lifetime,
    test_permissions,
    test_queue,
    test_shares,
    test_sick,
    test_stops,
    test_workers,
)
from .local import BODY, FAST, FLF2V, WAVESPEED, WAVESPEED_BODY, Answer, Local, local, png, run


def test_of_a_refused_request_no_picture_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=300) as here:
            good = "data:image/png;base64," + base64.b64encode(png(64, 48)).decode()
            for pictures in ({"62_image": good, "68_image": "no.png"}, {"62_image": "no.png", "68_image": good}):
                assert (await here.call("POST", f"/v1/models/{FLF2V}", {**BODY, **pictures})).status == 422
            assert [path for path in (tmp_path / "assets").rglob("*") if path.is_file()] == []
            with here.keys.database.read() as connection:
                assert connection.execute(sa.select(sa.func.count()).select_from(ASSETS)).scalar() == 0

    run(main)


# Each limit: what is just within, what is just beyond; or the test elsewhere that does so.
Submit = Callable[[Local], Any]


def _text(characters: int) -> Submit:
    return lambda here: here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "6_text": "x" * characters})


def _body(size: int) -> Submit:
    text = json.dumps(BODY)
    return lambda here: here.call("POST", f"/v1/models/{FLF2V}", data=text + " " * (size - len(text)))


def _picture(here: Local) -> Any:
    uri = "data:image/png;base64," + base64.b64encode(png(64, 48)).decode()
    return here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "62_image": uri})


def _upload(here: Local) -> Any:
    return here.call("POST", "/api/v3/media/upload/binary", data={"file": io.BytesIO(png(64, 48))})


def _size(here: Local) -> Any:
    return here.call("POST", WAVESPEED, {**WAVESPEED_BODY, "size": "832*480"})


def _frames(here: Local) -> Any:
    return here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "67_length": 81})


def _board(**fields: Any) -> Submit:
    uri = "data:image/png;base64," + base64.b64encode(png(64, 48)).decode()
    board = {"keyframes": [{"picture": WAVESPEED_BODY["first_image"]}, {"picture": uri}], **fields}
    return lambda here: here.call("POST", "/v1/models/community/wan-2-2/storyboard", board)


PNG_BYTES = len(png(64, 48))
LIMITS: dict[str, Any] = {
    "body_bytes": [(2000, _body(2000), 200), (2000, _body(2001), 413)],
    "picture_bytes": [(PNG_BYTES, _picture, 200), (PNG_BYTES - 3, _picture, 422),
                      (PNG_BYTES, _upload, 200), (PNG_BYTES - 1, _upload, 413),
                      (PNG_BYTES, _board(), 200), (PNG_BYTES - 3, _board(), 422)],
    "picture_pixels": [(64 * 48, _picture, 200), (64 * 48 - 1, _picture, 422),
                       (64 * 48, _upload, 200), (64 * 48 - 1, _upload, 422)],
    "text_characters": [(100, _text(100), 200), (100, _text(101), 422),
                        (100, _board(prompt="x" * 100), 200), (100, _board(segments=[{"negative": "x" * 101}]), 422)],
    "video_pixels": [(832 * 480, _size, 200), (832 * 480 - 1, _size, 422),
                     (720 * 720, _board(), 200), (720 * 720 - 1, _board(), 422)],
    "video_frames": [(81, _frames, 200), (80, _frames, 422), (81, _board(), 200), (80, _board(), 422)],
    "bodies_bytes": test_answers.test_bodies_beyond_the_budget_are_503_and_other_keys_go_on,
    "header_read_s": test_answers.test_a_connection_that_sends_no_whole_request_is_closed,
    "body_read_s": test_door.test_a_slow_body_is_given_up_and_holds_nobody_up,
    "fetch_s": test_addresses.test_endless_redirects_large_bodies_and_slow_servers_end,
    "queued_jobs": test_queue.test_a_key_has_its_share_of_the_queues_places,
    "queue_share": test_queue.test_a_key_has_its_share_of_the_queues_places,
    "stored_bytes": test_lifetime.test_the_pictures_of_unfinished_jobs_have_a_limit_in_bytes_and_old_uploads_make_room,
    "submits_per_second": test_shares.test_above_its_limit_a_key_still_gets_its_limit,
    "submits_burst": test_door.test_sizes_rates_and_the_queue_have_limits,
    "calls_per_second": test_answers.test_addresses_without_a_key_are_limited_too,
}  # fmt: skip


def test_every_limit_has_a_row_and_every_row_a_limit() -> None:
    assert set(LIMITS) == set(Limits.model_fields)


@pytest.mark.parametrize("name", [name for name, rows in LIMITS.items() if isinstance(rows, list)])
def test_at_its_limit_a_request_is_taken_and_beyond_refused(tmp_path: Path, name: str) -> None:
    async def main() -> None:
        for number, (limit, submit, status) in enumerate(LIMITS[name]):
            async with local(tmp_path / str(number), seconds=300, limits=Limits(**{name: limit})) as here:
                answer: Answer = await submit(here)
                assert answer.status == status, (limit, answer.json)

    run(main)


# Each time: the test that lets it pass, or how often something is looked at, whose length no promise depends on.
PACE = {"poll_s", "engine_poll_s", "heartbeat_s", "sweep_s", "restart_pause_s", "restart_pause_most_s", "start_s"}
TIMES: dict[str, Callable[..., None]] = {
    "link_s": test_permissions.test_a_link_lives_as_long_as_is_set,
    "dead_after_s": test_workers.test_the_databases_clock_counts_and_not_a_workers,
    "cancel_grace_s": test_sick.test_a_gpu_that_hangs_behind_a_living_server,
    "unreachable_s": test_sick.test_a_comfyui_of_somebody_elses_that_is_gone_gets_nothing_and_gives_back_what_it_held,
    "drain_timeout_s": test_stops.test_the_first_sigterm_lets_the_job_end_and_takes_no_other,
    "job_timeout": test_sick.test_a_gpu_that_hangs_behind_a_living_server,
    "attempts": test_attempts.test_a_job_lost_too_often_fails_and_orderly_stops_do_not_count,
    "remember_s": test_workers.test_a_workers_models_are_offered_for_a_while_after_it_has_gone,
}


def test_every_time_has_a_row() -> None:
    assert PACE | {"keep_s"} | set(TIMES) == set(Timing.model_fields), "keep_s is below"


def test_what_is_past_its_time_goes_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with local(tmp_path, timing=FAST.model_copy(update={"keep_s": 1000.0})) as here:
            database = here.keys.database
            job = await here.submit(headers={"Idempotency-Key": "k"}, params={"webhook": "https://example.com/"})
            await here.until(job)
            upload = await _upload(here)
            here.stop_worker()
            waiting = await here.submit()
            service = JobService(here.settings, database)
            upkeep, began = Upkeep(service, AttemptStore(database, service.jobs.queue, 3)), time.time()
            killed = (
                Scratch(here.settings.data / SCRATCH / "one").file("body").parent
            )  # of a request whose process was killed
            os.utime(killed, (began + 1005 - 3600,) * 2)

            def rows(table: sa.Table, column: str) -> int:
                with database.read() as connection:
                    query = sa.select(sa.func.count()).where(table.c[column] == job)
                    return int(connection.execute(query).scalar_one())

            def kept() -> list[int]:
                of_job = ((JOBS, "id"), (ATTEMPTS, "job"), (IDEMPOTENCY, "job"), (OUTBOX, "job"), (ASSETS, "job"))
                files = len([path for path in (tmp_path / "assets").iterdir() if path.is_file()])
                return [*(rows(*one) for one in of_job), files]

            for later, left in ((990, [1, 1, 1, 1, 1, 2]), (1020, [0, 0, 0, 0, 0, 0])):
                monkeypatch.setattr("wan_flf2v.gateway.upkeep.now", lambda: began + later)  # noqa: B023
                monkeypatch.setattr("wan_flf2v.gateway.upkeep.clock", lambda: sa.literal(began + later))  # noqa: B023
                await upkeep.forget()
                assert kept() == left
                assert killed.exists() is bool(left[0])
            assert here.jobs.get(waiting) is not None
            assert (await here.call("GET", upload.json["data"]["download_url"])).status == 404
            service.close()

    run(main)


# The shipped defaults: what an operator who sets nothing gets.
DEFAULTS: dict[str, Any] = {
    "body_bytes": 64 * 2**20, "bodies_bytes": 192 * 2**20, "picture_bytes": 50 * 2**20, "picture_pixels": 40_000_000,
    "text_characters": 4000, "video_pixels": 1920 * 1088, "video_frames": 241, "header_read_s": 15, "body_read_s": 60,
    "fetch_s": 20, "queued_jobs": 1000, "queue_share": 0.8, "stored_bytes": 4 * 2**30, "submits_per_second": 50,
    "submits_burst": 500, "calls_per_second": 200, "poll_s": 1, "engine_poll_s": 1, "heartbeat_s": 5, "dead_after_s": 20,
    "remember_s": 600, "sweep_s": 5, "cancel_grace_s": 30, "unreachable_s": 120, "start_s": 600, "restart_pause_s": 2,
    "restart_pause_most_s": 300, "drain_timeout_s": 600, "job_timeout": "7200", "attempts": 3, "keep_s": 7 * 86400,
    "link_s": 7 * 86400, "database": "", "public_url": "", "egress_proxy": "", "auth": True, "demo": False,
    "trusted_origins": (),
}  # fmt: skip
# Another value of each, as a text; numbers take 1.
OTHERS = {
    "data": "/other", "database": "sqlite:////x", "public_url": "https://a", "egress_proxy": "http://p:1", "auth": "false",
    "demo": "true", "trusted_origins": "http://a:1", "poll_s": "2", "engine_poll_s": "2",
}  # fmt: skip
WRONG = {"data": "", "database": "mysql://x", "public_url": "a", "egress_proxy": "a", "auth": "maybe", "demo": "maybe",
         "trusted_origins": "a", "job_timeout": "soon"}  # fmt: skip


@contextmanager
def variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv(f"WAN_FLF2V_{name.upper()}", value)
        yield


def parsed(*options: str, command: str = "serve") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_parsers(parser.add_subparsers())
    return parser.parse_args([command, *options])


def test_the_defaults_are_those_that_are_told() -> None:
    settings = Settings().model_dump()
    del settings["data"]  # depends on the system
    assert settings == DEFAULTS


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_comes_from_flag_environment_and_file_and_a_wrong_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text, file = OTHERS.get(name, "1"), tmp_path / "gateway.toml"
    monkeypatch.delenv("WAN_FLF2V_CONFIG", raising=False)
    with variable(monkeypatch, name, text):
        expected = getattr(settings_of(parsed()), name)
    assert name == "data" or expected != DEFAULTS[name]
    quoted = text if text in ("true", "false") else f'"{text}"' if name in WRONG else text
    file.write_text(f"{name} = {quoted}\n", encoding="utf-8")
    with variable(monkeypatch, "config", str(file)):
        assert getattr(settings_of(parsed()), name) == expected
    flag = {"auth": ["--no-auth"], "demo": ["--demo"]}.get(name, [flag_of(name), text])
    assert getattr(settings_of(parsed(*flag)), name) == expected
    if name in Timing.model_fields:
        assert getattr(settings_of(parsed(*flag, command="worker")), name) == expected
    if name != "data":  # any text names a folder
        with variable(monkeypatch, name, WRONG.get(name, "-1")), pytest.raises(GatewayError, match=name.upper()):
            settings_of(parsed())
