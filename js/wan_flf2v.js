// The pack's entry in the editor, and all that the editor's start waits for: the rest is loaded for the first node that needs it.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const CORE = "WanFirstLastFrameToVideo";
const FORMS = [
  { id: "payload", label: "Payload (JSON)" },
  { id: "curl", label: "curl" },
  { id: "python", label: "Python" },
  { id: "cli", label: "Command line" },
];
/** Each node's panel and its least height. @type {Record<string, [string, number]>} */
const PANELS = {
  WanFLF2VShift: ["schedule", 210],
  WanFLF2VSchedule: ["schedule", 210],
  WanFLF2VTwoStageSampler: ["schedule", 210],
  WanFLF2VConditioning: ["frames", 240],
  WanFLF2VStoryboard: ["storyboard", 400],
  WanFLF2VPick: ["drafts", 220],
  WanFLF2VRunComfy: ["remote", 130],
  WanFLF2VRunComfyDeployment: ["remote", 130],
  WanFLF2VWaveSpeed: ["remote", 130],
  WanFLF2VRemoteFetch: ["remote", 130],
};

/** @type {typeof import("./lib/editor.mjs") | undefined} */
let editor;
let working = false;

async function load() {
  editor = await import("./lib/editor.mjs");
  editor.queueHasWork(working);
  return editor;
}

// the queue's length comes with each change, and as the first message of a page that is loaded in mid-run
api.addEventListener("status", (/** @type {any} */ event) => {
  working = (event.detail?.exec_info?.queue_remaining ?? 0) > 0;
  editor?.queueHasWork(working);
});

/** @param {any} node the editor's, or one of a saved graph */
const typeOf = (node) => String(node.comfyClass ?? node.type ?? "");
/** @param {any} node */
const isOurs = (node) => typeOf(node).startsWith("WanFLF2V");
/** @param {any} node */
const needsUs = (node) => isOurs(node) || typeOf(node) === CORE;

/**
 * Adds the panel that a node has: shown in both renderers, saved nowhere. It is there at once, though it may be filled later:
 * the first Nodes 2.0 does not show a widget that comes after its node.
 * @param {any} node
 */
function addPanel(node) {
  const [name, height] = PANELS[typeOf(node)] ?? [];
  if (!name) return undefined;
  const [holder, panel] = ["holder", "panel"].map((part) => Object.assign(document.createElement("div"), { className: `wan-flf2v-${part}` }));
  holder.dataset.wanFlf2vHolder = panel.dataset.wanFlf2v = name;
  holder.append(panel);
  const widget = node.addDOMWidget(`wan_flf2v_${name}`, `WAN_FLF2V_${name.toUpperCase()}`, holder, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => height,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  return panel;
}

/** @param {NonNullable<typeof editor>} loaded */
const menu = ({ copyApiCall, t }) => ({
  content: t("Copy as API call"),
  has_submenu: true,
  submenu: { options: FORMS.map(({ id, label }) => ({ content: t(label), callback: () => void copyApiCall(id) })) },
});

app.registerExtension({
  name: "WanFLF2V",
  commands: [
    ...FORMS.map(({ id, label }) => ({
      id: `WanFLF2V.CopyApiCall.${id}`,
      label: `Wan FLF2V: copy as API call, ${label}`,
      icon: "pi pi-copy",
      function: async () => (await load()).copyApiCall(id),
    })),
    {
      id: "WanFLF2V.Jobs",
      label: "Wan FLF2V: remote video jobs",
      icon: "pi pi-cloud",
      function: async () => (await load()).openJobs(),
    },
  ],
  // so that the panels of a graph that is opened are filled, and its inputs are as saved, from its first moment
  async beforeConfigureGraph(/** @type {any} */ graph) {
    const graphs = [graph, ...(graph.definitions?.subgraphs ?? [])];
    if (graphs.some(({ nodes }) => nodes?.some(needsUs))) await load();
  },
  nodeCreated(node) {
    if (!needsUs(node)) return;
    // the first Nodes 2.0 took every saved file for a picture
    if (node.comfyClass === "WanFLF2VSaveVideo") /** @type {any} */ (node).previewMediaType ??= "video";
    const panel = addPanel(node);
    if (editor) {
      if (panel) editor.fill(node, panel);
      return;
    }
    load().then((loaded) => panel && loaded.fill(node, panel)).catch((error) => {
      panel?.append(String(error));
      throw error;
    });
  },
  getCanvasMenuItems() {
    const graph = /** @type {any} */ (app.rootGraph ?? app.graph);
    return editor?.someNode(graph, isOurs) ? [null, /** @type {any} */ (menu(editor))] : [];
  },
  getNodeMenuItems(node) {
    if (!editor) return [];
    if (isOurs(node)) return [null, /** @type {any} */ (menu(editor))];
    if (node.type !== CORE) return [];
    const { replaceCore, t } = editor;
    const callback = () => replaceCore(node);
    return [null, /** @type {any} */ ({ content: t("Replace with Wan FLF2V's nodes"), callback })];
  },
});
