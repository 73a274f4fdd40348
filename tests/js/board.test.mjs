import assert from "node:assert/strict";
import test from "node:test";
import { MOST, changed, duplicated, fieldsOf, inserted, moved, passed, readBoard, removed, shownOf, textOf } from "../../js/lib/board.mjs";
import { placeAt } from "../../js/lib/reorder.mjs";
import { connectedOf, showNext } from "../../js/lib/slots.mjs";
import { valuesBehind } from "../../js/lib/graph.mjs";

const board = (names, closed = false) => readBoard(JSON.stringify({
  keyframes: [...names].map((picture) => ({ picture })),
  segments: [...names].slice(closed ? 0 : 1).map((_, index) => ({ prompt: `${names[index]}${names[(index + 1) % names.length]}` })),
  closed: closed || undefined,
}), []);
const names = ({ keyframes }) => keyframes.map(({ picture }) => picture).join("");
const prompts = ({ segments }) => segments.map(({ prompt }) => prompt ?? "").join(" ");

test("a segment stays between its two keyframes wherever they go, and no segment's words are lost by a move", () => {
  const before = board("abcd");
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) {
      const after = moved(before, from, to);
      assert.equal(after.segments.length, 3);
      assert.deepEqual(prompts(after).split(" ").sort(), ["ab", "bc", "cd"], `${from} to ${to}`);
      names(after).replace(/(?=(..))/g, (_, pair) => {
        if (["ab", "bc", "cd"].includes(pair)) assert.ok(prompts(after).split(" ").indexOf(pair) === names(after).indexOf(pair));
      });
      assert.deepEqual(moved(after, to, from).keyframes, before.keyframes);
    }
  }
  assert.equal(names(moved(before, 3, 1)), "adbc");
  assert.equal(prompts(moved(before, 3, 1)), "ab cd bc");
});

test("insertion, duplication and removal leave every other segment as it is", () => {
  const before = board("abcd");
  assert.deepEqual([names(inserted(before, 1, [{ picture: "x" }])), prompts(inserted(before, 1, [{ picture: "x" }]))], ["axbcd", "ab  bc cd"]);
  assert.equal(prompts(inserted(before, 0, [{ picture: "x" }])), " ab bc cd");
  assert.equal(prompts(inserted(before, 4, [{ picture: "x" }, { picture: "y" }])), "ab bc cd  ");
  assert.deepEqual([names(duplicated(before, 1)), prompts(duplicated(before, 1))], ["abbcd", "ab  bc cd"]);
  assert.deepEqual([names(removed(before, 1)), prompts(removed(before, 1))], ["acd", "ab cd"]);
  assert.deepEqual([names(removed(before, 0)), prompts(removed(before, 0))], ["bcd", "bc cd"]);
  assert.deepEqual([names(removed(before, 3)), prompts(removed(before, 3))], ["abc", "ab bc"]);
  assert.equal(prompts(removed(board("abc", true), 2)), "ab bc", "in a ring the segment behind the one before goes on to the first");
  assert.equal(inserted(before, 4, Array.from({ length: 20 }, () => ({ picture: "z" }))).keyframes.length, MOST);
});

test("a board without keyframes has the connected ones, and as many segments as they need", () => {
  const found = readBoard('{"prompt": "x"}', [1, 3]);
  assert.deepEqual(JSON.parse(textOf(found)), { prompt: "x", keyframes: [{ slot: 1 }, { slot: 3 }], segments: [{}] });
  assert.deepEqual(JSON.parse(textOf(removed(found, 0))), { prompt: "x", keyframes: [{ slot: 3 }] });
  assert.deepEqual(changed(found, null, { closed: true }).segments, [{}, {}]);
  assert.deepEqual(readBoard("{}", []).segments, []);
});

test("a browser that would round a seed does not read the board", { skip: "rawJSON" in JSON && "this one is exact" }, () => {
  assert.throws(() => readBoard('{"seed": 18446744073709551615}', []), /rounds numbers/);
});

