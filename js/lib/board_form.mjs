// The form of the part of a storyboard that is chosen: a segment's fields and its video, the board's own, or a keyframe's name.

import { changed, fieldsOf, passed, shownOf } from "./board.mjs";
import { h } from "./dom.mjs";
import { t } from "./words.mjs";

/** @typedef {import("./board.mjs").Board} Board */
/** @typedef {{kind: "all" | "keyframe" | "segment", at: number}} Choice */

const FIELDS = { all: ["prompt", "negative", "seconds", "seed", "closed", "colour", "carry"], segment: ["prompt", "negative", "seconds", "seed"], keyframe: ["through"] };
const LABELS = { prompt: "Prompt", negative: "Negative prompt", seconds: "Seconds", seed: "Seed", closed: "Closed: a ring", colour: "Match the colours", carry: "Frames carried over", through: "Pass through in one clip" };
const BOXES = ["closed", "colour", "through"];
const CARRIES = [0, 1, 5, 9];
const RANGES = { seconds: { min: 0.25, step: 0.25 }, seed: { min: 0, step: 1 } };

export class BoardForm {
  /** @param {(change: (board: Board) => Board, done: boolean) => void} write */
  constructor(write) {
    this.write = write;
    this.element = h("div", { class: "wan-flf2v-form" });
    this.shown = "";
  }

  /** @param {Board} board @param {Choice} choice */
  show(board, { kind, at }) {
    const shown = [kind, at, t("Prompt")].join("-");
    if (this.shown !== shown) {
      this.shown = shown;
      const more = { all: [], segment: [h("video", { controls: "", loop: "", hidden: "" })], keyframe: [h("div", { class: "quiet" })] };
      this.element.replaceChildren(...more[kind], ...FIELDS[kind].map((name) => this.field(name, kind === "all" ? null : at)));
    }
    if (kind === "keyframe") {
      const { picture, slot } = board.keyframes[at];
      /** @type {Element} */ (this.element.firstElementChild).textContent = picture ?? `keyframe_${slot}`;
    }
    for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (this.element.querySelectorAll("[name]"))) {
      if (input === document.activeElement) continue;
      const owner = /** @type {Record<string, any>} */ (kind === "all" ? board : board.keyframes[at]);
      if (input.type === "checkbox") input.checked = Boolean(owner[input.name] ?? input.name === "colour");
      else if (input.name === "carry") input.value = String(owner.carry ?? 0);
      else input.value = shownOf(kind === "segment" ? board.segments[at] : board, input.name);
      input.placeholder = kind === "segment" ? shownOf(board, input.name) : "";
    }
  }

  /** Show this video, or none. @param {string | undefined} url */
  play(url) {
    const video = this.element.querySelector("video");
    if (!video || video.getAttribute("src") === (url ?? null)) return;
    if (url) video.setAttribute("src", url);
    else video.removeAttribute("src");
    video.hidden = !url;
  }

  /** @param {string} name @param {number | null} index the segment's or keyframe's; null for the board's own */
  field(name, index) {
    const range = /** @type {Record<string, object>} */ (RANGES)[name];
    const kind = BOXES.includes(name) ? { type: "checkbox" } : range ? { type: "number", ...range } : { rows: name === "prompt" ? 3 : 1 };
    const input = /** @type {HTMLInputElement} */ (
      name === "carry" ? h("select", { name }, ...CARRIES.map((value) => h("option", {}, `${value}`))) : h("type" in kind ? "input" : "textarea", { name, ...kind })
    );
    /** @param {Board} board */
    const change = (board) => {
      if (name === "through") return passed(board, Number(index), input.checked);
      if (name === "closed") return changed(board, index, { closed: input.checked || undefined });
      if (name === "colour") return changed(board, index, { colour: input.checked ? undefined : false });
      if (name === "carry") return changed(board, index, { carry: Number(input.value) || undefined });
      return changed(board, index, fieldsOf(name, input.value));
    };
    for (const event of ["input", "change"]) input.addEventListener(event, () => this.write(change, event === "change"));
    return h("label", { class: name }, t(/** @type {Record<string, string>} */ (LABELS)[name]), input);
  }
}
