// The journal of remote jobs: a list for the sidebar, and the state and buttons on the remote nodes.

import { h } from "./dom.mjs";
import { said, t } from "./words.mjs";

/** @template A @typedef {import("./poller.mjs").Poller<A>} Poller */

/**
 * @typedef {{row: number, state: string, queue_position: number | null, service: string, profile: string, model: string, request_id: string | null,
 *   created_at: number, finished_at: number | null, prompt: string, error: string | null, price: number | null,
 *   has_video: boolean}} Job
 * @typedef {{name: string, provider: string, advice: string | null}} Account
 * @typedef {{jobs: Job[], now: number, accounts: Account[]}} Answer
 * @typedef {{call: (name: string, body?: object) => Promise<any>, copy: (text: string) => Promise<void>,
 *   toast: (severity: string, summary: string, detail?: string) => void, address: (path: string) => string}} Host
 */

const LIVE = ["submitting", "queued", "running", "uncertain"];

/** @param {Job} job */
export const isLive = (job) => LIVE.includes(job.state);

/** A duration in words. @param {number} seconds */
export function age(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/** How long a job has run, or ran. @param {Job} job @param {number} now */
export const elapsed = (job, now) => age((job.finished_at ?? now) - job.created_at);

/** Where a job stands, in words. @param {Job} job @param {number} now */
export function standing(job, now) {
  const position = job.queue_position === null ? [] : [t("position {} in the queue", job.queue_position)];
  return [t(job.state), ...position, elapsed(job, now)].join(" · ");
}

/** @param {unknown} error */
const words = (error) => said(error instanceof Error ? error.message : String(error));

/**
 * A button that can be pressed again when its work is done.
 * @param {Host} host
 * @param {string} label
 * @param {Job} job
 * @param {() => Promise<void>} work
 * @param {() => void} again
 */
function act(host, label, job, work, again) {
  const button = /** @type {HTMLButtonElement} */ (h("button", { type: "button" }, t(label)));
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      host.toast("error", t("{}: job {}", t(label), job.row), words(error));
    }
    again();
  });
  return button;
}

/** @param {Host} host @param {Job} job @param {() => void} again */
const cancelButton = (host, job, again) =>
  act(host, "Cancel", job, async () => host.toast("info", t("Cancel"), said((await host.call("remote/cancel", { row: job.row })).answer)), again);

/** The fetched videos' addresses by the job's row: a window that opens by itself after a download is blocked by browsers. */
const fetched = /** @type {Map<number, string>} */ (new Map());

/**
 * One job of the list.
 * @param {Job} job
 * @param {number} now
 * @param {Host} host
 * @param {() => void} again
 */
function entry(job, now, host, again) {
  const buttons = h("div", { class: "wan-flf2v-buttons" });
  if (job.request_id) {
    const id = job.request_id;
    const fetchVideo = async () => {
      const { file } = await host.call("remote/fetch", { row: job.row });
      if (!file) return host.toast("info", t("Still running"), t("Job {} is not finished yet.", id));
      fetched.set(job.row, host.address(`/view?${new URLSearchParams(file)}`));
      host.toast("success", t("Video saved"), `output/${file.subfolder}/${file.filename}`);
    };
    const copyId = async () => {
      await host.copy(id);
      host.toast("success", t("Copied"), id);
    };
    buttons.append(act(host, "Fetch", job, fetchVideo, again));
    if (isLive(job)) buttons.append(cancelButton(host, job, again));
    buttons.append(act(host, "Copy id", job, copyId, again));
  }
  const video = fetched.get(job.row);
  if (video) buttons.append(h("a", { href: video, target: "_blank", rel: "noopener" }, t("Open the video")));
  return h(
    "div",
    { class: `wan-flf2v-job ${job.state}`, "data-row": job.row },
    h("div", {}, h("strong", { class: "state" }, standing(job, now)), ` · ${job.profile}`),
    h("div", { class: "prompt", title: job.prompt }, job.prompt || job.model),
    h("div", { class: "quiet" }, job.request_id ?? t("no request id: the submit was never answered")),
    ...(job.error ? [h("div", { class: "wan-flf2v-warning" }, job.error)] : []),
    ...(job.state === "uncertain"
      ? [h("div", { class: "quiet" }, t("Settle it in a terminal: wan-flf2v jobs adopt {} REQUEST_ID, or jobs forget {}.", job.row, job.row))]
      : []),
    buttons,
  );
}

/**
 * Fills the sidebar tab; returns what stops its refreshing.
 * @param {HTMLElement} element
 * @param {Host} host
 * @param {Poller<Answer>} poller
 * @returns {() => void}
 */
export function showJobs(element, host, poller) {
  const list = h("div", { class: "wan-flf2v-jobs" });
  const again = () => poller.refresh();
  const button = h("button", { type: "button", onclick: again }, t("Refresh"));
  const header = h("div", { class: "wan-flf2v-jobs-header" }, h("strong", {}, t("Remote video jobs")), button);
  element.replaceChildren(h("div", { class: "wan-flf2v-panel wan-flf2v-sidebar" }, header, list));
  return poller.follow({
    show({ jobs, now }) {
      const none = t("No remote jobs yet. Jobs of the RunComfy and WaveSpeed nodes appear here.");
      list.replaceChildren(...(jobs.length ? jobs.map((job) => entry(job, now, host, again)) : [h("div", { class: "quiet" }, none)]));
      return jobs.some(isLive) ? 2000 : 10000;
    },
    fail(error) {
      list.replaceChildren(h("div", { class: "wan-flf2v-warning" }, words(error)));
      return 10000;
    },
  });
}

/**
 * Fills a remote node's panel: how to add a key, the jobs of its account that run now, the buttons.
 * @param {HTMLElement} element
 * @param {{account: Account | undefined, jobs: Job[], now: number}} state
 * @param {Host} host
 * @param {() => void} openList
 * @param {() => void} again
 */
export function showAccount(element, state, host, openList, again) {
  const rows = state.jobs.filter(isLive).slice(0, 3);
  const advice = state.account?.advice;
  element.replaceChildren(
    ...(advice ? [h("div", { class: "wan-flf2v-warning", role: "alert" }, said(advice))] : []),
    ...rows.map((job) =>
      h(
        "div",
        { class: "wan-flf2v-live" },
        `${standing(job, state.now)} · ${job.request_id ?? t("no id yet")}`,
        ...(job.request_id ? [cancelButton(host, job, again)] : []),
      ),
    ),
    ...(rows.length || advice ? [] : [h("div", { class: "quiet" }, t("No job of this account runs now."))]),
    h("div", { class: "wan-flf2v-buttons" }, h("button", { type: "button", onclick: openList }, t("Job list"))),
  );
}
