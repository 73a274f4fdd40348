import assert from "node:assert/strict";
import test from "node:test";
import { Latest } from "../../js/lib/latest.mjs";
import { Pictures } from "../../js/lib/pictures.mjs";
import { Poller } from "../../js/lib/poller.mjs";
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

test("an overtaken question's failure is not told", async () => {
  let refuse;
  const latest = new Latest(
    (question) => (question === 1 ? new Promise((_, fail) => (refuse = () => fail(new Error("old")))) : Promise.resolve(question)),
    (answer) => assert.equal(answer, 2),
    assert.fail,
  );
  const done = latest.put(1);
  latest.put(2);
  refuse();
  await done;
});

test("the watcher tells changes only, and rests when its nodes are gone", (run) => {
  run.mock.timers.enable({ apis: ["setTimeout"] });
  const watcher = new Watcher({ hidden: () => false });
  const node = { id: 1, type: "x", graph: null };
  let value = 1;
  const seen = [];
  watcher.add(node, () => value, (found) => seen.push(found));
  run.mock.timers.tick(1000); // not placed yet: kept, not read
  assert.deepEqual(seen, []);
  node.graph = {};
  run.mock.timers.tick(1000);
  run.mock.timers.tick(1000);
  value = 2;
  run.mock.timers.tick(1000);
  assert.deepEqual(seen, [1, 2]);
  node.graph = null;
  run.mock.timers.tick(1000);
  assert.equal(watcher.watched.size, 0);
  node.graph = {};
  value = 3;
  run.mock.timers.tick(5000);
  assert.deepEqual(seen, [1, 2]);
});

test("the watcher looks soon after an input, about once a second without one, and never in a hidden page", (run) => {
  let now = 0;
  run.mock.method(performance, "now", () => now);
  run.mock.timers.enable({ apis: ["setTimeout"] });
  let hidden = false;
  let looks = 0;
  const watcher = new Watcher({ hidden: () => hidden });
  watcher.add({ id: 1, type: "x", graph: {} }, () => looks++, () => {});
  const pass = (ms) => {
    for (let passed = 0; passed < ms; passed += 10) {
      now += 10;
      run.mock.timers.tick(10);
    }
  };
  pass(2000);
  looks = 0;
  pass(10000);
  assert.ok(looks >= 9 && looks <= 11, `${looks} looks in ten idle seconds`);
  watcher.touch();
  looks = 0;
  pass(150);
  assert.equal(looks, 1, "the look after an input");
  hidden = true;
  pass(1500);
  looks = 0;
  pass(60000);
  assert.equal(looks, 0, "hidden");
  hidden = false;
  watcher.touch();
  pass(150);
  assert.equal(looks, 1, "seen again");
});

test("the watcher sees a node that comes just after the last one went, or after a hidden page", (run) => {
  let now = 0;
  run.mock.method(performance, "now", () => now);
  run.mock.timers.enable({ apis: ["setTimeout"] });
  let hidden = false;
  const watcher = new Watcher({ hidden: () => hidden });
  const pass = (ms) => {
    now += ms;
    run.mock.timers.tick(ms);
  };
  const seen = [];
  const put = (id) => {
    const node = { id, type: "x", graph: {} };
    watcher.add(node, () => id, (found) => seen.push(found));
    return node;
  };
  const first = put(1);
  pass(100);
  first.graph = null;
  pass(100); // rests from here on, within what the first one's coming keeps it awake for
  put(2);
  pass(100);
  assert.deepEqual(seen, [1, 2]);
  hidden = true;
  pass(100);
  hidden = false;
  put(3);
  pass(100);
  assert.deepEqual(seen, [1, 2, 3]);
});

test("however many want the job list, it is asked for once, and not in a hidden page", async (run) => {
  run.mock.timers.enable({ apis: ["setTimeout"] });
  let hidden = false;
  let asked = 0;
  const poller = new Poller(async () => ++asked, () => hidden);
  const told = [];
  const stops = Array.from({ length: 8 }, (_, index) =>
    poller.follow({ show: (answer) => (told.push([index, answer]), index ? null : 1500), fail: () => assert.fail() }),
  );
  await turn();
  assert.ok(asked <= 2);
  const before = asked;
  for (let count = 0; count < 4; count++) {
    run.mock.timers.tick(1500);
    await turn();
  }
  assert.equal(asked - before, 4, "four periods, four questions, for all eight");
  assert.equal(told.filter(([, answer]) => answer === asked).length, 8);
  hidden = true;
  run.mock.timers.tick(15000);
  await turn();
  assert.equal(asked - before, 4);
  hidden = false;
  poller.seen();
  await turn();
  assert.equal(asked - before, 5);
  stops[0](); // the only one that wanted to know more
  run.mock.timers.tick(1500);
  await turn();
  const rest = asked;
  run.mock.timers.tick(15000);
  await turn();
  assert.equal(asked, rest);
});

test("the answer is asked for again when the first of the followers wants it, and not for nobody", async (run) => {
  run.mock.timers.enable({ apis: ["setTimeout"] });
  let asked = 0;
  const poller = new Poller(async () => ++asked, () => false);
  const stops = [700, 300, null].map((wait) => poller.follow({ show: () => wait, fail: () => assert.fail() }));
  await turn();
  const before = asked;
  run.mock.timers.tick(300);
  await turn();
  assert.equal(asked, before + 1);
  stops.forEach((stop) => stop());
  poller.refresh();
  await turn();
  assert.equal(asked, before + 1);
});

