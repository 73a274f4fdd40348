"""Contracts enumerated from the code: an address, a limit or a setting that has no row here fails."""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway import cli
from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.attempts import AttemptStore
from wan_flf2v.gateway.bodies import SCRATCH, Scratch
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.service import JobService
from wan_flf2v.gateway.settings import GatewayError, Limits, Settings, Timing, flag_of, settings_of
from wan_flf2v.gateway.signing import Links
from wan_flf2v.gateway.tables import ASSETS, ATTEMPTS, IDEMPOTENCY, JOBS, OUTBOX
from wan_flf2v.gateway.upkeep import Upkeep
from wan_flf2v.gateway.web.app import Gate
from wan_flf2v.gateway.web.openapi import every_address
from wan_flf2v.gateway.webhooks import WebhookSender

from . import test_addresses, test_answers, test_door, test_lifetime, test_queue, test_shares, test_sick, test_stops
from .local import BODY, FAST, FLF2V, Answer, Local, local, new_job, png, run

WAVESPEED = "/api/v3/wavespeed-ai/wan-flf2v"
EXAMPLES = {"first_image": "Runcomfy_Example_1259_1.png", "last_image": "Runcomfy_Example_1259_2.png"}
# Who may call an address, by its form. For everybody: what is nobody's. By a link: who has it, for what it was made.
OPEN = {"/", "/docs", "/static/{name}", "/openapi.json", "/health", "/health/live", "/health/ready", "/playground.json"}
LINKED = {"/files/{asset_id}/{filename}": "read", "/uploads/{asset_id}/{filename}": "write"}
ONES_OWN = re.compile(r"{(request|prediction)_id}")  # a job of the key's
IN_ITS_BODY = {"/api/v3/predictions", "/api/v3/predictions/delete"}  # likewise, named there
# Makes something new for the key, or tells what is the same for all.
NOBODYS = re.compile(
    r"/v1/models(/.*)?|/prod/v\d/deployments(/[^/]+(/inference)?)?|/api/v3/(models|media/.*|wavespeed-ai/.*|community/.*)"
    r"|/api/v3/webhook/secret|/v1/gateway/status|/metrics"
)


def test_every_address_has_an_owner() -> None:
    for address in every_address():
        path = address.path
        kinds = (path in OPEN, path in LINKED, bool(ONES_OWN.search(path)), path in IN_ITS_BODY,
                 bool(NOBODYS.fullmatch(path)))  # fmt: skip
        assert sum(kinds) == 1, path
        assert (address.scope is None) == (path in OPEN or path in LINKED), path


def filled(path: str, job: str, workflow: str = "wan22_flf2v") -> str:
    return re.sub(r"{(request|prediction)_id}", job, path).replace("{deployment_id}", workflow)


async def key_of(here: Local, *scopes: str, ended: str = "") -> dict[str, str]:
    key, secret = await asyncio.to_thread(here.keys.create, f"another{ended}", scopes)
    if ended == "revoked":
        await asyncio.to_thread(here.keys.revoke, key.id)
    if ended == "expired":
        with here.keys.database.write() as connection:
            connection.execute(sa.text("UPDATE flf2v_keys SET expires_at = 1 WHERE id = :id"), {"id": key.id})
    return {"Authorization": f"Bearer {secret}"}


def test_every_address_asks_for_a_key_that_works_and_for_its_scope(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False, limits=Limits(calls_per_second=0)) as here:
            wrong = [
                {"Authorization": text}
                for text in (
                    "",
                    "Bearer ",
                    "Bearer no",
                    "Bearer \u00fc",
                    f"Basic {here.secret}",
                    "Bearer " + "x" * 5000,
                )
            ]
            wrong += [await key_of(here, "submit", "read", "metrics", ended=ended) for ended in ("revoked", "expired")]
            without = {scope: await key_of(here, *{"submit", "read", "metrics"} - {scope})
                       for scope in ("submit", "read", "metrics")}  # fmt: skip
            for address in every_address():
                if address.scope is None:
                    continue
                path = filled(address.path, "0" * 36)
                for headers in wrong:
                    assert (await here.call(address.method, path, headers=headers)).status == 401, (path, headers)
                answer = await here.call(address.method, path, headers=without[address.scope])
                assert answer.status == 403, (address.method, path)

    run(main)


