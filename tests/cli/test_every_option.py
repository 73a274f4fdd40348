"""Every option of every command has an effect or is refused; an option without a row fails."""

from __future__ import annotations

import argparse
import io
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wan_flf2v.cli import batch_local, build_parser, demo, finish, generate, main, storyboard
from wan_flf2v.providers.errors import ConfigError
from wan_flf2v.providers.profiles import ProfileStore
from wan_flf2v.providers.secret import Secret
from wan_flf2v.tests.doubles.vendor import KEY, Script, tiny_video
from wan_flf2v.tests.doubles.wavespeed import WaveSpeedDouble

Told = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """Words that are added to a command beside ``given`` ones (or "one -> another"), and what changes by it.

    Or the words that refuse it.
    """

    words: str
    changes: str = ""
    given: str = ""
    refused: str = ""


BASE = {
    "demo": "demo --out x.mp4",
    "generate": "generate --first a.png --last b.png --prompt p --models models --out x.mp4",
    "batch": "batch bare.jsonl --first a.png --last b.png --prompt p --models models --out folder",
    "storyboard": "storyboard board.json --models models --out x.mp4",
    "finish": "finish c_unfinished_1.latent --models models --out x.mp4",
    "report": "report v.mp4",
}
RUNNING = "http://127.0.0.1:7"
FIELDS = {
    "--prompt": Row("--prompt q", "6_text"),
    "--negative": Row("--negative n", "7_text"),
    "--set": Row("--set 57_steps=8", "57_steps"),
    "--payload": Row("--payload p.json", "57_steps 54_shift"),
    "--out": Row("--out y.mp4", "out"),
    "--comfyui": Row("--comfyui elsewhere", "comfyui"),
    "--models": Row("--models others", "models"),
}
FREE = Row("--free --set 57_steps=4", "57_steps")
URL = Row(f"--comfyui-url {RUNNING}", refused="--models does nothing with --comfyui-url")
ALONE = {
    "--remote": Row("--remote nobody", refused="--models does nothing with --remote"),
    "--deployment": Row("--deployment d", refused="--deployment does nothing without --remote"),
    "--max-wait": Row("--max-wait 5", refused="--max-wait does nothing without --remote"),
}
ENDS = {"--first": Row("--first c.png", "first 68_image"), "--last": Row("--last c.png", "last 62_image")}
ROWS: dict[str, dict[str, Row]] = {
    "demo": {
        **ENDS,
        **FIELDS,
        "--models": Row(
            "--models others",
            "models weights 6_text first last 68_image 62_image 57_cfg 67_length 71_width 71_height",
        ),
        "--workflow": Row("--workflow wan21_flf2v", "workflow 54_shift 57_cfg 71_widthx71_height", "--models models"),
        "--open": Row("--open", "opened"),
    },
    "generate": {
        **ENDS,
        **FIELDS,
        "--workflow": Row("--workflow wan22_flf2v_4step", "workflow 54_shift 57_steps 57_cfg"),
        "--free": FREE,
        "--comfyui-url": URL,
        **ALONE,
        "--no-wait": Row("--no-wait", refused="--no-wait does nothing without --remote"),
    },
    "batch": {
        "pairs": Row("bare.jsonl -> pairs.jsonl", "first 68_image"),
        **ENDS,
        **FIELDS,
        "--out": Row("--out other", "out"),
        "--workflow": Row("--workflow wan22_flf2v_4step", "workflow 54_shift 57_steps 57_cfg"),
        "--free": FREE,
        "--comfyui-url": URL,
        **ALONE,
    },
    "storyboard": {
        "board": Row("board.json -> other.json", "board"),
        "--out": FIELDS["--out"],
        "--comfyui": FIELDS["--comfyui"],
        "--models": FIELDS["--models"],
        "--comfyui-url": URL,
        "--set": Row("--set steps=4", "steps"),
        **ALONE,
    },
    "finish": {
        "file": Row("c_unfinished_1 -> d_unfinished_1", "file"),
        "--out": FIELDS["--out"],
        "--comfyui": FIELDS["--comfyui"],
        "--models": FIELDS["--models"],
        "--comfyui-url": URL,
    },
    "report": {
        "video": Row("v.mp4 -> gone.mp4", refused="there is no video file gone.mp4"),
        "--first": Row("--first a.png", "text"),
        "--last": Row("--last a.png", "text"),
        "--fit": Row("--fit pad", "text", "--json --first wide.png"),
        "--resize": Row("--resize lanczos", "text", "--json --first wide.png"),
        "--joints": Row("--joints 2", "text"),
        "--json": Row("--json", "text"),
        "--plot": Row("--plot plot.png", "plot.png"),
        "--filmstrip": Row("--filmstrip strip.png", "strip.png"),
    },
}
# What the tests beside this one do with these, as a user types them.
ELSEWHERE = {
    "": "--version",  # below
    "login": "provider --profile --base-url --serverless-base-url --comfyui",  # below, and test_remote.py
    "logout": "profile --comfyui",
    "profiles": "--comfyui",
    "jobs": "--comfyui",
    "jobs fetch": "job --out",
    "jobs cancel": "job",
    "jobs adopt": "job request_id",
    "jobs forget": "job",
    "bench": "--rounds --name --comfyui --from-json --only --docs",  # tests/benchmarks; minutes, and it writes results
}


