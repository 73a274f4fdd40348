"""The browser behind the frontend tests: Chromium from PATH, driven by Playwright."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, expect

from wan_flf2v.tests.missing import missing

READY = "window.app?.canvas?.graph && window.app?.extensionManager?.workflow?.activeWorkflow?.changeTracker"
TIMEOUT_MS = 60_000
LATER = {"bit_depth", "format.codec"}  # what newer versions of core's CreateVideo and SaveVideo ask for, too
# Each frontend and each renderer once, for what is the same code in all four: opening an editor takes most of a test.
EACH_ONCE = pytest.mark.parametrize(("frontend", "renderer"), [("bundled", "classic"), ("newest", "nodes2")])


def chromium_path() -> str | None:
    """The Chromium to drive: ``CHROMIUM_PATH``, or one on PATH."""
    named = os.environ.get("CHROMIUM_PATH")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def launch(playwright: Playwright) -> Iterator[Browser]:
    """A headless browser; Playwright's own where none is on PATH. Where there is none tests are skipped, but fail in CI."""
    # --no-sandbox: containers run as root, and only this project's own pages are opened
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    try:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
    except Error as error:
        missing(f"no Chromium to drive (apt-get install chromium, or set CHROMIUM_PATH): {error}")
    try:
        yield browser
    finally:
        browser.close()


def open_editor(browser: Browser, url: str, **context: object) -> Page:
    """A page with ComfyUI's editor, ready for use."""
    options: dict[str, object] = {"viewport": {"width": 1600, "height": 1000}, "locale": "en-US", **context}
    session = browser.new_context(**options)  # type: ignore[arg-type]
    # else the template browser greets a new user, over the graph
    session.request.post(f"{url}/api/settings", data={"Comfy.TutorialCompleted": True})
    page = session.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(timeout=30_000)
    page.goto(url)
    page.wait_for_function(READY)
    return page


# Frontend 1.32.9 throws this by turns when a page starts with Nodes 2.0 on and a graph to restore.
_FRONTENDS_OWN = "getCanvas: canvas is null"


def trouble_of(page: Page) -> list[str]:
    """A list that gets every error of the page, and what its console reports of the pack's own files."""
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text) if _ours(message) else None)
    page.on("pageerror", lambda error: None if _FRONTENDS_OWN in str(error) else trouble.append(str(error)))
    return trouble


def _ours(message: ConsoleMessage) -> bool:
    where = f"{message.text} {message.location.get('url', '')}"
    # the editor's own addresses on the internet, and the browser's own note of values that were refused in words
    expected = ("ERR_NAME_NOT_RESOLVED", "status of 400")
    known = any(each in message.text for each in expected)
    return not known and message.type in {"error", "warning"} and ("wan-flf2v" in where or "wan_flf2v" in where)


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


def show_node(page: Page, node: int) -> None:
    """Move the canvas so that this node can be clicked, at its full size."""
    page.evaluate(
        "(id) => { const canvas = window.app.canvas; const node = canvas.graph.getNodeById(id); canvas.ds.scale = 1; "
        "canvas.ds.offset[0] = 300 - node.pos[0]; canvas.ds.offset[1] = 200 - node.pos[1]; canvas.draw(true, true); }",
        node,
    )
    page.wait_for_timeout(500)  # Nodes 2.0 and the canvas' own list of visible nodes follow a few frames later


def click_title(page: Page, node: int) -> None:
    """Select a node by clicking its title."""
    show_node(page, node)
    page.mouse.click(*_point(page, node, "[60, -15]"))


def raise_number(page: Page, renderer: str, node: int, name: str) -> None:
    """Click the arrow or the plus that raises a node's number by one step."""
    show_node(page, node)
    if renderer == "classic":
        arrow = f"[node.size[0] - 30, node.widgets.find((each) => each.name === {name!r}).y + 10]"
        page.mouse.click(*_point(page, node, arrow))
        return
    plus = (
        f'input[aria-label="{name}"] ~ .p-inputnumber-increment-button, [aria-label="{name}"] [data-testid="increment"]'
    )
    page.locator(f'[data-node-id="{node}"] :is({plus})').click()
    page.mouse.up()  # the editor takes changes down when the mouse goes up, and this one came with the click after that


def _point(page: Page, node: int, inside: str) -> tuple[float, float]:
    x, y = page.evaluate(
        f"""(id) => {{
          const canvas = window.app.canvas;
          const node = canvas.graph.getNodeById(id);
          const [x, y] = {inside};
          const box = canvas.canvas.getBoundingClientRect();
          const {{offset, scale}} = canvas.ds;
          return [(node.pos[0] + x + offset[0]) * scale + box.left, (node.pos[1] + y + offset[1]) * scale + box.top];
        }}""",
        node,
    )
    return x, y
