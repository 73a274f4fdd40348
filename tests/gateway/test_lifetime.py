"""How long data lives: pictures are stored once and go with their job, and of a deleted job nothing is left."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from PIL import Image

from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.database import Database
from wan_flf2v.gateway.settings import Limits
from wan_flf2v.gateway.tables import META

from .local import FLF2V, Local, local, run, web_server
from .test_facades import WAVESPEED

PROMPT = "a prompt that nobody else may read"


def picture(seed: int) -> bytes:
    """A PNG that is like no other."""
    out = io.BytesIO()
    Image.frombytes("RGB", (48, 32), bytes((seed * 7 + number * number) % 251 for number in range(48 * 32 * 3))).save(
        out, "PNG"
    )
    return out.getvalue()


def data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def body(first: str, last: str) -> dict[str, Any]:
    return {"6_text": PROMPT, "68_image": first, "62_image": last}


def stored(here: Local) -> list[str]:
    """The names of the files that are stored."""
    return sorted(path.name for path in (here.settings.data / "assets").iterdir())


async def until_stored(here: Local, number: int) -> None:
    for _ in range(500):
        if len(stored(here)) == number:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{stored(here)}, wanted {number}")


def test_equal_pictures_are_stored_once_and_go_when_their_last_job_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=300) as here:
            one, other = data_uri(picture(1)), data_uri(picture(2))
            jobs = [await here.submit(body(one, one)), await here.submit(body(one, other))]
            assert len(stored(here)) == 2
            await here.call("POST", f"/v1/requests/{jobs[1]}/cancel")
            await until_stored(here, 1)
            await here.call("POST", f"/v1/requests/{jobs[0]}/cancel")
            await until_stored(here, 0)

    run(main)


def test_pictures_of_finished_jobs_do_not_count_against_their_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, limits=Limits(stored_bytes=100_000)) as here:
            for number in range(12):  # more than the limit holds
                big = io.BytesIO()
                Image.frombytes("RGB", (100, 100), os.urandom(30_000)).save(big, "PNG")
                await here.until(await here.submit(body(data_uri(big.getvalue()), data_uri(big.getvalue()))))
                assert len(stored(here)) <= number + 3  # the videos, which are equal, and what goes in a moment

    run(main)


def test_the_pictures_of_unfinished_jobs_have_a_limit_in_bytes_and_old_uploads_make_room(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, limits=Limits(stored_bytes=100_000), seconds=300) as here:

            def noise() -> bytes:
                big = io.BytesIO()
                Image.frombytes("RGB", (100, 100), os.urandom(30_000)).save(big, "PNG")
                return big.getvalue()

            links = []
            for _ in range(5):  # the oldest make room for the newest
                form = await here.call("POST", "/api/v3/media/upload/binary", data={"file": io.BytesIO(noise())})
                links.append(form.json["data"]["download_url"])
            assert len(stored(here)) == 3
            assert [(await here.call("GET", link)).status for link in links] == [404, 404, 200, 200, 200]
            gone = await here.call("POST", f"/v1/models/{FLF2V}", body(links[0], links[-1]))
            assert (gone.status, "expired" in gone.json["error_message"]) == (422, True)
            await here.submit(body(links[-1], links[-1]))
            answer = None
            for _ in range(3):
                answer = await here.call("POST", f"/v1/models/{FLF2V}", body(data_uri(noise()), data_uri(noise())))
            assert answer is not None
            assert (answer.status, "unfinished jobs" in answer.json["error_message"]) == (429, True)

    run(main)


def test_uploads_go_only_where_that_makes_room_the_oldest_first_and_no_more_than_needed(tmp_path: Path) -> None:
    store = AssetStore(Database(f"sqlite:///{tmp_path}/jobs.sqlite"), tmp_path)
    of = {"filename": "a.png", "media_type": "image/png"}
    mine, other = ({**of, "owner": owner} for owner in ("me", "you"))
    first, second, third = (store.put(bytes([number]) * 60, **mine, kind="upload").id for number in range(3))
    kept = [store.put(b"i" * 50, **mine, job="j", kind="input").id, store.put(b"u" * 60, **other, kind="upload").id]
    kept.append(store.put(b"o" * 500, **mine, job="j", kind="output").id)
    assert not store.make_room("me", 51, 100), "an unfinished job's pictures don't go"
    assert all(map(store.get, (first, second, third, *kept)))
    assert store.make_room("me", 10, 240)
    assert all(map(store.get, (first, second, third, *kept)))
    assert store.make_room("me", 11, 240)
    assert [store.get(asset) is not None for asset in (first, second, third)] == [False, True, True]
    assert store.make_room("me", 50, 100)
    assert [store.get(asset) is not None for asset in (second, third, *kept)] == [False, False, True, True, True]


def test_what_a_job_took_of_an_upload_is_a_picture_of_a_jobs(tmp_path: Path) -> None:
    store = AssetStore(Database(f"sqlite:///{tmp_path}/jobs.sqlite"), tmp_path)
    upload = store.put(b"u" * 60, owner="me", filename="a.png", media_type="image/png", kind="upload")
    taken = store.share(upload, "never accepted")
    assert taken is not None
    assert not store.make_room("me", 0, 59), "it counts, and does not go as an upload does"
    store.remove_strays(time.time() + 60)
    assert (store.get(taken.id), store.get(upload.id) is not None) == (None, True)
    assert store.load(upload) == b"u" * 60


def test_a_place_for_an_upload_is_filled_once(tmp_path: Path) -> None:
    store = AssetStore(Database(f"sqlite:///{tmp_path}/jobs.sqlite"), tmp_path)
    place = store.announce("me", 3)
    assert [store.fill(place.id, data) for data in (b"one", b"two")] == [True, False]
    assert not store.fill("0" * 32, b"three")
    filled = store.get(place.id)
    assert filled is not None
    assert store.load(filled) == b"one"


def test_pictures_whose_job_is_just_being_accepted_are_no_strays(tmp_path: Path) -> None:
    store = AssetStore(Database(f"sqlite:///{tmp_path}/jobs.sqlite"), tmp_path)
    of = {"owner": "me", "filename": "a.png", "media_type": "image/png"}
    coming = store.put(b"input", **of, job="not accepted yet", kind="input")
    others = [store.put(b"upload", **of, kind="upload"), store.put(b"output", **of, job="gone", kind="output")]
    store.remove_strays(coming.created_at - 1)
    assert store.get(coming.id) is not None
    assert store.load(coming) == b"input"
    store.remove_strays(time.time() + 60)
    assert [store.get(asset.id) is not None for asset in (coming, *others)] == [False, True, True]


def test_a_refused_submit_fetches_and_stores_nothing(tmp_path: Path) -> None:
    fetched: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        fetched.append(request.path)
        return web.Response(body=picture(3))

    async def main() -> None:
        limits = Limits(queued_jobs=1, queue_share=1, submits_per_second=0.1, submits_burst=20)
        async with web_server(answer) as origin, local(tmp_path, trusted=(origin,), limits=limits, seconds=300) as here:
            await here.until(await here.submit(), "running")
            await here.submit()  # the queue is full now
            url = f"{origin}/a.png"
            for refused in (body(url, url), body(data_uri(picture(4)), url)):
                assert (await here.call("POST", f"/v1/models/{FLF2V}", refused)).status == 429
            assert (fetched, stored(here)) == ([], [])

    run(main)


def test_a_replay_under_an_idempotency_key_fetches_nothing_and_needs_no_worker(tmp_path: Path) -> None:
    fetched: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        fetched.append(request.path)
        return web.Response(body=picture(5)) if len(fetched) <= 2 else web.Response(status=403)  # the link expires

    async def main() -> None:
        async with web_server(answer) as origin, local(tmp_path, trusted=(origin,)) as here:
            wanted, headers = body(f"{origin}/a.png", f"{origin}/b.png"), {"Idempotency-Key": "k1"}
            first = await here.call("POST", f"/v1/models/{FLF2V}", wanted, headers=headers)
            assert first.status == 200, first.json
            await here.until(first.json["request_id"])
            here.stop_worker()
            again = await here.call("POST", f"/v1/models/{FLF2V}", wanted, headers=headers)
            assert (again.status, again.json) == (200, first.json)
            assert len(fetched) == 2
            other = await here.call(
                "POST", f"/v1/models/{FLF2V}", wanted, headers=headers, params={"webhook": "https://example.com/hook"}
            )
            assert (other.status, "another webhook" in other.json["error_message"]) == (422, True)

    run(main)


def everything(folder: Path, url: str) -> bytes:
    """All bytes on the disk below the folder and in the tables."""
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        for name in sa.inspect(connection).get_table_names():
            found += [
                bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()
                for row in connection.execute(sa.text(f'SELECT * FROM "{name}"'))
                for value in row
            ]
    engine.dispose()
    return b"\0".join(found)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_of_a_deleted_job_nothing_is_left(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/jobs.sqlite" if database == "sqlite" else request.getfixturevalue("postgres_url")

    async def main() -> None:
        async with local(tmp_path, seconds=1, database=url) as here:
            form = await here.call("POST", "/api/v3/media/upload/binary", data={"file": io.BytesIO(picture(6))})
            link = form.json["data"]["download_url"]
            plain = (await here.call("GET", link)).body  # as it is stored
            raw = plain[60:200]
            wanted = {"first_image": link, "last_image": data_uri(picture(7)), "prompt": PROMPT}
            jobs = [(await here.call("POST", WAVESPEED, wanted)).json["data"]["id"] for _ in range(3)]
            await here.until(jobs[0])
            await here.until(jobs[1], "running")
            before = everything(tmp_path, url)
            for secret in (PROMPT.encode(), raw, here.comfy.video):
                assert secret in before
            deleted = await here.call("POST", "/api/v3/predictions/delete", {"ids": [*jobs, "unknown"]})
            assert deleted.json["data"] == {"deleted_count": 3}  # one over, one running, one queued
            for job in jobs:
                assert (await here.call("GET", f"/api/v3/predictions/{job}/result")).status == 404
            for _ in range(300):
                if here.jobs.get(jobs[1]) is None:
                    break
                await asyncio.sleep(0.02)
            secrets = (PROMPT.encode(), raw, here.comfy.video)
            for _ in range(50):  # the sweep that forgets the running one comes a moment later
                after = everything(tmp_path, url)
                if not any(secret in after for secret in secrets):
                    break
                await asyncio.sleep(0.1)
            for secret in secrets:
                assert secret not in after
            assert (await here.call("GET", link)).status == 404

    run(main)


def test_an_upload_that_another_job_names_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            form = await here.call("POST", "/api/v3/media/upload/binary", data={"file": io.BytesIO(picture(8))})
            link = form.json["data"]["download_url"]
            jobs = [await here.submit(body(link, link)) for _ in range(2)]
            for job in jobs:
                await here.until(job)
            await here.call("DELETE", f"/api/v3/predictions/{jobs[0]}")
            assert (await here.call("GET", link)).status == 200

    run(main)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_bytes_are_never_lost_while_equal_ones_come_and_go(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.sqlite" if database == "sqlite" else request.getfixturevalue("postgres_url")

    async def main() -> None:
        async with local(tmp_path, worker=False, database=url) as here:
            stores = [AssetStore(Database(url), here.settings.data) for _ in range(4)]

            def work(number: int) -> None:
                store = stores[number]
                for _ in range(15):
                    asset = store.put(
                        b"the same" * 1000, owner="me", filename="a", media_type="image/png", kind="upload"
                    )
                    assert store.load(asset) == b"the same" * 1000
                    shared = store.share(asset, "job")
                    store.remove([asset.id])
                    assert shared is not None
                    assert store.load(shared) == b"the same" * 1000
                    store.remove([shared.id])

            await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(4)))
            with stores[0].database.read() as connection:
                for table in ("flf2v_assets", "flf2v_blobs"):
                    assert connection.execute(sa.select(sa.func.count()).select_from(META.tables[table])).scalar() == 0
            for store in stores:
                store.database.close()
            if database == "sqlite":
                assert stored(here) == []

    run(main)


def test_a_file_is_on_the_disk_before_the_database_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    other, scratch, written = Database(database.url), AssetStore._scratch, []

    def slow(self: AssetStore, data: bytes | Path) -> Path:
        with other.write() as connection:  # waits for half a minute where the lock is held
            connection.execute(sa.text("PRAGMA user_version = 1"))
        written.append(data)
        return scratch(self, data)

    monkeypatch.setattr(AssetStore, "_scratch", slow)
    store = AssetStore(database, tmp_path)
    asset = store.put(b"a picture", owner="me", filename="a.png", media_type="image/png")
    assert (written, store.load(asset)) == ([b"a picture"], b"a picture")
