"""What each address asks of its caller: a key, a scope, a signed link; and that a job is its own key's alone."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa

from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.service import JobService
from wan_flf2v.gateway.settings import Limits, Settings
from wan_flf2v.gateway.signing import Links
from wan_flf2v.gateway.web.app import Gate
from wan_flf2v.gateway.web.openapi import every_address

from .local import WAVESPEED, WAVESPEED_BODY, Local, local, png, run

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
            jobs = [(await here.call("POST", WAVESPEED, WAVESPEED_BODY)).json["data"]["id"] for _ in range(2)]
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


def test_a_job_that_is_over_is_deleted_by_its_own_key_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            job = (await here.call("POST", WAVESPEED, WAVESPEED_BODY)).json["data"]["id"]
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
