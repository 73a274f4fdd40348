// The playground: a form drawn from the models' fields, one job at a time through the same API that every client uses.
import { Board } from "/static/board.mjs";
import { curlLine, describeState, fieldValue, limitsText, placeOf, problemOf } from "/static/parts.mjs";
import { make, Pictures } from "/static/pictures.mjs";

const $ = (id) => document.getElementById(id);
const POLL_MS = 1000;
const state = { models: [], auth: false, job: null, board: null };
const pictures = new Pictures(upload, fail, drawCurl);

async function call(method, path, body) {
  const headers = {};
  if (state.auth && $("key").value) headers.Authorization = `Bearer ${$("key").value.trim()}`;
  const form = body instanceof FormData;
  if (body && !form) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: form ? body : body && JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(problemOf(answer, response.status)), { field: answer.detail?.[0]?.loc?.[1] });
  return answer;
}

function fail(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
  document.querySelectorAll("[aria-invalid]").forEach((item) => item.removeAttribute("aria-invalid"));
  const input = document.getElementById(`field-${placeOf(error, state.board?.keyframes() ?? [])}`);
  if (input) {
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

const model = () => state.models.find((item) => item.model_id === $("model").value);

function drawModels() {
  $("model").replaceChildren(...state.models.map((item) => make("option", { value: item.model_id, textContent: item.title })));
  $("model-row").hidden = state.models.length < 2;
  drawFields();
}

function drawFields() {
  const chosen = model();
  $("run").disabled = !chosen || state.job !== null;
  if (!chosen) return;
  $("pictures").hidden = Boolean(chosen.storyboard);
  $("board").hidden = !chosen.storyboard;
  state.board = chosen.storyboard ? new Board($("board"), chosen.storyboard, pictures, drawCurl) : null;
  const images = imageFields();
  if (!state.board) {
    for (const { name, default: example } of images) if (example) pictures.suggest(name, example);
    $("pictures").replaceChildren(...images.map((field) => pictures.drop(field)));
  }
  pictures.keep(images);
  $("fields").replaceChildren(...chosen.fields.filter((field) => !field.image).map(control));
  drawCurl();
}

function control(field) {
  const id = `field-${field.name}`;
  let input;
  if (field.enum) {
    input = make("select", { id }, ...field.enum.map((value) => make("option", { value, textContent: value, selected: value === field.default })));
  } else if (field.type === "string") {
    input = make("textarea", { id, value: field.default ?? "", rows: 3 });
  } else {
    input = make("input", { id, type: "number", value: field.default ?? "", step: field.type === "integer" ? 1 : "any" });
    if (field.minimum !== undefined) input.min = field.minimum;
    if (field.maximum !== undefined) input.max = field.maximum;
  }
  input.addEventListener("input", drawCurl);
  const row = make("div", { className: field.type === "string" && !field.enum ? "field wide" : "field" });
  row.append(make("label", { htmlFor: id, textContent: field.title }), input);
  const hint = [field.description, limitsText(field)].filter(Boolean).join(" ");
  if (hint) {
    row.append(make("small", { id: `${id}-hint`, textContent: hint }));
    input.setAttribute("aria-describedby", `${id}-hint`);
  }
  return row;
}

/** The chosen model's pictures as fields, in their order in the video. */
function imageFields() {
  if (state.board) return state.board.keyframes();
  return [model().first_image, model().last_image].map((name) => model().fields.find((field) => field.name === name));
}

function body() {
  const values = state.board ? state.board.body() : {};
  for (const field of model().fields) {
    if (field.image) {
      const link = pictures.link(field.name);
      if (link) values[field.name] = link;
    } else {
      values[field.name] = fieldValue(field, $(`field-${field.name}`).value);
    }
  }
  return values;
}

function upload(file) {
  $("problem").hidden = true;
  const form = new FormData();
  form.append("file", file);
  return call("POST", "/api/v3/media/upload/binary", form).then((answer) => answer.data.download_url);
}

function drawCurl() {
  if (model()) $("curl").textContent = curlLine(location.origin, model().model_id, body(), state.auth);
}

async function run(event) {
  event.preventDefault();
  $("problem").hidden = true;
  document.querySelectorAll("[aria-invalid]").forEach((item) => item.removeAttribute("aria-invalid"));
  const chosen = model();
  const images = imageFields();
  const missing = images.find((field) => !pictures.has(field.name));
  if (missing) return fail(Object.assign(new Error(`Choose a picture for "${missing.title}" first.`), { field: missing.name }));
  setBusy(true);
  $("stage").textContent = "Sending the pictures";
  try {
    state.shown = [images[0], images.at(-1)].map((field) => pictures.preview(field.name));
    await pictures.ready();
    const ticket = await call("POST", `/v1/models/${chosen.model_id}`, body());
    drawCurl();
    state.job = ticket.request_id;
    $("cancel").hidden = false;
    await follow(ticket.request_id);
  } catch (error) {
    $("stage").textContent = "Not done.";
    fail(error);
  } finally {
    state.job = null;
    setBusy(false);
  }
}

async function follow(id) {
  let misses = 0;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    let status;
    try {
      status = await call("GET", `/v1/requests/${id}/status`);
      misses = 0;
    } catch (error) {
      if (++misses > 60) throw error; // a gateway that restarts comes back, and the job with it
      $("detail").textContent = "The gateway does not answer; trying again.";
      continue;
    }
    const { stage, value, detail } = describeState(status);
    $("stage").textContent = stage;
    $("detail").textContent = detail;
    $("progress").hidden = value === null;
    if (value !== null) $("progress").value = value;
    if (status.status === "cancelled") return finish("Cancelled.");
    if (status.status === "completed") break;
  }
  const result = await call("GET", `/v1/requests/${id}/result`);
  if (result.status !== "succeeded") throw new Error(result.error || `The job ended as ${result.status}.`);
  $("video").src = result.output.video;
  $("outcome-first").src = state.shown[0];
  $("outcome-last").src = state.shown[1];
  $("outcome").hidden = false;
  $("download").href = result.output.video;
  $("download-row").hidden = false;
  finish("Done.");
}

function finish(text) {
  $("stage").textContent = text;
  $("progress").hidden = true;
  $("detail").textContent = "";
}

function setBusy(busy) {
  $("run").disabled = busy || !model();
  $("run").textContent = busy ? "Running…" : "Run";
  if (busy) {
    $("outcome").hidden = true;
    $("video").removeAttribute("src");
    $("download-row").hidden = true;
    $("progress").hidden = false;
    $("progress").removeAttribute("value");
  } else {
    $("cancel").hidden = true;
    $("cancel").disabled = false;
    $("progress").hidden = true;
  }
}

async function cancel() {
  $("cancel").disabled = true;
  $("stage").textContent = "Cancelling";
  await call("POST", `/v1/requests/${state.job}/cancel`).catch(fail);
}

async function load() {
  try {
    const page = await call("GET", "/playground.json");
    state.auth = page.auth;
    $("key-row").hidden = !page.auth;
    $("demo").hidden = !page.demo;
    const same = page.models.length && JSON.stringify(page.models) === JSON.stringify(state.models);
    if (page.models.length && !same) {
      state.models = page.models;
      drawModels();
    }
    $("away").hidden = page.models.length > 0;
    $("away").textContent = "No worker is ready yet. This page looks again every few seconds.";
    if (page.models.length) return;
  } catch (error) {
    $("away").hidden = false;
    $("away").textContent = `The gateway does not answer: ${error.message}`;
  }
  setTimeout(load, 3000);
}

$("key").value = sessionStorage.getItem("flf2v-key") ?? "";
$("key").addEventListener("input", () => sessionStorage.setItem("flf2v-key", $("key").value));
$("model").addEventListener("change", () => {
  $("problem").hidden = true;
  drawFields();
});
$("form").addEventListener("submit", run);
$("cancel").addEventListener("click", cancel);
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("curl").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
});
$("run").disabled = true;
load();
