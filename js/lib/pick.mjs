// The drafts of Wan FLF2V Pick as moving pictures to click on; the picked one is the node's index, from 1.

import { h } from "./dom.mjs";
import { t } from "./words.mjs";

/** @typedef {{filename: string, subfolder: string, type: string}} Draft */

/**
 * Where a draft's picture is served.
 * @param {Draft} draft
 */
export const draftPath = ({ filename, subfolder, type }) => `/view?${new URLSearchParams({ filename, subfolder, type })}`;

/**
 * Shows the drafts, the picked one marked.
 * @param {HTMLElement} element
 * @param {string[]} addresses
 * @param {number | undefined} index undefined where only a run can tell
 * @param {(index: number) => void} pick asked with 0 for the one that is picked already
 */
export function showDrafts(element, addresses, index, pick) {
  element.dataset.index = String(index ?? "");
  if (!addresses.length) {
    element.replaceChildren(h("div", { class: "quiet" }, t("Run with index 0 to see the drafts.")));
    return;
  }
  const strip = h("div", { class: "wan-flf2v-drafts" });
  for (const [at, src] of addresses.entries()) {
    const number = at + 1;
    const picked = number === index;
    const button = h(
      "button",
      { type: "button", "aria-pressed": picked, title: t("Draft {}", number), onclick: () => pick(picked ? 0 : number) },
      h("img", { src, alt: t("Draft {}", number) }),
      h("span", {}, String(number)),
    );
    if (index === undefined) button.setAttribute("disabled", "");
    strip.append(button);
  }
  const words = index ? t("Draft {} goes on.", index) : t("Click the draft that goes on, and run again.");
  element.replaceChildren(strip, h("div", { class: "quiet" }, words));
}
