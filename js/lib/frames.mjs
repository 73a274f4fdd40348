// Shows the first and the last frame as they will be used. The placement comes from the server.

import { h, warnings } from "./dom.mjs";
import { downstream, source, valueOf, widgetValue } from "./graph.mjs";
import { t } from "./words.mjs";

/** @typedef {import("./graph.mjs").GraphNode} GraphNode */
/** @typedef {{url: string, width: number, height: number} | {words: string}} Picture */
/**
 * @typedef {{width: number, height: number, render: number[], length: number, latent_frames: number, seconds: number,
 *   frame_rate: number, warnings: string[],
 *   pictures: Record<string, {size: number[], source: number[], target: number[], lost?: number}>}} Frames
 */

const SIDES = /** @type {const} */ (["start", "end"]);
const TITLES = { start: "First frame", end: "Last frame" };
const RATES = { WanFLF2VSaveVideo: "frame_rate", CreateVideo: "fps" };
const BOX = 150;

/**
 * The address of the file that a LoadImage node shows.
 * @param {unknown} value such as "sub/name.png [output]"
 * @param {(path: string) => string} address
 */
export function fileUrl(value, address) {
  if (typeof value !== "string" || !value) return undefined;
  const match = /^(.*?)(?: \[(input|output|temp)\])?$/.exec(value);
  const path = match?.[1] ?? value;
  const cut = path.lastIndexOf("/");
  const query = new URLSearchParams({
    filename: path.slice(cut + 1),
    subfolder: cut < 0 ? "" : path.slice(0, cut),
    type: match?.[2] ?? "input",
  });
  return address(`/view?${query}`);
}

/**
 * What is connected as this picture: an address, or words on why it can't be shown yet; undefined for nothing.
 * @param {GraphNode} node
 * @param {string} input
 * @param {(path: string) => string} address
 * @returns {{url: string} | {words: string} | undefined}
 */
export function pictureAt(node, input, address) {
  const found = source(node, input);
  if (!found || !("node" in found)) return undefined;
  if (found.node.type === "LoadImage" && found.slot === 0) {
    const url = fileUrl(widgetValue(found.node, "image"), address);
    if (url) return { url };
  }
  const shown = found.node.imgs?.[0]?.src;
  return shown ? { url: shown } : { words: t("from “{}”, known after a run", found.node.title || found.node.type) };
}

/**
 * What to ask the server for this node, without the pictures' sizes; or why nothing can be asked.
 * @param {GraphNode} node
 * @returns {{body: Record<string, any>} | {unknown: string}}
 */
export function framesOf(node) {
  /** @type {Record<string, any>} */
  const body = { length: valueOf(node, "length"), fit: valueOf(node, "fit"), frame_rate: frameRate(node) };
  const size = source(node, "width");
  if (size && "node" in size && size.node.type === "WanFLF2VResolution") {
    for (const name of ["preset", "width", "height"]) body[name] = valueOf(size.node, name);
  } else {
    for (const name of ["width", "height"]) body[name] = valueOf(node, name);
  }
  const missing = Object.keys(body).filter((name) => body[name] === undefined);
  return missing.length ? { unknown: t("{}: linked, known after a run.", missing.join(", ")) } : { body };
}

/** The rate at which the video will be saved. @param {GraphNode} node */
function frameRate(node) {
  const slot = (node.outputs ?? []).findIndex((output) => output.name === "latent");
  for (const next of slot < 0 ? [] : downstream(node, slot)) {
    const name = /** @type {Record<string, string>} */ (RATES)[next.type];
    const value = name && valueOf(next, name);
    if (value !== undefined && value !== "") return value;
  }
  return 16;
}

/** @param {number} value */
const short = (value) => String(Math.round(value * 100) / 100);

/** One line on size and duration. @param {Frames} frames */
export function summary(frames) {
  const size = `${frames.width} × ${frames.height}`;
  const time = [short(frames.seconds), short(frames.frame_rate)];
  return t("{} · {} frames = {} s at {} fps · {} latent frames", size, frames.length, ...time, frames.latent_frames);
}

/**
 * Shows both frames in this element.
 * @param {HTMLElement} element
 * @param {Frames} frames
 * @param {Record<string, {image?: CanvasImageSource, words?: string} | undefined>} pictures
 */
export function showFrames(element, frames, pictures) {
  const row = h("div", { class: "wan-flf2v-frames" });
  for (const side of SIDES) {
    const placed = frames.pictures[side];
    const given = pictures[side];
    const figure = h("figure");
    if (placed && given?.image) figure.append(thumbnail(frames, placed, given.image));
    else figure.append(h("div", { class: "empty" }, given?.words ?? t("not connected")));
    const title = placed?.lost ? t(`${TITLES[side]}, {} % cut off`, Math.round(placed.lost * 100)) : t(TITLES[side]);
    figure.append(h("figcaption", {}, title));
    row.append(figure);
  }
  const [width, height] = frames.render;
  const padded = width !== frames.width || height !== frames.height;
  element.replaceChildren(
    row,
    h("div", { class: "wan-flf2v-words" }, summary(frames)),
    ...(padded ? [h("div", { class: "quiet" }, t("Rendered at {}, cropped back when saved.", `${width} × ${height}`))] : []),
    ...warnings(frames.warnings),
  );
  element.dataset.latentFrames = String(frames.latent_frames);
}

/**
 * @param {Frames} frames
 * @param {{source: number[], target: number[]}} placed
 * @param {CanvasImageSource} image
 */
function thumbnail(frames, placed, image) {
  const canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { role: "img" }));
  const factor = (2 * BOX) / Math.max(frames.width, frames.height);
  canvas.width = Math.max(1, Math.round(frames.width * factor));
  canvas.height = Math.max(1, Math.round(frames.height * factor));
  const context = canvas.getContext("2d");
  if (context) {
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const [sx, sy, sw, sh] = placed.source;
    const [tx, ty, tw, th] = placed.target.map((value) => value * factor);
    context.drawImage(image, sx, sy, sw, sh, tx, ty, tw, th);
  }
  return canvas;
}