def options(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each command and its options."""
    actions = [each for each in parser._actions if not isinstance(each, argparse._HelpAction)]
    own = [each for each in actions if not isinstance(each, argparse._SubParsersAction)]
    if own:
        yield name, [(each.option_strings or [each.dest])[0] for each in own]
    for each in set(actions) - set(own):
        for word, command in dict(each.choices or {}).items():
            yield from options(command, f"{name} {word}".strip())


def test_every_option_has_a_row() -> None:
    rows = {name: sorted(each) for name, each in ROWS.items()}
    rows |= {name: sorted(text.split()) for name, text in ELSEWHERE.items()}
    assert rows == {name: sorted(each) for name, each in options(build_parser())}


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert f'version = "{capsys.readouterr().out.split()[-1]}"' in project


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("COMFYUI_PATH", "WAVESPEED_API_KEY", "RUNCOMFY_API_TOKEN", "RUNCOMFY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WAN_FLF2V_HOME", str(tmp_path / "state"))
    for number, name in enumerate("abc"):
        Image.new("RGB", (64, 48), (70 * number, 200, 90)).save(f"{name}.png")
    Image.linear_gradient("L").resize((300, 90)).convert("RGB").save("wide.png")
    Path("p.json").write_text('{"57_steps": 9, "54_shift": 5}')
    Path("pairs.jsonl").write_text('{"first": "c.png"}')
    Path("bare.jsonl").write_text("{}")
    for name, prompt in (("board", "p"), ("other", "q")):
        pictures = [{"picture": "a.png"}, {"picture": "b.png"}]
        Path(f"{name}.json").write_text(json.dumps({"keyframes": pictures, "length": 9, "prompt": prompt}))
    Path("v.mp4").write_bytes(tiny_video())


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What would be run, in place of a ComfyUI that is started for it."""
    told: Told = {}

    def run_locally(arguments: argparse.Namespace, job: Any, *, weights: Any = None) -> None:
        told.update(out=str(arguments.out), comfyui=arguments.comfyui, models=arguments.models, weights=weights is None)
        if isinstance(job, storyboard.StoryboardJob):
            told.update(board=job.data, **job.graph_with({name: name for name in job.pictures})["57"]["inputs"])
            told["storyboard"] = None
        elif isinstance(job, finish.Unfinished):
            told["file"] = job.file
        else:
            job = job.batch.jobs[0].job if isinstance(job, batch_local._AllOf) else job
            told.update(job.values, workflow=job.bindings.name, first=job.first.name, last=job.last.name)
        arguments.out.with_suffix(".mp4").write_bytes(tiny_video())

    for module in (generate, demo, storyboard, finish, batch_local):
        monkeypatch.setattr(module, "run_locally", run_locally)
    monkeypatch.setattr("webbrowser.open", lambda url: bool(told.update(opened=url)) or True)
    return told


def leave_latents() -> None:
    """Two unfinished latents, as far as the command reads them."""
    graph = {"73": {"class_type": "WanFLF2VSaveVideo", "inputs": {"format": "mp4"}}}
    head = json.dumps({"__metadata__": {finish.FINISH: json.dumps({"graph": graph, "node": "73"})}}).encode()
    for name in "cd":
        Path(f"{name}_unfinished_1.latent").write_bytes(struct.pack("<Q", len(head)) + head)


def run(words: str, told: Told, capsys: pytest.CaptureFixture[str]) -> Mapping[str, Any]:
    told.clear()
    leave_latents()
    assert main(words.split()) == 0, capsys.readouterr().err
    assert not words.startswith("finish") or not Path(words.split()[1]).exists(), "a finished latent goes"
    said = capsys.readouterr().out
    files = {path.name: True for path in Path().glob("*.png")}
    return {**told, **({"text": said, **files} if words.startswith("report") else {})}


@pytest.mark.parametrize(("command", "option"), [(name, option) for name, rows in ROWS.items() for option in rows])
def test_an_option_changes_what_it_should_and_nothing_else_or_is_refused(
    told: Told, capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    row, words = ROWS[command][option], BASE[command]
    old, arrow, new = row.words.partition(" -> ")
    with_it = words.replace(old, new) if arrow else f"{words} {row.given} {row.words}"
    if row.refused:
        assert main(with_it.split()) == 1
        assert row.refused in capsys.readouterr().err
        return
    before = run(f"{words} {row.given}", told, capsys)
    after = run(with_it, told, capsys)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == set(row.changes.split())


def test_a_remote_job_takes_each_of_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with WaveSpeedDouble() as ws:
        ProfileStore([Path("state")]).save("wavespeed", "wavespeed", Secret(KEY), base_url=ws.url)
        job = ["generate", "--remote", "wavespeed", "--prompt", "p", "--first", "a.png", "--last", "b.png"]
        for words, message in (
            (["--comfyui-url", RUNNING], "--comfyui-url does nothing with --remote"),
            (["--models", "m"], "--models does nothing with --remote"),
            (["--free"], "--free does nothing with --remote"),
            (["--workflow", "wan21_flf2v"], "--workflow does nothing with --remote and without --deployment"),
        ):
            assert main([*job, *words]) == 1
            assert message in capsys.readouterr().err
        assert ws.seen == []
        ws.script = Script(run_s=60)
        assert main([*job, "--max-wait", "0.02"]) == 1
        assert "not finished" in capsys.readouterr().err
        board = ["storyboard", "board.json", "--remote", "wavespeed", "--set", "duration=6", "--max-wait", "0.02"]
        assert main(board) == 1
        assert "not finished" in capsys.readouterr().err
        assert [each.json.get("duration") for each in ws.seen if each.step == "submit"] == [None, 6]


def test_a_key_is_kept_in_the_comfyui_that_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    home = Path("comfyui")
    (home / "comfy").mkdir(parents=True)
    (home / "main.py").touch()
    (home / "comfy" / "sd.py").touch()
    monkeypatch.delenv("WAN_FLF2V_HOME")
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY))
    urls = ["--base-url", "http://127.0.0.1:5", "--serverless-base-url", "http://127.0.0.1:6"]
    assert main(["login", "runcomfy", "--profile", "mine", *urls, "--comfyui", str(home)]) == 0
    stored = ProfileStore([home / "user" / "__wan_flf2v"]).load("mine")
    assert (stored.provider, stored.base_url, stored.serverless_base_url) == ("runcomfy", urls[1], urls[3])
    for words in (["profiles"], ["jobs"], ["logout", "mine"]):
        assert main([*words, "--comfyui", str(home)]) == 0
    said = capsys.readouterr().out
    assert "mine" in said
    assert "No remote jobs yet" in said
    with pytest.raises(ConfigError):
        ProfileStore([home / "user" / "__wan_flf2v"]).load("mine")
