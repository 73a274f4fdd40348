"""The vendors' shapes: paths, envelopes, state names, statuses, webhooks, as their documents and clients have them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from aiohttp import web

from wan_flf2v.gateway.assets import AssetStore
from wan_flf2v.gateway.errors import Invalid
from wan_flf2v.gateway.facades.call import Call
from wan_flf2v.gateway.offer import Checker, Offer
from wan_flf2v.gateway.settings import Limits
from wan_flf2v.gateway.tables import JOBS, Job, Worker
from wan_flf2v.workflows import Bindings

from .local import BODY, EXAMPLES, FAST, FLF2V, WAVESPEED, WAVESPEED_BODY, local, png, run, web_server

DEPLOYMENT = "/prod/v1/deployments/wan22_flf2v"
OVERRIDES: dict[str, Any] = {
    "6": {"inputs": {"text": "a puppy"}},
    "68": {"inputs": {"image": EXAMPLES["68_image"]}},
    "62": {"inputs": {"image": EXAMPLES["62_image"]}},
}


def test_runcomfys_model_api(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=1.5) as here:
            ticket = (await here.call("POST", f"/v1/models/{FLF2V}", BODY)).json
            root = f"{here.url}/v1/requests/{ticket['request_id']}"
            assert ticket == {
                "request_id": ticket["request_id"],
                "status_url": f"{root}/status",
                "result_url": f"{root}/result",
                "cancel_url": f"{root}/cancel",
            }
            early = (await here.call("GET", ticket["result_url"])).json
            assert early["status"] in ("in_queue", "in_progress")
            await here.until(ticket["request_id"])
            assert (await here.call("GET", ticket["status_url"])).json["status"] == "completed"
            result = (await here.call("GET", ticket["result_url"])).json
            assert result["status"] == "succeeded"
            assert result["output"]["videos"] == [result["output"]["video"]]
            assert {"created_at", "finished_at"} <= set(result)
            model = (await here.call("GET", f"/v1/models/{FLF2V}")).json
            assert model["input_schema"]["required"] == ["6_text", "68_image", "62_image"]
            assert model["input_schema"]["properties"]["57_cfg"]["type"] == "float"  # as RunComfy writes it
            listing = (await here.call("GET", "/v1/models", params={"search": "4-step"})).json
            assert [entry["model_id"] for entry in listing["models"]] == [f"{FLF2V}/4-step"]
            assert (await here.call("GET", "/v1/models/nobody/nothing")).status == 404
            unknown = await here.call("GET", "/v1/requests/00000000-0000-0000-0000-000000000000/status")
            assert (unknown.status, unknown.json["error_code"]) == (404, 404001)

    run(main)


def test_runcomfys_serverless_api_under_both_versions(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            for version in ("v1", "v2"):
                root = f"/prod/{version}/deployments/wan22_flf2v"
                ticket = (await here.call("POST", f"{root}/inference", {"overrides": OVERRIDES})).json
                assert ticket["status_url"] == f"{here.url}{root}/requests/{ticket['request_id']}/status"
                await here.until(ticket["request_id"])
                assert (await here.call("GET", ticket["status_url"])).json["status"] == "completed"
                result = (await here.call("GET", ticket["result_url"])).json
                (file,) = result["outputs"]["73"]["images"]
                assert file["type"] == "output"
                assert (await here.call("GET", file["url"])).body == here.comfy.video
            described = (await here.call("GET", DEPLOYMENT, params={"includes": "payload"})).json
            assert described["payload"]["workflow_api_json"]["57"]["class_type"] == "WanFLF2VTwoStageSampler"
            other = await here.call("GET", f"/prod/v1/deployments/wan21_flf2v/requests/{ticket['request_id']}/status")
            assert other.status == 404

    run(main)


def test_overrides_reach_the_nodes_they_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=5) as here:
            overrides = {
                **OVERRIDES,
                "57": {"inputs": {"noise_seed": 5, "steps": 7, "cfg": 1.5}},
                "71": {"inputs": {"preset": "custom", "width": 640, "height": 360}},
                "67": {"inputs": {"length": 33}},
                "7": {"inputs": {"text": "blurred"}},
            }
            job = (await here.call("POST", f"{DEPLOYMENT}/inference", {"overrides": overrides})).json["request_id"]
            await here.until(job, "running")
            while here.comfy.running is None:
                await asyncio.sleep(0.02)
            graph = here.comfy.running[2]
            assert [graph["57"]["inputs"][name] for name in ("noise_seed", "steps", "cfg")] == [5, 7, 1.5]
            assert [graph["71"]["inputs"][name] for name in ("preset", "width", "height")] == ["custom", 640, 360]
            assert graph["67"]["inputs"]["length"] == 33
            assert graph["7"]["inputs"]["text"] == "blurred"
            assert graph["68"]["inputs"]["image"] != graph["62"]["inputs"]["image"]

    run(main)


def test_wavespeeds_history_has_what_fits_each_of_its_filters_newest_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False) as here:
            owner = (await asyncio.to_thread(here.keys.every))[0].id
            board = Bindings.load("wan22_storyboard").model
            base = {"owner": owner, "api": "wavespeed", "model": "wavespeed-ai/wan-flf2v", "workflow": "wan22_flf2v"}
            jobs = [Job(**{**base, **change}) for change in ({}, {"owner": "you"}, {"api": "model"}, {"model": board})]
            jobs += [Job(**base) for _ in range(3)]
            here.jobs.add(jobs, 100, 100)
            wanted, _, _, by_model, early, late, over = (job.id for job in jobs)
            with here.jobs.database.write() as connection:
                for job in jobs:
                    values = {"created_at": {early: 99.0, late: 301.0}.get(job.id, 200.0)}
                    values |= {"state": "succeeded"} if job.id == over else {}
                    connection.execute(sa.update(JOBS).where(JOBS.c.id == job.id).values(**values))

            async def listed(**body: object) -> list[str]:
                answer = await here.call("POST", "/api/v3/predictions", body)
                assert answer.status == 200, answer.json
                return [item["id"] for item in answer.json["data"]["items"]]

            filters: dict[str, object] = {
                "model": "wavespeed-ai/wan-flf2v",
                "status": "created",
                "created_after": "1970-01-01T00:01:40Z",
                "created_before": "1970-01-01T00:05:00+00:00",
            }
            assert await listed(**filters) == [wanted]
            left_out = {"model": by_model, "status": over, "created_after": early, "created_before": late}
            for name, job in left_out.items():
                for absent in ({}, {name: None}, {name: ""}):
                    rest = {key: value for key, value in filters.items() if key != name}
                    assert await listed(**rest, **absent) == [job, wanted], name
            everything = [over, late, early, by_model, wanted]
            assert await listed() == everything
            assert await listed(page=2, page_size=2) == everything[2:4]
            for model in ("unknown", "a\x00b", 7, ["wavespeed-ai/wan-flf2v"], {}):
                assert await listed(model=model) == []
            for wrong in ({"status": "unknown"}, {"status": 1}, {"created_after": "yesterday"}):
                assert (await here.call("POST", "/api/v3/predictions", wrong)).status == 422

    run(main)


def test_wavespeeds_envelope_states_and_history(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=1.5) as here:
            answer = (await here.call("POST", WAVESPEED, {**WAVESPEED_BODY, "seed": 3})).json
            assert (answer["code"], answer["message"]) == (200, "success")
            data = answer["data"]
            assert data["status"] in ("created", "processing")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", data["created_at"])
            assert data["urls"]["get"] == f"{here.url}/api/v3/predictions/{data['id']}/result"
            await here.until(data["id"])
            done = (await here.call("GET", data["urls"]["get"])).json["data"]
            assert done["status"] == "completed"
            assert (await here.call("GET", done["outputs"][0])).body == here.comfy.video
            assert done["timings"]["inference"] > 0
            assert (done["has_nsfw_contents"], done["safety_checker"]) == ([], "none installed")
            page = (await here.call("POST", "/api/v3/predictions", {"status": "completed", "page_size": 10})).json[
                "data"
            ]
            assert [item["id"] for item in page["items"]] == [data["id"]]
            assert page["items"][0]["input"]["seed"] == 3
            day, made = timedelta(days=1), datetime.fromisoformat(data["created_at"][:19] + "+00:00")
            for asked, found in (
                ({"created_after": (made - day).isoformat(), "created_before": f"{made + day:%Y-%m-%dT%H:%M:%SZ}"}, 1),
                ({"created_after": (made + day).isoformat()}, 0),
                ({"created_before": (made - day).isoformat()}, 0),
                ({"created_after": "", "created_before": None, "page": 2, "page_size": 1}, 0),
            ):
                page = (await here.call("POST", "/api/v3/predictions", asked)).json["data"]
                assert (len(page["items"]), page["page"]) == (found, asked.get("page", 1)), asked
            wrong = await here.call("POST", "/api/v3/predictions", {"created_after": "yesterday"})
            assert (wrong.status, wrong.json["detail"][0]["loc"]) == (422, ["body", "created_after"])
            gone = (await here.call("POST", "/api/v3/predictions/delete", {"ids": [data["id"], "unknown"]})).json
            assert gone["data"] == {"deleted_count": 1}
            missing = await here.call("GET", data["urls"]["get"])
            assert (missing.status, missing.json["code"]) == (404, 404)
            assert (await here.call("GET", done["outputs"][0])).status == 404  # the video is gone too

    run(main)


def test_deleting_a_running_prediction_stops_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, seconds=30) as here:
            job = (await here.call("POST", WAVESPEED, WAVESPEED_BODY)).json["data"]["id"]
            await here.until(job, "running")
            assert (await here.call("DELETE", f"/api/v3/predictions/{job}")).json["data"]["status"] == "deleted"
            while (row := here.jobs.get(job)) is not None and row.state != "cancelled":  # then it is forgotten
                await asyncio.sleep(0.02)

    run(main)


def test_both_upload_forms_give_a_link_that_a_job_can_use(tmp_path: Path, pictures: tuple[Path, Path]) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            with pictures[0].open("rb") as file:
                form = await here.call("POST", "/api/v3/media/upload/binary", data={"file": file})
            first = form.json["data"]["download_url"]
            asked = {"filename": "last.png", "size": pictures[1].stat().st_size, "content_type": "image/png"}
            ticket = (await here.call("POST", "/api/v3/media/uploads", asked)).json["data"]
            put = ticket["upload"]
            early = await here.call("POST", WAVESPEED, {"first_image": first, "last_image": ticket["download_url"]})
            assert early.status == 422  # announced, not there yet
            for expected in (200, 404):  # once, and not again
                async with here.session.put(
                    put["url"], data=pictures[1].read_bytes(), headers=put["headers"]
                ) as answer:
                    assert answer.status == expected
            body = {"first_image": first, "last_image": ticket["download_url"]}
            job = (await here.call("POST", WAVESPEED, body)).json["data"]["id"]
            assert (await here.until(job))["state"] == "succeeded"

    run(main)


def test_an_uploads_link_lives_as_long_as_it_is_stored_and_its_place_is_for_what_was_announced(tmp_path: Path) -> None:
    def lives_s(url: str) -> float:
        return int(parse_qs(urlsplit(url).query)["expires"][0]) - time.time()

    async def main() -> None:
        timing = FAST.model_copy(update={"keep_s": 10_000, "link_s": 1_000})
        async with local(tmp_path, worker=False, timing=timing) as here:
            data = png()
            form = (await here.call("POST", "/api/v3/media/upload/binary", data={"file": io.BytesIO(data)})).json[
                "data"
            ]
            assert form["size"] == len((await here.call("GET", form["download_url"])).body)
            most = here.settings.picture_bytes
            for size, status in ((0, 422), (1, 200), (most, 200), (most + 1, 422), (True, 422), (len(data), 200)):
                answer = await here.call("POST", "/api/v3/media/uploads", {"filename": "a.png", "size": size})
                assert answer.status == status, size
            ticket = answer.json["data"]
            for link, expected in (
                (form["download_url"], here.settings.keep_s),
                (ticket["download_url"], here.settings.keep_s),
                (ticket["upload"]["url"], 3600),
            ):
                assert abs(lives_s(link) - expected) < 60
            put = ticket["upload"]["url"]
            assert (await here.call(ticket["upload"]["method"], put, data=data + b"x")).status == 422
            assert ticket["upload"]["method"] == "PUT"
            store = AssetStore(here.keys.database, tmp_path)
            await asyncio.to_thread(store.remove, [urlsplit(put).path.split("/")[2]])
            assert (await here.call("PUT", put, data=data)).status == 404

    run(main)


def test_a_yes_or_no_in_an_address_is_one_of_four_words() -> None:
    def told(text: str) -> bool:
        call: Any = SimpleNamespace(request=SimpleNamespace(query={"all": text} if text else {}))
        return Call.query_bool(call, "all")

    assert [told(text) for text in ("true", "True", "1", "false", "FALSE", "0", "")] == [True] * 3 + [False] * 4
    for text in ("yes", "on", "2", "truee"):
        with pytest.raises(Invalid, match="all must be true or false"):
            told(text)


def offer(*names: str) -> Offer:
    return Offer.of([Worker("w", "b", "ready", names, {}, 0, 0.0)])


def test_wavespeeds_fields_become_a_workflow() -> None:
    checker = Checker(Limits())
    fields = {**WAVESPEED_BODY, "duration": 7, "size": "480*832", "num_inference_steps": 12, "guidance_scale": 6}
    bindings, values = checker.wavespeed(offer("wan21_flf2v", "wan22_flf2v"), fields)
    assert bindings.name == "wan21_flf2v"
    assert [values[name] for name in ("67_length", "71_width", "71_height", "57_steps", "57_cfg", "73_frame_rate")] == [
        16 * 7 + 1, 480, 832, 12, 6.0, 16,
    ]  # fmt: skip
    assert 0 <= int(values["57_noise_seed"]) < 2**31
    assert checker.wavespeed(offer("wan22_flf2v"), WAVESPEED_BODY)[0].name == "wan22_flf2v"
    fast, quick = checker.wavespeed(
        offer("wan22_flf2v", "wan22_flf2v_4step"), {**WAVESPEED_BODY, "enable_fast_mode": True}
    )
    assert (fast.name, quick["57_steps"], quick["57_cfg"]) == ("wan22_flf2v_4step", 4, 1)


def test_what_some_worker_can_run_is_offered() -> None:
    workers = [
        Worker(name, "b", "ready", files, {}, 0)
        for name, files in (("a", ["wan22_flf2v", "wan21_flf2v"]), ("b", ["wan22_flf2v"]))
    ]
    assert list(Offer.of(workers).workflows) == ["wan21_flf2v", "wan22_flf2v"]


def test_webhooks_are_signed_sent_again_and_never_hold_a_job_up(tmp_path: Path) -> None:
    received: list[tuple[dict[str, str], bytes]] = []

    async def receive(request: web.Request) -> web.Response:
        received.append((dict(request.headers), await request.read()))
        return web.Response(status=500 if len(received) == 2 else 204)

    async def main() -> None:
        async with web_server(receive) as origin, local(tmp_path, trusted=(origin,), seconds=60) as here:
            secret = (await here.call("GET", "/api/v3/webhook/secret")).json["data"]["secret"]
            hook = {"webhook": f"{origin}/hook", "webhook_intermediate_status": "true"}
            answer = await here.call("POST", f"{DEPLOYMENT}/inference", {"overrides": OVERRIDES}, params=hook)
            job = answer.json["request_id"]
            for number in (1, 3):
                for _ in range(1000):
                    if len(received) >= number:
                        break
                    await asyncio.sleep(0.02)
                here.comfy.settings["seconds"] = 0.1
            assert (await here.until(job))["state"] == "succeeded"
            bodies = [json.loads(body) for _, body in received]
            assert [body["status"] for body in bodies] == ["in_progress", "succeeded", "succeeded"]
            last = bodies[-1]
            assert last["request_id"] == job
            assert last["outputs"]["73"]["images"][0]["url"].startswith(here.url)
            for headers, body in received:
                text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
                key = base64.b64decode(secret.removeprefix("whsec_"))
                right = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
                assert headers["webhook-signature"] == f"v1,{right}"
            ids = [headers["webhook-id"] for headers, _ in received]
            assert len(set(ids)) < len(ids)  # the refused delivery came again under its id
            received.clear()
            await here.call("POST", WAVESPEED, WAVESPEED_BODY, params={"webhook": f"{origin}/hook"})
            for _ in range(500):
                if received:
                    break
                await asyncio.sleep(0.02)
            headers, body = received[-1]
            text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            right = hmac.new(secret.removeprefix("whsec_").encode(), text, hashlib.sha256).hexdigest()
            assert headers["webhook-signature"] == f"v3,{right}"
            assert json.loads(body)["status"] == "completed"

    run(main)


def test_metrics_tell_jobs_queue_and_workers(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path) as here:
            await here.until(await here.submit())
            ended = 'flf2v_attempts_total{outcome="succeeded",worker="w1"} 1.0'
            while ended not in (text := (await here.call("GET", "/metrics")).body.decode()):
                await asyncio.sleep(0.1)  # with the worker's next heartbeat
            for line in (
                'flf2v_jobs{state="running"} 0.0',
                'flf2v_queue_depth{workflow="wan22_flf2v"} 0.0',
                'flf2v_worker_up{worker="w1"} 1.0',
                'flf2v_job_wait_seconds_bucket{le="+Inf",worker="w1"} 1.0',
                'flf2v_job_fetch_seconds_count{worker="w1"} 1.0',
            ):
                assert line in text
            assert here.worker is not None
            here.worker.cancel()
            while 'flf2v_worker_up{worker="w1"} 0.0' not in text:  # one that has gone is still to be seen
                text = (await here.call("GET", "/metrics")).body.decode()
                await asyncio.sleep(0.1)
            assert here.secret not in text

    run(main)


def test_a_gateway_without_a_worker_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, worker=False) as here:
            health = await here.call("GET", "/health")
            assert (health.status, health.json["reason"]) == (503, "No worker is connected.")
            refused = await here.call("POST", f"/v1/models/{FLF2V}", BODY)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
            assert (await here.call("GET", "/")).status == 200

    run(main)


def test_a_demo_is_small_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with local(tmp_path, auth=False, demo=True, seconds=5) as here:
            assert "64 pixels on its longer side" in (await here.call("GET", f"/v1/models/{FLF2V}")).json["note"]
            job = await here.submit({**BODY, "71_widthx71_height": "1280x720 (16:9)", "57_steps": 8, "57_cfg": 3})
            values = here.jobs.get(job).values  # type: ignore[union-attr]
            assert (values["71_width"], values["71_height"], values["67_length"]) == (64, 36, 17)
            assert (values["57_steps"], values["57_cfg"], values["54_shift"]) == (20, 1, 8)

    run(main)
