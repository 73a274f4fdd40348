"""SaveVideo writes what was asked for, read back from the files themselves."""

from __future__ import annotations

import itertools
import json
import os
import time
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from .saving import DEFAULTS, Save, clip, read, with_hidden


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


def sound(channels: int, samples: int = 1000, level: float = 0.0) -> dict[str, Any]:
    """Sound of one level."""
    return {"waveform": torch.full((1, channels, samples), level), "sample_rate": 44100}


@pytest.mark.parametrize("rate", [44100, 48000, 22050, 12345, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
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


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_each_channel_of_the_sound_stays_itself(save: Save, container: str) -> None:
    tone = torch.sin(torch.arange(48000) * 2 * torch.pi * 440 / 48000) * 0.5
    audio = {"waveform": torch.stack([torch.zeros_like(tone), tone])[None], "sample_rate": 48000}
    with av.open(str(save(clip(16), audio=audio, format=container)[0])) as opened:
        frames = [frame.to_ndarray() for frame in opened.decode(opened.streams.audio[0])]
    left, right = np.concatenate(frames, 1).reshape(2, -1)
    assert np.abs(left).max() < 0.05 < 0.4 < np.abs(right).max()


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
        ({"filename_prefix": "test/" + "漢" * 67}, "a file name of 201 bytes; it may have 200"),
        ({"images": clip()[:0]}, r"1 or more frames, .* got \[0, 48, 64, 3\]"),
        ({"images": clip()[..., :1]}, "3 or more channels"),
        ({"images": clip() * float("nan")}, "no numbers .NaN., so it shows nothing"),
        ({"audio": sound(0)}, r"audio must be .* got \[1, 0, 1000\]"),
        ({"audio": sound(9)}, r"1 to 8 channels, .* got \[1, 9, 1000\]"),
        ({"audio": sound(2, 0)}, r"1 or more samples. of finite numbers; got \[1, 2, 0\]"),
        ({"audio": sound(2, level=float("inf"))}, "of finite numbers"),
    ],
)
def test_what_cannot_be_saved_is_refused_and_leaves_nothing(
    save: Save, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        save(**{"images": clip(), **change})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("playback", "order"),
    [("once", [0, 1, 2, 3, 4]), ("loop", [0, 1, 2, 3]), ("ping-pong", [0, 1, 2, 3, 4, 3, 2, 1])],
)
@pytest.mark.parametrize("chunk", [1, 2, 16])
def test_no_end_is_doubled_in_a_loop(
    save: Save, playback: str, order: list[int], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wan_flf2v.nodes.host.video_files as module

    monkeypatch.setattr(module, "CHUNK", chunk)
    frames = torch.arange(5).view(5, 1, 1, 1).expand(5, 32, 32, 3) / 5
    _, read_back = read(save(frames, playback=playback, format="mkv")[0])
    assert [round(float(frame.mean()) / 51) for frame in read_back] == order


@pytest.mark.parametrize("playback", ["once", "loop", "ping-pong"])
def test_a_single_frame_is_a_video_of_one_frame(save: Save, playback: str) -> None:
    assert len(read(save(clip(1), playback=playback)[0])[1]) == 1


def test_the_last_frame_comes_out_as_given(
    pack: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    node = with_hidden(pack["WanFLF2VSaveVideo"], {})
    images = torch.cat([clip(5), 1 - clip(5)])
    result = node.execute(images=images, **{**DEFAULTS, "frames_per_video": 5, "width": 60}).result
    assert torch.equal(result[1], images[[4, 9], :, :60])


def test_names_are_filled_in_before_a_folder_is_made(
    pack: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths
    from comfy_api.latest import io

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    hidden = {io.Hidden.prompt: {"57": {"class_type": "Sampler", "inputs": {"seed": 7}}}}
    node = with_hidden(pack["WanFLF2VSaveVideo"], hidden)
    prefix = "%date:yyyy%/%Sampler.seed%_%year%_%width%:x"
    node.execute(images=clip(), **{**DEFAULTS, "filename_prefix": prefix})
    year = datetime.now().year
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mp4")] == [f"{year}/7_{year}_64_x_00001_.mp4"]


def test_a_cancel_leaves_no_file_and_the_name_free(save: Save, tmp_path: Path, comfy: Any) -> None:
    import comfy.model_management as management

    for change in ({}, {"format": "png"}, {"playback": "ping-pong"}):
        management.interrupt_current_processing(True)
        with pytest.raises(management.InterruptProcessingException):
            save(clip(40), **change)
        management.interrupt_current_processing(False)
        assert not list((tmp_path / "test").iterdir())
    assert save(clip())[0].name == "clip_00001_.mp4"


@pytest.mark.parametrize("at", [0, 1, 2, "the end"])
def test_a_fault_of_the_encoder_at_any_frame_is_told_and_leaves_no_file(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: Any
) -> None:
    import wan_flf2v.nodes.host.video_files as module
    from wan_flf2v.nodes.host.writer import VideoWriter

    calls = itertools.count()
    encode = VideoWriter.encode

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def encode_until(writer: Any, pixels: Any) -> None:
        if next(calls) == at:
            full()
        encode(writer, pixels)

    monkeypatch.setattr(module, "CHUNK", 2)
    monkeypatch.setattr(VideoWriter, "encode", encode_until)
    if at == "the end":
        monkeypatch.setattr(VideoWriter, "finish", full)
    with pytest.raises(ValueError, match=r"No space left on device.*Make room there"):
        save(clip(6), format="mkv")  # whose encoder holds no frame back, so that a file is begun
    assert not list((tmp_path / "test").iterdir())


def test_what_a_killed_save_left_is_removed_after_a_day(save: Save, tmp_path: Path) -> None:
    left = [tmp_path / "test" / f".clip_00001_0_{process}.partial" for process in ("killed", "its_pictures", "living")]
    left[0].parent.mkdir()
    left[1].mkdir()
    (left[1] / "00001.png").touch()
    for path in (left[0], left[2]):
        path.touch()
    for path in left[:2]:
        os.utime(path, (time.time() - 90_000,) * 2)
    save(clip())
    assert [path.exists() for path in left] == [False, False, True]


def test_two_comfyuis_that_save_into_one_folder_make_two_videos(
    comfy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wan_flf2v.nodes.host.video_files as module
    from wan_flf2v.nodes.host.codecs import encoding_of
    from wan_flf2v.nodes.host.writer import Contents

    encoding, contents = encoding_of("mkv", "default", "auto", -1), Contents(Fraction(16), 64, 48)

    def begun() -> Any:
        return module.VideoFiles(
            module.Names(tmp_path, "clip", 1, ".mkv"), encoding, contents, frames=6, frames_per_file=6
        )

    with begun() as first:
        first.write(0, clip()[:3])
        first._pending.result()  # type: ignore[union-attr]
        monkeypatch.setattr(module, "_PROCESS", "another", raising=False)
        with begun() as second:
            second.write(0, 1 - clip())
        first.write(0, clip()[3:])
    for files, expected in ((first, clip()), (second, 1 - clip())):
        with av.open(str(files.saved[0])) as video:
            found = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
        assert np.array_equal(found, module.to_pixels(expected, 8))


def test_a_file_has_another_name_until_it_is_whole(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wan_flf2v.nodes.host.writer as module

    seen: list[list[str]] = []
    real = module.VideoWriter.finish

    def finish(self: Any) -> None:
        real(self)
        seen.append([path.name for path in (tmp_path / "test").iterdir()])

    monkeypatch.setattr(module.VideoWriter, "finish", finish)
    assert save(clip())[0].name == "clip_00001_.mp4"
    assert [[name.rpartition("_")[0] for name in names] for names in seen] == [[".clip_00001_0"]]


def test_either_images_or_a_latent_with_its_vae(pack: dict[str, Any]) -> None:
    node = pack["WanFLF2VSaveVideo"]
    assert node.validate_inputs(images=None) is True
    assert node.validate_inputs(latent=None, vae=None) is True
    for wrong in ({}, {"latent": None}, {"vae": None}, {"images": None, "vae": None}, {"images": None, "latent": None}):
        assert "connect either images, or latent and vae" in node.validate_inputs(**wrong)
    with pytest.raises(ValueError, match="connected: none of them"):
        node.execute(**DEFAULTS)
