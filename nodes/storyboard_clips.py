"""A storyboard's clips as nodes: text and frames encoded, two stages sampled, a video written.

What a node's id is made of are its inputs: ComfyUI keeps some results by it, so a clip's place must not be in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from ..flf2v.storyboard import Clip, Keyframe
from .host.expansion import GraphBuilder
from .host.types import Link
from .in_turn import InTurn
from .sampler import add_stages

SIZE = ("width", "height")
_RUN = ("steps", "sampler_name", "scheduler", "boundary", "high_steps")


class ClipNodes:
    """Adds clips to the graph; an equal clip is the same nodes."""

    def __init__(
        self,
        graph: GraphBuilder,
        high: Link,
        low: Link,
        slots: Mapping[int, Any],
        given: Mapping[str, Any],
        images: bool,
    ) -> None:
        self._graph = graph
        self._high = high
        self._slots = slots
        self._given = given
        self._images = images
        self._turns = InTurn(graph)
        self._low = low
        self._added: dict[Clip, tuple[Link, Link | None]] = {}

    def add(self, clip: Clip) -> tuple[Link, Link | None]:
        """Links to the clip's video and to its frames, if those are wanted."""
        if clip not in self._added:
            self._added[clip] = self._video(*self._latent(clip))
        return self._added[clip]

    def _applied(self, clip: Clip) -> tuple[Any, str]:
        """The node that puts the encoded ends into the prompts, and a name for what it gives."""
        texts = [self._text(clip.prompt), self._text(clip.negative)]
        asked = {key: self._given[key] for key in ("fit", *SIZE)} | {"length": clip.length}
        asked |= {"start_image": self._picture(clip.start), "end_image": self._picture(clip.end)}
        if clip.middle:
            asked |= {"middle_images": self._middle(clip), "middle_frames": ", ".join(str(at) for at, _ in clip.middle)}
        name = _digest(asked)
        vae = self._turns.after("encode", texts, self._given["vae"], name, given=asked)
        encoded = self._graph.node("WanFLF2VEncodeFrames", id=f"frames_{name}", vae=vae, **asked)
        prompts = {"positive": texts[0], "negative": texts[1]}
        name = _digest((name, prompts))
        return self._graph.node(
            "WanFLF2VApplyFrames", id=f"apply_{name}", frames=encoded.out(0), batch_size=1, **prompts
        ), name

    def _latent(self, clip: Clip) -> tuple[Link, str]:
        applied, name = self._applied(clip)
        asked = {**self._given, **dict(clip.settings)}
        run = {key: asked[key] for key in _RUN} | {"denoise": 1.0}
        guidance = {key: asked[key] for key in ("cfg", "cfg_low")} | {"noise_seed": clip.seed}
        of_high = {**run, **guidance, "cfg_low": None}
        high_name = _digest((name, of_high))
        low_name = _digest((high_name, guidance))
        prompts = {"positive": applied.out(0), "negative": applied.out(1)}
        latent, *_ = add_stages(
            self._graph,
            self._high,
            self._turns.after("low", [], self._low, "model", late=True),
            prompts,
            prompts,
            self._turns.after("high", [applied.out(2)], applied.out(2), high_name, given=of_high),
            guidance,
            run,
            names=(f"_{high_name}", f"_{low_name}"),
            in_turn=lambda latent: self._turns.after("low", [latent], latent, low_name, given=guidance),
        )
        return latent, low_name

    def _video(self, latent: Link, name: str) -> tuple[Link, Link | None]:
        asked = {key: self._given[key] for key in (*SIZE, "frame_rate")}
        vae = self._given["vae"]
        latent = self._turns.after("decode", [latent], latent, name, given=asked)
        source, images = {"latent": latent, "vae": vae}, None
        if self._images:
            images = self._graph.node("VAEDecode", id=f"images_{name}", samples=latent, vae=vae).out(0)
            source = {"images": images}
        return self._graph.node("WanFLF2VStoryboardClip", id=f"clip_{name}", **asked, **source).out(0), images

    def _text(self, text: str) -> Link:
        node = self._graph.node("CLIPTextEncode", id=f"text_{_digest(text)}", text=text, clip=self._given["clip"])
        found: Link = node.out(0)
        return found

    def _middle(self, clip: Clip) -> Link:
        """The pictures that the clip goes through, as one batch."""
        pictures = numbered("picture", [self._picture(keyframe) for _, keyframe in clip.middle])
        asked = {key: self._given[key] for key in ("fit", *SIZE)} | pictures
        found: Link = self._graph.node("WanFLF2VStoryboardPictures", id=f"middle_{_digest(asked)}", **asked).out(0)
        return found

    def _picture(self, keyframe: Keyframe) -> Link:
        if keyframe.picture is not None:
            node = self._graph.node("LoadImage", id=f"picture_{_digest(keyframe.picture)}", image=keyframe.picture)
        else:
            link = self._slots[keyframe.slot or 0]
            node = self._graph.node(
                "ImageFromBatch", id=f"picture_{_digest(link)}", image=link, batch_index=0, length=1
            )
        found: Link = node.out(0)
        return found


def numbered(name: str, links: Iterable[Link]) -> dict[str, Link]:
    """The links as inputs, the last one first: ComfyUI begins with what the last input needs."""
    return {f"{name}_{number}": link for number, link in reversed(list(enumerate(links, 1)))}


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
