"""Where the nodes of each shipped workflow stand, their groups and colours, and what the note beside them says."""

from __future__ import annotations

from dataclasses import dataclass, field

GREEN, RED = ("#232", "#353"), ("#322", "#533")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Layout:
    """Where the nodes of one workflow go: ``{node id: (x, y, width, height)}``, groups by name, and the note."""

    nodes: dict[str, Box]
    groups: dict[str, list[str]]
    about: str
    tips: list[str]
    colours: dict[str, tuple[str, str]] = field(default_factory=lambda: {"6": GREEN, "7": RED})


PICTURES = {"68": (460, 0, 320, 380), "62": (460, 440, 320, 380)}
PROMPTS = {"6": (860, 0, 400, 200), "7": (860, 260, 400, 220)}
TEXTS = {"38": (0, 340, 380, 110), "39": (0, 510, 380, 60)}
PICTURE_GROUP = {"Pick the two frames": ["68", "62"]}
PROMPT_GROUP = {"Describe the motion": ["6", "7"]}

TWO_STAGE = Layout(
    nodes={
        "37": (0, 0, 380, 90),
        "56": (0, 150, 380, 90),
        **{key: (x, y - 60, w, h) for key, (x, y, w, h) in TEXTS.items()},
        **PICTURES,
        **PROMPTS,
        "71": (860, 600, 400, 110),
        "67": (1340, 0, 400, 620),
        "54": (1820, 0, 400, 330),
        "57": (1820, 390, 400, 920),
        "8": (2300, 0, 320, 50),
        "73": (2300, 110, 480, 640),
    },
    groups={
        "Load the models": ["37", "56", "38", "39"],
        **PICTURE_GROUP,
        **PROMPT_GROUP,
        "Choose the size": ["71"],
        "Put the frames into the prompt": ["67"],
        "Sample: high, then low noise": ["54", "57"],
        "Save the video": ["8", "73"],
    },
    about="# Wan 2.2: first and last frame to video\n\nTwo pictures and a prompt become a video. Pick the pictures, "
    "write what happens between them, press **Run**.",
    tips=[
        "**Seed, steps, cfg**: on *Two-stage sampler*. Its plot shows which steps the high- and the low-noise model take.",
        "**Size**: any even width and height; a size that is no multiple of 16 is rendered larger and cropped back.",
        "**Length**: 4n + 1 frames. 81 frames at 16 per second are 5 seconds.",
        "Editing the prompt does not encode the pictures again; editing `cfg_low` does not run the high-noise stage again.",
        "Right-click the canvas → *Copy as API call* for the same job as a RunComfy payload, curl line or Python.",
    ],
)

FOUR_STEP = Layout(
    nodes={
        "37": (0, 0, 380, 90),
        "91": (0, 150, 380, 90),
        "56": (0, 300, 380, 90),
        "92": (0, 450, 380, 90),
        "38": (0, 600, 380, 110),
        "39": (0, 770, 380, 60),
        **{key: box for key, box in TWO_STAGE.nodes.items() if key not in {"37", "56", "38", "39"}},
    },
    groups={**TWO_STAGE.groups, "Load the models": ["37", "91", "56", "92", "38", "39"]},
    about="# Wan 2.2 with 4-step LoRAs: first and last frame to video\n\nAbout a fifth of the time of the 20-step workflow, "
    "with less motion.",
    tips=[
        "Keep **steps 4, cfg 1, shift 5**: the LoRAs are trained for two high- and two low-noise steps without guidance.",
        "With cfg 1 the negative prompt has no effect.",
        "**Length**: 4n + 1 frames. 81 frames at 16 per second are 5 seconds.",
    ],
)