test("what the panel does not know stays in the text, and seeds keep all their digits", { skip: !("rawJSON" in JSON) && "an old Node" }, () => {
  const text = '{"keyframes": [{"picture": "a", "through": true}, {"picture": "b"}], "segments": [{"seed": 18446744073709551615, "steps": 4}], "carry": 5}';
  const after = changed(readBoard(text, []), 0, { prompt: "x" });
  const read = textOf(after);
  assert.match(read, /18446744073709551615/);
  assert.equal(shownOf(after.segments[0], "seed"), "18446744073709551615");
  assert.match(textOf(changed(after, 0, fieldsOf("seed", "9007199254740993"))), /"seed": 9007199254740993/);
  assert.deepEqual({ ...JSON.parse(read), segments: 0 }, { ...JSON.parse(text), segments: 0 });
});

test("a field that is emptied is taken away, and seconds take the place of a length", () => {
  const one = { keyframes: [{ slot: 1 }, { slot: 2 }], segments: [{ length: 81, prompt: "x", seed: 3 }] };
  assert.equal(shownOf(one.segments[0], "seconds"), "5");
  assert.deepEqual(changed(one, 0, fieldsOf("seconds", "2.5")).segments, [{ prompt: "x", seed: 3, seconds: 2.5 }]);
  assert.deepEqual(changed(one, 0, { ...fieldsOf("prompt", ""), ...fieldsOf("seed", " ") }).segments, [{ length: 81 }]);
  assert.equal(shownOf({}, "seed"), "");
});

test("a form's text means words in a prompt, else a number, and is shown as it was given", () => {
  for (const [name, shown, value] of [["prompt", " a ", " a "], ["negative", "3", "3"], ["negative", "", undefined], ["steps", " 4", 4], ["steps", "", undefined]]) {
    assert.deepEqual(fieldsOf(name, shown), { [name]: value });
    assert.equal(shownOf({ [name]: value, length: 81 }, name), value === undefined ? "" : String(value));
  }
  assert.deepEqual(fieldsOf("seconds", ""), { seconds: undefined, length: undefined });
  assert.equal(shownOf({ seconds: 3 }, "seconds"), "3");
  assert.equal(shownOf({ seed: null }, "seed"), "null", "what is wrong is seen");
});

test("what can be no keyframe is left out, and what can be no segment is an empty one", () => {
  const text = '{"keyframes": [3, {"picture": "a"}, null, "b", {"picture": "c"}], "segments": [7]}';
  assert.deepEqual(JSON.parse(textOf(readBoard(text, []))), { keyframes: [{ picture: "a" }, { picture: "c" }], segments: [{}] });
});

test("videos before and after have a segment each, which edits keep", () => {
  const text = '{"keyframes": [{"picture": "a"}, {"picture": "b"}], "video_before": "x.mp4", "segments": [{"prompt": "1"}, {"prompt": "2"}, {"prompt": "3"}]}';
  const before = readBoard(text, [], ["video_after"]);
  assert.equal(prompts(before), "1 2 3");
  assert.equal(prompts(inserted(before, 1, [{ picture: "n" }])), "1 2  3");
  assert.equal(prompts(removed(before, 0)), "1 3");
  assert.equal(prompts(changed(before, 2, { prompt: "x" })), "1 2 x");
  assert.deepEqual(JSON.parse(textOf(before)), JSON.parse(text));
});

test("a keyframe is passed through, and not any more", () => {
  const before = board("abc");
  assert.deepEqual(passed(before, 1, true).keyframes, [{ picture: "a" }, { picture: "b", through: true }, { picture: "c" }]);
  assert.deepEqual(passed(passed(before, 1, true), 1, false), before);
  const held = { ...before, keyframes: [{ picture: "a" }, { picture: "b", through: true, strength: 0.5, strength_low: 1 }, { picture: "c" }] };
  assert.deepEqual(passed(held, 1, true), held);
  assert.deepEqual(passed(held, 1, false), before, "an end has no strength");
});

test("a text that is no board is refused", () => {
  for (const text of ["", "{", "[]", "3", "null"]) assert.throws(() => readBoard(text, []), SyntaxError, text);
});

test("a dragged keyframe goes between those that its pointer is between", () => {
  const middles = [10, 50, 90, 130];
  assert.deepEqual([0, 20, 60, 100, 140].map((x) => placeAt(middles, 1, x)), [0, 1, 1, 2, 3]);
});

