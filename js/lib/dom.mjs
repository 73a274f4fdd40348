// Small helpers to build elements without markup strings.

import { said } from "./words.mjs";

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {Element} element
 * @param {Record<string, any>} attributes
 * @param {(Node | string | null | undefined)[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  for (const child of children) {
    if (child !== null && child !== undefined) element.append(child);
  }
  return element;
}

/**
 * An HTML element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElement}
 */
export const h = (tag, attributes = {}, ...children) =>
  /** @type {HTMLElement} */ (fill(document.createElement(tag), attributes, children));

/**
 * An SVG element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined)} children
 * @returns {SVGElement}
 */
export const svg = (tag, attributes = {}, ...children) =>
  /** @type {SVGElement} */ (fill(document.createElementNS(SVG, tag), attributes, children));

/** Adds the pack's style sheet once. */
export function addStyle() {
  const href = new URL("../wan_flf2v.css", import.meta.url).href;
  if (document.head.querySelector(`link[href="${href}"]`)) return;
  document.head.append(h("link", { rel: "stylesheet", href }));
}

/**
 * Shows a panel in its node again. When undo or another workflow makes a node of the same id anew, Nodes 2.0 goes on showing
 * the element that the former node brought along: it takes the new panel in.
 * @param {any} id the node's
 * @param {HTMLElement} panel
 */
export function keepShown(id, panel) {
  if (panel.isConnected) return;
  const holder = `[data-wan-flf2v-holder="${panel.dataset.wanFlf2v}"]`;
  document.querySelector(`[data-node-id="${id}"] ${holder}`)?.replaceChildren(panel);
}

/** @param {string[]} notes the server's */
export const warnings = (notes) => notes.map((note) => h("div", { class: "wan-flf2v-warning", role: "alert" }, `⚠ ${said(note)}`));
