// A row of numbered inputs of which only the connected ones and the next are shown.

import { isLinked } from "./graph.mjs";

/** @typedef {import("./graph.mjs").GraphNode} GraphNode */
/** @typedef {import("./graph.mjs").Input} Slot */

/**
 * The numbers of the connected inputs.
 * @param {GraphNode} node
 * @param {string} name such as "keyframe_"
 * @returns {number[]}
 */
export const connectedOf = (node, name) =>
  ((node.graph && node.inputs) || [])
    .filter((input) => input.name.startsWith(name) && isLinked(node, input.name))
    .map((input) => Number(input.name.slice(name.length)))
    .sort((one, other) => one - other);

/**
 * Shows the inputs up to the one behind the last that is connected.
 * @param {any} node
 * @param {string} name
 * @param {number} most
 */
export function showNext(node, name, most) {
  const wanted = Math.min(most, Math.max(0, ...connectedOf(node, name)) + 1);
  const known = node.wanFlf2vSlots ?? (node.wanFlf2vSlots = templates(node, name));
  const names = () => String(node.inputs?.map((/** @type {Slot} */ input) => input.name));
  const before = names();
  for (let index = (node.inputs ?? []).length - 1; index >= 0; index--) {
    const { name: own } = node.inputs[index];
    if (own.startsWith(name) && Number(own.slice(name.length)) > wanted) node.removeInput(index);
  }
  for (let number = 1; number <= wanted; number++) {
    const own = `${name}${number}`;
    if (node.inputs.some((/** @type {Slot} */ input) => input.name === own)) continue;
    const { type, ...rest } = known.get(own) ?? { type: "IMAGE" };
    node.addInput(own, type, rest);
  }
  // the first Nodes 2.0 reads a node's inputs again only when an event tells it to
  if (names() !== before) node.graph?.trigger?.("node:slot-errors:changed", { nodeId: node.id });
}

/** How each of the inputs was made. @param {any} node @param {string} name */
function templates(node, name) {
  const own = (node.inputs ?? []).filter((/** @type {Slot} */ input) => input.name.startsWith(name));
  return new Map(own.map((/** @type {any} */ { name, type, shape, tooltip, localized_name, label }) =>
    [name, { type, ...Object.fromEntries(Object.entries({ shape, tooltip, localized_name, label }).filter(([, value]) => value != null)) }]));
}
