"""Keys: a webhook secret of its own for each, which can be changed; an ended one's links are dead; submits counted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from wan_flf2v.gateway import cli
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.shares import Rate, SharedWindows

from .local import Local, local, run, web_server
from .test_facades import DEPLOYMENT, OVERRIDES


async def secret_of(here: Local, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    return str((await here.call("GET", "/api/v3/webhook/secret", headers=headers)).json["data"]["secret"])


def test_every_key_has_a_webhook_secret_of_its_own_and_a_changed_one_overlaps(tmp_path: Path) -> None:
    received: list[tuple[bytes, dict[str, str]]] = []

    async def receive(request: web.Request) -> web.Response:
        received.append((await request.read(), dict(request.headers)))
        return web.Response()

    async def main() -> None:
        async with web_server(receive) as origin, local(tmp_path, trusted=(origin,)) as here:
            other_id, other = await asyncio.to_thread(here.keys.create, "other", ["submit", "read"])
            mine, theirs = await secret_of(here, here.secret), await secret_of(here, other)
            assert mine != theirs

            async def event() -> tuple[bytes, dict[str, str]]:
                received.clear()
                await here.call(
                    "POST", f"{DEPLOYMENT}/inference", {"overrides": OVERRIDES}, params={"webhook": f"{origin}/x"},
                    headers={"Authorization": f"Bearer {other}"},
                )  # fmt: skip
                while not received:
                    await asyncio.sleep(0.02)
                return received[0]

            body, headers = await event()
            Webhook(theirs).verify(body, headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(mine).verify(body, headers)
            await asyncio.to_thread(here.keys.turn_webhook, other_id.id)
            assert await secret_of(here, other) != theirs
            body, headers = await event()
            for secret in (theirs, await secret_of(here, other)):  # for a day both
                Webhook(secret).verify(body, headers)

    run(main)


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_an_ended_keys_links_are_dead(tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            key, secret = await asyncio.to_thread(here.keys.create, "leaving", ["submit", "read"], 1.0)
            headers = {"Authorization": f"Bearer {secret}"}
            job = await here.submit(headers=headers)
            await here.until(job)
            url = (await here.call("GET", f"/v1/requests/{job}/result", headers=headers)).json["output"]["video"]
            assert (await here.call("GET", url)).status == 200
            if end == "revoked":
                await asyncio.to_thread(here.keys.revoke, key.id)
            else:
                later = time.time() + 2 * 86400
                monkeypatch.setattr("wan_flf2v.gateway.keys.now", lambda: later)
            assert (await here.call("GET", url)).status == 404
            assert await asyncio.to_thread(here.keys.find, secret) is None

    run(main)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = cli.main(["keys", *arguments])
    out = capsys.readouterr()
    return status, out.out + out.err


def test_the_command_line_makes_keys_that_end_and_shows_and_changes_webhook_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(tmp_path))
    assert command(capsys, "create", "me", "--days", "0.00001", *data)[0] == 0
    time.sleep(1)
    assert command(capsys, "list", *data)[1].strip().endswith("expired")
    for days in ("0", "nan"):
        said = 1, f"wan-flf2v: A key must be valid for more than 0 days; got {days}.\n"
        assert command(capsys, "create", "you", "--days", days, *data) == said
    shown = command(capsys, "webhook", "me", *data)[1]
    assert shown.startswith("whsec_")
    assert command(capsys, "webhook", "me", *data)[1] == shown
    assert command(capsys, "webhook", "me", "--change", *data)[1] != shown
    assert "no single key" in command(capsys, "webhook", "nobody", *data)[1]
    assert "work no more" in command(capsys, "revoke", "me", *data)[1]


def test_a_revoked_keys_jobs_go_on_unless_they_are_cancelled_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=300) as here:
            first = await here.submit()
            await here.until(first, "running")
            second = await here.submit()
            said = await asyncio.to_thread(command, capsys, "revoke", "test", "--cancel-jobs", "--data", str(tmp_path))
            assert "Cancelled 2 jobs" in said[1]
            for job in (first, second):
                await here.until(job, "cancelled")

    run(main)


@pytest.mark.slow
def test_two_gateways_on_postgres_count_a_keys_submits_together(postgres_url: str) -> None:
    databases = [Database(postgres_url), Database(postgres_url)]
    rates: list[Any] = [Rate(1, 20, SharedWindows(database)) for database in databases]
    assert sum(rates[number % 2].hit("a") for number in range(60)) in (20, 21, 22)
    assert rates[0].hit("b")
    for database in databases:
        database.close()


@pytest.mark.slow
@pytest.mark.parametrize("offered", [40, 80])
def test_above_its_limit_a_key_still_gets_its_limit_on_postgres(postgres_url: str, offered: int) -> None:
    database = Database(postgres_url)
    rate = Rate(50, 50, SharedWindows(database))
    passed, began = 0, time.monotonic()
    for number in range(offered * 3):
        time.sleep(max(0.0, began + number / offered - time.monotonic()))
        passed += rate.hit("a")
    assert 0.8 * min(offered, 50) * 3 <= passed <= 50 * 4 + 2
    database.close()


def test_a_renewed_key_keeps_its_jobs_and_the_secret_before_works_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            job = await here.submit()
            await here.until(job)
            video = (await here.call("GET", f"/v1/requests/{job}/result")).json["output"]["video"]
            said = await asyncio.to_thread(command, capsys, "renew", "test", "--hours", "2", "--data", str(tmp_path))
            new = {"Authorization": f"Bearer {said[1].splitlines()[0]}"}
            for headers in (new, {}):  # the one before is sent where none is named
                assert (await here.call("GET", f"/v1/requests/{job}/status", headers=headers)).status == 200
            later = time.time() + 2.1 * 3600
            monkeypatch.setattr("wan_flf2v.gateway.keys.now", lambda: later)
            here.keys._seen.clear()
            assert await asyncio.to_thread(here.keys.find, here.secret) is None
            assert await asyncio.to_thread(here.keys.find, new["Authorization"].removeprefix("Bearer ")) is not None
            assert (await here.call("GET", video)).status == 200
            assert (
                "no single key" in (await asyncio.to_thread(command, capsys, "renew", "x", "--data", str(tmp_path)))[1]
            )

    run(main)
