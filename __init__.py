"""Wan FLF2V: a video from a first and a last frame with Wan 2.1 / 2.2.

ComfyUI loads this folder as a custom node pack; the command line and the gateway import it as ``wan_flf2v``.
Nothing of ComfyUI is imported before ComfyUI asks for the nodes, so the package can be imported anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import WanFLF2VExtension

WEB_DIRECTORY = "./js"


async def comfy_entrypoint() -> WanFLF2VExtension:
    """The pack's extension, called once by ComfyUI's loader of V3 packs."""
    from .nodes import WanFLF2VExtension

    return WanFLF2VExtension()