def test_a_job_is_its_keys_alone_at_every_address(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=300) as here:
            jobs = [(await here.call("POST", WAVESPEED, EXAMPLES)).json["data"]["id"] for _ in range(2)]
            running, waiting = jobs
            workflow = (await here.until(running, "running"))["workflow"]
            other = await key_of(here, "submit", "read", "metrics")
            for address in every_address():
                if not ONES_OWN.search(address.path):
                    continue
                for job in jobs:
                    path = filled(address.path, job, workflow)
                    assert (await here.call(address.method, path, headers=other)).status == 404, path
                    assert address.method != "GET" or (await here.call("GET", path)).status == 200, path
            listed = await here.call("POST", "/api/v3/predictions", {}, headers=other)
            assert listed.json["data"]["items"] == []
            deleted = await here.call("POST", "/api/v3/predictions/delete", {"ids": [*jobs]}, headers=other)
            assert deleted.json["data"] == {"deleted_count": 0}
            for job, state in ((running, "running"), (waiting, "queued")):
                row = here.jobs.get(job)
                assert row is not None
                assert (row.state, row.cancel) == (state, False)
            mine = await here.call("POST", "/api/v3/predictions", {})
            assert [item["id"] for item in mine.json["data"]["items"]] == [waiting, running]

    run(main)


@pytest.mark.parametrize(
    ("public_url", "peer", "said", "counted"),
    [
        ("", "127.0.0.1", "9.9.9.9", "127.0.0.1"),
        ("https://gateway.example", "10.0.0.2", "9.9.9.9", "9.9.9.9"),
        ("https://gateway.example", "10.0.0.2", "1.1.1.1, 9.9.9.9", "9.9.9.9"),
        ("https://gateway.example", "10.0.0.2", "", "10.0.0.2"),
        ("https://gateway.example", "8.8.8.8", "9.9.9.9", "8.8.8.8"),
    ],
)
def test_a_callers_address_is_what_a_proxy_of_ones_own_says_and_nobody_else(
    tmp_path: Path, public_url: str, peer: str, said: str, counted: str
) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    service = JobService(Settings(data=tmp_path, public_url=public_url), database)
    request = SimpleNamespace(remote=peer, headers={"X-Forwarded-For": said})
    assert Gate(service).address(cast(Any, request)) == counted
    service.close()


def test_an_idempotency_key_is_its_keys_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=300) as here:
            other = await key_of(here, "submit", "read")
            once = {"Idempotency-Key": "order-1"}
            jobs = [await here.submit(headers={**once, **key}) for key in ({}, other, {}, other)]
            assert jobs[:2] == jobs[2:]
            assert jobs[0] != jobs[1]
            for job, key in zip(jobs, ({}, other), strict=False):
                assert (await here.call("GET", f"/v1/requests/{job}/status", headers=key)).status == 200

    run(main)


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


def test_a_webhook_that_never_arrives_is_given_up_after_a_day(tmp_path: Path) -> None:
    database, no = Database(f"sqlite:///{tmp_path}/jobs.sqlite"), cast(Any, None)
    service, began = JobService(Settings(data=tmp_path), database), time.time()
    sender = WebhookSender(service, no)
    ages = {"new": 0, "often": 0, "young": 86400 - 60, "old": 86400}
    with database.write() as connection:
        for name, age in ages.items():
            row = {"id": name, "job": name, "event": "succeeded", "next_at": began, "created_at": began - age}
            connection.execute(sa.insert(OUTBOX).values(tries=30 if name == "often" else 0, **row))
    for event in database.rows(sa.select(OUTBOX)):
        sender._note(event, "HTTP 500")
    with database.read() as connection:
        rows = {row.id: row for row in connection.execute(sa.select(OUTBOX))}
    assert {row.problem for row in rows.values()} == {"HTTP 500"}
    assert {name: row.state for name, row in rows.items()} == dict.fromkeys(ages, "waiting") | {"old": "dead"}
    took = time.time() - began + 1
    assert 2 * 0.7 - 1 <= rows["new"].next_at - began <= 2 * 1.3 + took, "a moment, then twice as long each time"
    assert 3600 * 0.7 - 1 <= rows["often"].next_at - began <= 3600 * 1.3 + took, "but an hour at most"
    assert (sender.failed, sender.sent) == (1, 0)
    service.close()


