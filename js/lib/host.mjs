// What the pack needs of the app: its routes, its words to the user, its language.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { said, t } from "./words.mjs";

/**
 * Calls one of the pack's routes. Throws with the server's own words.
 * @param {string} name
 * @param {object} [body]
 */
export async function call(name, body = {}) {
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
export const words = (error) => said(error instanceof Error ? error.message : String(error));

/** @param {any} severity @param {string} summary @param {string} [detail] */
export function toast(severity, summary, detail) {
  app.extensionManager.toast.add({ severity, summary, detail, life: severity === "success" ? 4000 : 12000 });
}

/** @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // a page served over plain HTTP from another machine has no clipboard
    await app.extensionManager.dialog.prompt({ title: t("Copy this text"), message: "", defaultValue: text });
  }
}

/** @type {import("./remote.mjs").Host} */
export const host = { call, copy, toast, address: (path) => api.apiURL(path) };
