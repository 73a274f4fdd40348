"""A latent becomes the video that its decoded frames would, and is not lost while it does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from .saving import DEFAULTS, with_hidden

Save = Callable[..., Any]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """As ComfyUI runs its nodes."""
    with torch.inference_mode():
        yield


@pytest.fixture
def graph() -> dict[str, Any]:
    """A prompt around the save node 73."""
    return {
        "39": {"class_type": "VAELoader", "inputs": {"vae_name": "v"}},
        "57": {"class_type": "Sampler", "inputs": {"seed": 5}},
        "71": {"class_type": "WanFLF2VResolution", "inputs": {"width": 40}},
        "73": {
            "class_type": "WanFLF2VSaveVideo",
            "inputs": {**DEFAULTS, "filename_prefix": "clip%Sampler.seed%", "latent": ["57", 0], "vae": ["39", 0]}
            | {"width": ["71", 0]},
        },
    }


@pytest.fixture
def save(
    pack: dict[str, Any], vae: Any, graph: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Save:
    """Runs the node as 73 of the graph, with ComfyUI's output folder in a temporary place; returns its output."""
    import folder_paths
    from comfy_api.latest import io
    from comfy_execution.graph import DynamicPrompt

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    hidden = {
        io.Hidden.prompt: graph,
        io.Hidden.extra_pnginfo: {"workflow": {"nodes": []}},
        io.Hidden.dynprompt: DynamicPrompt(graph),
        io.Hidden.unique_id: "73",
    }
    node = with_hidden(pack["WanFLF2VSaveVideo"], hidden)

    def run(**inputs: Any) -> Any:
        source = {} if "images" in inputs else {"vae": vae}
        return node.execute(**{**DEFAULTS, "filename_prefix": "clip%Sampler.seed%", **source, **inputs})

    return run


def latent(batch: int = 1, length: int = 3, height: int = 6, width: int = 8) -> dict[str, torch.Tensor]:
    return {"samples": torch.randn((batch, 16, length, height, width), generator=torch.Generator().manual_seed(batch))}


def frames_of(path: Path) -> np.ndarray[Any, Any]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize(
    ("batch", "length", "change"),
    [
        (1, 1, {}),
        (1, 5, {"width": 60}),
        (2, 3, {}),
        (2, 4, {"playback": "ping-pong"}),
        (1, 3, {"codec": "ffv1 16-bit"}),
    ],
)
def test_the_videos_are_those_of_the_decoded_frames(
    save: Save, vae: Any, tmp_path: Path, batch: int, length: int, change: dict[str, Any]
) -> None:
    given = latent(batch, length)
    count = 4 * length - 3
    images = vae.decode(given["samples"]).reshape(-1, 48, 64, 3)
    change = {**change, "format": "mkv"}  # lossless: x264 is not the same to the bit each time
    by_images = save(images=images, frames_per_video=count, filename_prefix="images", **change)
    by_latent = save(latent=given, filename_prefix="latent", **change)
    assert torch.equal(by_images.result[1], by_latent.result[1])
    pairs = list(zip(sorted(tmp_path.glob("images_*")), sorted(tmp_path.glob("latent_*")), strict=True))
    assert len(pairs) == batch
    for first, second in pairs:
        assert np.array_equal(frames_of(first), frames_of(second))


def test_a_video_in_parts_is_named_in_its_order(save: Save, vae: Any, tmp_path: Path) -> None:
    given = latent(2, 3)
    images = vae.decode(given["samples"]).reshape(-1, 48, 64, 3)
    save(latent=given, frames_per_video=3, format="mkv")
    expected = (images * 255).round().to(torch.uint8).numpy()
    found = [frames_of(path) for path in sorted(tmp_path.glob("clip5_*.mkv"))]
    assert [len(frames) for frames in found] == [3] * 6
    assert np.array_equal(np.concatenate(found), expected)
    save(latent=given, frames_per_video=9, format="mkv", filename_prefix="whole")
    assert [len(frames_of(path)) for path in tmp_path.glob("whole_*.mkv")] == [9, 9]


def test_the_latent_is_on_the_disk_while_it_decodes_and_gone_with_the_video(
    save: Save, vae: Any, graph: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths
    from safetensors import safe_open

    from nodes import LoadLatent

    seen: list[str] = []
    real = type(vae.first_stage_model).decode
    given = latent()

    def decode(self: Any, z: torch.Tensor, **options: Any) -> torch.Tensor:
        if z.shape[1] == 16:
            seen.extend(path.name for path in tmp_path.iterdir())
            (path,) = tmp_path.glob("*.latent")
            monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
            (loaded,) = LoadLatent().load(path.name)
            assert torch.equal(loaded["samples"], given["samples"])
            with safe_open(path, "pt") as file:
                metadata = {key: json.loads(value) for key, value in file.metadata().items()}
            assert metadata["prompt"] == graph
            assert metadata["workflow"] == {"nodes": []}
            finish = metadata["wan_flf2v_finish"]
            assert set(finish["graph"]) == {"39", "71", "73"}
            assert "latent" not in finish["graph"]["73"]["inputs"]
            assert finish["graph"]["73"]["inputs"]["filename_prefix"] == "clip5"
        return real(self, z, **options)

    monkeypatch.setattr(type(vae.first_stage_model), "decode", decode)
    save(latent=given)
    assert len(seen) == 1
    assert seen[0].startswith("clip5_unfinished_")
    assert [path.name for path in tmp_path.iterdir()] == ["clip5_00001_.mp4"]


def test_after_a_cancel_the_latent_stays_until_the_same_job_is_whole(save: Save, tmp_path: Path) -> None:
    import comfy.model_management as management

    for _ in range(2):
        management.interrupt_current_processing(True)
        with pytest.raises(management.InterruptProcessingException):
            save(latent=latent())
        management.interrupt_current_processing(False)
        (kept,) = tmp_path.iterdir()
        assert kept.suffix == ".latent"
    save(latent=latent(2))
    assert kept.exists(), "another latent's"
    save(latent=latent())
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".mp4"] * 3


