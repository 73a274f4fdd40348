import assert from "node:assert/strict";
import test from "node:test";
import { containerOf, downstream, source, valueOf } from "../../js/lib/graph.mjs";
import { framesOf, fileUrl, pictureAt, summary } from "../../js/lib/frames.mjs";
import { modelAt, scheduleOf } from "../../js/lib/schedule.mjs";

/** A graph from `{id: {type, widgets, inputs: {name: [origin id, slot] | null}, outputs: [[name, type]]}}`. */
function graphOf(nodes, { rootGraph } = {}) {
  const graph = { _nodes: [], links: new Map(), rootGraph };
  for (const [id, given] of Object.entries(nodes)) {
    const { widgets = {}, inputs = {}, outputs = [], types = {}, ...rest } = given;
    graph._nodes.push({
      id: Number(id),
      graph,
      widgets: Object.entries(widgets).map(([name, value]) => ({ name, value })),
      inputs: Object.keys(inputs).map((name) => ({ name, type: types[name] ?? "MODEL", link: null })),
      outputs: outputs.map(([name, type]) => ({ name, type, links: [] })),
      ...rest,
    });
  }
  for (const node of graph._nodes) {
    Object.values(nodes[node.id].inputs ?? {}).forEach((from, slot) => {
      if (!from) return;
      const link = { id: graph.links.size + 1, origin_id: from[0], origin_slot: from[1], target_id: node.id, target_slot: slot };
      graph.links.set(link.id, link);
      node.inputs[slot].link = link.id;
      graph._nodes.find((each) => each.id === from[0])?.outputs[from[1]]?.links.push(link.id);
    });
  }
  return graph;
}
const byId = (graph, id) => graph._nodes.find((node) => node.id === id);
const MODEL = [["MODEL", "MODEL"]];
const SAMPLER = { steps: 20, sampler_name: "euler", scheduler: "simple", boundary: 0.9, high_steps: -1, denoise: 1, cfg: 4 };
const twoStage = (extra = {}) => ({
  1: { type: "UNETLoader", outputs: MODEL },
  2: { type: "UNETLoader", outputs: MODEL },
  3: {
    type: "WanFLF2VShift",
    title: "Shift",
    widgets: { shift: 8 },
    inputs: { model_high: [1, 0], model_low: [2, 0], shift: null },
    outputs: [["model_high", "MODEL"], ["model_low", "MODEL"]],
  },
  4: { type: "WanFLF2VTwoStageSampler", title: "Sampler", widgets: SAMPLER, inputs: { model_high: [3, 0], model_low: [3, 1] }, outputs: [["latent", "LATENT"]] },
  ...extra,
});

test("the sampler's schedule takes its own widgets and the shift upstream", () => {
  const { body } = scheduleOf(byId(graphOf(twoStage()), 4));
  assert.deepEqual({ ...body, files: "" }, { ...SAMPLER, shift: 8, files: "" });
});

test("a shift node shows the schedule of the sampler behind it", () => {
  const found = scheduleOf(byId(graphOf(twoStage()), 3));
  assert.equal(found.from, "Sampler");
  assert.equal(found.body.steps, 20);
  const alone = twoStage();
  delete alone[4];
  assert.equal(scheduleOf(byId(graphOf(alone), 3)).from, "");
});

test("without a shift node a Wan model has shift 8", () => {
  const nodes = twoStage();
  nodes[4].inputs = { model_high: [1, 0], model_low: [2, 0] };
  assert.equal(scheduleOf(byId(graphOf(nodes), 4)).body.shift, 8);
});

test("two shift nodes of different values are both sent, so that the server can refuse them", () => {
  const nodes = twoStage({
    5: { type: "ModelSamplingSD3", widgets: { shift: 8 }, inputs: { model: [1, 0] }, outputs: MODEL },
    6: { type: "ModelSamplingSD3", widgets: { shift: 5 }, inputs: { model: [2, 0] }, outputs: MODEL },
  });
  nodes[4].inputs = { model_high: [5, 0], model_low: [6, 0] };
  const { body } = scheduleOf(byId(graphOf(nodes), 4));
  assert.deepEqual([body.shift, body.shift_low], [8, 5]);
});

test("a LoRA's file is found on its own side, through reroutes and bypassed nodes", () => {
  const nodes = twoStage({
    7: { type: "LoraLoaderModelOnly", widgets: { lora_name: "lightx2v.safetensors" }, inputs: { model: [2, 0] }, outputs: MODEL },
    8: { type: "Reroute", inputs: { "": [7, 0] }, outputs: [["", "*"]] },
    9: { type: "LoraLoaderModelOnly", mode: 4, widgets: { lora_name: "other.safetensors" }, inputs: { model: [1, 0] }, outputs: MODEL },
  });
  nodes[3].inputs = { model_high: [9, 0], model_low: [8, 0], shift: null };
  const graph = graphOf(nodes);
  assert.match(modelAt(byId(graph, 4), "model_low").files, /lightx2v/);
  assert.doesNotMatch(modelAt(byId(graph, 4), "model_high").files, /other/, "a bypassed LoRA does nothing");
});

