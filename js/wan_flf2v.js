// The pack's entry in the editor, which waits for this file alone: the panels' code is loaded beside its own start.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { FORMS } from "./lib/api_call.mjs";
import { t } from "./lib/words.mjs";

const CORE = "WanFirstLastFrameToVideo";
const loading = import("./lib/editor.mjs"); // beside what the editor itself has to do until its setup
/** @type {Awaited<typeof loading>} */
let editor;

// the queue's length comes with each change, and as the first message of a page that is loaded in mid-run
api.addEventListener("status", async (/** @type {any} */ event) => {
  (await loading).queueHasWork((event.detail?.exec_info?.queue_remaining ?? 0) > 0);
});

/** @param {any} node */
const isOurs = (node) => String(node.comfyClass ?? node.type ?? "").startsWith("WanFLF2V");

const menu = () => ({
  content: t("Copy as API call"),
  has_submenu: true,
  submenu: { options: FORMS.map(({ id, label }) => ({ content: t(label), callback: () => void editor.copyApiCall(id) })) },
});

app.registerExtension({
  name: "WanFLF2V",
  commands: [
    ...FORMS.map(({ id, label }) => ({
      id: `WanFLF2V.CopyApiCall.${id}`,
      label: `Wan FLF2V: copy as API call, ${label}`,
      icon: "pi pi-copy",
      function: () => editor.copyApiCall(id),
    })),
    {
      id: "WanFLF2V.Jobs",
      label: "Wan FLF2V: remote video jobs",
      icon: "pi pi-cloud",
      function: () => editor.openJobs(),
    },
  ],
  async setup() {
    editor = await loading;
  },
  nodeCreated(node) {
    if (!isOurs(node)) return;
    // the first Nodes 2.0 took every saved file for a picture
    if (node.comfyClass === "WanFLF2VSaveVideo") /** @type {any} */ (node).previewMediaType ??= "video";
    editor.addTo(node);
  },
  getCanvasMenuItems() {
    const graph = /** @type {any} */ (app.rootGraph ?? app.graph);
    return editor.someNode(graph, isOurs) ? [null, /** @type {any} */ (menu())] : [];
  },
  getNodeMenuItems(node) {
    if (isOurs(node)) return [null, /** @type {any} */ (menu())];
    if (node.type !== CORE) return [];
    const callback = () => editor.replaceCore(node);
    return [null, /** @type {any} */ ({ content: t("Replace with Wan FLF2V's nodes"), callback })];
  },
});
