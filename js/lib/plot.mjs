// Draws a schedule that the server computed: sigma over steps, each stage in its colour, the boundary.

import { h, svg, warnings } from "./dom.mjs";
import { said, t } from "./words.mjs";

/**
 * @typedef {{sigmas: number[], steps: number, shift: number, first?: number, high: number | null,
 *   low: number | null, boundary: number | null, words: string, hand_over?: number, warnings: string[]}} Schedule
 */

const WIDTH = 340;
const HEIGHT = 150;
const BOX = { left: 26, top: 8, right: 8, bottom: 18 };

/** Where a step and a sigma lie in the drawing. @param {number} steps */
export function scale(steps) {
  const width = WIDTH - BOX.left - BOX.right;
  const height = HEIGHT - BOX.top - BOX.bottom;
  return (/** @type {number} */ step, /** @type {number} */ sigma) => [
    BOX.left + (width * step) / steps,
    BOX.top + height * (1 - Math.min(1, sigma)),
  ];
}

/** The step numbers to write below the plot: at most eleven, always whole. @param {number} steps */
export function ticks(steps) {
  const every = Math.max(1, Math.ceil(steps / 10));
  return Array.from({ length: Math.floor(steps / every) + 1 }, (_, index) => index * every);
}

/** @param {number[][]} points */
const path = (points) => points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");

/** @param {Schedule} schedule */
export function drawing(schedule) {
  const { sigmas, steps, boundary } = schedule;
  const at = scale(steps);
  const high = schedule.high ?? steps;
  const first = schedule.first ?? 0;
  const points = sigmas.map((sigma, step) => at(step, sigma));
  const [x0, y1] = at(0, 1);
  const [x1, y0] = at(steps, 0);
  const label = `${said(schedule.words)}, shift ${round(schedule.shift)}`;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "wan-flf2v-drawing", role: "img", "aria-label": label });
  for (const tick of [0, 0.5, 1]) {
    const y = at(0, tick)[1];
    picture.append(svg("line", { x1: x0, x2: x1, y1: y, y2: y, class: "grid" }));
    picture.append(svg("text", { x: x0 - 4, y: y + 3, class: "tick", "text-anchor": "end" }, String(tick)));
  }
  for (const tick of ticks(steps)) {
    picture.append(svg("text", { x: at(tick, 0)[0], y: y0 + 12, class: "tick", "text-anchor": "middle" }, String(tick)));
  }
  if (boundary !== null) {
    const y = at(0, boundary)[1];
    picture.append(svg("line", { x1: x0, x2: x1, y1: y, y2: y, class: "boundary" }));
    picture.append(
      svg("text", { x: x1, y: y + 10, class: "boundary-label", "text-anchor": "end" }, t("boundary {}", round(boundary))),
    );
    const x = points[high][0];
    picture.append(svg("line", { x1: x, x2: x, y1, y2: y0, class: "split" }));
  }
  for (const [stage, begin, end] of /** @type {[string, number, number][]} */ ([["first", 0, first], ["high", first, high], ["low", high, steps]])) {
    if (begin < end) picture.append(svg("polyline", { points: path(points.slice(begin, end + 1)), class: stage }));
  }
  if (steps <= 60) {
    points.forEach(([cx, cy], step) => {
      const title = svg("title", {}, t("step {}: sigma {}", step, sigmas[step].toFixed(4)));
      picture.append(svg("circle", { cx, cy, r: 2.6, class: step < first ? "first" : step < high ? "high" : "low" }, title));
    });
  }
  return picture;
}

/** @param {number} value */
const round = (value) => String(Math.round(value * 1000) / 1000);

/**
 * Shows a schedule in this element.
 * @param {HTMLElement} element
 * @param {Schedule} schedule
 * @param {string} [from] the node whose values it shows; "" = stand-in values
 */
export function showSchedule(element, schedule, from) {
  const words = h("div", { class: "wan-flf2v-words" });
  if (schedule.high === null || schedule.low === null) {
    words.append(h("span", { class: "high" }, said(schedule.words)));
  } else {
    const first = schedule.first ?? 0;
    if (first > 0) words.append(h("span", { class: "first" }, t("{} first", first)), " + ");
    words.append(h("span", { class: "high" }, t("{} high", schedule.high - first)), " + ", h("span", { class: "low" }, t("{} low", schedule.low)));
    if (schedule.hand_over !== undefined && schedule.low > 0 && schedule.high > 0) {
      words.append(h("span", { class: "quiet" }, t("  at sigma {}", schedule.hand_over.toFixed(3))));
    }
  }
  words.append(h("span", { class: "quiet" }, `  shift ${round(schedule.shift)}`));
  const note = from === "" ? t("Example: 20 steps. Connect a sampler to see its own.") : from ? t("As “{}” will run it.", from) : null;
  element.replaceChildren(words, drawing(schedule), ...(note ? [h("div", { class: "quiet" }, note)] : []), ...warnings(schedule.warnings));
  element.dataset.split = schedule.high === null ? "" : String(schedule.high);
  element.dataset.sigmas = JSON.stringify(schedule.sigmas);
}

/**
 * Shows words in place of a plot.
 * @param {HTMLElement} element
 * @param {string} text
 * @param {boolean} [bad]
 */
export function showWords(element, text, bad = false) {
  delete element.dataset.split;
  delete element.dataset.sigmas;
  element.replaceChildren(h("div", { class: bad ? "wan-flf2v-warning" : "quiet", ...(bad ? { role: "alert" } : {}) }, text));
}
