// A storyboard in the form: its keyframes one below the other, between each two a segment.
import { make } from "/static/pictures.mjs";

const LEAST = 2;
const MOST = 12;
const HEADS = { prompt: "Prompt", length: "Frames", seed: "Seed" };
const STRENGTHS = { strength: "Strength, high noise", strength_low: "Strength, low noise" };
const NUMBERS = { length: { min: 5, step: 4 }, seed: { min: 0 }, strength: { min: 0, max: 1, step: 0.05, placeholder: "1" }, strength_low: { min: 0, max: 1, step: 0.05, placeholder: "the same" } };
const CARRIES = [0, 1, 5, 9];

export class Board {
  #next = 0;

  /** Drawn into `element` from a board of examples; `changed()` is called after every edit. */
  constructor(element, example, pictures, changed) {
    Object.assign(this, { element, pictures, changed });
    this.text = { negative: example.negative, closed: false };
    this.joint = { carry: 0, colour: true };
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
    const segments = this.rows.slice(0, this.rows.length - !this.text.closed).map(({ segment }, at) =>
      this.#passes(at) ? { length: segment.length } : { ...segment });
    const keyframes = this.rows.map(({ name, through }, at) => {
      const given = this.#passes(at) ? Object.entries(through).filter(([, value]) => value !== "") : [];
      return { picture: this.pictures.link(name) ?? "", ...Object.fromEntries(given) };
    });
    return { keyframes, segments, ...this.text, ...(this.joint.carry ? this.joint : {}) };
  }

  /** Whether a keyframe has a segment on both sides, so that one clip may pass through it. */
  #isInner = (at) => at > 0 && (at < this.rows.length - 1 || this.text.closed);
  #passes = (at) => this.#isInner(at) && this.rows[at].through.through;

  #add() {
    const name = `keyframe-${(this.#next += 1)}`;
    const through = { through: false, strength: "", strength_low: "" };
    this.rows.push({ name, through, segment: { ...this.fresh, ...this.rows.at(-1)?.segment } });
    return name;
  }

  #move(at, to) {
    // A segment stays between its two places: the keyframes change theirs.
    const keyframes = this.rows.map(({ name, through }) => ({ name, through }));
    keyframes.splice(to, 0, ...keyframes.splice(at, 1));
    this.rows.forEach((row, number) => Object.assign(row, keyframes[number]));
    this.#redraw();
  }

  #remove(at) {
    this.rows.splice(at, 1);
    this.pictures.keep(this.keyframes());
    this.#redraw();
  }

  #redraw() {
    const { id } = document.activeElement;
    this.#draw();
    if (id) document.getElementById(id)?.focus();
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
    this.element.replaceChildren(
      make("ol", { className: "strip" }, ...parts),
      make("div", { className: "actions" }, add, this.#check("closed", "A ring: back to the first keyframe", this.text, "closed")),
      this.#joints(),
      this.#control("negative", "Negative prompt", this.text, "negative"),
    );
  }

  #joints() {
    const { carry } = this.joint;
    const options = CARRIES.map((value) => make("option", { value, textContent: value, selected: value === carry }));
    const select = make("select", { id: "field-carry" }, ...options);
    select.addEventListener("change", () => {
      this.joint.carry = Number(select.value);
      this.#redraw();
    });
    const label = make("label", { htmlFor: select.id, textContent: "Frames handed to the next segment" });
    const colour = this.#check("colour", "Match their colours to the keyframe's", this.joint, "colour");
    colour.firstChild.disabled = !carry;
    return make("details", { open: carry > 0 }, make("summary", { textContent: "Over the joints" }), make("div", { className: "field" }, label, select), colour);
  }

  #check(id, title, owner, name) {
    const input = make("input", { type: "checkbox", id: `field-${id}`, checked: owner[name] });
    input.addEventListener("change", () => {
      owner[name] = input.checked;
      this.#redraw();
    });
    return make("label", { className: "check", htmlFor: input.id }, input, title);
  }

  #keyframe(field, at, last) {
    const link = () => (this.pictures.preview(field.name) === "" ? this.pictures.link(field.name) : "");
    const url = make("input", { type: "url", placeholder: "or an https link", value: link() });
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
    const box = this.pictures.drop(field);
    for (const event of ["change", "drop"]) box.addEventListener(event, () => (url.value = link())); // a picture takes a link's place
    return make("li", { className: "keyframe" }, box, make("div", {}, buttons, url, ...(this.#isInner(at) ? [this.#through(field.name, this.rows[at])] : [])));
  }

  #through(id, { through }) {
    const strengths = Object.entries(STRENGTHS).map(([name, title]) => this.#control(`${id}-${name}`, title, through, name));
    return make("details", { open: through.through },
      make("summary", { textContent: "Pass through" }),
      this.#check(`${id}-through`, "In the middle of one clip, not the end of one", through, "through"),
      ...(through.through ? [make("div", { className: "fields" }, ...strengths)] : []),
    );
  }

  #segment(at) {
    const { segment } = this.rows[at];
    const heads = Object.entries(HEADS).filter(([name]) => name === "length" || !this.#passes(at));
    const fields = heads.map(([name, title]) => this.#control(`segment-${at + 1}-${name}`, title, segment, name));
    return make("li", { className: "segment fields", ariaLabel: `Segment ${at + 1}` }, ...fields);
  }

  #control(id, title, owner, name) {
    const number = NUMBERS[name];
    const input = make(number ? "input" : "textarea", { id: `field-${id}`, value: owner[name] });
    if (number) Object.assign(input, { type: "number", ...number });
    else input.rows = 2;
    input.addEventListener("input", () => {
      owner[name] = number && input.value.trim() !== "" ? Number(input.value) : input.value;
      this.changed();
    });
    return make("div", { className: number ? "field" : "field wide" }, make("label", { htmlFor: input.id, textContent: title }), input);
  }
}