def test_without_memory_the_video_is_made_in_tiles_from_its_beginning(
    save: Save, vae: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management as management

    given = latent(1, 4)
    expected = (vae.decode(given["samples"])[0] * 255).round()
    real = vae.first_stage_model.decoder.forward
    calls: list[int] = []

    def forward(x: torch.Tensor, *args: Any, **options: Any) -> Any:
        calls.append(x.shape[2])
        if len(calls) == 2:
            raise management.OOM_EXCEPTION("no memory")
        return real(x, *args, **options)

    monkeypatch.setattr(vae.first_stage_model.decoder, "forward", forward)
    save(latent=given, format="mkv")
    (path,) = tmp_path.iterdir()
    assert np.abs(frames_of(path).astype(float) - expected.numpy()).max() <= 2
    assert len(frames_of(path)) == 13


FULL_DISK = """
import resource, sys
from wan_flf2v.engine.launch import declare_missing_torchvision_operators
sys.path.insert(0, sys.argv.pop(1)); sys.argv, (vae_file, out) = sys.argv[:1], sys.argv[1:]
declare_missing_torchvision_operators()
import comfy.cli_args
comfy.cli_args.args.cpu = True
import torch, comfy.sd, comfy.utils, folder_paths
from wan_flf2v.nodes.save_video import WanFLF2VSaveVideo
folder_paths.output_directory = out
vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(vae_file))
values = dict(frame_rate=16.0, filename_prefix="clip", format="mp4", quality="best", width=0, height=0, frames_per_video=0)
node = WanFLF2VSaveVideo.PREPARE_CLASS_CLONE({})
latent = {"samples": torch.randn(1, 16, 4, 16, 16)}
for limit in (140_000, 1000):  # room for the latent, and not even for that
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with torch.inference_mode():
            node.execute(latent=latent, vae=vae, **values)
    except ValueError as error:
        print(error)
    latent = {"samples": latent["samples"] + 1}
"""


@pytest.mark.slow
def test_a_full_disk_gives_one_clear_error_and_keeps_the_latent(engine: Any, models: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(engine.comfyui), str(models / "vae/wan_2.1_vae.safetensors")]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=True)
    first, second = done.stdout.strip().splitlines()
    (kept,) = tmp_path.iterdir()
    assert kept.suffix == ".latent"
    assert f"nothing can be written to {tmp_path} (File too large). Make room there. `wan-flf2v finish {kept}`" in first
    assert "Make room there. ComfyUI still has the latent: queue again." in second


def test_a_folder_that_is_none_is_not_told_as_a_full_disk(save: Save, tmp_path: Path) -> None:
    (tmp_path / "video").touch()
    told = r"written to .*video \(Not a directory\)\. Make it a folder that ComfyUI may write to\. ComfyUI still has"
    with pytest.raises(ValueError, match=told):
        save(latent=latent(), filename_prefix="video/clip")


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.zeros(1, 4, 8, 8), r"\[1, 4, 8, 8\] and is no Wan video"),
        (torch.zeros(0, 16, 2, 4, 4), r"\[0, 16, 2, 4, 4\] and is no Wan video"),
        (torch.full((1, 16, 2, 4, 4), float("nan")), "no numbers .NaN., so its frames would be black"),
    ],
)
def test_what_is_no_wan_latent_is_refused_and_not_kept(
    save: Save, tmp_path: Path, samples: torch.Tensor, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        save(latent={"samples": samples})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_latent_is_kept_once_for_each_way_of_saving_it(comfy: Any, tmp_path: Path) -> None:
    from wan_flf2v.nodes.host.unfinished import keep

    samples = torch.zeros(1, 16, 1, 2, 2)
    kept = [keep(tmp_path, "clip", samples, {"graph": way}, {}) for way in ("mp4", "webm", "mp4")]
    assert (kept[0] == kept[2], kept[0] == kept[1], len(list(tmp_path.iterdir()))) == (True, False, 2)


def test_without_metadata_a_latent_can_still_be_finished(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management as management
    from comfy.cli_args import args
    from safetensors import safe_open

    monkeypatch.setattr(args, "disable_metadata", True)
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        save(latent=latent())
    management.interrupt_current_processing(False)
    with safe_open(next(tmp_path.glob("*.latent")), "pt") as file:
        assert set(file.metadata()) == {"wan_flf2v_finish"}
