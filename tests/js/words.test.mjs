import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";
import { TABLES, said, speak, t, useTable } from "../../js/lib/words.mjs";

const folder = new URL("../../js/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(`words/${name}.json`, folder), "utf8"));
const zh = read("zh");
const places = (text) => (text.match(/\{[ns]?\}/g) ?? []).sort();

test("our own texts are said in the table's language, with their values as they are", () => {
  useTable(zh);
  assert.equal(t("{} high", 12), "高噪声 12 步");
  assert.equal(t("No plot before a run: {}.", t("{} is linked", "steps")), "运行前无法绘图：steps 由连线提供。");
  assert.equal(t("As “{}” will run it.", "12 high"), "“12 high”将如此运行。", "a node's name is the user's");
  useTable({});
  assert.equal(t("{} high", 12), "12 high");
});

test("the server's sentences are said in it too, with their numbers and the sentences within", () => {
  useTable(zh);
  assert.equal(said("A 4-step LoRA is trained for half high-noise steps; this is 3 high + 1 low. Use shift 5 with 4 steps."),
    "4 步 LoRA 按一半高噪声步数训练；当前为高噪声 3 步 + 低噪声 1 步。请用 4 步、shift 5。");
  assert.match(said("First frame: a picture must be between 16 and 16384 pixels on each side; got 8 x 8. Give a larger one."), /^首帧：图片每边/);
  useTable({});
});

test("what a user or a provider wrote stays as it is", () => {
  useTable(zh);
  for (const text of ["a kite flies high", "the door is linked", "she waits three steps", "Cancel", "running", "First frame"]) {
    assert.equal(said(text), text);
  }
  assert.equal(said("No API key is stored for studio high. Run `wan-flf2v login x` in a terminal on ComfyUI's machine, or set K in its "
    + "environment. A key is never typed into the editor.").includes("studio high"), true);
  useTable({});
});

test("what the table does not know stays English", () => {
  useTable(zh);
  assert.equal(t("A sentence of tomorrow."), "A sentence of tomorrow.");
  assert.equal(said("A sentence of tomorrow."), "A sentence of tomorrow.");
  useTable({});
});

// Texts in English and Chinese that wait for the other languages. Empty in a release.
/** @type {string[]} */
const NOT_YET = [];

const instrumented = "__stryker__" in globalThis && "what is read here is rewritten while mutants are tried";
test("every language has every text of the panels, with all its values", { skip: instrumented }, () => {
  const sources = ["wan_flf2v.js", ...readdirSync(new URL("lib/", folder)).map((name) => `lib/${name}`)];
  const used = sources.flatMap((name) => [...readFileSync(new URL(name, folder), "utf8").matchAll(/\bt\(\s*"((?:[^"\\]|\\.)*)"/g)].map((found) => found[1]));
  assert.ok(used.length > 30);
  assert.deepEqual(TABLES.map((name) => `${name}.json`).sort(), readdirSync(new URL("words/", folder)).sort());
  for (const language of TABLES) {
    const table = read(language);
    const wanted = (texts) => texts.filter((text) => language === "zh" || !NOT_YET.includes(text));
    for (const text of wanted(used)) assert.ok(text in table.own, `${language}: ${text}`);
    for (const part of ["own", "server"]) {
      assert.deepEqual(wanted(Object.keys(table[part])), wanted(Object.keys(zh[part])), language);
    }
    for (const [english, text] of [...Object.entries(table.own), ...Object.entries(table.server)]) {
      assert.deepEqual(places(text), places(english), `${language}: ${english}`);
    }
  }
});

test("only what stands for a sentence of the server's is looked up again, and values of several lines are whole", () => {
  const server = { "it broke: {s}": "坏了：{s}", "node {} is {n} steps behind": "节点 {} 落后 {n} 步", "no (more) steps": "没有步数" };
  useTable({ server });
  assert.equal(said("it broke: no (more) steps"), "坏了：没有步数");
  assert.equal(said("it broke: one\ntwo"), "坏了：one\ntwo");
  assert.equal(said("node no (more) steps is 3 steps behind"), "节点 no (more) steps 落后 3 步", "a user's title");
  assert.equal(said("node a is -0.5 steps behind"), "节点 a 落后 -0.5 步");
  assert.equal(said("node a is three steps behind"), "node a is three steps behind", "{n} is a number");
  assert.equal(said("no more steps"), "no more steps", "brackets are brackets");
  assert.equal(said("no (more) steps left"), "no (more) steps left");
  useTable({});
});

test("a language is asked for once, and an unknown one is English", async () => {
  const asked = [];
  const before = globalThis.fetch;
  globalThis.fetch = async (url) => (asked.push(String(url)), { json: async () => zh });
  try {
    assert.equal(await speak("en"), false, "English is spoken from the start");
    assert.equal(await speak("zh"), true);
    assert.equal(t("{} high", 12), "高噪声 12 步");
    assert.equal(await speak("zh"), false);
    assert.equal(await speak("fr"), true);
    assert.equal(t("{} high", 12), "12 high");
    assert.equal(await speak("xx"), false);
    assert.deepEqual(asked, [new URL("words/zh.json", folder).href]);
  } finally {
    globalThis.fetch = before;
  }
});

test("a table that arrives after another language was chosen is not used", async () => {
  const before = globalThis.fetch;
  let arrive = () => {};
  globalThis.fetch = async () => ({ json: () => new Promise((go) => (arrive = () => go(zh))) });
  try {
    const chinese = speak("zh");
    await new Promise((go) => setImmediate(go));
    await speak("en");
    arrive();
    await chinese;
    assert.equal(t("{} high", 12), "12 high");
  } finally {
    globalThis.fetch = before;
    useTable({});
  }
});
