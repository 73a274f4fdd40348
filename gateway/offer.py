"""Which models this gateway offers now, and how each facade's fields become the values of a workflow."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..providers.models import model
from ..workflows import Bindings, FieldError, available_bindings
from ..workflows.boards import board_of, with_length
from ..workflows.examples import MICRO_SIDE, MICRO_VALUES
from ..workflows.fields import Value, check_fields
from .errors import Invalid, NotFound, Unavailable
from .settings import Limits
from .tables import Worker

WAVESPEED_MODEL = "wavespeed-ai/wan-flf2v"
WAVESPEED_FIELDS = model("wavespeed", WAVESPEED_MODEL).fields
WAVESPEED_FRAME_RATE = 16
_STANDARD = ("wan21_flf2v", "wan22_flf2v")  # WaveSpeed's model is Wan 2.1
_FAST = "wan22_flf2v_4step"


def every_workflow() -> dict[str, Bindings]:
    """All shipped workflows that a gateway could offer, by name."""
    return {name: Bindings.load(name) for name in available_bindings()}


@dataclass(frozen=True)
class Offer:
    """The workflows that some living worker can run: a job goes to one that can."""

    workflows: Mapping[str, Bindings] = field(default_factory=dict)

    @classmethod
    def of(cls, workers: Iterable[Worker]) -> Offer:
        """What any of these workers can run."""
        names = {name for worker in workers for name in worker.workflows}
        return cls({name: bindings for name, bindings in every_workflow().items() if name in names})

    def by_model(self, model: str) -> Bindings:
        """The workflow of a RunComfy model id. Raises NotFound or Unavailable."""
        return self._one({bindings.model: bindings for bindings in every_workflow().values()}.get(model), model)

    def by_name(self, name: str) -> Bindings:
        """The workflow of a deployment id. Raises NotFound or Unavailable."""
        return self._one(every_workflow().get(name), name)

    def _one(self, bindings: Bindings | None, name: str) -> Bindings:
        if bindings is None:
            raise NotFound(f"There is no model {name[:100]!r} here.")
        if bindings.name not in self.workflows:
            raise Unavailable(f"{bindings.model} can't be run now: no ready worker has its files.", retry_after_s=10)
        return bindings

    def wavespeed(self, fast: bool) -> Bindings:
        """The workflow behind WaveSpeed's model. Raises Unavailable or Invalid."""
        if fast:
            if _FAST in self.workflows:
                return self.workflows[_FAST]
            if self.workflows:
                text = "enable_fast_mode needs the 4-step LoRA files on a worker, which are not there; use false."
                raise Invalid(text, field="enable_fast_mode")
        for name in _STANDARD:
            if name in self.workflows:
                return self.workflows[name]
        raise Unavailable(f"{WAVESPEED_MODEL} can't be run now: no worker is ready.", retry_after_s=10)