/** A node of twelve optional inputs, as the editor makes them. */
function nodeOf(connected) {
  const links = new Map(connected.map((number) => [number, { id: number, origin_id: 1, origin_slot: 0 }]));
  const graph = { links, nodes: [{ id: 1, type: "LoadImage", widgets: [{ name: "image", value: "a.png" }] }] };
  const inputs = [{ name: "vae" }, ...Array.from({ length: 12 }, (_, index) => ({ name: `keyframe_${index + 1}`, type: "IMAGE", shape: 7, link: links.has(index + 1) ? index + 1 : null }))];
  return {
    id: 2, graph, inputs,
    removeInput(index) { this.inputs.splice(index, 1); },
    addInput(name, type, rest) { this.inputs.push({ name, type, ...rest, link: null }); },
  };
}

test("one free keyframe input is shown behind the last connected one", () => {
  const shown = (node) => node.inputs.map(({ name }) => name).filter((name) => name !== "vae");
  for (const [connected, last] of [[[], 1], [[1], 2], [[1, 2], 3], [[3], 4], [[12], 12]]) {
    const node = nodeOf(connected);
    showNext(node, "keyframe_", 12);
    assert.deepEqual(shown(node), Array.from({ length: last }, (_, index) => `keyframe_${index + 1}`));
    assert.deepEqual(connectedOf(node, "keyframe_"), connected);
  }
  const node = nodeOf([]);
  showNext(node, "keyframe_", 12);
  node.graph.links.set(1, { id: 1, origin_id: 1, origin_slot: 0 });
  node.inputs[1].link = 1;
  showNext(node, "keyframe_", 12);
  assert.deepEqual(node.inputs[2], { name: "keyframe_2", type: "IMAGE", shape: 7, link: null });
});

test("connected inputs are told in the order of their numbers, the first of the node's too", () => {
  const node = nodeOf([2, 10, 3]);
  node.inputs = [node.inputs[10], node.inputs[3], node.inputs[2], node.inputs[12]];
  assert.deepEqual(connectedOf(node, "keyframe_"), [2, 3, 10]);
  node.inputs = [node.inputs[3], node.inputs[2]];
  showNext(node, "keyframe_", 12);
  assert.deepEqual(node.inputs.map(({ name }) => name), ["keyframe_2", "keyframe_1", "keyframe_3"]);
});

test("a value outside of a subgraph counts, and one that is no plain value does not", () => {
  const root = { links: new Map(), nodes: [] };
  const graph = { rootGraph: root, links: new Map([[1, { id: 1, origin_id: -10, origin_slot: 0 }], [2, { id: 2, origin_id: 3, origin_slot: 0 }]]), nodes: [] };
  const outer = { name: "steps", value: 4 };
  root.nodes.push({ id: 9, graph: root, subgraph: graph, inputs: [{ name: "steps", link: null }], widgets: [outer] });
  const around = { name: "chart", value: {} };
  around.value.self = around.value;
  graph.nodes.push({ id: 3, graph, type: "X", widgets: [around] });
  const node = { id: 2, graph, inputs: [{ name: "steps", link: 1 }, { name: "x", link: 2 }] };
  const before = JSON.stringify(valuesBehind(node));
  outer.value = 5;
  assert.notEqual(JSON.stringify(valuesBehind(node)), before);
});

test("the values behind a node change with any of them", () => {
  const node = nodeOf([1]);
  const before = JSON.stringify(valuesBehind(node));
  assert.equal(JSON.stringify(valuesBehind(node)), before);
  const picture = node.graph.nodes[0];
  picture.widgets[0].value = "b.png";
  const after = JSON.stringify(valuesBehind(node));
  assert.notEqual(after, before);
  const far = { id: 99, type: "X", graph: node.graph, widgets: [{ name: "strength", value: 1 }] };
  node.graph.nodes.push(far);
  node.graph.links.set(99, { id: 99, origin_id: 99, origin_slot: 0, target_id: picture.id, target_slot: 0 });
  picture.inputs = [{ name: "from", link: 99 }];
  picture.graph = node.graph;
  const wired = JSON.stringify(valuesBehind(node));
  assert.notEqual(wired, after);
  far.widgets[0].value = 2;
  assert.notEqual(JSON.stringify(valuesBehind(node)), wired, "of a node behind the one before, too");
});
