// A storyboard's text as data and back, and what the panel's buttons and keys do to it. Nothing here touches the page.

/**
 * @typedef {{picture?: string, slot?: number, through?: boolean}} Keyframe
 * @typedef {Record<string, any>} Segment
 * @typedef {Record<string, any> & {keyframes: Keyframe[], segments: Segment[], closed?: boolean}} Board
 */

export const MOST = 12;
const VIDEOS = /** @type {const} */ (["video_before", "video_after"]);
/** Which videos the film begins and ends with; no part of the text. */
const GIVEN = Symbol("videos");

/**
 * The storyboard of a text, its keyframes and segments as many as they have to be. Throws where it is no JSON object.
 * @param {string} text
 * @param {number[]} slots the connected keyframe inputs
 * @param {string[]} [videos] the connected video inputs
 * @returns {Board}
 */
export function readBoard(text, slots, videos = []) {
  const found = JSON.parse(text, exact);
  if (!found || typeof found !== "object" || Array.isArray(found)) throw new SyntaxError("not an object");
  const keyframes = Array.isArray(found.keyframes) ? found.keyframes : slots.map((slot) => ({ slot }));
  const segments = Array.isArray(found.segments) ? found.segments : [];
  const given = VIDEOS.map((name) => (name in found || videos.includes(name) ? name : undefined));
  return fitted({ ...found, [GIVEN]: given, keyframes: keyframes.filter(isObject), segments: segments.map((/** @type {any} */ each) => (isObject(each) ? each : {})) });
}

/** @param {any} value */
const isObject = (value) => Boolean(value) && typeof value === "object";

/** Seeds go up to 2^64 - 1; JavaScript's numbers are exact up to 2^53 - 1. @param {string} _ @param {any} value @param {any} [given] */
const exact = (_, value, given) => (isInexact(value) ? exactNumber(given?.source) : value);

/** @param {any} value */
const isInexact = (value) => Number.isInteger(value) && !Number.isSafeInteger(value);

/** @param {string | undefined} source @returns {any} */
function exactNumber(source) {
  const raw = /** @type {any} */ (JSON).rawJSON;
  if (!raw || !source) throw new SyntaxError("this browser rounds numbers above 9007199254740991");
  return raw(source);
}

/** Without segments while there are none: what is then missing are keyframes. @param {Board} board */
export const textOf = (board) => JSON.stringify({ ...board, segments: board.segments.length ? board.segments : undefined }, null, 2);

/** The video that the film begins (0) or ends (1) with. @param {Board} board @param {0 | 1} side @returns {string | undefined} */
export const videoOf = (board, side) => /** @type {any} */ (board)[GIVEN]?.[side];

/** What the segments lie between: the keyframes, and the videos around them. @param {Board} board @returns {any[]} */
const stopsOf = (board) => [videoOf(board, 0), ...board.keyframes, videoOf(board, 1)].filter((each) => each !== undefined);

/** How many segments a board has. @param {Board} board */
const segmentsOf = (board) => Math.max(0, stopsOf(board).length - (board.closed ? 0 : 1));

/** @param {Board} board @returns {Board} */
function fitted(board) {
  const segments = Array.from({ length: segmentsOf(board) }, (_, index) => board.segments[index] ?? {});
  return { ...board, segments };
}

/**
 * The board with these keyframes, which may be new, moved or fewer. A segment goes with the
 * keyframe that it begins with, and where that begins none any more to a place that has none.
 * @param {Board} board
 * @param {Keyframe[]} keyframes the board's own objects, and new ones
 * @returns {Board}
 */
function rearranged(board, keyframes) {
  const next = { ...board, keyframes, segments: /** @type {Segment[]} */ ([]) };
  const left = board.segments.map((segment, index) => ({ segment, start: stopsOf(board)[index] }));
  const places = Array.from({ length: segmentsOf(next) }, (_, index) => ({ start: stopsOf(next)[index], segment: /** @type {Segment | undefined} */ (undefined) }));
  /** @param {(one: any, other: any) => boolean} fits */
  const settle = (fits) => {
    for (const place of places) {
      const at = place.segment ? -1 : left.findIndex(({ start }) => fits(start, place.start));
      if (at >= 0) place.segment = left.splice(at, 1)[0].segment;
    }
  };
  settle((one, other) => one === other);
  settle(() => true);
  next.segments = places.map(({ segment }) => segment ?? {});
  return next;
}

/**
 * The board with more keyframes at this place.
 * @param {Board} board
 * @param {number} at
 * @param {Keyframe[]} more
 */
export function inserted(board, at, more) {
  const room = more.slice(0, Math.max(0, MOST - board.keyframes.length));
  return rearranged(board, [...board.keyframes.slice(0, at), ...room, ...board.keyframes.slice(at)]);
}

/** @param {Board} board @param {number} at */
export const removed = (board, at) => rearranged(board, board.keyframes.filter((_, index) => index !== at));

/** With a second one of a keyframe, whose segments stay as they are. @param {Board} board @param {number} at */
export const duplicated = (board, at) => inserted(board, at, [{ ...board.keyframes[at] }]);

/**
 * The board with a keyframe at another place.
 * @param {Board} board
 * @param {number} from
 * @param {number} to its index afterwards
 */
export function moved(board, from, to) {
  const keyframes = [...board.keyframes];
  keyframes.splice(to, 0, ...keyframes.splice(from, 1));
  return rearranged(board, keyframes);
}

/**
 * The board with fields of one segment, or of the board itself where `index` is null; undefined takes a field away.
 * @param {Board} board
 * @param {number | null} index
 * @param {Record<string, any>} fields
 * @returns {Board}
 */
export function changed(board, index, fields) {
  if (index === null) return fitted(/** @type {Board} */ (without({ ...board, ...fields })));
  return { ...board, segments: board.segments.map((each, at) => (at === index ? without({ ...each, ...fields }) : each)) };
}

/**
 * The board with a keyframe that is passed through, or not.
 * @param {Board} board
 * @param {number} at
 * @param {boolean} through
 * @returns {Board}
 */
export function passed(board, at, through) {
  const fields = through ? { through } : { through: undefined, strength: undefined, strength_low: undefined };
  return { ...board, keyframes: board.keyframes.map((each, index) => (index === at ? without({ ...each, ...fields }) : each)) };
}

/** @param {Record<string, any>} fields */
const without = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

/**
 * What a field of the form means in the text: undefined where it is empty.
 * @param {string} name
 * @param {string} shown
 * @returns {Record<string, any>}
 */
export function fieldsOf(name, shown) {
  const text = shown.trim();
  if (name === "prompt" || name === "negative") return { [name]: shown === "" ? undefined : shown };
  if (name === "seconds") return { seconds: text === "" ? undefined : Number(text), length: undefined };
  const value = Number(text);
  return { [name]: text === "" ? undefined : isInexact(value) ? exactNumber(text) : value };
}

/**
 * What a field of the form shows.
 * @param {Segment} owner a segment, or the board
 * @param {string} name
 * @returns {string}
 */
export function shownOf(owner, name) {
  const value = name === "seconds" && owner.length !== undefined ? (owner.length - 1) / 16 : owner[name];
  return value === undefined ? "" : String(value?.rawJSON ?? value);
}
