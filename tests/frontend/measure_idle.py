"""What an idle editor costs with 20 nodes of ours: ``python -m wan_flf2v.tests.frontend.measure_idle [--seconds N]``.

CPU time of the page's main thread, in percent of a core, for the pinned and the newest frontend: an editor with 20 of ours,
and with as many core nodes for comparison, in front and in the background. There the page is told that it is hidden, while
the browser goes on drawing it: what the editor itself costs in front stays in the figure. Also printed: how often the
pack's routes were asked.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from wan_flf2v.engine.locate import ROOT, Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.engine.setup import prepare, tiny_models
from wan_flf2v.tests.frontend.browser import launch, open_editor
from wan_flf2v.tests.frontend.conftest import newest_frontend

ADD = """(types) => {
  window.app.graph.clear();
  for (let count = 0; count < 20; count++) {
    const node = window.LiteGraph.createNode(types[count % types.length]);
    node.pos = [(count % 5) * 450, Math.floor(count / 5) * 700];
    window.app.graph.add(node);
  }
}"""
GRAPHS = {
    "core nodes": ["KSampler", "CLIPTextEncode", "ModelSamplingSD3", "VAEDecode"],
    "ours": ["WanFLF2VTwoStageSampler", "WanFLF2VConditioning", "WanFLF2VShift", "WanFLF2VRunComfy"],
}
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def busy(page: Page, seconds: float) -> float:
    """How long the page's main thread works, in percent of this time."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # CPU time: other processes don't count

    def worked() -> float:
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    before = worked()
    page.wait_for_timeout(seconds * 1000)
    after = worked()
    session.detach()
    return 100 * (after - before) / seconds


def measure(browser: Browser, engine: Engine, frontend: str, seconds: float, home: Path, pack: Path) -> None:
    """Print the lines of one frontend."""
    extra = ["--front-end-root", str(newest_frontend())] if frontend == "newest" else []
    with ComfyServer(engine, home / frontend, tiny_models(engine), tiny=True, extra_args=extra, pack=pack) as server:
        for name, types in GRAPHS.items():
            page = open_editor(browser, server.url)
            page.evaluate(ADD, types)
            page.wait_for_timeout(5000)
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            front = busy(page, seconds)
            page.evaluate(HIDE, True)
            page.wait_for_timeout(2000)
            behind = busy(page, seconds)
            calls = sum("/wan_flf2v/" in url for url in asked)
            print(
                f"{frontend:8} 20 x {name:10} in front {front:5.2f} %, behind {behind:5.2f} %; {calls} calls",
                flush=True,
            )
            page.context.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="how long each is watched (default 20)")
    parser.add_argument("--pack", type=Path, default=ROOT, help="another state of this pack's folder, to compare with")
    arguments = parser.parse_args()
    engine = prepare()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        for frontend in ("bundled", "newest"):
            measure(browser, engine, frontend, arguments.seconds, Path(home), arguments.pack)


if __name__ == "__main__":
    main()
