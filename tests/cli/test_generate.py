"""The command line: one clear line for every wrong request, and the whole way for right ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from wan_flf2v.cli import main
from wan_flf2v.workflows import Bindings

SMALL = ["--free", "--set", "71_width=64", "--set", "71_height=50", "--set", "67_length=9", "--set", "57_steps=4"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def request_of(pictures: tuple[Path, Path], tmp_path: Path) -> Any:
    """A complete request; further words are appended and win."""

    def make(*words: str) -> list[str]:
        first, last = map(str, pictures)
        given = ["--first", first, "--last", last, "--prompt", "a puppy", "--out", str(tmp_path / "x.mp4")]
        return ["generate", *given, *words]

    return make


def refused(capsys: Captured, words: list[str]) -> str:
    assert main(words) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("wan-flf2v: ")
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


NO_SERVER = ["--comfyui-url", "http://127.0.0.1:9"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "58_steps=5"], "58_steps is not a field"),
        (["--set", "67_length=140"], "67_length (Number of Frames) must be one of 81, 141; got 140."),
        (["--set", '67_length="141"'], '67_length (Number of Frames) must be a whole number; got "141"'),
        (["--set", "57_steps=many"], "57_steps (Steps) must be a whole number"),
        (["--set", "57_steps=4"], "must be between 6 and 20; got 4. With --free the workflow takes it."),
        (["--set", "57_cfg=9"], "57_cfg (Guidance Scale) must be between 0.6 and 4; got 9."),
        (["--set", "57_steps"], "--set takes FIELD=VALUE"),
        (["--out", "x.avi"], "--out must end in .mp4"),
        (["--payload", "nowhere.json"], "nowhere.json cannot be read"),
        (NO_SERVER, "no ComfyUI answers at http://127.0.0.1:9"),
        (
            ["--comfyui-url", "127.0.0.1:8188"],
            "ComfyUI's address must be a URL such as http://127.0.0.1:8188; got '127",
        ),
        (["--comfyui-url", "http://127.0.0.1:81888"], "ComfyUI's address must be a URL"),
        (["--comfyui", "/nowhere"], "/nowhere is no ComfyUI"),
        (["--models", "/nowhere"], "there is no folder /nowhere"),
    ],
)
def test_a_wrong_request_gets_one_clear_line(capsys: Captured, request_of: Any, words: list[str], message: str) -> None:
    assert message in refused(capsys, request_of(*words))


def test_free_is_offered_for_what_it_takes_alone(capsys: Captured, request_of: Any) -> None:
    assert "With --free the workflow takes it" in refused(capsys, request_of("--set", "57_steps=5"))
    assert "--free" not in refused(capsys, request_of("--set", "57_steps=0"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("finish FILE", "is no unfinished latent of Wan FLF2V Save Video."),
        ("storyboard FILE", "cannot be read: it is no UTF-8."),
    ],
)
def test_a_picture_in_place_of_another_file_gets_one_clear_line(
    capsys: Captured, pictures: tuple[Path, Path], command: str, message: str
) -> None:
    line = refused(capsys, [*command.replace("FILE", str(pictures[0])).split(), *NO_SERVER])
    assert line == f"wan-flf2v: {pictures[0]} {message}"


def test_files_that_windows_wrote_with_a_byte_order_mark_are_read(
    capsys: Captured, request_of: Any, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"57_steps": 99}', encoding="utf-8-sig")
    assert "57_steps (Steps) must be" in refused(capsys, request_of("--payload", str(file)))
    file.write_text('{"keyframes": []}', encoding="utf-8-sig")
    assert "needs between 2 and 12 keyframes" in refused(capsys, ["storyboard", str(file), *NO_SERVER])


def test_a_folder_that_can_not_be_written_is_named_before_any_work(
    capsys: Captured, request_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    line = refused(capsys, request_of("--out", str(tmp_path / "folder.mp4"), *NO_SERVER))
    assert line == f"wan-flf2v: --out: {tmp_path / 'folder.mp4'} is a folder; give a file name."
    (tmp_path / "file").touch()
    line = refused(capsys, request_of("--out", str(tmp_path / "file" / "x.mp4"), *NO_SERVER))
    assert line == f"wan-flf2v: --out: nothing can be written in {tmp_path / 'file'}."
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    line = refused(capsys, request_of("--out", str(tmp_path / "new" / "x.mp4"), *NO_SERVER))
    assert line == f"wan-flf2v: --out: nothing can be written in {tmp_path}."


def broken_picture(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.png"
    if kind == "text":
        path.write_text("this is no picture")
    elif kind == "tiny":
        Image.new("RGB", (1, 1)).save(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        Image.new("1", (20000, 20000)).save(path)
    elif kind == "cut":
        Image.effect_noise((200, 200), 80).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "there is no file"),
        ("folder", "folder.png is a folder; give a picture file."),
        ("text", "is no picture that can be read"),
        ("tiny", "between 16 and 16384 pixels on each side; got 1 x 1. Give a larger one."),
        (
            "huge",
            "has too many pixels; a picture must be between 16 and 16384 pixels on each side. Scale it down first.",
        ),
        ("cut", "is no picture that can be read"),
    ],
)
@pytest.mark.parametrize("side", ["first", "last"])
def test_a_wrong_picture_gets_one_clear_line(
    capsys: Captured, request_of: Any, tmp_path: Path, kind: str, message: str, side: str
) -> None:
    line = refused(capsys, request_of(f"--{side}", str(broken_picture(tmp_path, kind))))
    assert message in line
    assert f"{side} frame" in line


def test_a_missing_picture_is_asked_for(capsys: Captured, pictures: tuple[Path, Path]) -> None:
    assert "Give it with --last PICTURE" in refused(capsys, ["generate", "--first", str(pictures[0]), "--prompt", "x"])


def test_missing_model_files_say_where_they_belong_and_where_to_get_them(
    capsys: Captured, request_of: Any, tmp_path: Path
) -> None:
    line = refused(capsys, request_of("--models", str(tmp_path)))
    assert "wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors (14.3 GB) belongs in models/diffusion_models/" in line
    assert "https://huggingface.co/Comfy-Org/" in line


def facts(path: Path) -> tuple[int, int, int, float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, sum(1 for _ in container.decode(stream)), float(stream.average_rate)


def test_generate_makes_the_video_on_a_running_comfyui(
    capsys: Captured, comfy_server: Any, request_of: Any, tmp_path: Path
) -> None:
    assert main(request_of(*SMALL, "--set", "73_frame_rate=24", "--comfyui-url", comfy_server.url)) == 0
    output = capsys.readouterr()
    assert facts(tmp_path / "x.mp4") == (64, 50, 9, 24.0)
    assert "Saved" in output.out
    assert "64 x 50, 9 frames, 24 fps" in output.out
    for phase in ("Encoding the frames", "High noise, step 2 of 2", "Low noise, step 2 of 2", "Decoding and saving"):
        assert phase in output.err


# RunComfy's own example payload, and its ten fields at their lower and upper bounds.
EXAMPLE = {"6_text": "Puppy, playing, happy, barking, joyful"}
LOW = {"67_length": 81, "73_frame_rate": 12, "57_noise_seed": 0, "57_steps": 6, "57_cfg": 0.6, "54_shift": 15}
HIGH = {"67_length": 141, "73_frame_rate": 24, "57_noise_seed": 2**64 - 1, "57_steps": 20, "57_cfg": 4, "54_shift": 1}


@pytest.mark.parametrize(
    "fields",
    [
        EXAMPLE,
        EXAMPLE | LOW | {"71_widthx71_height": "480x480 (1:1)"},
        EXAMPLE | HIGH | {"71_widthx71_height": "1280x720 (16:9)"},
    ],
    ids=["example", "lower bounds", "upper bounds"],
)
def test_runcomfys_payloads_run(comfy_server: Any, pictures: tuple[Path, Path], fields: dict[str, Any]) -> None:
    bindings = Bindings.load()
    first, last = (comfy_server.upload(path) for path in pictures)
    payload = {**fields, "68_image": first, "62_image": last}
    graph = bindings.apply(bindings.check(payload))
    # Only the size is taken down to what a CPU does in seconds; everything else is the payload's.
    graph["71"]["inputs"] |= {"preset": "custom", "width": 32, "height": 32}
    done = comfy_server.run(graph)
    assert done.status == "success", done.error
    item = done.record["outputs"]["73"]["images"][0]
    path = comfy_server.output / item["subfolder"] / item["filename"]
    assert facts(path) == (32, 32, fields.get("67_length", 81), float(fields.get("73_frame_rate", 16)))


@pytest.fixture
def broken_graph(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every workflow wrong in one node input, as an edited workflow could be."""
    real = Bindings.apply

    def breaks(node: str, name: str, value: Any) -> None:
        def apply(self: Bindings, values: Any) -> dict[str, Any]:
            graph = real(self, values)
            graph[node]["inputs"][name] = value
            return graph

        monkeypatch.setattr(Bindings, "apply", apply)

    return breaks


