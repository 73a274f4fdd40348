"""One ComfyUI for each frontend version and one browser, shared by all tests of this folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from wan_flf2v.engine.locate import ENGINE_FOLDER, Engine
from wan_flf2v.engine.process import ComfyServer
from wan_flf2v.tests.frontend.browser import launch, open_editor, set_renderer, trouble_of

NEWEST_FRONTEND = "1.58.1"
PICTURES = Path(__file__).resolve().parents[2] / "cli" / "pictures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a browser and a server: slow."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))  # the first test also starts ComfyUI


def newest_frontend() -> Path:
    """The newest frontend's files, fetched once into the ignored engine folder."""
    folder = ENGINE_FOLDER / f"frontend-{NEWEST_FRONTEND}"
    static = folder / "comfyui_frontend_package" / "static"
    if not static.is_dir():
        package = f"comfyui-frontend-package=={NEWEST_FRONTEND}"
        scratch = ENGINE_FOLDER / f"frontend-{NEWEST_FRONTEND}.part"
        shutil.rmtree(scratch, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), package]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
            wheel.extractall(scratch)
        scratch.rename(folder)
    return static


@pytest.fixture(scope="session")
def server_of(
    engine: Engine, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], ComfyServer]]:
    """The running ComfyUI with the "bundled" (pinned) or the "newest" frontend, started on first use."""
    running: dict[str, ComfyServer] = {}

    def start(frontend: str) -> ComfyServer:
        if frontend not in running:
            home = tmp_path_factory.mktemp(f"comfyui-{frontend}")
            inputs = home / "input"
            inputs.mkdir()
            for side in ("first", "middle", "last"):
                shutil.copy(PICTURES / f"{side}.png", inputs / f"wan_flf2v_{side}.png")
            extra = ["--front-end-root", str(newest_frontend())] if frontend == "newest" else []
            server = ComfyServer(engine, home, models, tiny=True, extra_args=extra)
            server.start()
            running[frontend] = server
        return running[frontend]

    yield start
    for server in running.values():
        server.stop()


@pytest.fixture(scope="module")  # while Playwright is up its event loop runs, and other tests' asyncio.run would fail
def browser() -> Iterator[Browser]:
    """Chromium."""
    with sync_playwright() as playwright, launch(playwright) as chromium:
        yield chromium


@pytest.fixture(params=["bundled", "newest"])
def frontend(request: pytest.FixtureRequest) -> str:
    """Which frontend: the one that ComfyUI 0.3.75 comes with, or the newest."""
    name: str = request.param
    return name


@pytest.fixture(params=["classic", "nodes2"])
def renderer(request: pytest.FixtureRequest) -> str:
    """Which renderer: the classic canvas, or Nodes 2.0."""
    name: str = request.param
    return name


@pytest.fixture
def server(server_of: Callable[[str], ComfyServer], frontend: str) -> ComfyServer:
    """The running ComfyUI of this test's frontend."""
    return server_of(frontend)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens editors, whose contexts are closed after the test."""
    pages: list[Page] = []

    def open_one(url: str, **options: Any) -> Page:
        page = open_editor(browser, url, **options)
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.context.close()


@pytest.fixture
def editor(server: ComfyServer, renderer: str, open_page: Callable[..., Page]) -> Iterator[Page]:
    """An editor in this test's renderer, without a graph of ours. Errors of the pack's own files fail the test."""
    page = open_page(server.url)
    trouble = trouble_of(page)
    set_renderer(page, renderer)
    yield page
    assert trouble == []
