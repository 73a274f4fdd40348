import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { t, useTable } from "../../js/lib/words.mjs";

const zh = JSON.parse(readFileSync(new URL("../../js/words/zh.json", import.meta.url), "utf8"));
const places = (text) => text.split("{}").length;

test("a sentence is said in the table's language with its values, and values that are sentences too", () => {
  useTable(zh);
  assert.equal(t("12 high"), "高噪声 12 步");
  assert.equal(t("A 4-step LoRA is trained for half high-noise steps; this is 3 high + 1 low. Use shift 5 with 4 steps."),
    "4 步 LoRA 按一半高噪声步数训练；当前为高噪声 3 步 + 低噪声 1 步。请用 4 步、shift 5。");
  assert.equal(t("No plot before a run: steps is linked."), "运行前无法绘图：steps 由连线提供。");
  useTable({});
});

test("what the table does not know stays English", () => {
  useTable(zh);
  assert.equal(t("A sentence of tomorrow."), "A sentence of tomorrow.");
  useTable({});
  assert.equal(t("Cancel"), "Cancel");
});

test("every sentence of the table keeps all its values", () => {
  for (const [english, text] of Object.entries(zh)) assert.equal(places(text), places(english), english);
});
