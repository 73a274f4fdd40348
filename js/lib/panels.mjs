// The panels that draw what a node will do: schedule, frames, drafts.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { framesOf, pictureAt, showFrames } from "./frames.mjs";
import { valueOf } from "./graph.mjs";
import { call, words } from "./host.mjs";
import { Latest } from "./latest.mjs";
import { pictures, watch, watcher } from "./panel.mjs";
import { draftPath, showDrafts } from "./pick.mjs";
import { showSchedule, showWords } from "./plot.mjs";
import { scheduleOf } from "./schedule.mjs";
import { t } from "./words.mjs";

const SIDES = /** @type {const} */ (["start", "end"]);

/** @param {any} node @param {HTMLElement} element */
export function addPlot(node, element) {
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

/** @param {any} node @param {HTMLElement} element */
export function addFrames(node, element) {
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

/** @param {any} node @param {HTMLElement} element */
export function addDrafts(node, element) {
  /** @type {import("./pick.mjs").Draft[] | undefined} */
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
    const addresses = drafts.map((/** @type {import("./pick.mjs").Draft} */ each) => api.apiURL(draftPath(each)));
    showDrafts(element, addresses, index, pick);
  });
}
