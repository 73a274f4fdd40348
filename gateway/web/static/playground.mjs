// The playground: a form drawn from the models' fields, one job at a time through the same API that every client uses.
import { curlLine, describeState, fieldValue, limitsText, problemOf } from "/static/parts.mjs";

const $ = (id) => document.getElementById(id);
const POLL_MS = 1000;
const state = { models: [], auth: false, pictures: new Map(), job: null, upload: 0 };

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

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
  const input = error.field && document.getElementById(`field-${error.field}`);
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
  const images = [chosen.first_image, chosen.last_image].map((name) => chosen.fields.find((field) => field.name === name));
  for (const { name, default: example } of images) {
    if (example && !state.pictures.has(name)) state.pictures.set(name, { preview: `/static/${example}`, link: example, ready: null });
  }
  $("pictures").replaceChildren(...images.map(drop));
  $("fields").replaceChildren(...chosen.fields.filter((field) => !field.image).map(control));
  for (const name of state.pictures.keys()) if (!images.some((field) => field.name === name)) state.pictures.delete(name);
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

function drop(field) {
  const id = `field-${field.name}`;
  const input = make("input", { id, type: "file", accept: "image/png,image/jpeg,image/webp" });
  input.setAttribute("aria-label", `${field.title}: choose a picture`);
  const text = make("span", {}, make("b", { textContent: field.title }), "Drop a picture here, or choose one");
  const box = make("div", { className: "drop" }, text, input);
  const known = state.pictures.get(field.name);
  if (known) show(box, field, known.preview);
  input.addEventListener("change", () => input.files[0] && take(field, input.files[0], box));
  box.addEventListener("dragover", (event) => {
    event.preventDefault();
    box.classList.add("over");
  });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files[0]) take(field, event.dataTransfer.files[0], box);
  });
  return box;
}

function show(box, field, preview) {
  box.querySelectorAll("img, .tag").forEach((item) => item.remove());
  box.prepend(make("img", { src: preview, alt: `${field.title} as chosen` }), make("span", { className: "tag", textContent: field.title }));
}

async function take(field, file, box) {
  $("problem").hidden = true;
  const mine = ++state.upload;
  const preview = URL.createObjectURL(file);
  show(box, field, preview);
  const form = new FormData();
  form.append("file", file);
  const entry = { preview, order: mine, link: null, ready: null };
  entry.ready = call("POST", "/api/v3/media/upload/binary", form).then((answer) => (entry.link = answer.data.download_url));
  state.pictures.set(field.name, entry);
  try {
    await entry.ready;
  } catch (error) {
    if (state.pictures.get(field.name) === entry) state.pictures.delete(field.name);
    box.querySelectorAll("img, .tag").forEach((item) => item.remove());
    fail(Object.assign(error, { field: field.name }));
  }
  drawCurl();
}

function body() {
  const values = {};
  for (const field of model().fields) {
    if (field.image) {
      const link = state.pictures.get(field.name)?.link;
      if (link) values[field.name] = link;
    } else {
      values[field.name] = fieldValue(field, $(`field-${field.name}`).value);
    }
  }
  return values;
}

function drawCurl() {
  if (model()) $("curl").textContent = curlLine(location.origin, model().model_id, body(), state.auth);
}

async function run(event) {
  event.preventDefault();
  $("problem").hidden = true;
  document.querySelectorAll("[aria-invalid]").forEach((item) => item.removeAttribute("aria-invalid"));
  const chosen = model();
  const missing = chosen.fields.find((field) => field.image && !state.pictures.has(field.name));
  if (missing) return fail(Object.assign(new Error(`Choose a picture for "${missing.title}" first.`), { field: missing.name }));
  setBusy(true);
  $("stage").textContent = "Sending the pictures";
  try {
    state.shown = [chosen.first_image, chosen.last_image].map((name) => state.pictures.get(name).preview);
    await Promise.all([...state.pictures.values()].map((entry) => entry.ready));
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
$("model").addEventListener("change", drawFields);
$("form").addEventListener("submit", run);
$("cancel").addEventListener("click", cancel);
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("curl").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
});
$("run").disabled = true;
load();
