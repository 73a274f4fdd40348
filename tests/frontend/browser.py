"""The browser behind the frontend tests: Chromium from PATH, driven by Playwright."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, expect

READY = "window.app?.extensionManager && window.app?.canvas?.graph"
TIMEOUT_MS = 60_000


def chromium_path() -> str | None:
    """The Chromium to drive: ``CHROMIUM_PATH``, or one on PATH."""
    named = os.environ.get("CHROMIUM_PATH")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def launch(playwright: Playwright) -> Iterator[Browser]:
    """A headless browser; Playwright's own where none is on PATH."""
    # --no-sandbox: containers run as root, and only this project's own pages are opened
    browser = playwright.chromium.launch(
        executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    )
    try:
        yield browser
    finally:
        browser.close()


def open_editor(browser: Browser, url: str, **context: object) -> Page:
    """A page with ComfyUI's editor, ready for use."""
    options: dict[str, object] = {"viewport": {"width": 1600, "height": 1000}, "locale": "en-US", **context}
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=30_000)
    page.goto(url)
    page.wait_for_function(READY)
    if page.evaluate("() => !window.app.extensionManager.setting.get('Comfy.TutorialCompleted')"):
        # else the template browser greets a new user, over the graph
        page.evaluate("() => window.app.extensionManager.setting.set('Comfy.TutorialCompleted', true)")
        page.reload()
        page.wait_for_function(READY)
    return page


def screenshot_folder() -> Path:
    """Where screenshots go: an ignored folder."""
    folder = Path(__file__).resolve().parents[1] / ".output" / "frontend"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def set_renderer(page: Page, renderer: str) -> None:
    """Switch to the "classic" canvas or to "nodes2"."""
    page.evaluate("(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", renderer == "nodes2")


def shipped_graph(name: str, *, api: bool = False) -> dict[str, object]:
    """A shipped workflow: the UI graph, or the API graph."""
    folder = Path(__file__).resolve().parents[2] / "workflows"
    graph: dict[str, object] = json.loads(
        (folder / ("api" if api else ".") / f"{name}.json").read_text(encoding="utf-8")
    )
    return graph


def load_workflow(page: Page, name: str) -> None:
    """Open a shipped workflow in this editor."""
    page.evaluate("(graph) => window.app.loadGraphData(graph, true, true, 'test')", shipped_graph(name))
