"""Every format and codec shows what was given, in the quality that was asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from wan_flf2v.tests.missing import missing

from .saving import DEFAULTS, Save, clip


def test_a_better_quality_makes_a_larger_file(save: Save) -> None:
    noise = torch.rand(4, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    for container in ("mp4", "webm"):
        sizes = [
            save(noise, format=container, quality=quality)[0].stat().st_size for quality in ("best", "high", "small")
        ]
        assert sizes == sorted(sizes, reverse=True)


FORMAT_OF = {"h264": "mp4", "h265": "mov", "av1": "mp4", "vp9": "webm", "prores": "mov", "ffv1": "mkv"}


def every_codec() -> list[str]:
    """The codecs that this PyAV can write."""
    from wan_flf2v.nodes.host.codecs import CODECS

    return list(CODECS)


def colours() -> torch.Tensor:
    """24 saturated colours and a ramp as patches of 32 x 32 pixels, three frames alike."""
    levels = [(r, g, b) for r in (0, 127, 255) for g in (0, 127, 255) for b in (0, 127, 255) if len({r, g, b}) > 1]
    patches = [*levels, *((grey, grey, grey) for grey in range(0, 256, 17))]
    assert len(levels) == 24
    rows = torch.tensor(patches, dtype=torch.float32).view(5, 8, 1, 3)
    return (rows.repeat_interleave(32, 0).repeat_interleave(32, 1).view(1, 160, 256, 3) / 255).repeat(3, 1, 1, 1)


def by_ffmpeg(path: Path, size: tuple[int, int], bits: int = 8) -> np.ndarray[Any, Any]:
    """The frames as an independent decoder shows them, by the tags of the file."""
    kind, dtype = ("rgb24", np.uint8) if bits == 8 else ("rgb48le", np.uint16)
    exact = "scale=flags=accurate_rnd+full_chroma_int+full_chroma_inp+bicubic"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vf", exact, "-pix_fmt", kind, "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, dtype).reshape(-1, size[1], size[0], 3).astype(int)


def tags(path: Path) -> dict[str, str]:
    """What ffprobe says of the video stream."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_streams", "-of", "json", str(path)]
    stream: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"][0]
    return stream


def test_every_codec_shows_the_colours_that_were_given_and_says_how(
    save: Save, comfy: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("ffmpeg") is None:
        missing("no ffmpeg (apt-get install ffmpeg)")
    for codec in every_codec():
        lossless, bits = codec.startswith("ffv1"), 16 if codec == "ffv1 16-bit" else 8
        given = (colours() * (2**bits - 1)).round().numpy().astype(int)
        (path,) = save(colours(), codec=codec, format=FORMAT_OF[codec.split()[0]], quality="best")
        error = np.abs(by_ffmpeg(path, (256, 160), bits) - given)
        inside_of_patches = error.reshape(3, 5, 32, 8, 32, 3)[:, :, 8:24, :, 8:24]
        assert (error if lossless else inside_of_patches).max() <= (0 if lossless else 2), codec
        said = tags(path)
        assert (said["color_primaries"], said["color_transfer"]) == ("bt709", "bt709"), codec
        if codec == "h265":
            assert said["codec_tag_string"] == "hvc1", "Apple's players take no other"
        if bits == 8:  # of 16 bits the pixels themselves say that they are RGB
            assert (said["color_space"], said["color_range"]) == (("gbr", "pc") if lossless else ("bt709", "tv")), codec
    assert "Svt" not in capfd.readouterr().err, "an encoder talks about its settings"


def test_pictures_are_exact_and_carry_the_workflow(save: Save) -> None:
    paths = save(colours(), format="png")
    assert [path.name for path in paths] == ["00001.png", "00002.png", "00003.png"]
    assert paths[0].parent.name == "clip_00001_"
    for path in paths:
        assert np.array_equal(np.asarray(Image.open(path)), (colours()[0] * 255).round().numpy().astype(np.uint8))
    assert save(colours(), format="png")[0].parent.name == "clip_00002_"


def test_only_codecs_that_are_there_are_offered(pack: dict[str, Any], comfy: Any) -> None:
    offered = next(given for given in pack["WanFLF2VSaveVideo"].GET_SCHEMA().inputs if given.id == "codec").options
    assert offered == ["auto", *every_codec()]
    for codec in every_codec():
        assert any(name in av.codecs_available for name in CODEC_NAMES[codec.split()[0]]), codec


CODEC_NAMES = {
    "h264": ["libx264", "h264"],
    "h265": ["libx265"],
    "av1": ["libsvtav1", "libaom-av1"],
    "vp9": ["libvpx-vp9"],
    "prores": ["prores_ks"],
    "ffv1": ["ffv1"],
}


@pytest.mark.parametrize(("codec", "format"), [("h264", "mp4"), ("vp9", "webm"), ("av1", "mp4"), ("h265", "mkv")])
def test_an_exact_crf_is_obeyed(save: Save, codec: str, format: str, comfy: Any) -> None:
    if codec not in every_codec():
        pytest.skip(f"this PyAV has no {codec}")
    noise = torch.rand(4, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    sizes = [save(noise, codec=codec, format=format, crf=crf)[0].stat().st_size for crf in (10, 30, 50)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": "h264", "format": "webm"}, "h264 cannot be saved as webm; set format to mp4 or mov or mkv"),
        ({"format": "mov", "crf": 20}, "prores has no crf; set crf to -1"),
        ({"format": "png", "codec": "h264"}, "png writes lossless pictures"),
        ({"crf": 52}, "crf of h264 must be at most 51; got 52"),
    ],
)
def test_encodings_that_cannot_be_are_refused_before_a_job_is_queued(
    pack: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    node = pack["WanFLF2VSaveVideo"]
    assert message in node.validate_inputs(**{"images": None, **change})
    with pytest.raises(ValueError, match=message):
        node.execute(images=clip(), **{**DEFAULTS, **change})
