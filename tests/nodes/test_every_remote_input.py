"""Every input of every remote node changes its own field of the job and no other, or is refused; none without a row.

And what the editor's list does with the jobs that came of it.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from wan_flf2v.flf2v.errors import FLF2VError
from wan_flf2v.providers import Journal
from wan_flf2v.providers.errors import ProviderError
from wan_flf2v.providers.profiles import KEY_VARIABLES, ProfileStore
from wan_flf2v.providers.retry import Clock
from wan_flf2v.providers.secret import Secret
from wan_flf2v.tests.doubles.comfy import NODES
from wan_flf2v.tests.doubles.runcomfy import RunComfyDouble
from wan_flf2v.tests.doubles.vendor import Script, VendorDouble
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble
from wan_flf2v.tests.nodes.executor import GIVEN, Executor, Graph, add, given

seeds = itertools.count(1)


@dataclass(frozen=True)
class Row:
    """What of the job an input changes: the fields by which it is told; or it is ``refused`` with these words."""

    change: Any
    fields: str = ""
    given: dict[str, Any] | None = None
    refused: str = ""


def by_url(side: str) -> dict[str, Any]:
    return {f"{side}_image": None, f"{side}_image_url": f"https://example.com/{side}.png"}


def pictures(first: str, last: str) -> dict[str, Row]:
    return {
        "start_image": Row(given("other"), first),
        "end_image": Row(given("other"), last),
        "start_image_url": Row("https://example.com/other.png", first, by_url("start")),
        "end_image_url": Row("https://example.com/other.png", last, by_url("end")),
    }


# How long is waited has a test of its own.
WAITING = {"wait": Row(True, "video"), "max_wait_minutes": Row(600, given={"noise_seed": 999998})}
SIZE = "71.width 71.height 71.preset"
ROWS: dict[str, dict[str, Row]] = {
    "WanFLF2VRunComfy": {
        "profile": Row("rc2", "profile"),
        "prompt": Row("a kite", "6_text"),
        "preset": Row("480x480 (1:1)", "71_widthx71_height"),
        "length": Row(141, "67_length"),
        "frame_rate": Row(24, "73_frame_rate"),
        "noise_seed": Row(999999, "57_noise_seed"),
        "steps": Row(12, "57_steps"),
        "cfg": Row(3.0, "57_cfg"),
        "shift": Row(9.0, "54_shift"),
        **WAITING,
        **pictures("68_image", "62_image"),
    },
    "WanFLF2VRunComfyDeployment": {
        "profile": Row("rc2", "profile"),
        "deployment_id": Row("dep-2", "model"),
        "workflow": Row("wan21_flf2v", "57.noise_seed 57.seed"),
        "prompt": Row("a kite", "6.text"),
        "negative_prompt": Row("sharp", "7.text"),
        "preset": Row("480x480 (1:1)", SIZE),
        "width": Row(96, "71.width"),
        "height": Row(96, "71.height"),
        "length": Row(85, "67.length"),
        "frame_rate": Row(24, "73.frame_rate"),
        "noise_seed": Row(999999, "57.noise_seed"),
        "steps": Row(21, "57.steps"),
        "cfg": Row(5.0, "57.cfg"),
        "shift": Row(9.0, "54.shift"),
        **WAITING,
        **pictures("68.image", "62.image"),
    },
    "WanFLF2VWaveSpeed": {
        "profile": Row("ws2", "profile"),
        "prompt": Row("a kite", "prompt"),
        "negative_prompt": Row("sharp", "negative_prompt"),
        "duration": Row(10, "duration"),
        "size": Row("1280*720", "size"),
        "steps": Row(21, "num_inference_steps"),
        "enable_fast_mode": Row(True, "enable_fast_mode"),
        "cfg": Row(6.0, "guidance_scale"),
        "noise_seed": Row(999999, "seed"),
        "enable_safety_checker": Row(False, "enable_safety_checker"),
        **WAITING,
        **pictures("first_image", "last_image"),
    },
    "WanFLF2VRemoteFetch": {
        "profile": Row("ws", refused="belongs to profile 'rc'"),
        "request_id": Row("none/such", refused="A request id has letters"),
        "deployment_id": Row("dep-2", refused="deployment_id is for RunComfy", given={"profile": "ws"}),
        "wait": Row(True, "video"),
        "max_wait_minutes": Row(600),
    },
}


@pytest.fixture(scope="module")
def vendors(executor: Executor) -> Iterator[tuple[WaveSpeedDouble, RunComfyDouble]]:
    """The doubles, and two profiles for each in this ComfyUI's folder."""
    draw = torch.Generator().manual_seed(0)
    GIVEN.update({name: torch.rand(1, 24, 32, 3, generator=draw) for name in ("start", "end", "other")})
    with WaveSpeedDouble() as ws, RunComfyDouble() as rc:
        for name, provider, double in (("ws", "wavespeed", ws), ("rc", "runcomfy", rc)):
            for profile in (name, f"{name}2"):
                ProfileStore([state()]).save(profile, provider, Secret(double.key), base_url=double.url)
        yield ws, rc
    GIVEN.clear()