THREE_STAGE = Layout(
    nodes={
        **FOUR_STEP.nodes,
        "93": (1820, 390, 400, 330),
        "57": (2300, 0, 400, 920),
        "8": (2780, 0, 320, 50),
        "73": (2780, 110, 480, 640),
    },
    groups={
        **{name: nodes for name, nodes in FOUR_STEP.groups.items() if not name.startswith(("Sample", "Save"))},
        "Set the same shift": ["54", "93"],
        "Sample in three stages": ["57"],
        "Save the video": ["8", "73"],
    },
    about="# Wan 2.2 in three stages: first and last frame to video\n\nThe high-noise model begins without its LoRA, with "
    "guidance; then both models go on with their 4-step LoRAs. More motion than with the LoRAs alone.",
    tips=[
        "**first_steps** of the **steps** are made by the model without LoRA, in finer steps: 1 of 8 become 3 of 24.",
        "**cfg_first** is the guidance of those steps; keep **cfg 1** for the LoRAs. 3 + 2 + 5 steps as shipped.",
        "Both *Shift* nodes need the same value.",
        "**Length**: 4n + 1 frames. 81 frames at 16 per second are 5 seconds.",
    ],
)

DRAFTS = Layout(
    nodes={
        **TWO_STAGE.nodes,
        "94": (2300, 0, 400, 640),
        "58": (2780, 0, 400, 920),
        "8": (3260, 0, 320, 50),
        "73": (3260, 110, 480, 640),
    },
    groups={
        **{name: nodes for name, nodes in TWO_STAGE.groups.items() if not name.startswith(("Sample", "Save"))},
        "Draft several seeds": ["54", "57"],
        "Pick one": ["94"],
        "Finish the picked one": ["58"],
        "Save the video": ["8", "73"],
    },
    about="# Wan 2.2 with drafts: first and last frame to video\n\nThe high-noise stage decides layout and "
    "motion: it is run for several seeds, you look, and only the picked one is finished.",
    tips=[
        "**Run** with *Pick a draft* at **index** 0: it shows the drafts and stops. Click one and run again: the drafts are "
        "kept, so only the low-noise stage runs.",
        "Four drafts and one finish take 50 steps at 10 + 10; four videos take 80.",
        "Steps, scheduler and boundary must be the same on both samplers; the finish takes its seed from the draft.",
        "**Length**: 4n + 1 frames. 81 frames at 16 per second are 5 seconds.",
    ],
)

SINGLE = Layout(
    nodes={
        "37": (0, 0, 380, 90),
        "49": (0, 150, 380, 60),
        "38": (0, 270, 380, 110),
        "39": (0, 440, 380, 60),
        **PICTURES,
        **PROMPTS,
        "71": (860, 600, 400, 110),
        "67": (1340, 0, 400, 620),
        "54": (1820, 0, 400, 330),
        "57": (1820, 390, 400, 270),
        "8": (2300, 0, 320, 50),
        "73": (2300, 110, 480, 640),
    },
    groups={
        "Load the models": ["37", "49", "38", "39"],
        **PICTURE_GROUP,
        **PROMPT_GROUP,
        "Choose the size": ["71"],
        "Put the frames into the prompt": ["67"],
        "Sample": ["54", "57"],
        "Save the video": ["8", "73"],
    },
    about="# Wan 2.1 FLF2V: first and last frame to video\n\nThe 720p model that was trained for first and last frames, "
    "with CLIP vision of both pictures.",
    tips=[
        "CLIP vision is applied to both pictures by *First and last frame*; nothing else to connect.",
        "**Shift 16** is the official value; the model is trained for 720p.",
        "**Length**: 4n + 1 frames. 81 frames at 16 per second are 5 seconds.",
    ],
)

CORE = Layout(
    nodes={
        "37": (0, 0, 380, 90),
        "56": (0, 150, 380, 90),
        **{key: (x, y - 60, w, h) for key, (x, y, w, h) in TEXTS.items()},
        **PICTURES,
        **PROMPTS,
        "67": (1340, 0, 360, 260),
        "54": (1340, 420, 360, 60),
        "55": (1340, 540, 360, 60),
        "57": (1780, 0, 360, 340),
        "58": (1780, 400, 360, 340),
        "8": (2220, 0, 320, 50),
        "60": (2220, 110, 320, 80),
        "61": (2220, 250, 480, 500),
    },
    groups={
        "Load the models": ["37", "56", "38", "39"],
        **PICTURE_GROUP,
        **PROMPT_GROUP,
        "Put the frames into the prompt": ["67"],
        "Set the shift of both models": ["54", "55"],
        "Sample: high, then low noise": ["57", "58"],
        "Save the video": ["8", "60", "61"],
    },
    about="# Wan 2.2 with ComfyUI's own nodes alone\n\nThe same job without this pack, for comparison: with steps 20, "
    "shift 8 and the split at step 10 it gives the two-stage sampler's latent bit for bit.",
    tips=[
        "The split at step 10 is fixed here: after a change of steps, shift or scheduler, set `end_at_step` and "
        "`start_at_step` by hand.",
        "Sizes must be multiples of 16, lengths 4n + 1; other values are rounded down silently.",
    ],
)

