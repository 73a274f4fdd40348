"""Every string of the pack in the editor is there in each language; English is the schemas' own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "js" / "docs"
LANGUAGES = sorted(path.name for path in (ROOT / "locales").iterdir())
# What is in English and Chinese and waits for the others: node ids, and "node id.input id". Empty in a release.
NOT_YET: set[str] = set()
CHINESE = "zh"


def waits(language: str, *names: str) -> bool:
    """Whether one of these names waits for this language."""
    return language != CHINESE and not NOT_YET.isdisjoint(names)


def table(language: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "locales" / language / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_every_kind_of_text_has_the_same_languages() -> None:
    assert LANGUAGES == ["ja", "ko", "zh", "zh-TW"]
    assert sorted(path.stem for path in (ROOT / "js" / "words").iterdir()) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_nodes_inputs_and_outputs_have_names_and_tooltips(pack: dict[str, Any], language: str) -> None:
    found = table(language, "nodeDefs")
    assert {name for name in pack if not waits(language, name)} <= set(found) <= set(pack)
    for name, own in found.items():
        schema = pack[name].GET_SCHEMA()
        expected = {given.id for given in schema.inputs if not waits(language, name, f"{name}.{given.id}")}
        assert expected <= set(own["inputs"]) <= {given.id for given in schema.inputs}, f"{language}: {name}"
        assert waits(language, name) or list(own["outputs"]) == [str(index) for index in range(len(schema.outputs))]
        assert own["display_name"], name
        assert own["description"] != schema.description, name
        assert all(given.tooltip for given in schema.inputs), name
        for text in (*own["inputs"].values(), *own["outputs"].values()):
            assert text["name"], f"{language}: {name}"
            assert re.search(r"[^\x00-\x7f]", text["tooltip"]), f"{language}: {name}: {text}"


def shape(page: str) -> list[str]:
    """The order of a page's parts: headings, picture, rows, bullets, code."""
    parts = [line.split(" ")[0] for line in page.splitlines() if line.startswith(("#", "|", "- ", "!", "```"))]
    return [part[:1] if part.startswith(("|", "!")) else part for part in parts]


def test_every_node_has_help_with_a_picture_that_names_every_input(pack: dict[str, Any]) -> None:
    for name, node in pack.items():
        assert (DOCS / "media" / f"{name}.jpg").is_file(), name
        english = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        for language in ("en", *LANGUAGES):
            path = DOCS / f"{name}.md" if language == "en" else DOCS / name / f"{language}.md"
            if waits(language, name):
                continue
            text = path.read_text(encoding="utf-8")
            assert f"(media/{name}.jpg)" in text
            for given in node.GET_SCHEMA().inputs:
                assert f"`{given.id}`" in text or waits(language, f"{name}.{given.id}"), f"{path}: {given.id}"
            if not any(waits(language, f"{name}.{given.id}") for given in node.GET_SCHEMA().inputs):
                assert shape(text) == shape(english), f"{path} has other parts than {name}.md"


@pytest.mark.parametrize("language", LANGUAGES)
def test_commands_and_categories_are_named(pack: dict[str, Any], language: str) -> None:
    forms = re.findall(r'id: "(\w+)"', (ROOT / "js" / "wan_flf2v.js").read_text(encoding="utf-8"))
    commands = {"WanFLF2V_Jobs", *(f"WanFLF2V_CopyApiCall_{form}" for form in forms)}
    assert set(table(language, "commands")) == commands
    categories = {part for node in pack.values() for part in node.GET_SCHEMA().category.split("/")}
    assert set(table(language, "main")["nodeCategories"]) == categories - {"video"}
