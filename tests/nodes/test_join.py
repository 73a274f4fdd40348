"""Joining by copying packets: the film's frames are the pieces' frames, and nothing is held."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from wan_flf2v.flf2v.errors import FLF2VError

CODECS = {"mp4": ("libx264", {"crf": "23", "forced-idr": "1"}), "webm": ("libvpx-vp9", {"b": "0", "crf": "31"})}


@pytest.fixture
def join(comfy: ModuleType) -> ModuleType:
    from wan_flf2v.nodes.host import join

    return join


def encode(
    path: Path,
    frames: int,
    seed: int,
    *,
    alone: Sequence[int] = (),
    rate: Fraction = Fraction(16),
    size: int = 64,
    large: bool = False,
) -> Path:
    """A video of moving noise (new noise when ``large``); the frames ``alone`` begin a group of pictures."""
    codec, options = CODECS[path.suffix[1:]]
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 255, (48, size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = size, 48, "yuv420p"
        for number in range(frames):
            shown = generator.permutation(pixels) if large else np.roll(pixels, number, 1)
            frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            if number in alone:
                frame.pict_type = PictureType.I
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def hashes(path: Path) -> list[str]:
    with av.open(str(path)) as video:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in video.decode(video=0)]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as video:
        return [float(frame.time) for frame in video.decode(video=0)]


@pytest.mark.parametrize("container", CODECS)
@pytest.mark.parametrize("rate", [Fraction(16), Fraction(30000, 1001)], ids=["16", "29.97"])
def test_the_films_frames_are_the_pieces_frames_without_the_doubled_ones(
    join: ModuleType, tmp_path: Path, container: str, rate: Fraction
) -> None:
    lengths = (17, 5, 9, 33)
    files = [
        encode(tmp_path / f"{seed}.{container}", length, seed, alone=[length - 1], rate=rate)
        for seed, length in enumerate(lengths)
    ]
    pieces = [join.Piece(file, 0, length - 1) for file, length in zip(files[:-1], lengths, strict=False)]
    film = tmp_path / f"film.{container}"
    join.join_videos([*pieces, join.Piece(files[-1], 0, lengths[-1])], film)
    expected = [frame for file in files[:-1] for frame in hashes(file)[:-1]] + hashes(files[-1])
    assert hashes(film) == expected
    assert len(expected) == sum(lengths) - 3
    assert times(film) == pytest.approx([number / float(rate) for number in range(len(expected))], abs=0.002)
    with av.open(str(film)) as video:
        assert float(video.streams.video[0].average_rate) == pytest.approx(float(rate), rel=1e-3)
    assert sorted(path.name for path in tmp_path.glob("film*")) == [film.name]


@pytest.mark.parametrize("container", CODECS)
def test_first_frames_can_be_left_out_where_a_group_begins(join: ModuleType, tmp_path: Path, container: str) -> None:
    first = encode(tmp_path / f"a.{container}", 9, 0)
    second = encode(tmp_path / f"b.{container}", 17, 1, alone=[5])
    join.join_videos([join.Piece(first, 0, 9), join.Piece(second, 5, 17)], tmp_path / f"film.{container}")
    assert hashes(tmp_path / f"film.{container}") == hashes(first) + hashes(second)[5:]


def test_one_piece_joined_is_that_piece(join: ModuleType, tmp_path: Path) -> None:
    piece = encode(tmp_path / "a.mp4", 17, 0)
    join.join_videos([join.Piece(piece, 0, 17)], tmp_path / "film.mp4")
    assert hashes(tmp_path / "film.mp4") == hashes(piece)


def test_a_clips_frames_are_shown_alike_whole_and_some_at_a_time_and_its_last_ones_are_kept(
    comfy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from wan_flf2v.flf2v.colour import match_colours
    from wan_flf2v.nodes.host import pieces

    monkeypatch.setattr(pieces, "temporary_folder", lambda: tmp_path)
    frames = torch.rand(17, 48, 64, 3, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    match = match_colours(frames[0], frames[1] * 0.9)
    shown = pieces.Shown(60, 40, 16, carried=5, kept=5, match=match)
    expected = shown.frames(frames, 0, 17)
    assert expected.shape == (17, 40, 60, 3)
    with pieces.ClipFile(shown, 17) as file:
        for first in (0, 1, 5, 9, 13):
            file.write(0, frames[first : {0: 1}.get(first, first + 4)])
    assert torch.equal(file.tail, expected[-5:])
    assert file.tail.untyped_storage().nbytes() == file.tail.nbytes, "no more of the clip is held"
    wholly = match.inverse().moved(frames[:, :40, :60])
    assert [torch.equal(expected[number], wholly[number]) for number in range(4, 6)] == [True, False]
    whole = pieces.write_images(expected, pieces.Shown(60, 40, 16, carried=5))
    assert len(whole.tail) == 0, "nothing is kept where nothing is carried on"
    assert hashes(file.saved[0]) == hashes(whole.saved[0])
    pieces.join_videos([pieces.Piece(file.saved[0], 5, 16)], tmp_path / "film.mp4")
    assert hashes(tmp_path / "film.mp4") == hashes(file.saved[0])[5:16]


def test_a_folder_that_is_none_is_one_error_that_names_what_is_kept(
    comfy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from wan_flf2v.nodes.host import pieces

    monkeypatch.setattr(pieces, "temporary_folder", lambda: Path("/dev/full/clips"))
    with pytest.raises(FLF2VError, match=r"nothing can be written to .*ComfyUI may write to\. ComfyUI keeps"):
        pieces.write_images(torch.zeros(5, 48, 64, 3), pieces.Shown(64, 48, 16))


def test_what_can_not_be_copied_is_refused_and_leaves_no_file(join: ModuleType, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    whole = encode(tmp_path / "a.mp4", 17, 0)
    refused: dict[str, list[Any]] = {
        "a.mp4 can't be cut to the frames 0 to 15 without encoding": [join.Piece(whole, 0, 16)],
        "a.mp4 can't be cut to the frames 3 to 16": [join.Piece(whole, 3, 17)],
        "a.mp4 has 17 of the frames 0 to 19": [join.Piece(whole, 0, 20)],
        "b.mp4 is encoded otherwise": [
            join.Piece(whole, 0, 17), join.Piece(encode(tmp_path / "b.mp4", 9, 1, size=80), 0, 9),
        ],
        "c.mp4 is encoded otherwise": [
            join.Piece(whole, 0, 17), join.Piece(encode(tmp_path / "c.mp4", 9, 1, rate=Fraction(24)), 0, 9),
        ],
        "the video of a segment is gone: .*gone.mp4. Clear ComfyUI's node cache": [join.Piece(tmp_path / "gone.mp4", 0, 5)],
    }  # fmt: skip
    for message, pieces in refused.items():
        with pytest.raises(FLF2VError, match=message):
            join.join_videos(pieces, film)
    assert not list(tmp_path.glob("film*"))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read as Linux gives it")
def test_the_join_of_12_pieces_needs_no_more_memory_than_of_two(join: ModuleType, tmp_path: Path) -> None:
    piece = join.Piece(encode(tmp_path / "a.mp4", 81, 0, size=1280, large=True), 0, 81)

    def peak_kib(count: int) -> int:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        join.join_videos([piece] * count, tmp_path / "film.mp4")
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

    peak_kib(12)
    two = peak_kib(2)
    assert peak_kib(12) - two < piece.path.stat().st_size / 1024, "less than one piece more for ten more"
    with av.open(str(tmp_path / "film.mp4")) as video:
        assert video.streams.video[0].frames == 12 * 81
