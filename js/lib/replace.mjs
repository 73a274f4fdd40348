// Puts the pack's nodes in the place of ComfyUI's own first/last-frame node and its two samplers, where the user asks for it.

import { downstream, linkOf, source, valueOf, widgetValue } from "./graph.mjs";
import { t } from "./words.mjs";

/** @typedef {import("./graph.mjs").GraphNode} GraphNode */
/** @typedef {import("./graph.mjs").Link} Link */

const SAMPLER = "KSamplerAdvanced";
const BORDER_IN = -10;
const BORDER_OUT = -20;
const FRAMES = ["positive", "negative", "vae", "width", "height", "length", "batch_size", "start_image", "end_image"];
const SHARED = ["steps", "sampler_name", "scheduler"];
const ADVANCED = { high: { add_noise: "enable", return_with_leftover_noise: "enable" }, low: { add_noise: "disable", return_with_leftover_noise: "disable" } };

/** @param {GraphNode} node @param {string} name @returns {Link | undefined} */
function linkInto(node, name) {
  const index = (node.inputs ?? []).findIndex((each) => each.name === name);
  if (index < 0) return undefined;
  return node.getInputLink?.(index) ?? linkOf(node.graph, node.inputs?.[index]?.link);
}

/** Whether this input of `node` comes from this output. @param {GraphNode} node @param {string} name @param {GraphNode} from @param {number} slot */
function comesFrom(node, name, from, slot) {
  const found = source(node, name);
  return found !== undefined && "node" in found && found.node === from && found.slot === slot;
}

/**
 * The two samplers behind this node that run one schedule in two parts. Throws with the reason where there are none.
 * @param {GraphNode} frames
 * @returns {{high: GraphNode, low: GraphNode}}
 */
function samplersOf(frames) {
  const all = downstream(frames, 2).filter((node) => node.type === SAMPLER && node.graph === frames.graph);
  const high = all.find((node) => comesFrom(node, "latent_image", frames, 2));
  const low = high && all.find((node) => comesFrom(node, "latent_image", high, 0));
  if (!high || !low) throw new Error(t("Behind this node are not two KSampler (Advanced), one after the other."));
  /** @type {string[]} */
  const wrong = SHARED.filter((name) => valueOf(high, name) !== valueOf(low, name));
  for (const [node, values] of /** @type {[GraphNode, Record<string, string>][]} */ ([[high, ADVANCED.high], [low, ADVANCED.low]])) {
    wrong.push(...Object.keys(values).filter((name) => valueOf(node, name) !== values[name]));
  }
  const [steps, split] = [valueOf(high, "steps"), valueOf(high, "end_at_step")];
  if (valueOf(high, "start_at_step") !== 0 || split !== valueOf(low, "start_at_step")) wrong.push("start_at_step");
  if (!(valueOf(low, "end_at_step") >= steps) || !(split < steps)) wrong.push("end_at_step");
  for (const [slot, name] of ["positive", "negative"].entries()) if (!comesFrom(high, name, frames, slot)) wrong.push(name);
  if (wrong.length) throw new Error(t("The two samplers are not one run in two parts: look at {}.", [...new Set(wrong)].join(", ")));
  if (linkInto(frames, "clip_vision_start_image") ?? linkInto(frames, "clip_vision_end_image")) {
    throw new Error(t("Disconnect CLIP vision first: Wan 2.2 does not use it."));
  }
  return { high, low };
}

/**
 * Give an input what another node's input has: its link, else its value.
 * @param {any} node @param {string} name @param {any} old @param {string} [from]
 */
function inherit(node, name, old, from = name) {
  const link = linkInto(old, from);
  const index = node.inputs.findIndex((/** @type {any} */ each) => each.name === name);
  if (!link) {
    const widget = node.widgets.find((/** @type {any} */ each) => each.name === name);
    if (widget) widget.value = widgetValue(old, from) ?? widget.value;
  } else if (Number(link.origin_id) === BORDER_IN) old.graph.inputNode.slots[link.origin_slot].connect(node.inputs[index], node);
  else old.graph.getNodeById(link.origin_id).connect(link.origin_slot, node, index);
}

/**
 * Let what an output fed be fed by another node's.
 * @param {any} old @param {number} slot @param {any} node @param {number} [to]
 */
function handOver(old, slot, node, to = slot) {
  for (const id of [...(old.outputs[slot].links ?? [])]) {
    const link = /** @type {any} */ (linkOf(old.graph, id));
    if (Number(link.target_id) === BORDER_OUT) old.graph.outputNode.slots[link.target_slot].connect(node.outputs[to], node);
    else node.connect(to, old.graph.getNodeById(link.target_id), link.target_slot);
  }
}

/**
 * Replace ComfyUI's node and its two samplers, with the same values: the video stays the same, bit for bit.
 * Throws with the reason where the graph is another one, and changes nothing then.
 * @param {any} frames
 * @param {(type: string) => any} create makes a node
 */
export function replace(frames, create) {
  const { high, low } = /** @type {{high: any, low: any}} */ (samplersOf(frames));
  const graph = frames.graph;
  /** @param {string} type @param {any} old */
  const put = (type, old) => {
    const node = create(type);
    node.pos = [...old.pos];
    graph.add(node);
    return node;
  };
  const conditioning = put("WanFLF2VConditioning", frames);
  const sampler = put("WanFLF2VTwoStageSampler", high);
  for (const name of FRAMES) inherit(conditioning, name, frames);
  inherit(sampler, "model_high", high, "model");
  inherit(sampler, "model_low", low, "model");
  for (const name of ["noise_seed", "control_after_generate", "cfg", ...SHARED]) inherit(sampler, name, high);
  inherit(sampler, "high_steps", high, "end_at_step");
  if (linkInto(low, "cfg") ?? valueOf(low, "cfg") !== valueOf(high, "cfg")) inherit(sampler, "cfg_low", low, "cfg");
  for (const [slot, name] of ["positive", "negative"].entries()) {
    if (!comesFrom(low, name, frames, slot)) inherit(sampler, `${name}_low`, low, name);
    handOver(frames, slot, conditioning);
    conditioning.connect(slot, sampler, name);
  }
  handOver(frames, 2, conditioning);
  conditioning.connect(2, sampler, "latent_image");
  handOver(high, 0, sampler, 1);
  handOver(low, 0, sampler);
  for (const node of [frames, high, low]) graph.remove(node);
}
