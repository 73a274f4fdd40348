"""The pack's ComfyUI nodes: the one list of what exists."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .conditioning import WanFLF2VApplyFrames, WanFLF2VConditioning, WanFLF2VEncodeFrames
from .continuous import WanFLF2VContinuousHigh, WanFLF2VContinuousLow, WanFLF2VContinuousSampler
from .editor.routes import register_routes
from .in_turn import WanFLF2VBarrier, WanFLF2VInTurn
from .load_experts import WanFLF2VLoadExperts
from .pairs import WanFLF2VPairs
from .pick import WanFLF2VPick
from .remote import WanFLF2VRemoteFetch, WanFLF2VRunComfy, WanFLF2VRunComfyDeployment, WanFLF2VWaveSpeed
from .report import WanFLF2VEndFrames, WanFLF2VReport
from .resolution import WanFLF2VResolution
from .sampler import WanFLF2VTwoStageSampler
from .save_video import WanFLF2VSaveVideo
from .schedule import WanFLF2VAutoShift, WanFLF2VSchedule, WanFLF2VShift
from .segments import WanFLF2VSegments
from .stage_parts import WanFLF2VHandOver, WanFLF2VHighNoiseLatent, WanFLF2VPlan
from .storyboard import WanFLF2VStoryboard
from .storyboard_parts import (
    WanFLF2VStoryboardCarry,
    WanFLF2VStoryboardClip,
    WanFLF2VStoryboardFilm,
    WanFLF2VStoryboardImages,
    WanFLF2VStoryboardPictures,
    WanFLF2VStoryboardVideo,
)

NODES: list[type[io.ComfyNode]] = [
    WanFLF2VResolution,
    WanFLF2VConditioning,
    WanFLF2VEncodeFrames,
    WanFLF2VApplyFrames,
    WanFLF2VShift,
    WanFLF2VAutoShift,
    WanFLF2VSchedule,
    WanFLF2VTwoStageSampler,
    WanFLF2VSaveVideo,
    WanFLF2VRunComfy,
    WanFLF2VRunComfyDeployment,
    WanFLF2VWaveSpeed,
    WanFLF2VRemoteFetch,
    WanFLF2VContinuousSampler,
    WanFLF2VReport,
    WanFLF2VEndFrames,
    WanFLF2VStoryboard,
    WanFLF2VLoadExperts,
    WanFLF2VPick,
    WanFLF2VSegments,
]
PARTS: list[type[io.ComfyNode]] = [
    WanFLF2VPlan,
    WanFLF2VHandOver,
    WanFLF2VHighNoiseLatent,
    WanFLF2VContinuousHigh,
    WanFLF2VContinuousLow,
    WanFLF2VInTurn,
    WanFLF2VBarrier,
    WanFLF2VStoryboardPictures,
    WanFLF2VStoryboardCarry,
    WanFLF2VStoryboardVideo,
    WanFLF2VStoryboardClip,
    WanFLF2VStoryboardFilm,
    WanFLF2VStoryboardImages,
    WanFLF2VPairs,
]
"""What the others expand to: no promises, for nobody places them."""


class WanFLF2VExtension(ComfyExtension):
    """What ComfyUI's loader asks for the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack, parts too. Adds the routes of the pack's part of the editor too."""
        register_routes()  # not in on_load, which ComfyUI 0.3.75 does not call
        return NODES + PARTS
