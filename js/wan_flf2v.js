// The pack's part of the editor: the only file that touches the app. State lives in widget values alone.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { FORMS, remarks, textOf } from "./lib/api_call.mjs";
import { addStyle, keepShown, panelOf } from "./lib/dom.mjs";
import { framesOf, pictureAt, showFrames } from "./lib/frames.mjs";
import { nodesOf, valueOf } from "./lib/graph.mjs";
import { Latest } from "./lib/latest.mjs";
import { draftPath, showDrafts } from "./lib/pick.mjs";
import { Pictures } from "./lib/pictures.mjs";
import { showSchedule, showWords } from "./lib/plot.mjs";
import { Poller } from "./lib/poller.mjs";
import { REMOTE, isLive, showAccount, showJobs } from "./lib/remote.mjs";
import { CORE, replace } from "./lib/replace.mjs";
import { PLOTTED, scheduleOf } from "./lib/schedule.mjs";
import { addStoryboard } from "./lib/storyboard_node.mjs";
import { Watcher } from "./lib/watch.mjs";
import { said, speak, t } from "./lib/words.mjs";

/** @typedef {import("./lib/graph.mjs").GraphNode} GraphNode */

const TAB = "wan-flf2v-jobs";
const SIDES = /** @type {const} */ (["start", "end"]);
const REMOTE_PERIOD_MS = 1500;
const INPUT = ["pointerdown", "pointerup", "keydown", "keyup", "wheel", "drop", "paste"];
const watcher = new Watcher({ before: () => void follow(), after: () => pictures.sweep() });
const pictures = new Pictures((url) => {
  const image = new Image();
  image.onload = image.onerror = () => watcher.touch();
  image.src = url;
  return image;
});

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
const words = (error) => said(error instanceof Error ? error.message : String(error));

/** @param {any} severity @param {string} summary @param {string} [detail] */
function toast(severity, summary, detail) {
  app.extensionManager.toast.add({ severity, summary, detail, life: severity === "success" ? 4000 : 12000 });
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // a page served over plain HTTP from another machine has no clipboard
    await app.extensionManager.dialog.prompt({ title: t("Copy this text"), message: "", defaultValue: text });
  }
}

/** Follows the editor's language, also when it is changed later. */
async function follow() {
  if (!(await speak(String(app.extensionManager.setting.get("Comfy.Locale"))))) return;
  const tab = app.extensionManager.getSidebarTabs().find((each) => each.id === TAB);
  if (tab) Object.assign(tab, tabTexts());
  watcher.again();
}

const tabTexts = () => ({ title: t("Wan jobs"), tooltip: t("Remote video jobs") });

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
  const { panel, holder } = panelOf(name);
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

/**
 * Watches what a node's panel has to show.
 * @param {any} node
 * @param {HTMLElement} element
 * @param {() => any} read
 * @param {(found: any) => void} change
 */
function watch(node, element, read, change) {
  const look = () => {
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
      if ("unknown" in found) showWords(element, t("No plot before a run: {}.", found.unknown));
      else latest.put(found);
    },
  );
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
        if (given) shown[side] = given.url && given.size ? { image: pictures.get(given.url) } : { words: given.words };
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
      const image = pictures.get(picture.url);
      if (!image.complete) given[side] = { words: t("loading …") };
      else if (!image.naturalWidth) given[side] = { words: t("The picture can't be read.") };
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

/** @param {any} node */
function addDrafts(node) {
  const element = addPanel(node, "drafts", 220);
  /** @type {import("./lib/pick.mjs").Draft[] | undefined} */
  let shown;
  const executed = node.onExecuted;
  node.onExecuted = (/** @type {any} */ output) => {
    executed?.call(node, output);
    shown = output?.drafts;
    watcher.touch();
  };
  const read = () => ({
    drafts: shown ?? app.nodeOutputs?.[String(node.id)]?.drafts ?? [],
    index: valueOf(node, "index"),
  });
  const pick = (/** @type {number} */ index) => {
    const widget = node.widgets.find((/** @type {any} */ each) => each.name === "index");
    widget.value = index;
    widget.callback?.(index);
    watcher.touch();
  };
  watch(node, element, read, ({ drafts, index }) => {
    const addresses = drafts.map((/** @type {import("./lib/pick.mjs").Draft} */ each) => api.apiURL(draftPath(each)));
    showDrafts(element, addresses, index, pick);
  });
}

let running = false; // whether ComfyUI works on a graph: a job may come into being at any moment
/** @type {import("./lib/remote.mjs").Account[] | undefined} */
let accounts;
/** What the job list and every remote node's panel show. @type {Poller<import("./lib/remote.mjs").Answer>} */
const jobs = new Poller(async () => {
  if (!accounts || accounts.some((each) => each.advice)) accounts = (await call("remote/accounts")).accounts;
  return { accounts, ...(await call("remote/jobs")) };
});

