// The storyboard's panel: a strip of keyframes with the segments between them, and the form of the one that is chosen. It shows
// the widget's text and edits it; which part is chosen is all it knows of itself.

import { duplicated, inserted, MOST, moved, removed, videoOf } from "./board.mjs";
import { BoardForm } from "./board_form.mjs";
import { h, warnings } from "./dom.mjs";
import { Reorder } from "./reorder.mjs";
import { t } from "./words.mjs";

/** @typedef {import("./board.mjs").Board} Board */
/** @typedef {import("./board_form.mjs").Choice} Choice */
/** @typedef {{url: string} | {words: string} | undefined} Picture */
/**
 * @typedef {{length: number, state: string, progress?: number[], video?: Record<string, string>}} Segment
 * @typedef {{keyframes: number, frames: number, seconds: number | null, steps: number | null, segments: Segment[]}} Facts
 * @typedef {{write: (change: (board: Board) => Board, done: boolean) => void, upload: (files: File[]) => Promise<string[]>, files: () => Promise<string[]>,
 *   address: (path: string) => string, undo: () => void, redo: () => void, failed: (error: unknown) => void}} Host
 */

export class StoryboardPanel {
  /** @param {HTMLElement} element @param {Host} host */
  constructor(element, host) {
    this.element = element;
    this.host = host;
    /** @type {Board} */
    this.board = { keyframes: [], segments: [] };
    /** @type {Picture[]} */
    this.pictures = [];
    /** @type {number[]} */
    this.unused = [];
    /** @type {Facts | null} */
    this.facts = null;
    /** @type {Choice} */
    this.choice = { kind: "all", at: 0 };
    this.strip = h("div", { class: "wan-flf2v-strip", role: "listbox", "aria-label": t("Keyframes") });
    this.buttons = h("div", { class: "wan-flf2v-buttons" });
    this.form = new BoardForm(host.write);
    this.drawn = "";
    this.edited = false;
    this.summary = h("div", { class: "wan-flf2v-words" });
    this.notes = h("div");
    this.reorder = new Reorder(this.strip, (from, to) => this.edit((board) => moved(board, from, to), { kind: "keyframe", at: to }));
    element.replaceChildren(this.strip, this.buttons, this.form.element, this.summary, this.notes);
    element.addEventListener("keydown", (event) => this.key(event));
    // what happens in the panel is not meant for the canvas: no drag of the node, no zoom, no file opened as a workflow
    for (const name of ["pointerdown", "mousedown", "wheel", "dblclick"]) element.addEventListener(name, (event) => event.stopPropagation());
    element.addEventListener("dragover", (event) => event.preventDefault());
    element.addEventListener("drop", (event) => void this.drop(event));
  }

  /**
   * Show this board.
   * @param {{board: Board, pictures: Picture[], unused: number[]}} found `unused` are connected inputs that are not in it
   */
  show({ board, pictures, unused }) {
    Object.assign(this, { board, pictures, unused });
    this.draw();
  }

  /** Show what a run would do. @param {Facts} facts */
  tell(facts) {
    this.facts = facts;
    const time = facts.seconds === null ? "" : ` = ${Math.round(facts.seconds * 100) / 100} s`;
    const steps = facts.steps === null ? "" : ` · ${t("{} steps to come", facts.steps)}`;
    this.summary.textContent = t("{} keyframes · {} frames", facts.keyframes, facts.frames) + time + steps;
    this.element.dataset.steps = String(facts.steps);
    this.notes.replaceChildren();
    this.drawStates();
  }

  /** Show what is wrong. @param {string} words */
  warn(words) {
    this.facts = null;
    this.summary.textContent = "";
    delete this.element.dataset.steps;
    this.notes.replaceChildren(...warnings([words]));
    this.drawStates();
  }

  /** @param {(board: Board) => Board} change of the text as it is then @param {Choice} [choice] */
  edit(change, choice = this.choice) {
    this.choice = choice;
    this.edited = true; // the next key is meant for it, too
    this.host.write(change, true);
  }

  draw() {
    if (this.reorder.busy) return;
    const { kind, at } = this.choice;
    const count = kind === "keyframe" ? this.board.keyframes.length : this.board.segments.length;
    if (kind !== "all" && at >= count) this.choice = { kind: "all", at: 0 };
    const looks = JSON.stringify([this.board.keyframes, this.board.segments.length, this.pictures, this.unused, this.choice, t("All")]);
    if (this.drawn !== looks) {
      this.drawn = looks;
      const held = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.part;
      const before = videoOf(this.board, 0) ? [this.video(0), this.segment(0)] : [];
      const after = videoOf(this.board, 1) ? [this.video(1)] : [];
      const pairs = this.board.keyframes.flatMap((_, index) => this.pair(index, index + before.length / 2));
      this.strip.replaceChildren(this.part("all", 0, t("All")), ...before, ...pairs, ...after);
      if (held || this.edited) this.focus(`${this.choice.kind}-${this.choice.at}`);
      this.edited = false;
      this.drawButtons();
    }
    this.form.show(this.board, this.choice);
    this.drawStates();
  }

  /** @param {0 | 1} side */
  video(side) {
    return h("span", { class: "empty" }, String(videoOf(this.board, side)));
  }

  /** @param {number} index */
  segment(index) {
    return this.part("segment", index, h("span"), h("span", { class: "state" }));
  }

