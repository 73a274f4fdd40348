import assert from "node:assert/strict";
import test from "node:test";
import { containerOf, downstream, inGraph, isLinked, source, valueOf, valuesBehind } from "../../js/lib/graph.mjs";
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

test("the low stage's own settings are sent, and first steps only where there is a first model", () => {
  const own = { steps_low: 4, sampler_low: "same", scheduler_low: "beta", first_steps: 1, first_resolution: 20 };
  const nodes = twoStage();
  nodes[4].widgets = { ...SAMPLER, ...own };
  assert.deepEqual({ ...scheduleOf(byId(graphOf(nodes), 4)).body, files: "" }, { ...SAMPLER, ...own, first_steps: 0, shift: 8, files: "" });
  assert.equal(scheduleOf(byId(graphOf(nodes), 3)).body.steps_low, 4);
  nodes[4].inputs.model_first = [1, 0];
  assert.equal(scheduleOf(byId(graphOf(nodes), 4)).body.first_steps, 1);
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

test("a value that names no file has no address", () => {
  for (const value of [undefined, 3, null, ["a.png"]]) assert.equal(fileUrl(value, (path) => path), undefined);
});

test("only a picture's own output shows its file; what else a node has shown is shown, or named until it has", () => {
  const at = (node, slot = 0) => {
    const graph = graphOf({ 1: { widgets: { image: "x.png" }, outputs: [["IMAGE", "IMAGE"], ["MASK", "MASK"]], ...node }, 2: { type: "To", inputs: { picture: [1, slot] } } });
    return pictureAt(byId(graph, 2), "picture", (path) => path);
  };
  assert.match(at({ type: "LoadImage" }).url, /filename=x.png/);
  for (const [node, slot] of [[{ type: "LoadImage" }, 1], [{ type: "Draw" }, 0], [{ type: "LoadImage", widgets: { image: "" } }, 0]]) {
    assert.match(at(node, slot).words, new RegExp(node.type));
    assert.deepEqual(at({ ...node, title: "Mine", imgs: [{ src: "shown.png" }] }, slot), { url: "shown.png" });
    assert.match(at({ ...node, title: "Mine" }, slot).words, /Mine/);
  }
});

test("a size of another node than Resolution is its value, and the rate is the first that is known behind the latent", () => {
  const conditioning = {
    type: "WanFLF2VConditioning", widgets: { width: 832, height: 480, length: 81, fit: "pad" },
    inputs: { width: [1, 0] }, outputs: [["positive", "CONDITIONING"], ["latent", "LATENT"]],
  };
  const framed = (nodes) => framesOf(byId(graphOf({ 1: { type: "PrimitiveInt", widgets: { value: 640 }, outputs: [["INT", "INT"]] }, 2: conditioning, ...nodes }), 2));
  const body = { length: 81, fit: "pad", frame_rate: 16, width: 640, height: 480 };
  const rated = (type, name, value, slot = 1) => ({ 3: { type, widgets: { [name]: value }, inputs: { images: [2, slot] } } });
  assert.deepEqual(framed({}), { body });
  assert.deepEqual(framed(rated("CreateVideo", "fps", 30)), { body: { ...body, frame_rate: 30 } });
  assert.deepEqual(framed(rated("CreateVideo", "fps", 30, 0)), { body }, "not behind the latent");
  assert.deepEqual(framed(rated("WanFLF2VSaveVideo", "frame_rate", "")), { body }, "an empty field");
  assert.deepEqual(framed({ 2: { ...conditioning, outputs: [["x", "LATENT"]] }, ...rated("CreateVideo", "fps", 30, 0) }), { body }, "no latent");
  assert.match(framed({ 1: { type: "Draw", outputs: [["INT", "INT"]] } }).unknown, /^width: linked/);
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

test("what is muted feeds nothing, and what is bypassed passes on the input of the output's own type", () => {
  const loaders = { 1: { type: "CLIPLoader", outputs: [["CLIP", "CLIP"]] }, 2: { type: "UNETLoader", outputs: MODEL } };
  const both = { inputs: { clip: [1, 0], model: [2, 0] }, types: { clip: "CLIP", model: "MODEL" }, outputs: MODEL };
  const at = (extra) => {
    const graph = graphOf({ ...loaders, 3: { type: "Lora", ...both, ...extra }, 4: { type: "End", inputs: { model: [3, 0] } } });
    return source(byId(graph, 4), "model");
  };
  assert.equal(at({}).node.id, 3);
  assert.equal(at({ mode: 4 }).node.id, 2);
  assert.equal(at({ mode: 4, inputs: { clip: [1, 0] } }), undefined, "no input of that type");
  assert.equal(at({ mode: 2 }), undefined);
});

test("the source inside a subgraph is found from outside, through as many borders as there are", () => {
  const wrapped = (inner, id) => ({ type: `subgraph ${id}`, outputs: MODEL, subgraph: { ...inner, outputs: [{ name: "MODEL", linkIds: [99] }] } });
  const innermost = graphOf({ 1: { type: "CLIPLoader", outputs: [["CLIP", "CLIP"]] }, 2: { type: "UNETLoader", outputs: [["a", "INT"], ["b", "MODEL"]] } });
  innermost.links.set(99, { id: 99, origin_id: 2, origin_slot: 1, target_id: -20, target_slot: 0 });
  const middle = graphOf({ 5: wrapped(innermost, "innermost") });
  middle.links.set(99, { id: 99, origin_id: 5, origin_slot: 0, target_id: -20, target_slot: 0 });
  const graph = graphOf({ 7: wrapped(middle, "middle"), 8: { type: "End", inputs: { model: [7, 0] } } });
  const found = source(byId(graph, 8), "model");
  assert.deepEqual([found.node.type, found.slot], ["UNETLoader", 1]);
  byId(graph, 7).subgraph.outputs = [];
  assert.equal(source(byId(graph, 8), "model"), undefined);
});

test("a subgraph's node is found among others and at any depth, and its widget by name", () => {
  const widgets = { other: 1, steps: 9 };
  const root = graphOf({ 1: { type: "plain" }, 2: { type: "a" }, 3: { type: "b" } });
  const [inner, unrelated, deep] = [0, 1, 2].map(() => graphOf({ 4: { type: "Sampler", inputs: { steps: [-10, 0] } } }, { rootGraph: root }));
  byId(root, 2).subgraph = unrelated;
  byId(root, 3).subgraph = inner;
  inner._nodes.push({ id: 9, type: "c", graph: inner, subgraph: deep, inputs: [{ name: "shown", widget: { name: "steps" }, link: null }],
    widgets: Object.entries(widgets).map(([name, value]) => ({ name, value })) });
  assert.equal(containerOf(root, inner).id, 3);
  assert.equal(containerOf(root, deep).id, 9);
  assert.equal(containerOf(root, root), undefined);
  assert.equal(valueOf(byId(deep, 4), "steps"), 9);
  assert.equal(valueOf(byId(unrelated, 4), "steps"), undefined, "its node has no such input");
});

test("newer editors answer by methods of their own, older ones by links, as a map or an object", () => {
  const link = { id: 5, origin_id: 1, origin_slot: 0, target_id: 2, target_slot: 0 };
  const make = (links) => {
    const graph = { _nodes: [{ id: 1, type: "From", outputs: [{ name: "x", links: [5] }] }, { id: 2, type: "To", inputs: [{ name: "x", link: 5 }] }], links };
    for (const node of graph._nodes) node.graph = graph;
    return graph;
  };
  for (const links of [new Map([[5, link]]), { 5: link }]) {
    const graph = make(links);
    assert.equal(source(byId(graph, 2), "x").node.id, 1);
    assert.deepEqual(downstream(byId(graph, 1), 0).map((node) => node.id), [2]);
  }
  const newer = make(undefined);
  byId(newer, 2).getInputLink = (slot) => (slot === 0 ? link : null);
  byId(newer, 1).getOutputNodes = (slot) => (slot === 0 ? [byId(newer, 2)] : null);
  newer.getNodeById = (id) => byId(newer, Number(id)) ?? null;
  assert.equal(source(byId(newer, 2), "x").node.id, 1);
  assert.deepEqual(downstream(byId(newer, 1), 0).map((node) => node.id), [2]);
  byId(newer, 2).getInputLink = () => null;
  byId(newer, 1).getOutputNodes = () => null;
  assert.equal(source(byId(newer, 2), "x"), undefined);
  assert.deepEqual(downstream(byId(newer, 1), 0), []);
  assert.equal(source({ id: 3, type: "bare" }, "x"), undefined);
});

test("constants are read by name or as the only widget, and other nodes' values are not guessed", () => {
  const value = (node) => valueOf(byId(graphOf({ 1: { outputs: [["INT", "INT"]], ...node }, 2: { type: "To", widgets: { n: 3 }, inputs: { n: [1, 0] } } }), 2), "n");
  assert.equal(value({ type: "PrimitiveInt", widgets: { other: 1, value: 7 } }), 7);
  assert.equal(value({ type: "PrimitiveNode", widgets: { n: 8 } }), 8);
  assert.equal(value({ type: "INTConstant", widgets: { value: 0 } }), 0);
  assert.equal(value({ type: "Calculator", widgets: { value: 9 } }), undefined);
  assert.equal(value({ type: "PrimitiveInt", widgets: {} }), undefined);
  assert.equal(valueOf(byId(graphOf({ 2: { type: "To", widgets: { n: 3 }, inputs: { n: null } } }), 2), "n"), 3);
});

test("downstream is what one output feeds, nearest first and once, the inside of a subgraph too", () => {
  const graph = graphOf({
    1: { type: "Loader", outputs: [["a", "MODEL"], ["b", "MODEL"]] },
    2: { type: "First", inputs: { x: [1, 0] }, outputs: MODEL },
    3: { type: "Second", inputs: { x: [2, 0], y: [1, 0] }, outputs: MODEL },
    4: { type: "Other", inputs: { x: [1, 1] }, outputs: MODEL },
    5: { type: "a-subgraph", inputs: { x: [3, 0] }, outputs: MODEL },
  });
  byId(graph, 5).subgraph = graphOf({ 6: { type: "Inside" } });
  assert.deepEqual(downstream(byId(graph, 1), 0).map((node) => node.id), [2, 3, 5, 6]);
  assert.deepEqual(downstream(byId(graph, 1), 1).map((node) => node.id), [4]);
});

test("a shift node before a plain sampler takes what that one has, and alone it shows an example", () => {
  const plain = { type: "KSampler", widgets: { steps: 7, sampler_name: "dpmpp_2m", scheduler: "beta", denoise: 0.5 }, inputs: { model: [3, 0] } };
  const nodes = twoStage({ 4: plain });
  assert.deepEqual(scheduleOf(byId(graphOf(nodes), 3)), {
    body: { steps: 7, sampler_name: "dpmpp_2m", scheduler: "beta", denoise: 0.5, shift: 8 }, from: "KSampler",
  });
  nodes[4].title = "Mine";
  assert.equal(scheduleOf(byId(graphOf(nodes), 3)).from, "Mine");
  nodes[4] = { type: "SaveImage", inputs: { model: [3, 0] } };
  const example = { steps: 20, sampler_name: "euler", scheduler: "simple", boundary: 0.9, high_steps: -1, denoise: 1, shift: 8 };
  assert.deepEqual(scheduleOf(byId(graphOf(nodes), 3)), { body: example, from: "" });
});

test("a schedule node's own first steps are sent, and one model's shift is not told twice", () => {
  const nodes = twoStage();
  nodes[4] = { ...nodes[4], type: "WanFLF2VSchedule", widgets: { ...SAMPLER, cfg: undefined, first_steps: 2 }, inputs: { model_high: [3, 0], model_low: null } };
  nodes[3].widgets.shift = 5;
  const { body } = scheduleOf(byId(graphOf(nodes), 4));
  assert.deepEqual([body.first_steps, body.shift, "shift_low" in body, "cfg" in body], [2, 5, false, false]);
  assert.equal(scheduleOf(byId(graphOf(nodes), 3)).from, "Sampler", "a shift node's plot is that schedule's");
});

test("a shift node's plot follows the files of the model, past what is no sampler, and a linked value shows the example", () => {
  const nodes = twoStage({ 7: { type: "LoraLoaderModelOnly", widgets: { lora_name: "lightx2v.safetensors" }, inputs: { model: [1, 0] }, outputs: MODEL } });
  nodes[3].inputs.model_high = [7, 0];
  assert.match(scheduleOf(byId(graphOf(nodes), 3)).body.files, /lightx2v/);
  const plain = { type: "KSampler", widgets: { steps: 7, sampler_name: "euler", scheduler: "beta", denoise: 1 }, inputs: { model: [8, 0], steps: null } };
  const patched = { ...nodes, 8: { type: "Patch", inputs: { model: [3, 0] }, outputs: MODEL }, 4: plain };
  assert.equal(scheduleOf(byId(graphOf(patched), 3)).body.steps, 7);
  patched[9] = { type: "Calculator", outputs: [["INT", "INT"]] };
  patched[4] = { ...plain, inputs: { model: [8, 0], steps: [9, 0] } };
  assert.deepEqual([scheduleOf(byId(graphOf(patched), 3)).body.steps, scheduleOf(byId(graphOf(patched), 3)).from], [20, ""]);
});

test("a shift that is computed for one expert is not compared with the other's", () => {
  const auto = { steps: 4, high_steps: 2, scheduler: "simple", boundary: 0.9 };
  const nodes = twoStage({
    5: { type: "ModelSamplingSD3", widgets: { shift: 5 }, inputs: { model: [2, 0] }, outputs: MODEL },
    10: { type: "WanFLF2VAutoShift", widgets: auto, outputs: [["shift", "FLOAT"]] },
  });
  nodes[3].inputs.shift = [10, 0];
  nodes[4].inputs.model_low = [5, 0];
  const { body } = scheduleOf(byId(graphOf(nodes), 4));
  assert.deepEqual([body.auto, "shift_low" in body], [auto, false]);
});

test("what only a run can tell is named, one or several", () => {
  const calculator = { type: "Calculator", outputs: [["INT", "INT"]] };
  const nodes = twoStage({ 11: calculator });
  Object.assign(nodes[4].inputs, { steps: [11, 0], denoise: [11, 0] });
  assert.deepEqual(scheduleOf(byId(graphOf(nodes), 4)), { unknown: "steps, denoise are linked" });
  assert.deepEqual(scheduleOf(byId(graphOf(nodes), 3)), { unknown: "steps, denoise are linked" });
  const linked = twoStage({ 11: calculator });
  linked[3].inputs.shift = [11, 0];
  assert.deepEqual(scheduleOf(byId(graphOf(linked), 3)), { unknown: "shift is linked" });
  assert.deepEqual(scheduleOf(byId(graphOf(linked), 4)), { unknown: "shift is linked" });
});

test("the shift nearest to the sampler counts, and the model is followed by the input of its own name or type", () => {
  const nodes = twoStage({
    5: { type: "ModelSamplingSD3", widgets: { shift: 3 }, inputs: { model: [1, 0] }, outputs: MODEL },
    6: { type: "Patch", inputs: { clip: [9, 0], patched: [5, 0] }, types: { clip: "CLIP" }, outputs: MODEL },
    7: { type: "ModelSamplingSD3", widgets: { shift: 6 }, inputs: { model: [6, 0] }, outputs: MODEL },
    9: { type: "CLIPLoader", outputs: [["CLIP", "CLIP"]] },
  });
  nodes[4].inputs.model_high = [7, 0];
  assert.equal(modelAt(byId(graphOf(nodes), 4), "model_high").shift, 6);
  nodes[4].inputs.model_high = [6, 0];
  assert.equal(modelAt(byId(graphOf(nodes), 4), "model_high").shift, 3, "past an input of another type");
});

test("nodes in a circle end every look behind them", () => {
  const graph = graphOf({
    1: { type: "A", widgets: { seed: 1 }, inputs: { model: [2, 0] }, outputs: MODEL },
    2: { type: "B", widgets: { seed: 2 }, inputs: { model: [1, 0] }, outputs: MODEL },
  });
  assert.match(JSON.stringify(valuesBehind(byId(graph, 1))), /"seed",2.*"seed",1/);
  assert.equal(downstream(byId(graph, 1), 0).length, 1);
});

test("a node that an undo has left behind is in no graph, though it still names one", () => {
  const graph = graphOf({ 1: { type: "A" } });
  const left = { ...byId(graph, 1) };
  assert.equal(inGraph(left), false);
  assert.equal(inGraph(byId(graph, 1)), true);
});

test("an input of a subgraph's node is read by its link, as its own method means the inside", () => {
  const graph = graphOf({ 1: { type: "A", outputs: MODEL }, 2: { type: "inner", inputs: { model: [1, 0] } } });
  Object.assign(byId(graph, 2), { subgraph: { _nodes: [], links: new Map() }, getInputLink: () => null });
  assert.equal(isLinked(byId(graph, 2), "model"), true);
  assert.equal(source(byId(graph, 2), "model").node, byId(graph, 1));
});
