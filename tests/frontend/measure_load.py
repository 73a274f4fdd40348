"""What the pack adds to the editor's load: ``python -m wan_flf2v.tests.frontend.measure_load [--rounds N]``.

Two ComfyUI servers, one with the pack and one without, are opened in turn by one browser, each time with an empty cache;
the medians of the time until the editor's first workflow is open are compared, for the pinned and the newest frontend.
Also printed: the page's CPU time, which a busy machine changes least, the pack's files that were fetched, and how often its
routes were asked (never, without one of its nodes).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from wan_flf2v.engine.locate import Engine
from wan_flf2v.engine.process import SUPPORT_PACK, ComfyServer
from wan_flf2v.engine.setup import prepare
from wan_flf2v.tests.frontend.browser import READY, TIMEOUT_MS, launch
from wan_flf2v.tests.frontend.conftest import newest_frontend

CLOCK = f"""
const looking = setInterval(() => {{
  if (!({READY})) return;
  clearInterval(looking);
  window.readyAfter = performance.now();
}}, 1);
"""


def load(browser: Browser, url: str) -> tuple[float, float, list[str]]:
    """Milliseconds until the editor is ready, those of CPU and every address that it asked for until a second after that."""
    context = browser.new_context()
    asked: list[str] = []
    try:
        context.request.post(f"{url}/api/settings", data={"Comfy.TutorialCompleted": True})
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script(CLOCK)
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(url)
        page.wait_for_function("() => window.readyAfter")
        page.wait_for_timeout(1000)
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return float(page.evaluate("() => window.readyAfter")), 1000 * metrics["TaskDuration"], asked
    finally:
        context.close()


def measure(browser: Browser, engine: Engine, frontend: str, rounds: int, home: Path) -> str:
    """One line on what the pack adds with this frontend."""
    extra = ["--front-end-root", str(newest_frontend())] if frontend == "newest" else []
    times: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    requests: list[str] = []
    with ExitStack() as stack:
        urls: dict[bool, str] = {}
        for packed in (True, False):
            server = ComfyServer(engine, home / f"{frontend}-{packed}", tiny=True, extra_args=extra)
            if not packed:
                server.pack, server.pack_name = SUPPORT_PACK, "tiny-model-support"  # which both have
            urls[packed] = stack.enter_context(server).url
            load(browser, urls[packed])  # ComfyUI reads its files for the first time
        for number in range(rounds):
            for packed in (True, False) if number % 2 else (False, True):
                wall, busy, asked = load(browser, urls[packed])
                times[packed].append(wall)
                cpu[packed].append(busy)
                requests += asked if packed else []
    files = {url for url in requests if "/extensions/wan-flf2v/" in url}
    routes = [url for url in requests if "/wan_flf2v/" in url]
    without, with_pack = statistics.median(times[False]), statistics.median(times[True])
    fastest = min(times[True]) - min(times[False])
    pairs = [mine - plain for mine, plain in zip(times[True], times[False], strict=True)]
    return (
        f"{frontend:8} without {without:5.0f} ms, with {with_pack:5.0f} ms; the pack adds {with_pack - without:+4.0f} ms "
        f"(median of the {rounds} pairs {statistics.median(pairs):+4.0f} ms, fastest load {fastest:+4.0f} ms, "
        f"CPU {statistics.median(cpu[True]) - statistics.median(cpu[False]):+4.0f} ms); "
        f"{len(files)} files, {len(routes)} calls"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="loads of each server (default 15)")
    rounds = parser.parse_args().rounds
    engine = prepare()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        for frontend in ("bundled", "newest"):
            print(measure(browser, engine, frontend, rounds, Path(home)), flush=True)


if __name__ == "__main__":
    main()
