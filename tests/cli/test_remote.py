"""Keys, jobs and remote generation on the command line, as a user types them, against the vendor doubles."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from wan_flf2v.cli import main
from wan_flf2v.cli.errors import CliError
from wan_flf2v.cli.remote import picture_of, save, side_by_side
from wan_flf2v.cli.remote_jobs import _age
from wan_flf2v.tests.doubles.runcomfy import RunComfyDouble
from wan_flf2v.tests.doubles.vendor import KEY, Fault, Script
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

Run = Callable[..., tuple[int, str, str]]
VARIABLES = ("WAVESPEED_API_KEY", "RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN", "COMFYUI_PATH")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without keys of their own, in a folder with two pictures."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WAN_FLF2V_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (96, 64), (200, 30, 30)).save("a.png")
    Image.new("RGB", (96, 64), (30, 30, 200)).save("b.png")
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command line; returns exit status, output and error output."""

    def command(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = main(arguments)
        captured = capsys.readouterr()
        assert KEY not in captured.out + captured.err
        return status, captured.out, captured.err

    return command


@pytest.fixture
def ws(run: Run) -> Iterator[WaveSpeedDouble]:
    with WaveSpeedDouble() as double:
        double.script = Script(run_s=0)
        assert run("login", "wavespeed", "--base-url", double.url, stdin=f"{KEY}\n")[0] == 0
        yield double


PICTURES = ("--first", "a.png", "--last", "b.png")
JOB = ("generate", "--remote", "wavespeed", "--prompt", "a flower", *PICTURES)


def test_login_profiles_logout_never_show_the_key(run: Run, home: Path) -> None:
    assert run("login", "runcomfy", "--profile", "work", stdin=f"  {KEY}\r\n")[0] == 0
    assert KEY in (home / "state" / "profiles.json").read_text()
    status, out, _ = run("profiles")
    assert status == 0
    assert ["work", "runcomfy", "key file", "https://model-api.runcomfy.net"] in [
        [cell for cell in line.split("  ") if cell.strip()] and [c.strip() for c in line.split("  ") if c.strip()]
        for line in out.splitlines()
    ]
    assert run("logout", "work")[0] == 0
    assert KEY not in (home / "state" / "profiles.json").read_text()
    assert run("logout", "work")[0] == 1


def test_a_key_is_asked_for_without_showing_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or KEY)
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(["login", "wavespeed"]) == 0
    assert asked == ["API key of wavespeed (not shown): "]


@pytest.mark.parametrize(
    ("arguments", "stdin", "text"),
    [
        (("login", "wavespeed"), "", "The API key is empty"),
        (("login", "wavespeed", "--base-url", "http://example.com"), KEY, "must be https"),
        (("login", "wavespeed", "--profile", "runcomfy"), KEY, "kept for the provider runcomfy"),
        (("generate", "--remote", "wavespeed", "--prompt", "x", *PICTURES), "", "no API key for wavespeed"),
        (("generate", "--remote", "nobody", "--prompt", "x", *PICTURES), "", "no profile 'nobody'"),
        (("jobs", "fetch", "7"), "", "there is no job '7'"),
    ],
)
def test_mistakes_are_one_clear_line(run: Run, arguments: tuple[str, ...], stdin: str, text: str) -> None:
    status, _, err = run(*arguments, stdin=stdin)
    assert status == 1
    assert err.startswith("wan-flf2v: ")
    assert text in err
    assert err.count("\n") == 1


def test_generate_remote_saves_the_video_and_again_costs_nothing(run: Run, ws: WaveSpeedDouble, home: Path) -> None:
    status, out, err = run(*JOB, "--set", "duration=10", "--out", "one.mp4")
    assert status == 0
    assert "Saved one.mp4: 64 x 48, 5 frames" in out
    assert "about $" not in err  # the address is a gateway's, and WaveSpeed's prices say nothing about it
    assert (home / "one.mp4").read_bytes() == ws.video
    status, _, err = run(*JOB, "--set", "duration=10", "--out", "two.mp4")
    assert status == 0
    assert "collected, not submitted again" in err
    assert ws.count("submit") == 1
    assert "negative_prompt" not in ws.last("submit").json
    assert run(*JOB, "--negative", "blur", "--out", "three.mp4")[0] == 0
    assert ws.last("submit").json["negative_prompt"] == "blur"


