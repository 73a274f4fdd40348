// All that a graph with nodes of the pack needs.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { remarks, textOf } from "./api_call.mjs";
import { addStyle } from "./dom.mjs";
import { call, copy, toast, words } from "./host.mjs";
import { addRemote, isRunning, setRunning } from "./jobs.mjs";
import { watch, watcher } from "./panel.mjs";
import { addDrafts, addFrames, addPlot } from "./panels.mjs";
import { replace } from "./replace.mjs";
import { addStoryboard } from "./storyboard_node.mjs";
import { t } from "./words.mjs";

export { someNode } from "./graph.mjs";
export { openJobs } from "./jobs.mjs";
export { t } from "./words.mjs";

/** What shows each storyboard anew when a run begins or ends. @type {Map<any, () => void>} */
const boards = new Map();

/** @param {any} node @param {HTMLElement} element */
function addBoard(node, element) {
  const again = addStoryboard(node, element, {
    fetch: (path, options) => api.fetchApi(path, options),
    address: (path) => api.apiURL(path),
    execute: (command) => void app.extensionManager.command.execute(command),
    graph: async () => (await app.graphToPrompt()).output,
    running: isRunning,
    changed: rememberChange,
    call,
    words,
  });
  watch(node, element, again.read, again.show);
  boards.set(node, () => (node.graph ? again.ask() : boards.delete(node)));
}

/** Let the editor's undo see what a panel changed. */
function rememberChange() {
  watcher.touch();
  const tracker = /** @type {any} */ (app.extensionManager.workflow).activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState();
}

/** The queue got work, or has none any more. @param {boolean} now */
export function queueHasWork(now) {
  if (now === isRunning()) return;
  setRunning(now);
  for (const again of [...boards.values()]) again();
}

const FILL = { schedule: addPlot, frames: addFrames, storyboard: addBoard, drafts: addDrafts, remote: addRemote };

/** Fills a node's panel. @param {any} node @param {HTMLElement} panel */
export function fill(node, panel) {
  addStyle();
  FILL[/** @type {keyof typeof FILL} */ (panel.dataset.wanFlf2v)](node, panel);
}

/** @param {string} form */
export async function copyApiCall(form) {
  try {
    const { output } = await app.graphToPrompt();
    const answer = await call("api_call", { graph: output });
    await copy(textOf(answer, form));
    toast("success", t("Copied: {}", answer.title), remarks(answer));
  } catch (error) {
    toast("error", t("Copy as API call"), words(error));
  }
}

/** @param {any} node ComfyUI's own first/last-frame node */
export function replaceCore(node) {
  const canvas = /** @type {any} */ (app.canvas);
  canvas.emitBeforeChange(); // one step to undo
  try {
    replace(node, (type) => /** @type {any} */ (window).LiteGraph.createNode(type));
    toast("success", t("Replaced. Undo brings the three nodes back."));
  } catch (error) {
    toast("error", t("Replace with Wan FLF2V's nodes"), words(error));
  } finally {
    // the editor gives new nodes their size when it draws them, which is part of this step
    requestAnimationFrame(() => requestAnimationFrame(() => canvas.emitAfterChange()));
  }
}
