"""SaveVideo writes what was asked for, read back from the files themselves."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

DEFAULTS: dict[str, Any] = {
    "frame_rate": 16.0,
    "filename_prefix": "test/clip",
    "format": "mp4",
    "quality": "default",
    "width": 0,
    "height": 0,
    "frames_per_video": 0,
}
Save = Callable[..., list[Path]]


def with_hidden(node: Any, hidden: dict[Any, Any]) -> Any:
    """The node as ComfyUI's executor prepares it; newer versions wrap the hidden inputs once more."""
    (name,) = inspect.signature(node.PREPARE_CLASS_CLONE).parameters
    return node.PREPARE_CLASS_CLONE(hidden if name == "hidden_inputs" else {"hidden_inputs": hidden})


@pytest.fixture
def save(pack: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Runs the node with ComfyUI's output folder in a temporary place; returns the files."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    node = with_hidden(pack["WanFLF2VSaveVideo"], {})

    def run(images: torch.Tensor, **changes: Any) -> list[Path]:
        output = node.execute(images=images, **{**DEFAULTS, **changes})
        shown = output.ui.as_dict() if hasattr(output.ui, "as_dict") else output.ui
        assert len(output.result[0]) == len(shown["images"])
        return [tmp_path / item["subfolder"] / item["filename"] for item in shown["images"]]

    return run


def clip(count: int = 6, height: int = 48, width: int = 64) -> torch.Tensor:
    """A left-to-right ramp that brightens from frame to frame."""
    ramp = torch.linspace(0, 1, width).view(1, 1, width, 1).expand(count, height, width, 3)
    return (ramp * torch.linspace(0.3, 1, count).view(count, 1, 1, 1)).contiguous()


def read(path: Path) -> tuple[Any, np.ndarray[Any, Any]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        facts = {
            "codec": stream.codec_context.name,
            "pixels": stream.codec_context.pix_fmt,
            "rate": stream.average_rate,
            "size": (stream.width, stream.height),
            "audio": [(s.codec_context.name, s.codec_context.sample_rate) for s in container.streams.audio],
            "metadata": dict(container.metadata),
        }
    return facts, np.stack(frames)


@pytest.mark.parametrize("quality", ["default", "best", "high", "medium", "small"])
@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_files_play_everywhere_and_show_the_frames(save: Save, container: str, quality: str) -> None:
    (path,) = save(clip(), format=container, quality=quality)
    facts, frames = read(path)
    assert path.suffix == f".{container}"
    assert facts["codec"] == {"mp4": "h264", "webm": "vp9"}[container]
    assert facts["pixels"] == "yuv420p"
    assert facts["size"] == (64, 48)
    assert frames.shape == (6, 48, 64, 3)
    error = np.abs(frames.astype(float) - clip().numpy() * 255).mean()
    assert error < (4 if quality != "small" else 8)


def test_a_better_quality_makes_a_larger_file(save: Save) -> None:
    noise = torch.rand(4, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    for container in ("mp4", "webm"):
        sizes = [
            save(noise, format=container, quality=quality)[0].stat().st_size for quality in ("best", "high", "small")
        ]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("rate", "expected"), [(1, 1), (16, 16), (24, 24), (120, 120), (23.976, Fraction(24000, 1001))]
)
@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_the_frame_rate_is_the_asked_one(save: Save, rate: float, expected: Any, container: str) -> None:
    facts, _ = read(save(clip(), frame_rate=rate, format=container)[0])
    assert float(facts["rate"]) == pytest.approx(float(expected), rel=1e-3)


def test_the_exact_size_is_cropped_back_from_the_top_left(save: Save) -> None:
    images = clip(3, 48, 64)
    (path,) = save(images, width=60, height=46, quality="best")
    facts, frames = read(path)
    assert facts["size"] == (60, 46)
    assert np.abs(frames.astype(float) - images[:, :46, :60].numpy() * 255).mean() < 4


def test_one_file_for_each_video_of_a_batch(save: Save) -> None:
    images = torch.cat([clip(5), 1 - clip(5)])
    paths = save(images, frames_per_video=5)
    assert len(set(paths)) == 2
    means = [read(path)[1].mean() for path in paths]
    assert means[0] < 110 < means[1]


def test_nothing_is_overwritten(save: Save) -> None:
    assert save(clip())[0] != save(clip())[0]


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "quality"), [("mp4", "default"), ("mp4", "high"), ("webm", "default")])
def test_sound_is_kept_and_cut_to_the_video(save: Save, container: str, quality: str, rate: int, channels: int) -> None:
    tone = torch.sin(torch.arange(3 * rate) * 2 * torch.pi * 440 / rate).expand(1, channels, -1) * 0.5
    audio = {"waveform": tone.contiguous(), "sample_rate": rate}
    (path,) = save(clip(16), audio=audio, format=container, quality=quality)
    with av.open(str(path)) as opened:
        sound = opened.streams.audio[0]
        frames = list(opened.decode(sound))
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    assert np.abs(samples).max() > 0.2
    assert sum(frame.samples for frame in frames) / frames[0].sample_rate == pytest.approx(1, abs=0.1)


def test_metadata_carries_prompt_and_workflow_unless_disabled(
    pack: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths
    from comfy.cli_args import args
    from comfy_api.latest import io

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    hidden = {io.Hidden.prompt: {"1": {"class_type": "X"}}, io.Hidden.extra_pnginfo: {"workflow": {"nodes": []}}}
    node = with_hidden(pack["WanFLF2VSaveVideo"], hidden)
    for container, quality in (("mp4", "default"), ("mp4", "high"), ("webm", "default")):
        change = {"format": container, "quality": quality, "filename_prefix": f"{container}{quality}"}
        monkeypatch.setattr(args, "disable_metadata", False)
        node.execute(images=clip(), **{**DEFAULTS, **change})
        facts, _ = read(next(tmp_path.glob(f"{container}{quality}*")))
        found = {key.lower(): value for key, value in facts["metadata"].items()}
        assert json.loads(found["prompt"]) == {"1": {"class_type": "X"}}
        assert json.loads(found["workflow"]) == {"nodes": []}
        monkeypatch.setattr(args, "disable_metadata", True)
        node.execute(images=clip(), **{**DEFAULTS, **change, "filename_prefix": f"bare{container}{quality}"})
        bare = read(next(tmp_path.glob(f"bare{container}{quality}*")))[0]["metadata"]
        assert not {"prompt", "workflow"} & {key.lower() for key in bare}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 63}, "width must be even, because yuv420p"),
        ({"width": 128}, "64 x 48 pixels, too small for the asked 128 x 48"),
        ({"frames_per_video": 4}, "6 frames cannot be split into videos of 4 frames"),
        ({"frame_rate": 0.5}, "frame_rate must be between 1 and 120"),
        ({"frame_rate": 121}, "frame_rate must be between 1 and 120"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_nothing(
    save: Save, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        save(clip(), **change)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
