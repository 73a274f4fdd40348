import assert from "node:assert/strict";
import test from "node:test";
import { Latest } from "../../js/lib/latest.mjs";
import { Watcher } from "../../js/lib/watch.mjs";
import { scale, ticks } from "../../js/lib/plot.mjs";
import { age, elapsed, isLive, standing } from "../../js/lib/remote.mjs";
import { remarks, textOf } from "../../js/lib/api_call.mjs";

const turn = () => new Promise((go) => setImmediate(go));

test("sixty questions while one is asked: two are sent, the last is shown", async () => {
  const asked = [];
  const shown = [];
  let release;
  const latest = new Latest(
    (question) => {
      asked.push(question);
      return new Promise((go) => (release = () => go(question * 10)));
    },
    (answer) => shown.push(answer),
    assert.fail,
  );
  for (let question = 1; question <= 60; question++) latest.put(question);
  assert.deepEqual(asked, [1]);
  release();
  await turn();
  assert.deepEqual(asked, [1, 60]);
  release();
  await turn();
  assert.deepEqual(shown, [600], "the overtaken answer is not shown");
});

test("a failed question is told, and the next one is asked", async () => {
  const failed = [];
  const shown = [];
  const latest = new Latest(
    async (question) => {
      if (question === "bad") throw new Error("no");
      return question;
    },
    (answer) => shown.push(answer),
    (error) => failed.push(error.message),
  );
  await latest.put("bad");
  await latest.put("good");
  assert.deepEqual([failed, shown], [["no"], ["good"]]);
});

test("the watcher tells changes only, and rests when its nodes are gone", () => {
  let work = null;
  let stopped = 0;
  const watcher = new Watcher((each) => ((work = each), 1), () => stopped++);
  const node = { id: 1, type: "x", graph: null };
  let value = 1;
  const seen = [];
  watcher.add(node, () => value, (found) => seen.push(found));
  work(); // not placed yet: kept, not read
  node.graph = {};
  work();
  work();
  value = 2;
  work();
  assert.deepEqual(seen, [1, 2]);
  node.graph = null;
  work();
  assert.equal(watcher.watched.size, 0);
  assert.equal(stopped, 1);
});

test("the drawing's scale runs from left to right and from sigma 1 down to 0", () => {
  const at = scale(4);
  assert.ok(at(0, 1)[0] < at(4, 0)[0]);
  assert.ok(at(0, 1)[1] < at(4, 0)[1]);
  assert.deepEqual(ticks(4), [0, 1, 2, 3, 4]);
  assert.ok(ticks(1000).length <= 11);
});

test("jobs: live states, ages in words", () => {
  const job = { state: "running", created_at: 100, finished_at: null };
  assert.equal(isLive(job), true);
  assert.equal(elapsed(job, 134), "34 s");
  assert.equal(elapsed({ ...job, state: "completed", finished_at: 400 }, 9999), "5 min");
  assert.equal(age(7200), "2 h");
  assert.equal(standing({ ...job, queue_position: null }, 134), "running · 34 s");
  assert.equal(standing({ ...job, state: "queued", queue_position: 3 }, 104), "queued · position 3 in the queue · 4 s");
});

test("every form of the API call has its text, and the notes come along", () => {
  const call = { payload: { a: 1 }, curl: "curl …", python: "import os", cli: "wan-flf2v …", notes: ["careful"] };
  assert.deepEqual(JSON.parse(textOf(call, "payload")), { a: 1 });
  assert.deepEqual(["curl", "python", "cli"].map((form) => textOf(call, form)), ["curl …", "import os", "wan-flf2v …"]);
  assert.match(remarks(call), /careful/);
});
