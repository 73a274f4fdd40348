// Looks at the pack's nodes and tells when what they show has to change: soon after the user did something, else once a second,
// never in a hidden page. Reading the values, not listening to callbacks, is right for both renderers, subgraphs, undo, paste and
// graphs loaded from API JSON alike.

/** @typedef {import("./graph.mjs").GraphNode} GraphNode */
/** @typedef {{node: GraphNode, read: () => any, change: (found: any) => void, seen?: string, placed?: boolean}} Watched */

const SOON_MS = 100;
const IDLE_MS = 1000;
const AFTER_INPUT_MS = 600; // what a key or click starts may be ready a few looks later

export class Watcher {
  /** @param {{before?: () => void, after?: () => void, hidden?: () => boolean}} [options] done around each look at all nodes */
  constructor({ before, after, hidden = () => document.hidden } = {}) {
    this.before = before;
    this.after = after;
    this.hidden = hidden;
    /** @type {Set<Watched>} */
    this.watched = new Set();
    /** @type {any} */
    this.timer = null;
    this.busyUntil = 0;
  }

  /**
   * Watch until the node has left its graph.
   * @param {GraphNode} node
   * @param {() => any} read what to show, as plain data
   * @param {(found: any) => void} change called with it whenever it is another than before
   */
  add(node, read, change) {
    this.watched.add({ node, read, change });
    this.touch();
  }

  /** Something happened: look soon, and for a little while often. */
  touch() {
    if (!this.watched.size || this.hidden()) return;
    const resting = !this.timer || performance.now() >= this.busyUntil;
    this.busyUntil = performance.now() + AFTER_INPUT_MS;
    if (resting) this.schedule();
  }

  /** Show everything anew at the next look. */
  again() {
    for (const each of this.watched) each.seen = undefined;
    this.touch();
  }

  schedule() {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.watched.size || this.hidden()) return;
    this.timer = setTimeout(() => this.look(), performance.now() < this.busyUntil ? SOON_MS : IDLE_MS);
  }

  look() {
    this.before?.();
    for (const each of this.watched) {
      if (each.node.graph) each.placed = true;
      else {
        if (each.placed) this.watched.delete(each);
        continue;
      }
      let found;
      try {
        found = each.read();
      } catch (error) {
        found = { unknown: String(error) };
      }
      const seen = JSON.stringify(found);
      if (seen === each.seen) continue;
      each.seen = seen;
      each.change(found);
    }
    this.after?.();
    this.schedule();
  }
}
