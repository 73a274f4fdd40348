// "Copy as API call": the graph's values as payload, curl line, Python or command line. The server reads the bindings.

import { said, t } from "./words.mjs";

/** @typedef {{workflow: string, title: string, payload: Record<string, any>, curl: string, python: string, cli: string, notes: string[]}} ApiCall */

/**
 * The text to copy.
 * @param {ApiCall} call
 * @param {string} form
 */
export function textOf(call, form) {
  if (form === "payload") return `${JSON.stringify(call.payload, null, 2)}\n`;
  if (form === "curl") return call.curl;
  if (form === "python") return call.python;
  return call.cli;
}

/** What to tell the user beside "copied". @param {ApiCall} call */
export function remarks(call) {
  const pictures = t("Pictures are names in ComfyUI's input folder: give URLs or paths in their place.");
  return [...call.notes.map(said), pictures].join("\n");
}
