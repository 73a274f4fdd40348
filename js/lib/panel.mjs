// What every panel stands on: the look at what it has to show, the editor's language.

import { app } from "../../../scripts/app.js";
import { keepShown } from "./dom.mjs";
import { inGraph } from "./graph.mjs";
import { Pictures } from "./pictures.mjs";
import { Watcher } from "./watch.mjs";
import { speak, t } from "./words.mjs";

export const TAB = "wan-flf2v-jobs";
const INPUT = ["pointerdown", "pointerup", "keydown", "keyup", "wheel", "drop", "paste"];
export const watcher = new Watcher({ before: () => void follow(), after: () => pictures.sweep() });
export const pictures = new Pictures((url) => {
  const image = new Image();
  image.onload = image.onerror = () => watcher.touch();
  image.src = url;
  return image;
});

const touch = () => watcher.touch();
for (const event of INPUT) window.addEventListener(event, touch, { capture: true, passive: true });
window.addEventListener("pointermove", (event) => void (event.buttons && touch()), { capture: true, passive: true });
document.addEventListener("visibilitychange", touch);

/** Follows the editor's language, also when it is changed later. */
export async function follow() {
  if (!(await speak(String(app.extensionManager.setting.get("Comfy.Locale"))))) return;
  const tab = app.extensionManager.getSidebarTabs().find((each) => each.id === TAB);
  if (tab) Object.assign(tab, tabTexts());
  watcher.again();
}

export const tabTexts = () => ({ title: t("Wan jobs"), tooltip: t("Remote video jobs") });

/**
 * Watches what a node's panel has to show.
 * @param {any} node
 * @param {HTMLElement} element
 * @param {() => any} read
 * @param {(found: any) => void} change
 */
export function watch(node, element, read, change) {
  const look = () => {
    // of two panels of one id the present node's is shown: each look of the other's would take the focus
    if (node.graph === app.canvas?.graph && inGraph(node)) keepShown(node.id, element);
    return read();
  };
  watcher.add(node, look, change);
}
