"""Draws help pictures, thumbnails, icon and banner: ``python -m wan_flf2v.tests.frontend.draw_pictures``.

Each help picture shows the node in a small graph, in the real frontend.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page, sync_playwright

from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.engine.setup import prepare, tiny_models
from wan_flf2v.tests.frontend.browser import launch, open_editor

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "cli" / "pictures"
MEDIA = ROOT / "js" / "docs" / "media"
THUMBNAILS = {
    "wan22_flf2v": ("Wan 2.2", "20 steps, high + low noise"),
    "wan22_flf2v_4step": ("Wan 2.2 · 4 steps", "with 4-step LoRAs"),
    "wan22_flf2v_3stage": ("Wan 2.2 · 3 stages", "first without, then with LoRA"),
    "wan22_flf2v_drafts": ("Wan 2.2 · drafts", "several seeds, one finish"),
    "wan21_flf2v": ("Wan 2.1 FLF2V", "720p, with CLIP vision"),
    "wan22_flf2v_core": ("Wan 2.2 · core nodes", "for comparison"),
    "wan22_storyboard": ("Storyboard", "Wan 2.2, several keyframes"),
    "remote_runcomfy": ("RunComfy", "Wan 2.2, remote"),
    "remote_wavespeed": ("WaveSpeed", "Wan 2.1, remote"),
}
# One node in the middle: what feeds its inputs, (type, output), and what its outputs feed, (type, input, output).
SMALL_GRAPHS: dict[str, tuple[dict[str, tuple[str, int]], list[tuple[str, str, int]]]] = {
    "WanFLF2VResolution": ({}, [("WanFLF2VConditioning", "width", 0)]),
    "WanFLF2VConditioning": (
        {
            "positive": ("CLIPTextEncode", 0),
            "vae": ("VAELoader", 0),
            "start_image": ("LoadImage:first", 0),
            "end_image": ("LoadImage:last", 0),
        },
        [("KSampler", "positive", 0)],
    ),
    "WanFLF2VEncodeFrames": (
        {"vae": ("VAELoader", 0), "start_image": ("LoadImage:first", 0), "end_image": ("LoadImage:last", 0)},
        [("WanFLF2VApplyFrames", "frames", 0)],
    ),
    "WanFLF2VApplyFrames": (
        {"positive": ("CLIPTextEncode", 0), "frames": ("WanFLF2VEncodeFrames", 0)},
        [("KSampler", "positive", 0)],
    ),
    "WanFLF2VLoadExperts": ({}, [("WanFLF2VShift", "model_high", 0)]),
    "WanFLF2VSegments": ({}, [("SaveVideo", "video", 0)]),
    "WanFLF2VPick": ({"drafts": ("WanFLF2VTwoStageSampler", 0)}, [("WanFLF2VTwoStageSampler", "latent_image", 0)]),
    "WanFLF2VShift": ({"model_high": ("UNETLoader", 0), "model_low": ("UNETLoader", 0)}, []),
    "WanFLF2VAutoShift": ({}, [("WanFLF2VShift", "shift", 0)]),
    "WanFLF2VSchedule": (
        {"model_high": ("WanFLF2VShift", 0)},
        [("PreviewImage", "images", 4), ("PreviewAny", "source", 5)],
    ),
    "WanFLF2VTwoStageSampler": (
        {"model_high": ("WanFLF2VShift", 0), "positive": ("WanFLF2VConditioning", 0)},
        [("VAEDecode", "samples", 0)],
    ),
    "WanFLF2VSaveVideo": (
        {"latent": ("WanFLF2VTwoStageSampler", 0), "vae": ("VAELoader", 0), "width": ("WanFLF2VResolution", 0)},
        [("PreviewImage", "images", 1)],
    ),
    "WanFLF2VStoryboard": (
        {"model_high": ("WanFLF2VShift", 0), "clip": ("CLIPLoader", 0), "vae": ("VAELoader", 0)},
        [("PreviewAny", "source", 2)],
    ),
    "WanFLF2VContinuousSampler": (
        {"model_high": ("WanFLF2VShift", 0), "positive": ("WanFLF2VConditioning", 0)},
        [("VAEDecode", "samples", 0)],
    ),
    "WanFLF2VReport": (
        {"images": ("VAEDecode", 0), "start_image": ("LoadImage:first", 0), "end_image": ("LoadImage:last", 0)},
        [("PreviewAny", "source", 0), ("PreviewImage", "images", 3)],
    ),
    "WanFLF2VEndFrames": (
        {"images": ("VAEDecode", 0), "end_image": ("LoadImage:last", 0)},
        [("WanFLF2VSaveVideo", "images", 0)],
    ),
    "WanFLF2VRunComfy": (
        {"start_image": ("LoadImage:first", 0), "end_image": ("LoadImage:last", 0)},
        [("SaveVideo", "video", 0)],
    ),
    "WanFLF2VRunComfyDeployment": (
        {"start_image": ("LoadImage:first", 0), "end_image": ("LoadImage:last", 0)},
        [("SaveVideo", "video", 0)],
    ),
    "WanFLF2VWaveSpeed": (
        {"start_image": ("LoadImage:first", 0), "end_image": ("LoadImage:last", 0)},
        [("SaveVideo", "video", 0)],
    ),
    "WanFLF2VRemoteFetch": ({}, [("SaveVideo", "video", 0)]),
}
BUILD = """
async ({type, sources, sinks}) => {
  const app = window.app;
  for (const name of ["Comfy.Minimap.Visible", "Comfy.Graph.CanvasInfo"]) app.extensionManager.setting.set(name, false);
  const graph = app.rootGraph ?? app.graph;
  const next = graph.state.lastNodeId + 100; // pictures are kept by node id
  graph.clear();
  graph.state.lastNodeId = next;
  const add = (kind, x, y) => {
    const [name, side] = kind.split(":");
    const node = window.LiteGraph.createNode(name);
    graph.add(node);
    node.pos = [x, y];
    const picture = node.widgets?.find((widget) => widget.name === "image");
    if (side && picture) { picture.value = `wan_flf2v_${side}.png`; picture.callback?.(picture.value); }
    if (name === "LoadImage") node.setSize([260, 300]);
    return node;
  };
  const node = add(type, 340, 0);
  const board = node.widgets?.find((widget) => widget.name === "storyboard");
  const keyframes = ["first", "middle", "last"].map((side) => ({ picture: `wan_flf2v_${side}.png` }));
  if (board) board.value = JSON.stringify({ keyframes, prompt: "the sun rises over the hills", length: 81 }, null, 2);
  const across = board ? 520 : 380;
  node.setSize([across, Math.max(node.size[1], node.computeSize()[1])]);
  const slot = (target, input) => target.inputs.findIndex((each) => each.name === input);
  let y = 0;
  for (const [input, [kind, output]] of Object.entries(sources)) {
    const source = add(kind, 0, y);
    if (source.size[0] > 290) source.setSize([290, source.size[1]]);
    source.connect(output, node, slot(node, input));
    source.setSize([source.size[0], Math.max(source.size[1], source.computeSize()[1])]);
    y += source.size[1] + 60;
  }
  let right = 0;
  for (const [kind, input, output] of sinks) {
    const sink = add(kind, 410 + across, right);
    if (sink.size[0] > 300) sink.setSize([300, sink.size[1]]);
    node.connect(output, sink, slot(sink, input));
    right += sink.size[1] + 60;
  }
  await new Promise((go) => setTimeout(go, 900));
  const edge = (pick, of) => pick(...graph._nodes.map(of));
  const left = edge(Math.min, (each) => each.pos[0]) - 20;
  const top = edge(Math.min, (each) => each.pos[1]) - 60;
  const width = edge(Math.max, (each) => each.pos[0] + each.size[0]) + 20 - left;
  const height = edge(Math.max, (each) => each.pos[1] + each.size[1]) + 20 - top;
  const ds = app.canvas.ds;
  ds.scale = Math.min(1, 840 / height, 1400 / width);
  ds.offset = [-left + 80 / ds.scale, -top + 130 / ds.scale];
  app.canvas.setDirty(true, true);
  await new Promise((go) => setTimeout(go, 500));
  return [80, 130, width * ds.scale, height * ds.scale];
}
"""


def node_picture(page: Page, node: str) -> Image.Image:
    """The node in its small graph."""
    sources, sinks = SMALL_GRAPHS[node]
    x, y, width, height = page.evaluate(BUILD, {"type": node, "sources": sources, "sinks": sinks})
    rect = page.locator("#graph-canvas").bounding_box() or {"x": 0, "y": 0}
    clip = {"x": rect["x"] + x, "y": rect["y"] + y, "width": width, "height": height}
    data = page.screenshot(clip=clip, type="png")  # type: ignore[arg-type]
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.thumbnail((900, 900))
    return picture


def thumbnail(title: str, words: str) -> Image.Image:
    """The two demo pictures side by side under a title, 480 x 480."""
    picture = Image.new("RGB", (480, 480), "#15171c")
    draw = ImageDraw.Draw(picture)
    for index, side in enumerate(("first", "last")):
        with Image.open(PICTURES / f"{side}.png") as image:
            picture.paste(image.convert("RGB").resize((216, 216)), (16 + 232 * index, 110))
        draw.text((16 + 232 * index, 334), f"{side} frame", fill="#b8bcc6", font=ImageFont.load_default(size=18))
    draw.polygon([(228, 206), (228, 230), (256, 218)], fill="#ffffff")
    draw.text((16, 34), title, fill="#ffffff", font=ImageFont.load_default(size=38))
    draw.text((16, 384), words, fill="#ffb066", font=ImageFont.load_default(size=24))
    curve(draw, (16, 420, 464, 466))
    return picture


def curve(draw: Any, box: tuple[int, int, int, int], width: int = 4) -> None:
    """A two-coloured schedule: sigma over 20 steps at shift 8."""
    left, top, right, bottom = box
    points = []
    for step in range(21):
        time = 1 - step / 20
        sigma = 8 * time / (1 + 7 * time)
        points.append((left + (right - left) * step / 20, bottom - (bottom - top) * sigma))
    draw.line(points[:11], fill="#e8862e", width=width, joint="curve")
    draw.line(points[10:], fill="#3d8fe0", width=width, joint="curve")


def icon() -> Image.Image:
    """Two frames and the schedule between them, 400 x 400."""
    scale = 4
    picture = Image.new("RGB", (400 * scale, 400 * scale), "#15171c")
    draw = ImageDraw.Draw(picture)
    for x, colour in ((40, "#e8862e"), (250, "#3d8fe0")):
        box = [x * scale, 70 * scale, (x + 110) * scale, 180 * scale]
        draw.rounded_rectangle(box, radius=16 * scale, outline=colour, width=12 * scale)
    draw.polygon([(178 * scale, 95 * scale), (178 * scale, 155 * scale), (226 * scale, 125 * scale)], fill="#ffffff")
    curve(draw, (40 * scale, 220 * scale, 360 * scale, 340 * scale), width=18 * scale)
    return picture.resize((400, 400), Image.Resampling.LANCZOS)


def banner() -> Image.Image:
    """The registry's banner: both frames and the schedule between them, 1260 x 540."""
    picture = Image.new("RGB", (1260, 540), "#15171c")
    draw = ImageDraw.Draw(picture)
    for x, side in ((60, "first"), (880, "last")):
        with Image.open(PICTURES / f"{side}.png") as image:
            picture.paste(image.convert("RGB").resize((320, 320)), (x, 60))
        draw.text((x, 396), f"{side} frame", fill="#b8bcc6", font=ImageFont.load_default(size=26))
    curve(draw, (430, 150, 830, 330), width=8)
    draw.text((430, 60), "Wan FLF2V", fill="#ffffff", font=ImageFont.load_default(size=64))
    draw.text((430, 360), "Wan 2.1 and 2.2 in ComfyUI", fill="#ffb066", font=ImageFont.load_default(size=26))
    draw.text((60, 460), "A video from two pictures and a prompt", fill="#ffffff", font=ImageFont.load_default(size=40))
    return picture


def main() -> None:
    """Draw every picture."""
    icon().save(ROOT / "icon.png", optimize=True)
    banner().save(ROOT / "banner.jpg", quality=88)
    for name, (title, words) in THUMBNAILS.items():
        thumbnail(title, words).save(ROOT / "workflows" / f"{name}.jpg", quality=88)
    MEDIA.mkdir(parents=True, exist_ok=True)
    engine = prepare()
    with tempfile.TemporaryDirectory() as home:
        inputs = Path(home) / "input"
        inputs.mkdir()
        for side in ("first", "middle", "last"):
            shutil.copy(PICTURES / f"{side}.png", inputs / f"wan_flf2v_{side}.png")
        with (
            ComfyServer(engine, Path(home), tiny_models(engine), tiny=True) as server,
            sync_playwright() as playwright,
            launch(playwright) as browser,
        ):
            page = open_editor(browser, server.url)
            for node in SMALL_GRAPHS:
                node_picture(page, node).save(MEDIA / f"{node}.jpg", quality=85)
                print(node)


if __name__ == "__main__":
    main()