/** @param {any} node */
function addRemote(node) {
  const element = addPanel(node, "remote", 130);
  addTab();
  /** @type {(() => void) | undefined} */
  let stop;
  const again = () => jobs.refresh();
  const follower = {
    /** @param {import("./lib/remote.mjs").Answer} answer */
    show(answer) {
      if (!node.graph) {
        stop?.(); // it was removed while the answer was on its way
        return null;
      }
      const profile = valueOf(node, "profile");
      const account = answer.accounts.find((each) => each.name === profile);
      const mine = answer.jobs.filter((job) => job.profile === profile);
      showAccount(element, { account, jobs: mine, now: answer.now }, host, openJobs, again);
      return running || mine.some(isLive) ? REMOTE_PERIOD_MS : null;
    },
    /** @param {unknown} error */
    fail(error) {
      showWords(element, words(error), true);
      return null;
    },
  };
  watch(node, element, () => valueOf(node, "profile") ?? "", () => {
    if (stop) again();
    else stop = jobs.follow(follower);
  });
}

/** What shows each storyboard anew when a run begins or ends. @type {Map<any, () => void>} */
const boards = new Map();

/** @param {any} node */
function addBoard(node) {
  const element = addPanel(node, "storyboard", 330);
  const again = addStoryboard(node, element, {
    fetch: (path, options) => api.fetchApi(path, options),
    address: (path) => api.apiURL(path),
    execute: (command) => void app.extensionManager.command.execute(command),
    graph: async () => (await app.graphToPrompt()).output,
    running: () => running,
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

let tabbed = false;

/** The job list in the sidebar: there once a remote node is, or its command was called. */
function addTab() {
  if (tabbed) return;
  tabbed = true;
  /** @type {(() => void) | undefined} */
  let stop;
  app.extensionManager.registerSidebarTab({
    id: TAB,
    icon: "pi pi-cloud",
    ...tabTexts(),
    type: "custom",
    render: (element) => {
      addStyle();
      stop?.();
      stop = showJobs(element, host, jobs);
    },
    destroy: () => stop?.(),
  });
}

async function openJobs() {
  await follow();
  addTab();
  app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`);
}

/** @param {string} form */
async function copyApiCall(form) {
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
function replaceCore(node) {
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

const menu = () => ({
  content: t("Copy as API call"),
  has_submenu: true,
  submenu: { options: FORMS.map(({ id, label }) => ({ content: t(label), callback: () => void copyApiCall(id) })) },
});

/** @param {any} node */
const isOurs = (node) => String(node?.comfyClass ?? node?.type ?? "").startsWith("WanFLF2V");

/** @param {any} graph @returns {boolean} */
const hasOurs = (graph) => nodesOf(graph).some((node) => isOurs(node) || (node.subgraph && hasOurs(node.subgraph)));

// the queue's length comes with each change, and as the first message of a page that is loaded in mid-run
api.addEventListener("status", (/** @type {any} */ event) => {
  const now = (event.detail?.exec_info?.queue_remaining ?? 0) > 0;
  if (now === running) return;
  running = now;
  jobs.refresh();
  for (const again of [...boards.values()]) again();
});

app.registerExtension({
  name: "WanFLF2V",
  commands: [
    ...FORMS.map(({ id, label }) => ({
      id: `WanFLF2V.CopyApiCall.${id}`,
      label: `Wan FLF2V: copy as API call, ${label}`,
      icon: "pi pi-copy",
      function: () => copyApiCall(id),
    })),
    { id: "WanFLF2V.Jobs", label: "Wan FLF2V: remote video jobs", icon: "pi pi-cloud", function: openJobs },
  ],
  setup() {
    const touch = () => watcher.touch();
    for (const event of INPUT) window.addEventListener(event, touch, { capture: true, passive: true });
    window.addEventListener("pointermove", (event) => void (event.buttons && touch()), { capture: true, passive: true });
    document.addEventListener("visibilitychange", () => {
      touch();
      if (!document.hidden) jobs.seen();
    });
  },
  nodeCreated(node) {
    const type = node.comfyClass ?? "";
    if (PLOTTED.includes(type)) addPlot(node);
    else if (type === "WanFLF2VConditioning") addFrames(node);
    else if (type === "WanFLF2VStoryboard") addBoard(node);
    else if (REMOTE.includes(type)) addRemote(node);
    else if (type === "WanFLF2VPick") addDrafts(node);
    // the first Nodes 2.0 took every saved file for a picture
    else if (type === "WanFLF2VSaveVideo") /** @type {any} */ (node).previewMediaType ??= "video";
  },
  getCanvasMenuItems: () => (hasOurs(app.rootGraph ?? app.graph) ? [null, /** @type {any} */ (menu())] : []),
  getNodeMenuItems(node) {
    if (isOurs(node)) return [null, /** @type {any} */ (menu())];
    if (node.type !== CORE) return [];
    return [null, /** @type {any} */ ({ content: t("Replace with Wan FLF2V's nodes"), callback: () => replaceCore(node) })];
  },
});
