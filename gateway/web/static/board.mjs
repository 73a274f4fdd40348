// A storyboard in the form: its keyframes one below the other, between each two a segment.
import { make } from "/static/pictures.mjs";

const LEAST = 2;
const MOST = 12;
const HEADS = { prompt: "Prompt", length: "Frames", seed: "Seed" };

export class Board {
  #next = 0;

  /** Drawn into `element` from a board of examples; `changed()` is called after every edit. */
  constructor(element, example, pictures, changed) {
    Object.assign(this, { element, pictures, changed });
    this.text = { negative: example.negative, closed: false };
    this.fresh = { prompt: example.prompt, length: example.length, seed: example.seed };
    this.rows = [];
    for (const { picture } of example.keyframes) pictures.suggest(this.#add(), picture);
    this.#draw();
  }

  /** The keyframes as fields, in their order. */
  keyframes() {
    return this.rows.map(({ name }, at) => ({ name, title: `Keyframe ${at + 1}` }));
  }

  /** The board's fields of a request. */
  body() {
    const segments = this.rows.slice(0, this.rows.length - !this.text.closed).map((row) => ({ ...row.segment }));
    const keyframes = this.rows.map(({ name }) => ({ picture: this.pictures.link(name) ?? "" }));
    return { keyframes, segments, ...this.text };
  }

  #add() {
    const name = `keyframe-${(this.#next += 1)}`;
    this.rows.push({ name, segment: { ...this.fresh, ...this.rows.at(-1)?.segment } });
    return name;
  }

  #move(at, to) {
    // A segment stays between its two places: the pictures change theirs.
    const names = this.rows.map((row) => row.name);
    names.splice(to, 0, ...names.splice(at, 1));
    this.rows.forEach((row, number) => (row.name = names[number]));
    this.#redraw();
  }

  #remove(at) {
    this.rows.splice(at, 1);
    this.pictures.keep(this.keyframes());
    this.#redraw();
  }

  #redraw() {
    this.#draw();
    this.changed();
  }

  #draw() {
    const last = this.rows.length - 1;
    const parts = this.keyframes().flatMap((field, at) => [
      this.#keyframe(field, at, last),
      ...(at < last || this.text.closed ? [this.#segment(at)] : []),
    ]);
    const add = make("button", { type: "button", id: "add-keyframe", textContent: "Add a keyframe", disabled: last + 1 >= MOST });
    add.addEventListener("click", () => {
      this.#add();
      this.#redraw();
      document.getElementById(`field-${this.rows.at(-1).name}`).focus();
    });
    const ring = make("input", { type: "checkbox", id: "field-closed", checked: this.text.closed });
    ring.addEventListener("change", () => {
      this.text.closed = ring.checked;
      this.#redraw();
    });
    const closed = make("label", { className: "check", htmlFor: ring.id }, ring, "A ring: back to the first keyframe");
    this.element.replaceChildren(
      make("ol", { className: "strip" }, ...parts),
      make("div", { className: "actions" }, add, closed),
      this.#control("negative", "Negative prompt", this.text, "negative"),
    );
  }

  #keyframe(field, at, last) {
    const named = this.pictures.preview(field.name) === "";
    const url = make("input", { type: "url", placeholder: "or an https link", value: named ? this.pictures.link(field.name) : "" });
    url.setAttribute("aria-label", `${field.title}: a link`);
    url.addEventListener("change", () => {
      this.pictures.name(field.name, url.value.trim());
      this.#redraw();
    });
    const button = (label, sign, disabled, act) => {
      const made = make("button", { type: "button", textContent: sign, disabled, title: label });
      made.setAttribute("aria-label", `${field.title}: ${label}`);
      made.addEventListener("click", act);
      return made;
    };
    const buttons = make("div", { className: "buttons" },
      button("earlier", "↑", at === 0, () => this.#move(at, at - 1)),
      button("later", "↓", at === last, () => this.#move(at, at + 1)),
      button("remove", "×", last + 1 <= LEAST, () => this.#remove(at)),
    );
    return make("li", { className: "keyframe" }, this.pictures.drop(field), make("div", {}, buttons, url));
  }

  #segment(at) {
    const { segment } = this.rows[at];
    const fields = Object.entries(HEADS).map(([name, title]) => this.#control(`segment-${at + 1}-${name}`, title, segment, name));
    return make("li", { className: "segment fields", ariaLabel: `Segment ${at + 1}` }, ...fields);
  }

  #control(id, title, owner, name) {
    const number = typeof this.fresh[name] === "number";
    const input = make(number ? "input" : "textarea", { id: `field-${id}`, value: owner[name] });
    if (number) Object.assign(input, { type: "number", step: name === "length" ? 4 : 1, min: name === "length" ? 5 : 0 });
    else input.rows = 2;
    input.addEventListener("input", () => {
      owner[name] = number && input.value.trim() !== "" ? Number(input.value) : input.value;
      this.changed();
    });
    return make("div", { className: number ? "field" : "field wide" }, make("label", { htmlFor: input.id, textContent: title }), input);
  }
}
