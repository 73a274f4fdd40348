// Dragging one of several elements of a row to another place, by mouse, pen or finger.

const START = 5; // pixels that a click may tremble

/**
 * The place among the others of a row at which something of this middle goes.
 * @param {number[]} middles of the elements, in order, the dragged one among them
 * @param {number} from the dragged one's place
 * @param {number} x
 */
export const placeAt = (middles, from, x) => middles.filter((middle, index) => index !== from && middle < x).length;

export class Reorder {
  /**
   * @param {HTMLElement} row its children of the class "keyframe" can be dragged
   * @param {(from: number, to: number) => void} move
   */
  constructor(row, move) {
    this.row = row;
    this.move = move;
    this.busy = false;
    row.addEventListener("pointerdown", (event) => this.start(event));
  }

  items() {
    return /** @type {HTMLElement[]} */ ([...this.row.querySelectorAll(".keyframe")]);
  }

  /** @param {PointerEvent} event */
  start(event) {
    const item = /** @type {HTMLElement} */ (event.target).closest?.(".keyframe");
    if (event.button !== 0 || !(item instanceof HTMLElement)) return;
    const items = this.items();
    const from = items.indexOf(item);
    let to = from;
    const signal = new AbortController();
    const listen = (/** @type {string} */ name, /** @type {(event: any) => void} */ work) =>
      window.addEventListener(name, work, { capture: true, signal: signal.signal });
    listen("pointermove", (/** @type {PointerEvent} */ now) => {
      if (!this.busy && Math.abs(now.clientX - event.clientX) < START) return;
      this.busy = true;
      const boxes = items.map((each) => each.getBoundingClientRect());
      to = placeAt(boxes.map((box) => (box.left + box.right) / 2), from, now.clientX);
      items.forEach((each, index) => {
        each.classList.toggle("dragged", index === from);
        each.classList.toggle("before", to !== from && index === (to < from ? to : to + 1));
        each.classList.toggle("behind", to > from && index === to && to === items.length - 1);
      });
    });
    const end = (/** @type {PointerEvent} */ now) => {
      signal.abort();
      const dragged = this.busy;
      this.busy = false;
      for (const each of items) each.classList.remove("dragged", "before", "behind");
      if (dragged && now.type === "pointerup" && to !== from) this.move(from, to);
    };
    listen("pointerup", end);
    listen("pointercancel", end);
  }
}
