// Pictures by address, so that several nodes and edits load each once; what no node shows any more is let go.

export class Pictures {
  /** @param {(url: string) => HTMLImageElement} [load] */
  constructor(load = (url) => Object.assign(new Image(), { src: url })) {
    this.load = load;
    /** @type {Map<string, {image: HTMLImageElement, wanted: boolean}>} */
    this.known = new Map();
  }

  /** @param {string} url */
  get(url) {
    const known = this.known.get(url) ?? { image: this.load(url), wanted: true };
    known.wanted = true;
    this.known.set(url, known);
    return known.image;
  }

  /** Let go what was not wanted since the last call. */
  sweep() {
    for (const [url, each] of this.known) {
      if (each.wanted) each.wanted = false;
      else this.known.delete(url);
    }
  }
}
