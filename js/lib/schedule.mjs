// Which schedule a node will run, read from the graph. The numbers themselves come from the server.

import { downstream, isLinked, source, valueOf, widgetValue } from "./graph.mjs";
import { t } from "./words.mjs";

/** @typedef {import("./graph.mjs").GraphNode} GraphNode */
/** @typedef {Record<string, any>} Body */

const WAN_SHIFT = 8; // what ComfyUI gives a Wan model without any shift node
const NAMES = ["steps", "sampler_name", "scheduler", "boundary", "high_steps", "denoise"];
/** What the low-noise stage may have of its own, and the steps of a model before both. */
const OWN = ["steps_low", "sampler_low", "scheduler_low", "first_steps", "first_resolution"];
const STAND_IN = { steps: 20, sampler_name: "euler", scheduler: "simple", boundary: 0.9, high_steps: -1, denoise: 1 };
const SHIFT_NODES = ["WanFLF2VShift", "ModelSamplingSD3"];

/**
 * The shift that reaches a model input, and the names of the files on its way: `{shift}` or `{auto}`, `{}` where only a
 * run can tell.
 * @param {GraphNode} node
 * @param {string} input
 */
export function modelAt(node, input) {
  /** @type {Body} */
  const found = { files: "" };
  let at = source(node, input);
  for (let depth = 0; at && "node" in at && depth < 64; depth++) {
    const here = at.node;
    if (SHIFT_NODES.includes(here.type) && !("shift" in found) && !("auto" in found)) {
      const shift = shiftOf(here);
      if (!shift) return { files: found.files, unknown: true };
      Object.assign(found, shift);
    }
    found.files += ` ${JSON.stringify((here.widgets ?? []).map((widget) => widget.value))}`;
    const inputs = here.inputs ?? [];
    const wanted = here.outputs?.[at.slot]?.name;
    const same = inputs.find((each) => each.type === "MODEL" && each.name === wanted);
    const model = same ?? inputs.find((each) => each.type === "MODEL");
    at = model && source(here, model.name);
  }
  if (!("shift" in found) && !("auto" in found)) found.shift = WAN_SHIFT;
  return found;
}

/**
 * The shift of a shift node: its widget, or Wan FLF2V Auto Shift's inputs.
 * @param {GraphNode} node
 * @returns {Body | undefined}
 */
function shiftOf(node) {
  const value = valueOf(node, "shift");
  if (value !== undefined) return { shift: value };
  const from = source(node, "shift");
  if (!from || !("node" in from) || from.node.type !== "WanFLF2VAutoShift") return undefined;
  const auto = read(from.node, ["steps", "high_steps", "scheduler", "boundary"]);
  return auto && { auto };
}

/**
 * @param {GraphNode} node
 * @param {string[]} names
 * @returns {Body | undefined} undefined when one of them is known in a run only
 */
function read(node, names) {
  /** @type {Body} */
  const values = {};
  for (const name of names) {
    const value = valueOf(node, name);
    if (value === undefined) return undefined;
    values[name] = value;
  }
  return values;
}

/**
 * The run's values. A node of an older graph has none of OWN.
 * @param {GraphNode} node
 * @returns {Body | undefined} undefined when one of them is known in a run only
 */
function runOf(node) {
  const values = read(node, [...NAMES, ...OWN.filter((name) => widgetValue(node, name) !== undefined)]);
  const alone = node.type === "WanFLF2VTwoStageSampler" && !isLinked(node, "model_first");
  if (values?.first_steps && alone) values.first_steps = 0;
  return values;
}

/**
 * What to ask the server for this node's plot, with a word on where the values are from; or why nothing can be asked.
 * @param {GraphNode} node
 * @returns {{body: Body, from?: string} | {unknown: string}}
 */
export function scheduleOf(node) {
  if (node.type === "WanFLF2VShift") return shiftSchedule(node);
  const values = runOf(node);
  if (!values) return { unknown: linkedNames(node, [...NAMES, ...OWN]) };
  const high = modelAt(node, "model_high");
  if ("unknown" in high) return { unknown: t("{} is linked", "shift") };
  const low = modelAt(node, "model_low");
  const cfg = valueOf(node, "cfg"); // a schedule node has none
  /** @type {Body} */
  const body = { ...values, ...high };
  if (cfg !== undefined) body.cfg = cfg;
  if (isLinked(node, "model_low") && "shift" in low && "shift" in high && low.shift !== high.shift) {
    body.shift_low = low.shift;
  }
  return { body };
}

/** @param {GraphNode} node @returns {{body: Body, from?: string} | {unknown: string}} */
function shiftSchedule(node) {
  const shift = shiftOf(node);
  if (!shift) return { unknown: t("{} is linked", "shift") };
  const after = downstream(node, 0);
  const user = after.find((each) => ["WanFLF2VTwoStageSampler", "WanFLF2VSchedule"].includes(each.type));
  if (user) {
    const values = runOf(user);
    const high = modelAt(user, "model_high");
    const name = user.title || user.type;
    if (!values) return { unknown: linkedNames(user, [...NAMES, ...OWN]) };
    return { body: { ...values, ...shift, files: high.files }, from: name };
  }
  const plain = after.find((each) => each.type === "KSampler");
  if (plain) {
    const values = read(plain, ["steps", "sampler_name", "scheduler", "denoise"]);
    if (values) return { body: { ...values, ...shift }, from: plain.title || plain.type };
  }
  return { body: { ...STAND_IN, ...shift }, from: "" };
}

/** @param {GraphNode} node @param {string[]} names */
function linkedNames(node, names) {
  const linked = names.filter((name) => valueOf(node, name) === undefined && widgetValue(node, name) !== undefined);
  return t(linked.length > 1 ? "{} are linked" : "{} is linked", linked.join(", ") || "a value");
}