def state() -> Path:
    import folder_paths

    return Path(folder_paths.get_system_user_directory("wan_flf2v"))


def test_every_input_of_a_remote_node_has_a_row(pack: dict[str, Any]) -> None:
    schemas = {name: node.GET_SCHEMA() for name, node in pack.items()}
    inputs = {
        name: [each.id for each in schema.inputs] for name, schema in schemas.items() if "Remote" in schema.category
    }
    assert {name: sorted(rows) for name, rows in ROWS.items()} == {name: sorted(ids) for name, ids in inputs.items()}


def base(kind: str) -> dict[str, Any]:
    """A job that no test has had before; nothing is waited for."""
    if kind == "WanFLF2VRemoteFetch":
        return {"profile": "rc", "request_id": "", "deployment_id": "", "wait": False, "max_wait_minutes": 5}
    ends = {"start_image": given("start"), "end_image": given("end"), "noise_seed": next(seeds)}
    return {**NODES[kind], **ends, "wait": False}


def sent(double: VendorDouble, request_id: str) -> dict[str, Any]:
    """What the vendor was sent by field, uploaded pictures by their contents; and for whom and to which model."""
    with Journal(state()) as journal:
        row = journal.find(request_id)
    assert row is not None
    body = dict(double.jobs[request_id].body)
    nodes = body.pop("overrides", {})
    body |= {f"{node}.{name}": value for node, each in nodes.items() for name, value in each["inputs"].items()}
    if row.service == "wavespeed":
        body |= {name: row.inputs[name] for name in ("first_image", "last_image")}
    return {**body, "profile": row.profile, "model": row.model}


@pytest.mark.parametrize("kind", ROWS)
def test_an_input_changes_its_own_field_and_no_other(
    executor: Executor, vendors: tuple[WaveSpeedDouble, RunComfyDouble], kind: str
) -> None:
    double = vendors[kind != "WanFLF2VWaveSpeed"]
    double.script = Script(run_s=3600 if kind == "WanFLF2VRemoteFetch" else 0)
    graph: Graph = {}
    start, pairs = base(kind), {}
    if kind == "WanFLF2VRemoteFetch":
        ready = add(graph, "WanFLF2VRunComfy", base("WanFLF2VRunComfy"))
        start["request_id"] = executor.run(graph, [ready])[ready]["request_id"][0]
    for name, row in ROWS[kind].items():
        before = {**start, **(row.given or {})}
        pairs[name] = [add(graph, kind, inputs) for inputs in (before, {**before, name: row.change})]
        if row.refused:
            with pytest.raises(ValueError, match=row.refused):
                executor.run(graph, [pairs.pop(name)[1]])
    waiting = {pairs["wait"][1]} if kind == "WanFLF2VRemoteFetch" else set()
    found = executor.run(graph, {pair[0] for pair in pairs.values()})
    found |= executor.run(graph, {pair[1] for pair in pairs.values()} - waiting)
    double.finish_jobs()  # of fetching the one job of all, for which nobody waited
    found |= executor.run(graph, waiting)
    told = {node: {"video": each["video"], **sent(double, each["request_id"][0])} for node, each in found.items()}
    for name, (before, after) in pairs.items():
        row, names = ROWS[kind][name], {*told[before], *told[after]}
        changed = {each for each in names if told[before].get(each) != told[after].get(each)}
        assert changed == set(row.fields.split()), name
        if len(changed) == 1 and name != "wait" and "image" not in name:
            assert told[after][changed.pop()] == row.change, name


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (torch.zeros(2, 24, 32, 3), "{}_image must be one picture; got a batch of 2"),
        (torch.full((1, 24, 32, 3), float("nan")), "no numbers .NaN., so it shows nothing"),
    ],
)
def test_one_picture_is_sent_of_several_none_and_none_that_shows_nothing(
    executor: Executor, vendors: tuple[WaveSpeedDouble, ...], picture: torch.Tensor, words: str
) -> None:
    GIVEN["bad"] = picture
    for side in ("start", "end"):
        graph: Graph = {}
        made = add(graph, "WanFLF2VWaveSpeed", {**base("WanFLF2VWaveSpeed"), f"{side}_image": given("bad")})
        sent_before = len(vendors[0].seen)
        with pytest.raises(ValueError, match=words.format(side)):
            executor.run(graph, [made])
        assert len(vendors[0].seen) == sent_before


