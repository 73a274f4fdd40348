// The pack's part of the editor: the only file that touches the app. State lives in widget values alone.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { FORMS, remarks, textOf } from "./lib/api_call.mjs";
import { addStyle, h, keepShown } from "./lib/dom.mjs";
import { framesOf, pictureAt, showFrames } from "./lib/frames.mjs";
import { valueOf } from "./lib/graph.mjs";
import { Latest } from "./lib/latest.mjs";
import { showSchedule, showWords } from "./lib/plot.mjs";
import { REMOTE, isLive, showAccount, showJobs } from "./lib/remote.mjs";
import { PLOTTED, scheduleOf } from "./lib/schedule.mjs";
import { Watcher } from "./lib/watch.mjs";
import { speak, t } from "./lib/words.mjs";

/** @typedef {import("./lib/graph.mjs").GraphNode} GraphNode */

const TAB = "wan-flf2v-jobs";
const SIDES = /** @type {const} */ (["start", "end"]);
const REMOTE_PERIOD_MS = 1500;
const watcher = new Watcher();

/**
 * Calls one of the pack's routes. Throws with the server's own words.
 * @param {string} name
 * @param {object} [body]
 */
async function call(name, body = {}) {
  const response = await api.fetchApi(`/wan_flf2v/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({ error: `HTTP ${response.status}` }));
  if (!response.ok) throw new Error(answer.error ?? `HTTP ${response.status}`);
  return answer;
}

/** @param {unknown} error */
const words = (error) => (error instanceof Error ? error.message : String(error));

/** @param {any} severity @param {string} summary @param {string} [detail] */
function toast(severity, summary, detail) {
  app.extensionManager.toast.add({ severity, summary: t(summary), detail: detail && t(detail), life: severity === "success" ? 4000 : 12000 });
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // a page served over plain HTTP from another machine has no clipboard
    await app.extensionManager.dialog.prompt({ title: "Copy this text", message: "", defaultValue: text });
  }
}

/** Follows the editor's language, also when it is changed later. */
const follow = async () => (await speak(String(app.extensionManager.setting.get("Comfy.Locale")))) && watcher.again();

/** @type {import("./lib/remote.mjs").Host} */
const host = { call, copy, toast, address: (path) => api.apiURL(path) };

/**
 * Adds a panel to a node: shown in both renderers, saved nowhere.
 * @param {any} node
 * @param {string} name
 * @param {number} height
 * @returns {HTMLElement}
 */
function addPanel(node, name, height) {
  addStyle();
  const element = h("div", { class: "wan-flf2v-panel", "data-wan-flf2v": name });
  const widget = node.addDOMWidget(`wan_flf2v_${name}`, `WAN_FLF2V_${name.toUpperCase()}`, element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => height,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  return element;
}

/**
 * Watches what a node's panel has to show.
 * @param {any} node
 * @param {HTMLElement} element
 * @param {() => any} read
 * @param {(found: any) => void} change
 */
function watch(node, element, read, change) {
  const look = () => {
    void follow();
    if (node.graph === app.canvas?.graph) keepShown(node.id, element);
    return read();
  };
  watcher.add(node, look, change);
}

/** @param {any} node */
function addPlot(node) {
  const element = addPanel(node, "schedule", 210);
  const latest = new Latest(
    (/** @type {any} */ asked) => call("schedule", asked.body),
    (schedule, asked) => showSchedule(element, schedule, asked.from),
    (error) => showWords(element, words(error), true),
  );
  watch(
    node,
    element,
    () => scheduleOf(node),
    (found) => {
      if ("unknown" in found) showWords(element, `No plot before a run: ${found.unknown}.`);
      else latest.put(found);
    },
  );
}

/** Pictures by address, so that several nodes and edits load each once. @type {Map<string, HTMLImageElement>} */
const pictures = new Map();

/** @param {string} url */
function pictureOf(url) {
  let image = pictures.get(url);
  if (!image) {
    image = new Image();
    image.src = url;
    pictures.set(url, image);
    if (pictures.size > 32) pictures.delete(pictures.keys().next().value ?? "");
  }
  return image;
}

/** @param {any} node */
function addFrames(node) {
  const element = addPanel(node, "frames", 240);
  const latest = new Latest(
    (/** @type {any} */ asked) => call("frames", asked.body),
    (frames, asked) => {
      /** @type {Record<string, {image?: HTMLImageElement, words?: string}>} */
      const shown = {};
      for (const side of SIDES) {
        const given = asked.given[side];
        if (given) shown[side] = given.url && given.size ? { image: pictureOf(given.url) } : { words: given.words };
      }
      showFrames(element, frames, shown);
    },
    (error) => showWords(element, words(error), true),
  );
  const read = () => {
    const found = framesOf(node);
    if ("unknown" in found) return found;
    /** @type {Record<string, any>} */
    const given = {};
    for (const side of SIDES) {
      const picture = pictureAt(node, `${side}_image`, (path) => api.apiURL(path));
      if (!picture) continue;
      given[side] = picture;
      if (!("url" in picture)) continue;
      const image = pictureOf(picture.url);
      if (!image.complete) given[side] = { words: "loading …" };
      else if (!image.naturalWidth) given[side] = { words: "The picture can't be read." };
      else {
        given[side] = { url: picture.url, size: true };
        found.body[side] = { width: image.naturalWidth, height: image.naturalHeight };
      }
    }
    return { ...found, given };
  };
  watch(node, element, read, (found) => {
    if ("unknown" in found) showWords(element, found.unknown);
    else latest.put(found);
  });
}

/** @type {Set<() => void>} */
const remotePanels = new Set();
let running = false; // whether ComfyUI works on a graph: a job may come into being at any moment

/** @param {any} node */
function addRemote(node) {
  const element = addPanel(node, "remote", 130);
  /** @type {any} */
  let accounts = null;
  /** @type {any} */
  let timer = null;
  const latest = new Latest(
    async () => {
      if (!accounts || accounts.some((/** @type {any} */ each) => each.advice)) accounts = (await call("remote/accounts")).accounts;
      return call("remote/jobs");
    },
    ({ jobs, now }) => {
      const profile = valueOf(node, "profile");
      const account = accounts.find((/** @type {any} */ each) => each.name === profile);
      const mine = jobs.filter((/** @type {any} */ job) => job.profile === profile);
      showAccount(element, { account, jobs: mine, now }, host, openJobs, refresh);
      clearTimeout(timer);
      if (running || mine.some(isLive)) timer = setTimeout(refresh, REMOTE_PERIOD_MS);
    },
    (error) => showWords(element, words(error), true),
  );
  const refresh = () => {
    if (node.graph) latest.put(null);
    else remotePanels.delete(refresh);
  };
  remotePanels.add(refresh);
  watch(node, element, () => valueOf(node, "profile") ?? "", refresh);
}

function openJobs() {
  app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`);
}

