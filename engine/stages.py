"""What the nodes of a running prompt do, in words for a person."""

from __future__ import annotations

from collections.abc import Mapping

DOING: Mapping[str, str] = {
    "UNETLoader": "Loading the models",
    "LoraLoaderModelOnly": "Loading the LoRA",
    "CLIPLoader": "Loading the text encoder",
    "VAELoader": "Loading the VAE",
    "CLIPVisionLoader": "Loading CLIP vision",
    "CLIPTextEncode": "Encoding the prompt",
    "WanFLF2VConditioning": "Encoding the frames",
    "WanFirstLastFrameToVideo": "Encoding the frames",
    "VAEDecode": "Decoding the video",
    "WanFLF2VSaveVideo": "Decoding and saving",
    "SaveVideo": "Saving the video",
}


def part_of(node: object) -> str:
    """What a node is to the composite one that expanded to it: "high" of "57.0.0.high", "text" of "57.0.0.text_1a2b"."""
    return str(node).rpartition(".")[2].partition("_")[0]
