// Looks at the pack's nodes a few times a second and tells when what they show has to change. Reading the values, not
// listening to callbacks, is right for both renderers, subgraphs, undo, paste and graphs loaded from API JSON alike.

/** @typedef {import("./graph.mjs").GraphNode} GraphNode */
/** @typedef {{node: GraphNode, read: () => any, change: (found: any) => void, seen?: string, placed?: boolean}} Watched */

export const PERIOD_MS = 150;

export class Watcher {
  /**
   * @param {(work: () => void, ms: number) => any} [start]
   * @param {(timer: any) => void} [stop]
   */
  constructor(start = (work, ms) => setInterval(work, ms), stop = (timer) => clearInterval(timer)) {
    this.start = start;
    this.stop = stop;
    /** @type {Set<Watched>} */
    this.watched = new Set();
    /** @type {any} */
    this.timer = null;
  }

  /**
   * Watch until the node has left its graph.
   * @param {GraphNode} node
   * @param {() => any} read what to show, as plain data
   * @param {(found: any) => void} change called with it whenever it is another than before
   */
  add(node, read, change) {
    this.watched.add({ node, read, change });
    this.timer ??= this.start(() => this.look(), PERIOD_MS);
  }

  /** Show everything anew at the next look. */
  again() {
    for (const each of this.watched) each.seen = undefined;
  }

  look() {
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
    if (!this.watched.size && this.timer !== null) {
      this.stop(this.timer);
      this.timer = null;
    }
  }
}