test("a linked shift is followed to Wan FLF2V Auto Shift, and given up elsewhere", () => {
  const auto = { steps: 4, high_steps: 2, scheduler: "simple", boundary: 0.9 };
  const nodes = twoStage({ 10: { type: "WanFLF2VAutoShift", widgets: auto, outputs: [["shift", "FLOAT"]] } });
  nodes[3].inputs.shift = [10, 0];
  assert.deepEqual(scheduleOf(byId(graphOf(nodes), 4)).body.auto, auto);
  nodes[10] = { type: "SomethingElse", outputs: [["x", "FLOAT"]] };
  assert.deepEqual(scheduleOf(byId(graphOf(nodes), 4)), { unknown: "shift is linked" });
});

test("a linked number is read from a primitive and named where it can't be", () => {
  const nodes = twoStage({ 11: { type: "PrimitiveInt", widgets: { value: 7 }, outputs: [["INT", "INT"]] } });
  nodes[4].inputs.steps = [11, 0];
  assert.equal(scheduleOf(byId(graphOf(nodes), 4)).body.steps, 7);
  nodes[11] = { type: "Calculator", outputs: [["INT", "INT"]] };
  assert.deepEqual(scheduleOf(byId(graphOf(nodes), 4)), { unknown: "steps is linked" });
});

test("inside a subgraph the source is found outside, through the border", () => {
  const root = graphOf({
    1: { type: "UNETLoader", outputs: MODEL },
    3: { type: "ModelSamplingSD3", widgets: { shift: 3 }, inputs: { model: [1, 0] }, outputs: MODEL },
    20: { type: "a-subgraph", widgets: { steps: 9 }, inputs: { model_high: [3, 0], steps: null }, outputs: [["latent", "LATENT"]] },
  });
  const inner = graphOf({ 4: { type: "WanFLF2VTwoStageSampler", widgets: SAMPLER, inputs: { model_high: [-10, 0], steps: [-10, 1] } } }, { rootGraph: root });
  byId(root, 20).subgraph = inner;
  assert.equal(containerOf(root, inner).id, 20);
  assert.equal(modelAt(byId(inner, 4), "model_high").shift, 3);
  assert.equal(valueOf(byId(inner, 4), "steps"), 9);
});

test("a loop of links ends", () => {
  const graph = graphOf({ 1: { type: "Reroute", inputs: { a: [2, 0] }, outputs: MODEL }, 2: { type: "Reroute", inputs: { a: [1, 0] }, outputs: MODEL } });
  assert.equal(source(byId(graph, 1), "a"), undefined);
  assert.equal(downstream(byId(graph, 1), 0).length, 1);
});

test("a LoadImage value becomes the address of its file", () => {
  const address = (path) => `/api${path}`;
  assert.equal(fileUrl("a b.png", address), "/api/view?filename=a+b.png&subfolder=&type=input");
  assert.equal(fileUrl("sub/c.png [output]", address), "/api/view?filename=c.png&subfolder=sub&type=output");
  assert.equal(fileUrl("", address), undefined);
});

test("the frames follow the resolution node and the rate of the save node", () => {
  const graph = graphOf({
    71: { type: "WanFLF2VResolution", widgets: { preset: "custom", width: 540, height: 960 }, outputs: [["width", "INT"], ["height", "INT"]] },
    68: { type: "LoadImage", widgets: { image: "x.png" }, outputs: [["IMAGE", "IMAGE"]] },
    67: {
      type: "WanFLF2VConditioning",
      widgets: { width: 832, height: 480, length: 81, fit: "pad" },
      inputs: { width: [71, 0], height: [71, 1], start_image: [68, 0], end_image: null },
      outputs: [["latent", "LATENT"]],
    },
    57: { type: "KSampler", inputs: { latent_image: [67, 0] }, outputs: [["LATENT", "LATENT"]] },
    73: { type: "WanFLF2VSaveVideo", widgets: { frame_rate: 24 }, inputs: { images: [57, 0] } },
  });
  const node = byId(graph, 67);
  assert.deepEqual(framesOf(node).body, { length: 81, fit: "pad", frame_rate: 24, preset: "custom", width: 540, height: 960 });
  assert.match(pictureAt(node, "start_image", (path) => path).url, /filename=x\.png/);
  assert.equal(pictureAt(node, "end_image", (path) => path), undefined);
});

test("the summary tells size, frames, seconds and latent frames", () => {
  const frames = { width: 720, height: 720, length: 81, seconds: 5.0625, frame_rate: 16, latent_frames: 21 };
  assert.equal(summary(frames), "720 × 720 · 81 frames = 5.06 s at 16 fps · 21 latent frames");
});
