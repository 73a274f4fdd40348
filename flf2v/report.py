"""What can be measured of a finished first-to-last-frame video without any model.

Frames are ``[F, H, W, 3]`` with values in [0, 1], pictures ``[H, W, 3]`` prepared to the same size. Differences of
brightness and colour are on the 0..1 scale, levels in dB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch.nn.functional import conv2d

from .errors import FLF2VError
from .motion import SMALLEST_CHANGE, Joint, Motion

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709
LAST_FRAMES = 4  # one latent frame: where a flash at the end shows
STILL = 0.1  # of the usual change: below it a step counts as frozen


@dataclass(frozen=True)
class Endpoint:
    """How closely one end is reached; ``ceiling`` is the PSNR of the picture itself after the VAE, where known."""

    psnr: float
    ssim: float
    mae: float
    ceiling: float | None = None


@dataclass(frozen=True)
class Report:
    """Every figure of a video; the lists have one entry per frame, ``change`` one per step between frames.

    luma_drift, colour_drift: largest distance of a frame's mean luma / mean colour from the straight line between the
    two pictures. end_flash: largest luma step among the last four over the median step. frozen: share of steps that
    change less than a tenth of the median at both ends. pace_variation: standard deviation over mean of the change.
    motion: distance of the middle third's frames from their best cross-fade of the two pictures, over half the distance
    of the pictures; about 0 is a dissolve. loop_seam: change from last to first frame over the median change. arrival,
    dissolve, joints: as in ``Motion``. flicker: mean over frames and pixels of what goes up and down again from frame to
    frame, ``flickers`` for each frame between two others.
    """

    frames: int
    first: Endpoint | None
    last: Endpoint | None
    luma_drift: float | None
    colour_drift: float | None
    end_flash: float
    frozen: float
    pace_variation: float
    motion: float | None
    loop_seam: float
    luma: list[float]
    change: list[float]
    sharpness: list[float]
    arrival: float | None = None
    dissolve: float | None = None
    flicker: float = 0.0
    flickers: list[float] = field(default_factory=list)
    joints: list[Joint] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it: infinite levels become None."""
        return {name: _finite(value) for name, value in asdict(self).items()}

    def warnings(self) -> list[str]:
        """What a viewer would notice, in words."""
        notes = []
        for name, end in (("first", self.first), ("last", self.last)):
            if end is not None and end.ceiling is not None and end.psnr < end.ceiling - 3:
                notes.append(f"the {name} frame is {end.ceiling - end.psnr:.1f} dB below what the VAE allows")
            elif end is not None and end.psnr < 20:
                notes.append(f"the {name} frame is missed: {end.psnr:.1f} dB")
        if self.end_flash > 4:
            notes.append(f"brightness jumps in the last frames, {self.end_flash:.1f} times the usual step")
        if self.frozen > 0.5:
            notes.append(f"{self.frozen:.0%} of the video stands still")
        if self.motion is not None and self.motion < 0.2:
            notes.append("the middle is a cross-fade of the two pictures rather than motion")
        if self.luma_drift is not None and self.luma_drift > 0.08:
            notes.append(f"brightness drifts by {self.luma_drift:.2f} on the way")
        if self.arrival is not None and self.arrival < 0.75:
            notes.append(
                f"the last picture is there after {self.arrival:.0%} of the length, and stands still from there"
            )
        if self.flicker > 0.01:
            notes.append(f"pixels flicker by {self.flicker:.3f} from frame to frame")
        for joint in self.joints:
            if joint.seam_ratio > 3:
                notes.append(
                    f"the picture jumps at the joint {joint.frame}, {joint.seam_ratio:.1f} times the usual step"
                )
            elif joint.velocity_break > 0.5:
                notes.append(f"motion breaks at the joint {joint.frame}: velocity break {joint.velocity_break:.2f}")
        return notes

    def text(self) -> str:
        """The figures in a few lines."""
        lines = [f"{self.frames} frames"]
        for name, end in (("first", self.first), ("last", self.last)):
            if end is not None:
                ceiling = "" if end.ceiling is None else f" (VAE alone {_level(end.ceiling)})"
                lines.append(f"{name} frame  PSNR {_level(end.psnr)}{ceiling}  SSIM {end.ssim:.3f}  MAE {end.mae:.4f}")
        if self.luma_drift is not None:
            lines.append(f"drift  luma {self.luma_drift:.3f}  colour {self.colour_drift:.3f}")
        lines.append(
            f"end flash {self.end_flash:.2f} x  frozen {self.frozen:.0%}  pace variation {self.pace_variation:.2f}"
        )
        motion = "" if self.motion is None else f"motion {self.motion:.2f} (0 = cross-fade)  "
        lines.append(f"{motion}loop seam {self.loop_seam:.2f} x")
        arrival = "" if self.last is None else f"arrival {'never' if self.arrival is None else f'{self.arrival:.0%}'}  "
        dissolve = "" if self.dissolve is None else f"dissolve {self.dissolve:.2f}  "
        lines.append(f"{arrival}{dissolve}flicker {self.flicker:.4f}")
        for joint in self.joints:
            lines.append(
                f"joint {joint.frame}  seam ratio {joint.seam_ratio:.2f}  velocity break {joint.velocity_break:.2f}"
            )
        return "\n".join(lines + [f"Warning: {note}" for note in self.warnings()])