def test_a_comfyui_that_shall_not_use_the_network_does_not(
    executor: Executor, vendors: tuple[WaveSpeedDouble, RunComfyDouble], monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.cli_args import args

    monkeypatch.setattr(args, "disable_api_nodes", True)
    sent_before = [len(double.seen) for double in vendors]
    for kind in ROWS:
        graph: Graph = {}
        made = add(graph, kind, base(kind))
        with pytest.raises(ValueError, match="runs with --disable-api-nodes"):
            executor.run(graph, [made])
    assert [len(double.seen) for double in vendors] == sent_before


def test_a_profile_has_eight_jobs_at_a_time_in_one_prompt_and_no_more(
    executor: Executor, vendors: tuple[WaveSpeedDouble, ...]
) -> None:
    ws, graph = vendors[0], {}
    ws.script = Script(run_s=1)
    known = set(ws.jobs)
    made = [add(graph, "WanFLF2VWaveSpeed", {**base("WanFLF2VWaveSpeed"), "wait": True}) for _ in range(9)]
    assert len(executor.run(graph, made)) == 9
    begun = sorted(job.created for job_id, job in ws.jobs.items() if job_id not in known)
    assert begun[8] - begun[0] >= 1, "the ninth waits for one to end"


@pytest.mark.parametrize("kind", ROWS)
def test_a_job_is_waited_for_as_long_as_asked(
    executor: Executor, vendors: tuple[WaveSpeedDouble, RunComfyDouble], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute of the node's passes in a tenth of a second here."""
    double, began = vendors[kind != "WanFLF2VWaveSpeed"], time.time()
    fast = Clock(lambda: began + 600 * (time.time() - began), lambda seconds: asyncio.sleep(seconds / 600))
    monkeypatch.setattr("wan_flf2v.providers.remote.Clock", lambda: fast)
    double.script = Script(run_s=600)
    graph: Graph = {}
    inputs = {**base(kind), "wait": True}
    if kind == "WanFLF2VRemoteFetch":
        inputs |= {"request_id": double.new_job("dep-1", {}).id, "deployment_id": "dep-1"}
    short, long = (add(graph, kind, {**inputs, "max_wait_minutes": minutes}) for minutes in (1, 600))
    with pytest.raises(ValueError, match=r"not finished at .* of waiting"):
        executor.run(graph, [short])
    double.script = Script(run_s=1)
    for job in double.jobs.values():
        if job.phase == "running":
            job.script = Script(run_s=job.age + 1)
    assert executor.run(graph, [long])[long]["video"]


def test_the_editors_list_fetches_and_stops_the_job_that_is_named_and_pays_for_none(
    executor: Executor, vendors: tuple[WaveSpeedDouble, RunComfyDouble], monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    from wan_flf2v.nodes.editor.remote_jobs import HANDLERS

    def ask(name: str, row: Any = None) -> Any:
        answer = HANDLERS[f"remote/{name}"]({"row": row})
        return asyncio.run(answer) if inspect.iscoroutine(answer) else answer

    for names in KEY_VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    rc, ids = vendors[1], []
    for seconds in (0, 600):
        rc.script = Script(queue_s=seconds, run_s=0)
        graph: Graph = {}
        made = add(graph, "WanFLF2VRunComfy", base("WanFLF2VRunComfy"))
        ids.append(executor.run(graph, [made])[made]["request_id"][0])
    submitted, jobs = rc.count("submit"), ask("jobs")["jobs"]
    assert [job["request_id"] for job in jobs[:2]] == ids[::-1], "the newest first"
    waiting, finished = (job["row"] for job in jobs[:2])
    assert ask("fetch", waiting) == {"state": "running", "file": None}
    fetched = ask("fetch", finished)
    assert fetched["state"] == "finished"
    place = fetched["file"]["subfolder"], fetched["file"]["filename"]
    assert Path(folder_paths.get_output_directory(), *place).read_bytes() == rc.video
    assert ask("cancel", waiting)["answer"]
    assert [rc.jobs[each].cancelled for each in ids] == [False, True]
    for name in ("fetch", "cancel"):
        with pytest.raises(ProviderError, match="there is no job 999999 in the journal"):
            ask(name, 999999)
        with pytest.raises(FLF2VError, match="row must be"):
            ask(name, "1")
    accounts = {each["name"]: each["advice"] for each in ask("accounts")["accounts"]}
    assert {name: advice for name, advice in accounts.items() if advice is None} == dict.fromkeys(
        ("rc", "rc2", "ws", "ws2")
    )
    assert "`wan-flf2v login runcomfy`" in accounts["runcomfy"]
    told = json.dumps([ask("jobs"), ask("accounts"), fetched])
    assert rc.count("submit") == submitted
    assert not [secret for secret in (rc.key, rc.url, vendors[0].key, "example.com") if secret in told]