REMOTE_NODES = {
    "68": (0, 0, 320, 380),
    "62": (0, 440, 320, 380),
    "80": (440, 0, 420, 820),
    "81": (960, 0, 480, 640),
}
REMOTE_TIPS = [
    "A job is remembered: after a crash, an interrupt or a restart **Run** collects it, and nothing is paid twice.",
    "Identical inputs give the finished video again. Another **seed** asks, and pays, for a new one.",
    "**wait** off only submits. *Wan FLF2V Remote Fetch* collects the video later by its request id.",
]


def remote(provider: str, login: str, variable: str, model: str, tips: list[str]) -> Layout:
    """The layout of a workflow that runs at a provider."""
    return Layout(
        nodes=REMOTE_NODES,
        groups={
            "Pick the two frames": ["68", "62"],
            f"Make the video at {provider}": ["80"],
            "Save the video": ["81"],
        },
        about=f"# {provider}: first and last frame to video\n\n{model} on {provider}, without a GPU of yours."
        f"\n\n## Key\n\n`wan-flf2v login {login}` stores your API key on this machine; `{variable}` in the environment "
        "works too. A key is never part of a workflow.\n\n"
        f"Pictures are sent to {provider}, and every new job costs money there.",
        tips=[*REMOTE_TIPS, *tips],
        colours={},
    )


RUNCOMFY = remote(
    "RunComfy",
    "runcomfy",
    "RUNCOMFY_API_TOKEN",
    "Wan 2.2",
    [
        "RunComfy documents pictures as public URLs for this API. Where it refuses pictures, disconnect them and fill in "
        "**start_image_url** and **end_image_url**, or use *Wan FLF2V RunComfy Deployment*."
    ],
)
WAVESPEED = remote(
    "WaveSpeed",
    "wavespeed",
    "WAVESPEED_API_KEY",
    "Wan 2.1 FLF2V",
    [
        "Published prices: 480p $0.30 for 5 s, 720p $0.40; **enable_fast_mode** about half of it. Progress on the node "
        "shows the estimate."
    ],
)

STORYBOARD = Layout(
    nodes={
        "37": (0, 0, 380, 90),
        "56": (0, 150, 380, 90),
        **{key: (x, y - 60, w, h) for key, (x, y, w, h) in TEXTS.items()},
        "54": (460, 0, 400, 330),
        "57": (940, 0, 640, 1180),
        "73": (1660, 0, 480, 640),
    },
    groups={
        "Load the models": ["37", "56", "38", "39"],
        "Set the shift": ["54"],
        "Build the storyboard": ["57"],
        "Save the film": ["73"],
    },
    about="# Wan 2.2 storyboard: one film from several keyframes\n\nKeyframes, and between each two a segment with a "
    "prompt, a length and a seed of its own. Add pictures in the strip on the node, drag them into order, press **Run**.",
    tips=[
        "**An edit runs what it touches**: the strip says of each segment whether it is *kept* or *to do*, and how many "
        "steps are to come.",
        "The text above the strip is the storyboard: the strip only edits it. `wan-flf2v storyboard` takes the same text.",
        "Keys in the strip: arrows choose, Alt + arrow moves a keyframe, Ctrl + D duplicates it, Delete removes it.",
        "Pictures can be connected, too: **keyframe_1** and on.",
    ],
    colours={},
)

LAYOUTS = {
    "wan22_flf2v": TWO_STAGE,
    "wan22_flf2v_4step": FOUR_STEP,
    "wan22_flf2v_3stage": THREE_STAGE,
    "wan22_flf2v_drafts": DRAFTS,
    "wan21_flf2v": SINGLE,
    "wan22_flf2v_core": CORE,
    "wan22_storyboard": STORYBOARD,
    "remote_runcomfy": RUNCOMFY,
    "remote_wavespeed": WAVESPEED,
}