def test_a_webhook_is_delivered_when_its_receiver_takes_it_and_else_sent_again(tmp_path: Path) -> None:
    class Receiver:
        async def post(self, url: str, *_: object) -> int:
            return int(url.rpartition("/")[2])

    statuses = (200, 204, 299, 199, 300, 302, 307, 400, 404, 410, 429, 499, 500, 503)
    service = JobService(Settings(data=tmp_path), Database(f"sqlite:///{tmp_path}/jobs.sqlite"))
    for status in statuses:
        job = new_job(f"key {status}", webhook=f"https://hook.example/{status}")
        service.jobs.add([job], 100, 100)
        assert service.jobs.cancel(job.id, job.owner) == "cancelled"
    sender = WebhookSender(service, lambda job, event: {"job": job.id, "event": event})
    sender.dialer = cast(Any, Receiver())

    async def deliver() -> None:
        while any(not row.tries for row in sender.database.rows(sa.select(OUTBOX.c.tries))):
            await sender.deliver_due()

    asyncio.run(deliver())
    query = sa.select(JOBS.c.webhook, OUTBOX.c.state, OUTBOX.c.problem).join(OUTBOX, OUTBOX.c.job == JOBS.c.id)
    found = {int(row.webhook.rpartition("/")[2]): (row.state, row.problem) for row in sender.database.rows(query)}
    assert found == {
        status: ("sent", "") if 200 <= status < 300 else ("waiting", f"HTTP {status}") for status in statuses
    }
    service.close()


def test_a_webhook_that_is_being_sent_is_sent_by_no_gateway_again(tmp_path: Path) -> None:
    calls: list[str] = []

    class Hangs:
        async def post(self, url: str, *_: object) -> int:
            calls.append(url)
            await asyncio.sleep(600)
            return 200

    service = JobService(Settings(data=tmp_path), Database(f"sqlite:///{tmp_path}/jobs.sqlite"))
    job = new_job(webhook="https://hook.example/")
    service.jobs.add([job], 10, 10)
    service.jobs.cancel(job.id, "me")
    senders = [WebhookSender(service, lambda job, event: {}) for _ in range(2)]
    for sender in senders:
        sender.dialer = cast(Any, Hangs())

    async def deliver() -> None:
        for sender in (*senders, *senders):
            await sender.deliver_due()

    asyncio.run(deliver())
    assert calls == ["https://hook.example/"]
    service.close()


def test_a_job_that_is_over_is_deleted_by_its_own_key_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            job = (await here.call("POST", WAVESPEED, EXAMPLES)).json["data"]["id"]
            await here.until(job)
            other = await key_of(here, "submit", "read", "metrics")
            for headers, deleted in ((other, 0), ({}, 1), ({}, 0)):
                answer = await here.call("POST", "/api/v3/predictions/delete", {"ids": [job]}, headers=headers)
                assert answer.json["data"] == {"deleted_count": deleted}
                assert (here.jobs.get(job) is None) is (headers == {})

    run(main)