def measure(
    frames: Iterable[torch.Tensor],
    first: torch.Tensor | None = None,
    last: torch.Tensor | None = None,
    ceilings: tuple[float | None, float | None] = (None, None),
    each: Callable[[int], None] = lambda number: None,
    joints: Sequence[int] = (),
) -> Report:
    """Measure a video against its prepared pictures, frame by frame; ``each`` is told the number of every frame.

    ``joints`` are the numbers of frames at which two clips meet. Frames and pictures may lie on any device. Raises
    FLF2VError for shapes that do not go together and for joints that are not within the video.
    """
    series = _Series(first, last)
    for number, frame in enumerate(frames):
        each(number)
        series.add(frame)
    return series.report(ceilings, joints)


class _Series:
    """What is measured of each frame, on the CPU; of the frames the first and the last two are held."""

    def __init__(self, first: torch.Tensor | None, last: torch.Tensor | None) -> None:
        self._first, self._last = (None if picture is None else picture.cpu().float() for picture in (first, last))
        self._opening: torch.Tensor | None = None
        self._latest: torch.Tensor | None = None
        self._colours: list[torch.Tensor] = []
        self._sharpness: list[float] = []
        if self._first is not None and self._last is not None:
            check_frame(self._first, [self._last])
        self._motion = Motion(self._first, self._last)

    def add(self, frame: torch.Tensor) -> None:
        """Measure the next frame."""
        frame = frame.cpu().float()
        if self._opening is None:
            check_frame(frame, [picture for picture in (self._first, self._last) if picture is not None])
            self._opening = frame
        self._colours.append(frame.mean((0, 1)))
        self._sharpness.append(_sharpness(frame))
        self._motion.add(frame)
        self._latest = frame

    def report(self, ceilings: tuple[float | None, float | None], joints: Sequence[int]) -> Report:
        """All figures. Raises FLF2VError for fewer than 3 frames."""
        count = len(self._colours)
        if count < 3 or self._opening is None or self._latest is None:
            raise FLF2VError(f"a video must have 3 frames or more; got {count}.")
        colours, change = torch.stack(self._colours), torch.tensor(self._motion.change)
        luma = colours @ torch.tensor(LUMA)
        steps = luma.diff().abs()
        usual = max(float(change.median()), SMALLEST_CHANGE)
        quarter = max(1, len(change) // 4)
        at_ends = float(torch.cat([change[:quarter], change[-quarter:]]).median())
        luma_drift = colour_drift = None
        if self._first is not None and self._last is not None:
            along = torch.linspace(0, 1, count)[:, None]
            off = colours - (self._first.mean((0, 1)) * (1 - along) + self._last.mean((0, 1)) * along)
            colour_drift = float(off.norm(dim=1).max())
            luma_drift = float((off @ torch.tensor(LUMA)).abs().max())
        middle = self._motion.off_fade[count // 3 : count - count // 3]
        return Report(
            frames=count,
            first=None if self._first is None else _endpoint(self._opening, self._first, ceilings[0]),
            last=None if self._last is None else _endpoint(self._latest, self._last, ceilings[1]),
            luma_drift=luma_drift,
            colour_drift=colour_drift,
            end_flash=float(steps[-LAST_FRAMES:].max()) / max(float(steps.median()), SMALLEST_CHANGE),
            frozen=float((change < max(STILL * at_ends, SMALLEST_CHANGE)).float().mean()),
            pace_variation=float(change.std(correction=0) / max(float(change.mean()), SMALLEST_CHANGE)),
            motion=float(torch.tensor(middle).median()) if middle else None,
            loop_seam=float((self._latest - self._opening).abs().mean()) / usual,
            luma=luma.tolist(),
            change=self._motion.change,
            sharpness=self._sharpness,
            arrival=self._motion.arrival(),
            dissolve=self._motion.dissolve(),
            flicker=float(torch.tensor(self._motion.flicker).mean()),
            flickers=self._motion.flicker,
            joints=self._motion.joints(joints),
        )


def check_frame(frame: torch.Tensor, pictures: Sequence[torch.Tensor] = ()) -> None:
    """Raise FLF2VError unless this is an RGB frame, and the pictures have just its size."""
    if frame.ndim != 3 or frame.shape[-1] != 3:
        raise FLF2VError(f"a video's frame must be [height, width, 3]; got {list(frame.shape)}.")
    for picture in pictures:
        if picture.shape != frame.shape:
            raise FLF2VError(
                f"the pictures must have the frames' size {frame.shape[1]} x {frame.shape[0]}; "
                f"got {picture.shape[1]} x {picture.shape[0]}."
            )


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of values in [0, 1]; infinite for equal ones."""
    error = float((a.detach().float() - b.detach().float()).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(a: torch.Tensor, b: torch.Tensor) -> float:
    """Structural similarity of two pictures' luma (Wang et al. 2004: Gaussian window, sigma 1.5, K 0.01 and 0.03)."""
    ticks = torch.arange(11, dtype=torch.float64) - 5  # float32 loses the small variances of flat pictures
    line = torch.exp(-ticks.square() / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    weights = torch.tensor(LUMA, dtype=torch.float64)
    x, y = ((picture.double() @ weights)[None, None] for picture in (a, b))
    mean_x, mean_y = conv2d(x, window), conv2d(y, window)
    var_x = conv2d(x * x, window) - mean_x.square()
    var_y = conv2d(y * y, window) - mean_y.square()
    both = conv2d(x * y, window) - mean_x * mean_y
    top = (2 * mean_x * mean_y + 0.01**2) * (2 * both + 0.03**2)
    return float((top / ((mean_x.square() + mean_y.square() + 0.01**2) * (var_x + var_y + 0.03**2))).mean())


def _endpoint(frame: torch.Tensor, picture: torch.Tensor, ceiling: float | None) -> Endpoint:
    mae = float((frame - picture).abs().mean())
    return Endpoint(psnr(frame, picture), ssim(frame, picture), mae, ceiling)


def _sharpness(frame: torch.Tensor) -> float:
    """Variance of the luma's Laplacian: larger is sharper."""
    luma = frame @ frame.new_tensor(LUMA)
    kernel = luma.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return float(conv2d(luma[None, None], kernel).var())


def _level(value: float) -> str:
    return "exact" if math.isinf(value) else f"{value:.1f} dB"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