def test_a_node_error_names_the_node_by_its_title(
    capsys: Captured, comfy_server: Any, request_of: Any, broken_graph: Any
) -> None:
    broken_graph("57", "boundary", 0.0)
    line = refused(capsys, request_of(*SMALL, "--comfyui-url", comfy_server.url))
    assert line.startswith("wan-flf2v: Two-stage sampler (node 57): boundary must be above 0")


def test_a_refused_workflow_names_the_missing_model_file(
    capsys: Captured, comfy_server: Any, request_of: Any, broken_graph: Any
) -> None:
    # A file that the project knows and that ComfyUI does not have among its diffusion models.
    broken_graph("37", "unet_name", "clip_vision_h.safetensors")
    line = refused(capsys, request_of(*SMALL, "--comfyui-url", comfy_server.url))
    assert "this ComfyUI lacks model files. clip_vision_h.safetensors (1.26 GB) belongs in models/clip_vision/" in line


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_interrupts_the_job_and_exits_130(comfy_server: Any, request_of: Any, tmp_path: Path) -> None:
    words = request_of("--free", "--set", "71_width=256", "--set", "71_height=256", "--comfyui-url", comfy_server.url)
    code = "import sys; from wan_flf2v.cli import main; raise SystemExit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "Encoding the frames" in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert "wan-flf2v: interrupted" in process.stderr.read()
    deadline = time.monotonic() + 60
    while comfy_server.call(lambda client: client.queue_state()) != ([], []):
        assert time.monotonic() < deadline, "the job still runs"
        time.sleep(0.2)
    assert not (tmp_path / "x.mp4").exists()


@pytest.mark.slow
def test_demo_makes_a_video_in_one_command(tmp_path: Path) -> None:
    out = tmp_path / "ein Ordner ü 日本" / "demo.mp4"
    out.parent.mkdir()
    code = "import sys; from wan_flf2v.cli import main; raise SystemExit(main(sys.argv[1:]))"
    words = ["demo", "--out", str(out), "--set", "73_frame_rate=12"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    width, height, frames, rate = facts(out)
    assert f"{width} x {height}, {frames} frames, 12 fps" in done.stdout
    assert rate == 12
    assert "weights" in done.stderr
    ffprobe = shutil.which("ffprobe")
    assert ffprobe or not os.environ.get("CI"), "CI needs ffprobe"
    if ffprobe:
        entries = "stream=codec_name,pix_fmt,width,height,nb_read_frames,r_frame_rate"
        command = [ffprobe, "-v", "error", "-count_frames", "-show_entries", entries, "-of", "json", str(out)]
        (stream,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
        assert (stream["codec_name"], stream["pix_fmt"], stream["r_frame_rate"]) == ("h264", "yuv420p", "12/1")
        assert (stream["width"], stream["height"], int(stream["nb_read_frames"])) == (width, height, frames)