  /** A keyframe and the segment after it, if there is one. @param {number} index @param {number} next the segment's number */
  pair(index, next) {
    const picture = this.pictures[index];
    const empty = (/** @type {string} */ text) => h("span", { class: "empty" }, text);
    const image = picture && "url" in picture && h("img", { src: picture.url, alt: "", draggable: "false", onerror: () => image && image.replaceWith(empty(t("The picture can't be read."))) });
    const words = picture && "words" in picture ? picture.words : t("not connected");
    const keyframe = this.part("keyframe", index, image || empty(words), h("b", {}, `${index + 1}${this.board.keyframes[index].through ? ` ${t("through")}` : ""}`));
    return next < this.board.segments.length ? [keyframe, this.segment(next)] : [keyframe];
  }

  /** @param {Choice["kind"]} kind @param {number} at @param {...(Node | string)} children */
  part(kind, at, ...children) {
    const chosen = kind === this.choice.kind && at === this.choice.at;
    const label = kind === "all" ? t("All segments") : t(kind === "keyframe" ? "Keyframe {}" : "Segment {}", at + 1);
    const choose = () => this.choose({ kind, at });
    return h("button", { type: "button", class: kind, "data-part": `${kind}-${at}`, role: "option", "aria-selected": chosen, title: label, onclick: choose }, ...children);
  }

  /** @param {Choice} choice */
  choose(choice) {
    this.choice = choice;
    this.draw();
    this.focus(`${choice.kind}-${choice.at}`);
  }

  /** @param {string} part */
  focus(part) {
    /** @type {HTMLElement | null} */ (this.strip.querySelector(`[data-part="${part}"]`))?.focus({ preventScroll: true });
  }

  drawStates() {
    this.strip.querySelectorAll("button.segment").forEach((button, index) => {
      const facts = this.facts?.segments[index];
      const [length, state] = button.children;
      button.setAttribute("data-state", facts?.state ?? "");
      length.textContent = facts ? `${(facts.length - 1) / 16} s` : "";
      state.textContent = !facts ? "" : facts.progress && facts.progress[1] > 1 ? `${t(facts.state)} ${facts.progress.join("/")}` : t(facts.state);
    });
    const video = this.choice.kind === "segment" ? this.facts?.segments[this.choice.at]?.video : undefined;
    this.form.play(video && this.host.address(`/view?${new URLSearchParams(video)}`));
  }

  drawButtons() {
    const { kind, at } = this.choice;
    const full = this.board.keyframes.length >= MOST || null;
    const none = kind === "keyframe" ? null : true;
    const button = (/** @type {string} */ label, /** @type {() => void} */ onclick, /** @type {true | null} */ disabled = null) =>
      h("button", { type: "button", onclick, disabled }, label);
    const input = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: "image/*", multiple: "", hidden: "" }));
    input.addEventListener("change", () => void this.upload([...(input.files ?? [])]));
    this.buttons.replaceChildren(
      input,
      button(t("Upload"), () => input.click(), full),
      this.chooser(full),
      ...this.unused.map((slot) => button(`+ keyframe_${slot}`, () => this.add([{ slot }]), full)),
      button(t("Duplicate"), () => this.edit((board) => duplicated(board, at), { kind, at: at + 1 }), none ?? full),
      button(t("Remove"), () => this.remove(), none),
      button(t("Undo"), () => this.host.undo()),
      button(t("Redo"), () => this.host.redo()),
    );
  }

  /** The choice among the pictures that ComfyUI has. @param {true | null} disabled */
  chooser(disabled) {
    const select = /** @type {HTMLSelectElement} */ (h("select", { disabled, "aria-label": t("Add a picture …") }, h("option", { value: "" }, t("Add a picture …"))));
    select.addEventListener("focus", async () => {
      const names = await this.host.files();
      select.replaceChildren(select.options[0], ...names.map((name) => h("option", { value: name }, name)));
    }, { once: true });
    select.addEventListener("change", () => {
      const picture = select.value;
      select.blur();
      if (picture) this.add([{ picture }]);
    });
    return select;
  }

  /** Behind the chosen part, else at the end. @param {import("./board.mjs").Keyframe[]} keyframes */
  add(keyframes) {
    const { kind, at } = this.choice;
    const place = kind === "all" ? this.board.keyframes.length : at + 1;
    this.edit((board) => inserted(board, place, keyframes), { kind: "keyframe", at: place + keyframes.length - 1 });
  }

  /** @param {File[]} files */
  async upload(files) {
    try {
      const names = await this.host.upload(files.filter((file) => file.type.startsWith("image/")));
      if (names.length) this.add(names.map((picture) => ({ picture })));
    } catch (error) {
      this.host.failed(error);
    }
  }

  /** @param {DragEvent} event */
  async drop(event) {
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    await this.upload(files);
  }

  remove() {
    const { kind, at } = this.choice;
    if (kind === "keyframe") this.edit((board) => removed(board, at), { kind, at: Math.max(0, at - 1) });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const { key, ctrlKey, metaKey, altKey } = event;
    const command = ctrlKey || metaKey;
    const part = target.dataset?.part;
    if (command && (key === "Enter" || (part && "zy".includes(key.toLowerCase())))) return; // run, undo and redo are the editor's
    event.stopPropagation();
    if (!part) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    const { kind, at } = this.choice;
    if (step && altKey && kind === "keyframe") {
      const to = at + step;
      if (to >= 0 && to < this.board.keyframes.length) this.edit((board) => moved(board, at, to), { kind, at: to });
    } else if (step) {
      const parts = [...this.strip.querySelectorAll("button")];
      parts[parts.findIndex((each) => each.dataset.part === part) + step]?.click();
    } else if (key === "Delete" || key === "Backspace") this.remove();
    else if (command && key.toLowerCase() === "d" && kind === "keyframe") this.edit((board) => duplicated(board, at), { kind, at: at + 1 });
    else return;
    event.preventDefault();
  }
}