test("fifty pictures that are shown are loaded once each, and let go when they are shown no more", () => {
  let loaded = 0;
  const pictures = new Pictures((url) => ({ url, loaded: ++loaded }));
  const look = (count) => {
    for (let index = 0; index < count; index++) pictures.get(`/view?${index}`);
    pictures.sweep();
  };
  for (let times = 0; times < 20; times++) look(50);
  assert.equal(loaded, 50);
  look(1);
  look(1);
  assert.equal(pictures.known.size, 1);
});

test("a failed question is told to every follower, and a page that was seen all the time asks nothing anew", async () => {
  let asked = 0;
  const told = [];
  const poller = new Poller(async () => { asked++; throw new Error("no"); }, () => false);
  for (let index = 0; index < 2; index++) poller.follow({ show: () => assert.fail(), fail: (error) => (told.push(error.message), null) });
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(told.slice(-2), ["no", "no"]);
  const before = asked;
  poller.seen();
  await turn();
  assert.equal(asked, before);
});

test("inputs one after another do not put the look off, and nothing is looked at while hidden", (run) => {
  let now = 5000;
  run.mock.method(performance, "now", () => now);
  run.mock.timers.enable({ apis: ["setTimeout"] });
  let hidden = true;
  let looks = 0;
  const watcher = new Watcher({ hidden: () => hidden });
  watcher.add({ id: 1, type: "x", graph: {} }, () => looks++, () => {});
  hidden = false;
  for (let count = 0; count < 5; count++) {
    watcher.touch();
    now += 60;
    run.mock.timers.tick(60);
  }
  assert.equal(looks, 2, "five inputs in 300 ms: a look each 100 ms, the first of them after the first");
});

test("the drawing's scale runs from left to right and from sigma 1 down to 0", () => {
  const at = scale(4);
  assert.ok(at(0, 1)[0] < at(4, 0)[0]);
  assert.ok(at(0, 1)[1] < at(4, 0)[1]);
  assert.deepEqual(ticks(4), [0, 1, 2, 3, 4]);
  assert.ok(ticks(1000).length <= 11);
  assert.deepEqual(ticks(20), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
  assert.deepEqual([at(0, 1), at(4, 0), at(2, 0.5)], [[26, 8], [332, 132], [179, 70]], "the whole drawing less its margins");
  assert.equal(at(0, 7)[1], 8, "no sigma is drawn above it");
});

test("jobs: live states, ages in words", () => {
  const job = { state: "running", created_at: 100, finished_at: null };
  for (const state of ["submitting", "queued", "running", "uncertain"]) assert.equal(isLive({ ...job, state }), true);
  for (const state of ["completed", "failed", "cancelled", "gone"]) assert.equal(isLive({ ...job, state }), false);
  assert.equal(elapsed(job, 134), "34 s");
  assert.equal(elapsed({ ...job, state: "completed", finished_at: 400 }, 9999), "5 min");
  assert.deepEqual([-1, 89, 90, 5399, 5400, 172799, 172800].map(age), ["0 s", "89 s", "2 min", "90 min", "2 h", "48 h", "2 d"]);
  assert.equal(standing({ ...job, queue_position: null }, 134), "running · 34 s");
  assert.equal(standing({ ...job, state: "queued", queue_position: 3 }, 104), "queued · position 3 in the queue · 4 s");
});

test("every form of the API call has its text, and the notes come along", () => {
  const call = { payload: { a: 1 }, curl: "curl …", python: "import os", cli: "wan-flf2v …", notes: ["careful"] };
  assert.deepEqual(JSON.parse(textOf(call, "payload")), { a: 1 });
  assert.deepEqual(["curl", "python", "cli"].map((form) => textOf(call, form)), ["curl …", "import os", "wan-flf2v …"]);
  assert.match(remarks(call), /careful/);
});

test("every form that is offered copies a text of its own, and the remarks stand line by line", () => {
  const call = { payload: { a: 1 }, curl: "1", python: "2", cli: "3", notes: ["one.", "two."] };
  const texts = ["payload", "curl", "python", "cli"].map((form) => textOf(call, form));
  assert.deepEqual(texts, ['{\n  "a": 1\n}\n', "1", "2", "3"]);
  assert.deepEqual(remarks(call).split("\n").slice(0, 2), ["one.", "two."]);
  assert.match(remarks(call).split("\n")[2], /^Pictures are names in ComfyUI's input folder/);
});

test("a follower that can't show an answer says so itself, and the others are shown it", async () => {
  /** @type {unknown[]} */
  const told = [];
  const poller = new Poller(async () => "jobs", () => false);
  const broken = { show: () => { throw new Error("removed"); }, fail: (/** @type {any} */ error) => (told.push(error.message), null) };
  poller.follow(broken);
  poller.follow({ show: (answer) => (told.push(answer), null), fail: () => assert.fail() });
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(told.slice(-2), ["removed", "jobs"]);
});