/** @param {string} form */
async function copyApiCall(form) {
  try {
    const { output } = await app.graphToPrompt();
    const answer = await call("api_call", { graph: output });
    await copy(textOf(answer, form));
    toast("success", `Copied: ${answer.title}`, remarks(answer));
  } catch (error) {
    toast("error", "Copy as API call", words(error));
  }
}

const menu = () => ({
  content: t("Copy as API call"),
  has_submenu: true,
  submenu: { options: FORMS.map(({ id, label }) => ({ content: t(label), callback: () => void copyApiCall(id) })) },
});

/** @param {any} node */
const isOurs = (node) => String(node?.comfyClass ?? node?.type ?? "").startsWith("WanFLF2V");

app.registerExtension({
  name: "WanFLF2V",
  commands: FORMS.map(({ id, label }) => ({
    id: `WanFLF2V.CopyApiCall.${id}`,
    label: `Wan FLF2V: copy as API call, ${label}`,
    icon: "pi pi-copy",
    function: () => copyApiCall(id),
  })),
  setup() {
    /** @type {(() => void) | undefined} */
    let stop;
    app.extensionManager.registerSidebarTab({
      id: TAB,
      icon: "pi pi-cloud",
      title: "Wan jobs",
      tooltip: "Remote video jobs of Wan FLF2V",
      type: "custom",
      render: (element) => {
        addStyle();
        stop?.();
        void follow();
        stop = showJobs(element, host);
      },
      destroy: () => stop?.(),
    });
    for (const event of ["execution_start", "execution_success", "execution_error", "execution_interrupted"]) {
      api.addEventListener(/** @type {any} */ (event), () => {
        running = event === "execution_start";
        remotePanels.forEach((refresh) => refresh());
      });
    }
  },
  nodeCreated(node) {
    const type = node.comfyClass ?? "";
    if (PLOTTED.includes(type)) addPlot(node);
    else if (type === "WanFLF2VConditioning") addFrames(node);
    else if (REMOTE.includes(type)) addRemote(node);
    // the first Nodes 2.0 took every saved file for a picture
    else if (type === "WanFLF2VSaveVideo") /** @type {any} */ (node).previewMediaType ??= "video";
  },
  getCanvasMenuItems: () => [null, /** @type {any} */ (menu())],
  getNodeMenuItems: (node) => (isOurs(node) ? [null, /** @type {any} */ (menu())] : []),
});
