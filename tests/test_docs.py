"""What the pages say can be followed: every link within the project leads somewhere, and the README stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IGNORED = {"node_modules", "build", "dist"}
LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|href)="([^"]+)\"""")


def pages() -> list[Path]:
    """Every Markdown file of the project."""
    found = ROOT.rglob("*.md")
    return sorted(path for path in found if not any(_is_foreign(part) for part in path.relative_to(ROOT).parts))


def _is_foreign(part: str) -> bool:
    return part in IGNORED or part.startswith(".")


def anchors(path: Path) -> set[str]:
    """What a link into this page can name."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    # the editor resolves a help page's links from the folder of all help pages
    base = ROOT / "js" / "docs" if ROOT / "js" / "docs" in page.parents else page.parent
    for pair in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = "".join(pair).partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = base / target if target else page
        assert path.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    develop = (ROOT / "docs" / "develop.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text + develop, page.name
