// Pictures that a form takes: dropped, chosen or named by a link. A file is uploaded at once and its link stands for it.

/** An element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class Pictures {
  /** `upload(file)` resolves to a link, `fail(error)` tells a person, `changed()` is called when a link is there. */
  constructor(upload, fail, changed) {
    Object.assign(this, { upload, fail, changed, known: new Map() });
  }

  has = (name) => this.known.has(name);
  link = (name) => this.known.get(name)?.link;
  preview = (name) => this.known.get(name)?.preview;
  ready = () => Promise.all([...this.known.values()].map((entry) => entry.ready));

  /** Take an example for a picture that nobody has chosen yet. */
  suggest(name, example) {
    if (!this.has(name)) this.known.set(name, { preview: `/static/${example}`, link: example, ready: null });
  }

  /** Take what is at a link; an empty one takes the picture away. */
  name(name, link) {
    this.known.delete(name);
    if (link) this.known.set(name, { preview: "", link, ready: null });
  }

  /** Forget all pictures but those of these fields. */
  keep(fields) {
    for (const name of this.known.keys()) if (!fields.some((field) => field.name === name)) this.known.delete(name);
  }

  /** The box that takes the picture of a field. */
  drop(field) {
    const input = make("input", { id: `field-${field.name}`, type: "file", accept: "image/png,image/jpeg,image/webp" });
    input.setAttribute("aria-label", `${field.title}: choose a picture`);
    const text = make("span", {}, make("b", { textContent: field.title }), "Drop a picture here, or choose one");
    const box = make("div", { className: "drop" }, text, input);
    this.#show(box, field);
    input.addEventListener("change", () => input.files[0] && this.#take(field, input.files[0], box));
    box.addEventListener("dragover", (event) => {
      event.preventDefault();
      box.classList.add("over");
    });
    box.addEventListener("dragleave", () => box.classList.remove("over"));
    box.addEventListener("drop", (event) => {
      event.preventDefault();
      box.classList.remove("over");
      if (event.dataTransfer.files[0]) this.#take(field, event.dataTransfer.files[0], box);
    });
    return box;
  }

  #show(box, field) {
    box.querySelectorAll("img, .tag").forEach((item) => item.remove());
    const preview = this.preview(field.name);
    if (!preview) return;
    box.prepend(make("img", { src: preview, alt: `${field.title} as chosen` }), make("span", { className: "tag", textContent: field.title }));
  }

  async #take(field, file, box) {
    const entry = { preview: URL.createObjectURL(file), link: null, ready: null };
    entry.ready = this.upload(file).then((link) => (entry.link = link));
    this.known.set(field.name, entry);
    this.#show(box, field);
    try {
      await entry.ready;
    } catch (error) {
      if (this.known.get(field.name) === entry) this.known.delete(field.name);
      this.#show(box, field);
      this.fail(Object.assign(error, { field: field.name }));
    }
    this.changed();
  }
}
