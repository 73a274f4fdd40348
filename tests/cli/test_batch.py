"""``wan-flf2v batch``: tables and folders of pairs, a bad row alone, and kills that lose and repeat nothing."""

from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from wan_flf2v.cli import build_parser, main
from wan_flf2v.cli.batch_folder import BatchFolder
from wan_flf2v.cli.batch_local import LocalBatch
from wan_flf2v.cli.errors import CliError
from wan_flf2v.cli.job import Job
from wan_flf2v.cli.pairs import read_pairs
from wan_flf2v.cli.video import describe_video
from wan_flf2v.engine.errors import EngineError, Unreachable

SMALL = ["--free", "--set", "71_width=64", "--set", "71_height=48", "--set", "67_length=5", "--set", "57_steps=2"]


def picture(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (10 * number % 256, 200 - 7 * number, 90)).save(path)
    return path


def report(out: Path) -> list[dict[str, str]]:
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(1, 4):
        picture(tmp_path / "in" / f"{number}.png", number)
    return tmp_path / "in"


def test_a_folder_pairs_each_picture_with_the_next_in_the_order_of_their_numbers(folder: Path) -> None:
    picture(folder / "10.png", 10)
    (folder / "2.txt").write_text("a bird\n", encoding="utf-8-sig")  # as Windows writes it
    pairs = read_pairs(folder)
    assert [(Path(pair.first).name, Path(pair.last).name) for pair in pairs] == [
        ("1.png", "2.png"),
        ("2.png", "3.png"),
        ("3.png", "10.png"),
    ]
    assert [pair.prompt for pair in pairs] == [None, "a bird", None]
    assert [pair.name for pair in pairs] == ["1-2", "2-3", "3-10"]


def test_a_folder_of_a_and_b_pairs_those_of_one_number(tmp_path: Path) -> None:
    for name in ("a1", "b1", "A2", "b2", "a10"):
        picture(tmp_path / f"{name}.png", 1)
    pairs = [(Path(pair.first).name, Path(pair.last).name) for pair in read_pairs(tmp_path)]
    assert pairs == [("a1.png", "b1.png"), ("A2.png", "b2.png"), ("a10.png", "b10.png")]


