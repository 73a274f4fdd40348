// The storyboard's node: its widget's text, its keyframe inputs and the server's answers, brought together in the panel.

import { MOST, readBoard, textOf } from "./board.mjs";
import { fileUrl, pictureAt } from "./frames.mjs";
import { isLinked, valuesBehind, widgetValue } from "./graph.mjs";
import { Poller } from "./poller.mjs";
import { connectedOf, showNext } from "./slots.mjs";
import { StoryboardPanel } from "./storyboard.mjs";
import { t } from "./words.mjs";

const SLOT = "keyframe_";
const PERIOD_MS = 1000;

/**
 * @typedef {{fetch: (path: string, options?: RequestInit) => Promise<Response>, address: (path: string) => string,
 *   execute: (command: string) => void, graph: () => Promise<Record<string, any>>, running: () => boolean, changed: () => void,
 *   call: (name: string, body: object) => Promise<any>, words: (error: unknown) => string}} Editor
 */

/**
 * Fills the panel of a storyboard's node.
 * @param {any} node
 * @param {HTMLElement} element
 * @param {Editor} editor
 */
export function addStoryboard(node, element, editor) {
  let readable = false; // a text that is no JSON is corrected as text, not replaced
  const panel = new StoryboardPanel(element, {
    write(change, done) {
      if (!node.graph) return; // a field that loses its node to an undo says that it was changed
      const { text, slots, videos } = shown.read();
      if (!readable || text === undefined) return;
      const widget = node.widgets.find((/** @type {any} */ each) => each.name === "storyboard");
      widget.value = textOf(change(readBoard(text, slots, videos)));
      widget.callback?.(widget.value);
      shown.show(shown.read());
      if (done) editor.changed();
    },
    upload: (files) => Promise.all(files.map((file) => upload(editor, file))),
    files: () => inputPictures(editor),
    address: editor.address,
    undo: () => editor.execute("Comfy.Undo"),
    redo: () => editor.execute("Comfy.Redo"),
    failed: (error) => panel.warn(editor.words(error)),
  });
  const poller = new Poller(async () => {
    const graph = await editor.graph();
    const id = Object.keys(graph).find((key) => key === String(node.id) || key.endsWith(`:${node.id}`));
    return editor.call("storyboard", { graph, node: id ?? "" });
  });
  /** @type {import("./poller.mjs").Follower<any>} */
  const follower = {
    show: (facts) => (panel.tell(facts), editor.running() && node.graph ? PERIOD_MS : null),
    fail: (error) => (panel.warn(editor.words(error)), null),
  };
  showNextOf(node);
  const shown = {
    ask: () => poller.refresh(),
    /** @returns {any} */
    read() {
      if (isLinked(node, "storyboard")) return { unknown: t("{} is linked", "storyboard") };
      const slots = connectedOf(node, SLOT);
      const pictures = slots.map((slot) => pictureAt(node, `${SLOT}${slot}`, editor.address));
      const videos = ["video_before", "video_after"].filter((name) => isLinked(node, name));
      return { text: widgetValue(node, "storyboard"), slots, videos, pictures, behind: valuesBehind(node) };
    },
    /** @param {any} found */
    show(found) {
      const { text = "", slots = [], videos = [], unknown } = found;
      readable = false;
      try {
        if (unknown) throw new Error(unknown);
        const board = readBoard(text, slots, videos);
        const pictures = board.keyframes.map(({ picture, slot }) => {
          const url = fileUrl(picture, editor.address);
          return url ? { url } : found.pictures[slots.indexOf(slot)];
        });
        const unused = slots.filter((/** @type {number} */ slot) => !board.keyframes.some((each) => each.slot === slot));
        readable = true;
        panel.show({ board, pictures, unused });
      } catch (error) {
        panel.show({ board: { keyframes: [], segments: [] }, pictures: [], unused: [] });
        panel.warn(editor.words(error));
      }
      if (poller.followers.size) poller.refresh();
      else poller.follow(follower);
    },
  };
  return shown;
}

/** Shows one free keyframe input behind the connected ones, from now on. @param {any} node */
function showNextOf(node) {
  for (const event of ["onConnectionsChange", "onConfigure"]) {
    const before = node[event];
    node[event] = function (/** @type {any[]} */ ...given) {
      before?.apply(this, given);
      showNext(node, SLOT, MOST);
    };
  }
  showNext(node, SLOT, MOST);
}

/** Puts a picture into ComfyUI's input folder; its name there. @param {Editor} editor @param {File} file */
async function upload(editor, file) {
  const body = new FormData();
  body.append("image", file);
  const response = await editor.fetch("/upload/image", { method: "POST", body });
  if (!response.ok) throw new Error(`${file.name}: HTTP ${response.status}`);
  const { name, subfolder } = await response.json();
  return subfolder ? `${subfolder}/${name}` : name;
}

/** The pictures of ComfyUI's input folder. @param {Editor} editor @returns {Promise<string[]>} */
async function inputPictures(editor) {
  const { LoadImage } = await (await editor.fetch("/object_info/LoadImage")).json();
  const [names, options] = LoadImage.input.required.image;
  return Array.isArray(names) ? names : (options?.options ?? []);
}