@dataclass(frozen=True)
class Checker:
    """Turns a client's fields into checked values. The one place where fields are checked."""

    limits: Limits
    demo: bool = False

    def model(self, bindings: Bindings, fields: Mapping[str, object]) -> dict[str, Value]:
        """Values for RunComfy's flat fields. Raises Invalid."""
        return self._check(bindings, bindings.gathered(fields), free=False)

    def overrides(self, bindings: Bindings, overrides: object) -> dict[str, Value]:
        """Values for ``{node: {"inputs": {input: value}}}``; only bound inputs are taken. Raises Invalid."""
        if not isinstance(overrides, dict):
            raise Invalid('overrides must look like {"6": {"inputs": {"text": "…"}}}.', field="overrides")
        known = bindings.inputs
        fields: dict[str, object] = {}
        for node, override in overrides.items():
            inputs = override.get("inputs") if isinstance(override, dict) else None
            if not isinstance(inputs, dict):
                raise Invalid(f'overrides.{str(node)[:40]} must look like {{"inputs": {{…}}}}.', field="overrides")
            for name, value in inputs.items():
                if (str(node), name) not in known:
                    known_ones = ", ".join(sorted(map(".".join, known)))
                    text = f"{str(node)[:40]}.{name[:40]} can't be set; there are {known_ones}."
                    raise Invalid(text, field=f"overrides.{str(node)[:40]}.inputs.{name[:40]}")
                fields[known[str(node), name].name] = value
        if fields.get("71_widthx71_height") == "custom":
            del fields["71_widthx71_height"]
        return self._check(bindings, fields, free=True)

    def wavespeed(self, offer: Offer, fields: Mapping[str, Any]) -> tuple[Bindings, dict[str, Value]]:
        """The workflow and its values for WaveSpeed's fields. Raises Invalid or Unavailable."""
        asked = {name: value for name, value in fields.items() if value is not None or name not in WAVESPEED_FIELDS}
        try:
            given = check_fields(WAVESPEED_FIELDS, asked, WAVESPEED_MODEL)
        except FieldError as error:
            raise Invalid(str(error), field=error.field) from None
        fast = bool(given["enable_fast_mode"])
        bindings = offer.wavespeed(fast)
        width, height = (int(side) for side in str(given["size"]).split("*"))
        seed = int(given["seed"])
        values: dict[str, object] = {
            "6_text": given["prompt"],
            bindings.first_image: given["first_image"],
            bindings.last_image: given["last_image"],
            "71_width": width,
            "71_height": height,
            "67_length": WAVESPEED_FRAME_RATE * int(given["duration"]) + 1,
            "73_frame_rate": WAVESPEED_FRAME_RATE,
            "57_noise_seed": secrets.randbelow(2**31) if seed == -1 else seed,
        }
        if not fast:  # the distilled LoRA has its own steps and works without guidance alone
            values |= {"57_steps": given["num_inference_steps"], "57_cfg": given["guidance_scale"]}
        if fields.get("negative_prompt") is not None:
            values["7_text"] = given["negative_prompt"]
        checked = self._check(bindings, values, free=True)
        return bindings, {**checked, **({"safety_checker": True} if given["enable_safety_checker"] else {})}

    def _check(self, bindings: Bindings, fields: Mapping[str, object], *, free: bool) -> dict[str, Value]:
        try:
            values = bindings.check(fields, free=free)
        except FieldError as error:
            raise Invalid(str(error), field=error.field) from None
        known = bindings.every_field
        for name, value in values.items():
            if isinstance(value, str) and not known[name].is_image and name != bindings.storyboard:
                self._check_text(name, value)
        width, height = _size_fields(bindings)
        if int(values.get(width, 0)) * int(values.get(height, 0)) > self.limits.video_pixels:
            raise Invalid(f"{width} x {height} must be at most {self.limits.video_pixels} pixels.", field=width)
        if bindings.storyboard:
            self._check_board(values[bindings.storyboard])
        else:
            self._check_frames("67_length", int(values["67_length"]))
            seed = known["57_noise_seed"].accepts
            if not seed.get("minimum", 0) <= values["57_noise_seed"] <= seed.get("maximum", 2**64 - 1):  # type: ignore[operator]
                raise Invalid("57_noise_seed must be between 0 and 18446744073709551615.", field="57_noise_seed")
        return _small(bindings, values) if self.demo else values

    def _check_board(self, text: Value) -> None:
        number = 1
        for clip in board_of(text).clips:
            name = f"segment {number}"
            self._check_text(f"{name}: prompt", clip.prompt)
            self._check_text(f"{name}: negative", clip.negative)
            self._check_frames(name, clip.length)
            number += 1 + len(clip.middle)

    def _check_frames(self, name: str, frames: int) -> None:
        if frames > self.limits.video_frames:
            raise Invalid(f"{name} must be at most {self.limits.video_frames} frames.", field=name)

    def _check_text(self, name: str, text: str) -> None:
        if len(text) > self.limits.text_characters:
            limit = self.limits.text_characters
            raise Invalid(f"{name} must have at most {limit} characters; got {len(text)}.", field=name)
        if not is_plain(text):
            raise Invalid(f"{name} must not have NUL characters or halves of surrogate pairs.", field=name)


def is_plain(text: str) -> bool:
    """Whether a database and ComfyUI can take this text as it is."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _size_fields(bindings: Bindings) -> tuple[str, str]:
    return ("57_width", "57_height") if bindings.storyboard else ("71_width", "71_height")


def _small(bindings: Bindings, values: dict[str, Value]) -> dict[str, Value]:
    """The demo renders every job as its micro models were trained; its page and model list say so."""
    size, sides = values.pop("71_widthx71_height", None), _size_fields(bindings)
    given = [values[side] for side in sides] if sides[0] in values else str(size).split(" ")[0].split("x")
    width, height = (int(side) for side in given)
    scale = MICRO_SIDE / max(width, height)
    for name, side in zip(sides, (width, height), strict=True):
        values[name] = max(32, round(side * scale / 2) * 2)
    if bindings.storyboard:
        text = str(values[bindings.storyboard])
        values[bindings.storyboard] = with_length(text, int(MICRO_VALUES["67_length"]))
    return values | {name: value for name, value in MICRO_VALUES.items() if name in bindings.fields}