def test_a_link_is_good_for_one_file_one_purpose_and_its_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False) as here:
            assets = AssetStore(here.keys.database, here.settings.data)
            owner = (await asyncio.to_thread(here.keys.every))[0].id
            asked: dict[str, Any] = {"owner": owner, "filename": "a.png", "media_type": "image/png"}
            stored, other = (assets.put(png(32, side), **asked).id for side in (32, 33))
            places = [assets.announce(owner, len(png())).id for _ in range(2)]
            with here.keys.database.read() as connection:
                secret = str(
                    connection.execute(sa.text("SELECT value FROM flf2v_secrets WHERE name = 'links'")).scalar()
                )
            links = Links(secret, 60)

            async def status(asset: str, purpose: str, signed: str) -> int:
                query = signed.partition("?")[2]
                path = f"/files/{asset}/a.png" if purpose == "read" else f"/uploads/{asset}/a.png"
                method = "GET" if purpose == "read" else "PUT"
                return (await here.call(method, f"{path}?{query}", data=None if method == "GET" else png())).status

            for purpose, mine, another in (("read", stored, other), ("write", places[0], places[1])):
                good = links.path(mine, "a.png", purpose)
                wrong = "write" if purpose == "read" else "read"
                for bad in (
                    links.path(mine, "a.png", purpose, lifetime_s=-2),
                    links.path(mine, "a.png", wrong),
                    links.path(another, "a.png", purpose),
                    Links("another secret", 60).path(mine, "a.png", purpose),
                    good.replace("expires=", "expires=1"),
                    good[:-1],
                    good.partition("?")[0],
                ):
                    assert await status(mine, purpose, bad) == 403, (purpose, bad)
                assert await status(mine, purpose, good) == 200
            await asyncio.to_thread(here.keys.revoke, "test")
            assert await status(stored, "read", links.path(stored, "a.png")) == 404
            assert await status(places[1], "write", links.path(places[1], "a.png", "write")) == 404

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
    return here.call("POST", WAVESPEED, {**EXAMPLES, "size": "832*480"})


def _frames(here: Local) -> Any:
    return here.call("POST", f"/v1/models/{FLF2V}", {**BODY, "67_length": 81})


def _board(**fields: Any) -> Submit:
    uri = "data:image/png;base64," + base64.b64encode(png(64, 48)).decode()
    board = {"keyframes": [{"picture": EXAMPLES["first_image"]}, {"picture": uri}], **fields}
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
    "dead_after_s": test_queue.test_the_databases_clock_counts_and_not_a_workers,
    "cancel_grace_s": test_sick.test_a_gpu_that_hangs_behind_a_living_server,
    "unreachable_s": test_sick.test_a_comfyui_of_somebody_elses_that_is_gone_gets_nothing_and_gives_back_what_it_held,
    "drain_timeout_s": test_stops.test_the_first_sigterm_lets_the_job_end_and_takes_no_other,
    "job_timeout": test_sick.test_a_gpu_that_hangs_behind_a_living_server,
    "attempts": test_queue.test_a_job_lost_too_often_fails_and_orderly_stops_do_not_count,
    "remember_s": test_queue.test_a_workers_models_are_offered_for_a_while_after_it_has_gone,
}


def test_every_time_has_a_row() -> None:
    here = {"keep_s": test_what_is_past_its_time_goes_and_the_rest_stays, "link_s": test_a_link_lives_as_long_as_is_set}
    assert PACE | set(TIMES) | set(here) == set(Timing.model_fields)


def test_a_picture_given_by_a_link_of_ours_needs_its_signature_its_time_and_the_right_to_read() -> None:
    links, asset = Links("secret", 100), "a" * 32
    good = "http://any.example" + links.path(asset, "a.png")
    assert links.asset_of(good) == asset
    late = links.path(asset, "a.png", lifetime_s=-2)
    other = Links("another secret", 100).path(asset, "a.png")
    put = links.path(asset, "a.png", "write").replace("/uploads/", "/files/")
    for wrong in (late, other, put, good.partition("example")[2].replace(asset, "b" * 32)):
        assert links.asset_of("http://any.example" + wrong) is None


def test_a_link_lives_as_long_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    links, began = Links("secret", 100), time.time()
    query = dict(part.split("=") for part in links.path("a", "a.png").partition("?")[2].split("&"))
    for later, good in ((98, True), (102, False)):
        monkeypatch.setattr("wan_flf2v.gateway.signing.time.time", lambda: began + later)  # noqa: B023
        assert links.valid("a", "read", **query) is good


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
