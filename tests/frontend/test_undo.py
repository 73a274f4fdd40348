"""Undo and redo by the keyboard: the pack's panels follow, in both frontends and both renderers."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from wan_flf2v.tests.frontend.browser import EACH_ONCE, click_title, load_workflow, raise_number

STEPS_SHOWN = """(steps) => {
  const root = window.app.rootGraph ?? window.app.graph;
  const plots = [...document.querySelectorAll("[data-wan-flf2v=schedule]")];
  const value = root.getNodeById(57)?.widgets?.find((widget) => widget.name === "steps")?.value;
  return value === steps && plots.length === 2 && plots.every((plot) =>
    plot.dataset.sigmas && JSON.parse(plot.dataset.sigmas).length === steps + 1);
}"""
UNDOS = "() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.undoQueue.length"


def remember(page: Page) -> int:
    """How many changes the editor can undo."""
    return int(page.evaluate(UNDOS))


def wait_for_change(page: Page, before: int) -> None:
    """Until the editor has taken a change down, so that undo takes back this one."""
    page.wait_for_function(f"(before) => ({UNDOS})() > before", arg=before)
    page.evaluate("() => document.activeElement?.blur()")  # else the keys would be the number field's own


def test_panels_follow_undo_and_redo_of_a_changed_number(editor: Page, renderer: str) -> None:
    load_workflow(editor, "wan22_flf2v")
    frames = editor.locator("[data-wan-flf2v=frames]")
    editor.wait_for_function(STEPS_SHOWN, arg=20)
    expect(frames).to_contain_text("81 frames = 5.06 s")
    before = remember(editor)
    raise_number(editor, renderer, 57, "steps")
    editor.wait_for_function(STEPS_SHOWN, arg=21)
    wait_for_change(editor, before)
    before = remember(editor)
    raise_number(editor, renderer, 67, "length")
    expect(frames).to_contain_text("85 frames = 5.31 s")
    wait_for_change(editor, before)
    editor.keyboard.press("Control+z")
    expect(frames).to_contain_text("81 frames = 5.06 s")
    expect(frames.locator("canvas")).to_have_count(2)
    editor.wait_for_function(STEPS_SHOWN, arg=21)
    editor.keyboard.press("Control+z")
    editor.wait_for_function(STEPS_SHOWN, arg=20)
    editor.keyboard.press("Control+y")
    editor.wait_for_function(STEPS_SHOWN, arg=21)
    editor.keyboard.press("Control+y")
    expect(frames).to_contain_text("85 frames = 5.31 s")


@EACH_ONCE
def test_panels_follow_undo_and_redo_of_a_deleted_node(editor: Page) -> None:
    load_workflow(editor, "wan22_flf2v")
    plots = editor.locator("[data-wan-flf2v=schedule]")
    editor.wait_for_function(STEPS_SHOWN, arg=20)
    before = remember(editor)
    click_title(editor, 57)
    editor.keyboard.press("Delete")
    expect(plots).to_have_count(1)
    expect(plots).to_contain_text("Example: 20 steps")
    wait_for_change(editor, before)
    editor.keyboard.press("Control+z")
    editor.wait_for_function(STEPS_SHOWN, arg=20)
    expect(plots.first).to_contain_text("will run it")
    editor.keyboard.press("Control+y")
    expect(plots).to_have_count(1)
    expect(plots).to_contain_text("Example: 20 steps")
    editor.keyboard.press("Control+z")
    editor.wait_for_function(STEPS_SHOWN, arg=20)