def test_a_table_has_paths_beside_it_urls_texts_and_fields(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        'first,last,prompt,57_steps,name\na.png,https://x.org/b.png,"one, two",4,my clip\nc.png,d.png,,,\n', "utf-8-sig"
    )
    one, two = read_pairs(tmp_path / "p.csv")
    assert (one.first, one.last) == (str(tmp_path / "a.png"), "https://x.org/b.png")
    assert (one.prompt, dict(one.fields), one.name) == ("one, two", {"57_steps": "4"}, "my_clip")
    assert (two.prompt, dict(two.fields), two.name) == (None, {}, "c")
    (tmp_path / "p.jsonl").write_text('{"first": "a.png", "last": "b.png", "seed": 7}\n\n{"first": \n', "utf-8")
    one, two = read_pairs(tmp_path / "p.jsonl")
    assert dict(one.fields) == {"seed": 7}
    assert "line 3 of p.jsonl is no JSON" in str(two.fields["broken"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "start,end\na,b\n", "it lacks first"),
        ("p.csv", "first,last\n", "holds no pair"),
        ("p.txt", "x", "a .csv or .jsonl file or a folder"),
        ("p.csv", None, "cannot be read"),
    ],
)
def test_a_bad_table_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert main(["batch", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_prompt_that_is_no_utf_8_is_named(folder: Path) -> None:
    (folder / "1.txt").write_bytes("été".encode("latin-1"))
    with pytest.raises(CliError, match=r"1\.txt cannot be read: it is no UTF-8"):
        read_pairs(folder)


def test_a_cut_line_of_the_journal_counts_for_nothing(tmp_path: Path) -> None:
    first = BatchFolder(tmp_path)
    first.add(key="x", file="x.mp4")
    first.add(key="y", error="broken")
    first.close([])
    (tmp_path / "x.mp4").write_bytes(b"")
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"key": "z", "fi')
    again = BatchFolder(tmp_path)
    assert [again.done(key) for key in "xyz"] == ["x.mp4", None, None]
    assert [again.attempt(key) for key in "xyz"] == [0, 1, 0]
    (tmp_path / "x.mp4").unlink()
    assert (again.done("x"), again.attempt("x")) == (None, 1)
    again.add(key="z", file="z.mp4")
    again.close([])
    assert BatchFolder(tmp_path).attempt("z") == 1
    with pytest.raises(CliError, match="can't be used as a folder"):
        BatchFolder(tmp_path / "journal.jsonl")


def batch_of(folder: Path, *options: str) -> LocalBatch:
    """The pairs of a folder, for a ComfyUI that is not there."""
    out = (folder if folder.is_dir() else folder.parent) / "out"
    command = ["batch", str(folder), "--prompt", "p", "--out", str(out)]
    arguments = build_parser().parse_args([*command, "--comfyui-url", "http://127.0.0.1:9", *options])
    return LocalBatch(arguments, BatchFolder(arguments.out), read_pairs(folder))


class Remembers:
    """A ComfyUI that has made every job it is asked about."""

    async def history(self, prompt_id: str) -> Any:
        return {"status": {"status_str": "success"}}


def test_after_a_failure_or_without_its_video_a_pair_is_another_job_and_else_the_same(folder: Path) -> None:

    def ids() -> list[str]:
        """Of each pair alone, and of both together."""
        batch = batch_of(folder)
        jobs: list[list[Any]] = [[row] for row in batch.jobs] + [batch.jobs]
        asked = [asyncio.run(batch._prompt_id(Remembers(), rows)) for rows in jobs]  # type: ignore[arg-type]
        batch.folder.add(key=batch.jobs[0].key, **happened)
        return asked

    happened: dict[str, str] = {"error": "the file is gone from ComfyUI's output folder"}
    first = ids()
    happened = {"file": "made.mp4"}  # which is not there
    second = ids()
    third = ids()
    assert len({first[0], second[0], third[0]}) == 3
    assert first[1] == second[1] == third[1], "another pair's fault"
    assert len({first[2], second[2], third[2]}) == 3
    picture(folder / "3.png", 99)
    assert [ids()[number] == third[number] for number in (0, 1)] == [True, False], (
        "the second's last picture is another"
    )


def test_a_job_that_failed_in_comfyui_is_not_followed_again(folder: Path) -> None:
    failed: list[str] = []

    class Fails:
        async def history(self, prompt_id: str) -> Any:
            return {"status": {"status_str": "error"}} if prompt_id in failed else None

    batch = batch_of(folder)
    for _ in range(3):
        failed.append(asyncio.run(batch._prompt_id(Fails(), batch.jobs)))  # type: ignore[arg-type]
    assert len(set(failed)) == 3


def test_all_that_decides_a_pairs_video_decides_whether_it_is_made_already(folder: Path) -> None:
    def keys(*options: str) -> list[str]:
        return [row.key for row in batch_of(folder, *options).jobs]

    options = (("--prompt", "q"), ("--negative", "x"), ("--set", "57_steps=9"), ("--set", "57_noise_seed=9"),
               ("--set", "71_widthx71_height=480x480 (1:1)"), ("--workflow", "wan22_flf2v_4step"),
               ("--out", str(folder / "other")))  # fmt: skip
    before = keys()
    assert keys() == before
    found = [before, *(keys(*more) for more in options)]
    picture(folder / "1.png", 77)
    found.append(keys())
    assert found[-1][1] == before[1], "the pair whose pictures are as they were"
    assert len({key for one in found for key in one}) == 2 * len(found) - 1
    table = folder / "twice.jsonl"
    table.write_text('{"first": "1.png", "last": "2.png"}\n' * 2, encoding="utf-8")
    alike = batch_of(table).jobs
    assert alike[0].key != alike[1].key, "a video of each row"


def test_pairs_whose_common_job_fails_are_made_alone_and_what_is_made_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    asked: list[dict[str, Any]] = []

    class Forgetful(Remembers):
        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def system_stats(self) -> None:
            pass

        async def history(self, prompt_id: str) -> Any:
            return None

    async def graph_on(client: Any, job: Job) -> dict[str, Any]:
        return job.bindings.apply(job.values)

    async def out_of_memory(client: Any, graph: dict[str, Any], *_: Any, **__: Any) -> Any:
        asked.append(graph)
        raise CliError("Pairs: the GPU's memory ran out.")

    async def alone(client: Any, job: Job, out: Path, prompt_id: str) -> None:
        made.append(out.name)
        out.touch()

    for name, stand_in in {
        "ComfyClient": lambda url: Forgetful(),
        "graph_on": graph_on,
        "run_graph": out_of_memory,
        "run_on": alone,
    }.items():
        monkeypatch.setattr(f"wan_flf2v.cli.batch_local.{name}", stand_in)
    rows = [{"first": "1.png", "last": "2.png", "57_steps": steps} for steps in (6, 6, 7, 7)]
    table = folder / "pairs.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    asyncio.run(batch_of(table).make_on(""))
    assert (len(asked), made) == (2, [f"00{number}_1.mp4" for number in (1, 2, 3, 4)])
    (table.parent / "out" / "004_1.mp4").unlink()
    asyncio.run(batch_of(table).make_on(""))
    assert (len(asked), made[4:]) == (2, ["004_1.mp4"])


@pytest.mark.parametrize(
    ("workflow", "together"),
    [
        ("wan22_flf2v", 2),
        ("wan22_flf2v_4step", 2),
        ("wan22_flf2v_3stage", 1),
        ("wan22_flf2v_drafts", 1),
        ("wan21_flf2v", 1),
    ],
)
def test_only_pairs_that_one_node_makes_as_their_workflow_does_run_together(
    folder: Path, workflow: str, together: int
) -> None:
    groups = batch_of(folder, "--workflow", workflow)._groups()
    assert {len(rows) for rows in groups} == {together}


def test_a_comfyui_that_is_gone_ends_a_batch_and_fails_none_of_its_pairs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = batch_of(folder)

    async def gone(out: Path) -> None:
        raise Unreachable("no ComfyUI answers")

    async def broken(out: Path) -> None:
        raise EngineError("the result could not be fetched")

    with pytest.raises(Unreachable):
        asyncio.run(batch.make(batch.jobs[0], gone))
    asyncio.run(batch.make(batch.jobs[1], broken))
    assert [result.state for result in batch.results] == ["to do", "failed"]
    assert "2 of 2: 2-3: the result could not be fetched" in capsys.readouterr().err
    assert [batch.folder.attempt(row.key) for row in batch.jobs] == [0, 1]


def frames_of(path: Path) -> list[Any]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24").astype(np.int16) for frame in video.decode(video=0)]


def jobs_of(comfy: Any) -> set[str]:
    return set(comfy.call(lambda client: client._json("GET", "/history")))


def test_bad_rows_fail_alone(comfy_server: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [("1.png", "2.png", "a"), ("2.png", "3.png", "b"), ("3.png", "gone.png", "a"), ("3.png", "1.png", "a")]
    for number in range(1, 4):
        picture(tmp_path / f"{number}.png", number + 40)
    table = tmp_path / "pairs.csv"
    lines = [f"{first},{last},batch {prompt},{5 if number else 6}" for number, (first, last, prompt) in enumerate(rows)]
    table.write_text("\n".join(["first,last,prompt,length", *lines]), encoding="utf-8")
    before = jobs_of(comfy_server)
    out = tmp_path / "out"
    command = ["batch", str(table), "--out", str(out), "--comfyui-url", comfy_server.url, *SMALL]
    assert main(command) == 1
    assert [(row["state"], row["file"]) for row in report(out)] == [
        ("failed", ""),
        ("done", "002_2.mp4"),
        ("failed", ""),
        ("done", "004_3.mp4"),
    ]
    assert "must be 4n + 1: use 5 or 9" in report(out)[0]["error"]
    assert "there is no file" in report(out)[2]["error"]
    assert "2 of 4 pairs failed" in capfd.readouterr().err
    assert "5 frames" in describe_video(out / "002_2.mp4")
    with Image.open(out / "contact.jpg") as sheet:
        assert sheet.size == (800, 352)
    table.write_text(table.read_text("utf-8").replace(",6", ",5").replace("gone", "2"), encoding="utf-8")
    assert main(command) == 0
    assert len(jobs_of(comfy_server) - before) == 2, "two together, then the two that were corrected"
    # as if it was killed before it had the last of these
    journal = out / "journal.jsonl"
    *lines, last = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    journal.write_text("".join(lines), encoding="utf-8")
    (out / json.loads(last)["file"]).unlink()
    assert main(command) == 0
    assert len(jobs_of(comfy_server) - before) == 2, "fetched, and not made again"


def test_pairs_run_together_with_each_prompt_encoded_once_and_the_videos_of_single_jobs(
    comfy_server: Any, tmp_path: Path
) -> None:
    for number in range(4):
        picture(tmp_path / f"{number}.png", number + 80)
    rows = [
        {"first": f"{n}.png", "last": f"{n + 1}.png", "prompt": f"p{n % 2}", "seed": n, "length": 5 + 4 * n}
        for n in range(3)
    ]
    table = tmp_path / "pairs.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    before = jobs_of(comfy_server)
    command = ["batch", str(table), "--comfyui-url", comfy_server.url, *SMALL, "--set", "57_cfg=2"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    (job,) = jobs_of(comfy_server) - before
    ran = comfy_server.call(lambda client: client.history(job))["prompt"][2]
    assert [node["class_type"] for node in ran.values()].count("WanFLF2VPairs") == 1
    files = [tmp_path / "out" / row["file"] for row in report(tmp_path / "out")]
    assert ["9 frames" in describe_video(file) for file in files] == [False, True, False]
    for number, (row, file) in enumerate(zip(rows, files, strict=True)):
        single = tmp_path / f"single{number}.mp4"
        sides = [
            "--first",
            str(tmp_path / row["first"]),
            "--last",
            str(tmp_path / row["last"]),
            "--prompt",
            row["prompt"],
        ]
        fields = ["--set", f"57_noise_seed={row['seed']}", "--set", "57_cfg=2"]
        one = ["generate", "--comfyui-url", comfy_server.url, *sides, *SMALL, *fields]
        assert main([*one, "--set", f"67_length={row['length']}", "--out", str(single)]) == 0
        both = zip(frames_of(file), frames_of(single), strict=True)
        # now and then x264 encodes the same pictures otherwise: one frame between two others, also of one job run twice
        assert np.median([np.abs(mine - its).mean() for mine, its in both]) == 0


@pytest.mark.slow  # a process that is killed again and again
@pytest.mark.timeout(600)
def test_kills_lose_nothing_and_repeat_nothing(comfy_server: Any, tmp_path: Path) -> None:
    pairs, kills = 5, 4
    for number in range(pairs + 1):
        picture(tmp_path / "in" / f"{number}.png", number + 60)
    before = jobs_of(comfy_server)
    out = tmp_path / "out"
    start = "import sys; from wan_flf2v.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "batch", str(tmp_path / "in"), "--prompt", "killed"]
    command += ["--out", str(out), "--comfyui-url", comfy_server.url, *SMALL]
    for kill in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = len(list(out.glob("*.mp4"))) if out.exists() else 0
        deadline = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < deadline:
            running, pending = comfy_server.call(lambda client: client.queue_state())
            now = len(list(out.glob("*.mp4"))) if out.exists() else 0
            if now > done or (not kill and [*running, *pending]):
                break
            time.sleep(0.05)
        process.kill()
        process.wait()
    subprocess.run(command, check=True, timeout=300)
    assert len(jobs_of(comfy_server) - before) == 1, "the pairs run together, once"
    assert [row["state"] for row in report(out)] == ["done"] * pairs
    assert len(list(out.glob("*.mp4"))) == pairs
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines() if line]
    assert len({line["key"] for line in lines if "key" in line}) == pairs