def test_a_video_of_another_kind_than_asked_is_kept_and_not_renamed(tmp_path: Path) -> None:
    (tmp_path / "job.webm").write_bytes(b"video")
    with pytest.raises(CliError, match=r"made a \.webm file, which was kept as .*job\.webm; give --out that ending"):
        save(tmp_path / "job.webm", tmp_path / "x.mp4")
    assert not (tmp_path / "x.mp4").exists()
    save(tmp_path / "job.webm", tmp_path / "x.WEBM")
    assert (tmp_path / "x.WEBM").read_bytes() == b"video"


def test_a_batch_runs_at_the_provider_and_again_costs_nothing(run: Run, ws: WaveSpeedDouble, home: Path) -> None:
    rows = [
        "first,last,prompt,seed",
        "a.png,b.png,one,1",
        "b.png,a.png,two,2",
        "a.png,gone.png,three,3",
        "a.png,a.png,four,4",
    ]
    (home / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    batch = ("batch", "pairs.csv", "--remote", "wavespeed", "--out", "out")
    status, _, err = run(*batch)
    assert status == 1
    assert "1 of 4 pairs failed" in err
    assert "there is no file gone.png" in err
    assert sorted(path.name for path in (home / "out").glob("*.mp4")) == ["001_a.mp4", "002_b.mp4", "004_a.mp4"]
    assert ws.count("submit") == 3
    (home / "out" / "002_b.mp4").unlink()
    assert run(*batch)[0] == 1
    assert (home / "out" / "002_b.mp4").read_bytes() == ws.video
    assert ws.count("submit") == 3, "the journal has what was paid for"
    for file in (home / "state").glob("jobs.sqlite3*"):
        file.unlink()
    assert run(*batch)[0] == 1
    assert ws.count("submit") == 3, "and a video that is there is not asked for"


def test_work_side_by_side_is_eight_at_a_time_and_a_fault_is_raised_when_all_has_ended() -> None:
    running: set[int] = set()
    most, ended = 0, []

    async def work(number: int) -> int:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await asyncio.sleep(0.01)
        running.remove(number)
        if number == 1:
            raise CliError("one")
        if number == 2:
            raise asyncio.CancelledError
        ended.append(number)
        return number

    with pytest.raises(CliError, match="one"):
        asyncio.run(side_by_side(work, range(20)))
    assert (most, len(ended)) == (8, 18)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(side_by_side(work, [2, 3]))


def test_a_picture_is_sent_as_what_it_is(home: Path) -> None:
    Image.new("RGB", (96, 64)).save("a.jpg")
    assert [picture_of(name, "first").media_type for name in ("a.png", "a.jpg")] == ["image/png", "image/jpeg"]


@pytest.fixture
def board(home: Path) -> Path:
    """Three keyframes, two segments."""
    Image.new("RGB", (96, 64), (30, 200, 30)).save("c.png")
    segments = [
        {"prompt": "one", "seed": 1, "seconds": 5},
        {"prompt": "two", "negative": "blurred", "seed": 2, "seconds": 10},
    ]
    text = json.dumps({"keyframes": [{"picture": f"{name}.png"} for name in "abc"], "segments": segments})
    (home / "board.json").write_text(text, encoding="utf-8")
    return home / "board.json"


def test_a_boards_segments_are_jobs_side_by_side_and_again_cost_nothing(
    run: Run, ws: WaveSpeedDouble, board: Path, home: Path
) -> None:
    command = ("storyboard", "board.json", "--remote", "wavespeed", "--set", "size=480*832", "--out", "film.mp4")
    status, out, _ = run(*command)
    assert status == 0
    assert "9 frames" in out, "5 of each job's, the shared keyframe once"
    sent = sorted((each.json for each in ws.seen if each.step == "submit"), key=lambda body: str(body["prompt"]))
    assert [(body["prompt"], body["seed"], body["duration"]) for body in sent] == [("one", 1, 5), ("two", 2, 10)]
    assert {body["size"] for body in sent} == {"480*832"}
    assert [body.get("negative_prompt") for body in sent] == [None, "blurred"]
    assert run(*command)[0] == 0
    assert ws.count("submit") == 2
    board.write_text(board.read_text().replace('"two"', '"other"'))
    assert run(*command)[0] == 0
    assert ws.count("submit") == 3, "an edit costs its segment"
    with RunComfyDouble() as rc:
        rc.script = Script(run_s=0)
        run("login", "runcomfy", "--base-url", rc.url, stdin=KEY)
        board.write_text(board.read_text().replace('"seconds": 5', '"seconds": 2'))
        command = ("storyboard", "board.json", "--remote", "runcomfy", "--deployment", "dep-1", "--out", "film.mp4")
        assert run(*command)[0] == 0
        lengths = {each.json["overrides"]["67"]["inputs"]["length"] for each in rc.seen if each.step == "submit"}
        assert lengths == {33, 161}, "in frames, where a job has them"


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (('"seed": 2', '"seed": 2, "cfg_low": 2'), "segment 2: wavespeed-ai/wan-flf2v takes no cfg_low"),
        (('"seconds": 5', '"seconds": 3'), "segment 1: duration (Duration) must be between 5 and 10; got 3"),
        (('"seconds": 5', '"length": 83'), "segment 1: length must be 4n + 1"),
        (('"b.png"', '"b.png", "through": true'), "segment 2 goes on"),
        (('"keyframes"', '"carry": 5, "keyframes"'), "leave out carry, through and videos"),
    ],
)
def test_a_board_that_a_provider_can_not_make_is_refused_before_anything_is_sent(
    run: Run, ws: WaveSpeedDouble, board: Path, edit: tuple[str, str], text: str
) -> None:
    board.write_text(board.read_text().replace(*edit))
    status, _, err = run("storyboard", "board.json", "--remote", "wavespeed")
    assert (status, ws.seen) == (1, [])
    assert text in err


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--set", "duration=12"), "duration (Duration) must be between 5 and 10; got 12."),
        (("--set", "57_steps=8"), "57_steps is not a field of wavespeed-ai/wan-flf2v"),
        (("--deployment", "x"), "--deployment is for RunComfy"),
        (("--first", "missing.png"), "first frame: there is no file missing.png"),
        (("--last", "c.bmp"), "last frame: c.bmp must be a PNG, JPEG or WebP file for a remote API."),
        (("--out", "video.avi"), "--out must end in .mp4"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_sent(
    run: Run, ws: WaveSpeedDouble, more: tuple[str, ...], text: str
) -> None:
    Image.new("RGB", (96, 64)).save("c.bmp")
    status, _, err = run(*JOB, *more)
    assert (status, ws.seen) == (1, [])
    assert text in err


def test_runcomfy_and_a_deployment_take_the_workflows_fields_and_urls(run: Run) -> None:
    with RunComfyDouble() as rc:
        rc.script = Script(run_s=0)
        run("login", "runcomfy", "--base-url", rc.url, stdin=KEY)
        urls = ("--first", "https://example.com/a.png", "--last", "https://example.com/b.png")
        given = ("generate", "--remote", "runcomfy", "--prompt", "x", "--set", "57_steps=8", *urls)
        assert run(*given)[0] == 0
        expected = {"6_text": "x", "57_steps": 8, "68_image": urls[1], "62_image": urls[3]}
        assert rc.last("submit").json == expected
        assert run(*given, "--deployment", "dep-1", "--negative", "blur", "--set", "67_length=33")[0] == 0
        assert rc.last("submit").json["overrides"]["67"] == {"inputs": {"length": 33}}
        assert "first-last-frame takes no negative prompt." in run(*given, "--negative", "blur")[2]
        Path("pairs.csv").write_text(f"first,last,seed\n{urls[1]},{urls[3]},5\n", encoding="utf-8")
        batch = ("batch", "pairs.csv", "--prompt", "x", "--remote", "runcomfy", "--deployment", "dep-1", "--out", "out")
        seeds = []
        for more in ((), ("--workflow", "wan21_flf2v")):
            assert run(*batch, *more)[0] == 0
            seeds.append(rc.last("submit").json["overrides"]["57"]["inputs"])
        assert seeds == [{"noise_seed": 5}, {"seed": 5}], "each workflow by its own nodes"


def test_jobs_are_listed_fetched_and_cancelled(run: Run, ws: WaveSpeedDouble, home: Path) -> None:
    assert run("jobs")[1] == "No remote jobs yet.\n"
    status, out, err = run(*JOB, "--no-wait")
    job = next(iter(ws.jobs))
    assert (status, out) == (0, f"{job}\n")
    assert f"wan-flf2v jobs fetch {job}" in err
    listed = run("jobs", "list")[1]
    assert listed.split("\n")[0].split() == ["JOB", "STATE", "PROFILE", "AGE", "REQUEST", "ID", "PROMPT"]
    for text in ("running", "wavespeed", job, "a flower"):
        assert text in listed
    assert run("jobs", "fetch", job, "--out", "fetched.mp4")[0] == 0
    assert (home / "fetched.mp4").read_bytes() == ws.video
    ws.script = Script(queue_s=60)
    run(*JOB, "--no-wait", "--set", "seed=5")
    assert "deleted" in run("jobs", "cancel", "2")[1]
    assert "cancelled" in run("jobs")[1]


def test_a_jobs_age_is_told_in_its_largest_unit() -> None:
    ages = {0: "0 s", 59: "59 s", 60: "1 min", 3599: "60 min", 3600: "1 h", 86399: "24 h", 86400: "1 d", 864000: "10 d"}
    assert {seconds: _age(seconds) for seconds in ages} == ages


def test_a_lost_submit_is_settled_by_hand(run: Run, ws: WaveSpeedDouble) -> None:
    ws.fail_always("submit", Fault(drop=True, work=True))
    ws.fail_always("history", Fault(status=403, body={"message": "no"}))
    status, _, err = run(*JOB)
    assert status == 1
    assert "may have been created" in err
    assert "wan-flf2v jobs adopt 1 REQUEST_ID" in err
    assert run("jobs", "adopt", "1", "../../x")[0] == 1
    assert run("jobs", "adopt", "1", next(iter(ws.jobs)))[0] == 0
    assert run(*JOB)[0] == 0
    assert run("jobs", "forget", "1")[0] == 1  # settled
    run(*JOB, "--set", "seed=5")
    assert run("jobs", "forget", "2")[0] == 0
    ws.fail_always("submit", None)
    assert run(*JOB, "--set", "seed=5")[0] == 0
    assert ws.count("submit") == 3


def test_a_job_is_not_fetched_with_a_key_for_another_address(run: Run, ws: WaveSpeedDouble) -> None:
    run(*JOB, "--no-wait")
    with WaveSpeedDouble() as other:
        run("login", "wavespeed", "--base-url", other.url, stdin=KEY)
        for action in ("fetch", "cancel"):
            status, _, err = run("jobs", action, "1")
            assert status == 1
            assert "points to" in err
        assert other.seen == []


@pytest.mark.skipif(os.name != "posix", reason="sends a Ctrl-C the POSIX way")
def test_ctrl_c_keeps_the_job_and_the_next_run_collects_it(run: Run, ws: WaveSpeedDouble) -> None:
    ws.script = Script(run_s=30)
    command = [sys.executable, "-c", "import sys; from wan_flf2v.cli import main; sys.exit(main())", *JOB]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    ws.wait_for(lambda: ws.count("status") >= 1)
    pressed = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert time.monotonic() - pressed < 10  # about a second; the job would take 30
    assert child.returncode == 130
    assert "run the same command again to collect it" in err
    ws.finish_jobs()
    assert run(*JOB)[0] == 0
    assert ws.count("submit") == 1
