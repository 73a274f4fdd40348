// The journal of remote jobs: a list for the sidebar, and the state and buttons on the remote nodes.

import { h } from "./dom.mjs";
import { t } from "./words.mjs";

/**
 * @typedef {{row: number, state: string, queue_position: number | null, service: string, profile: string, model: string, request_id: string | null,
 *   created_at: number, finished_at: number | null, prompt: string, error: string | null, price: number | null,
 *   has_video: boolean}} Job
 * @typedef {{name: string, provider: string, advice: string | null}} Account
 * @typedef {{call: (name: string, body?: object) => Promise<any>, copy: (text: string) => Promise<void>,
 *   toast: (severity: string, summary: string, detail?: string) => void, address: (path: string) => string}} Host
 */

export const REMOTE = ["WanFLF2VRunComfy", "WanFLF2VRunComfyDeployment", "WanFLF2VWaveSpeed", "WanFLF2VRemoteFetch"];
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
export const elapsed = (job, now) => age((isLive(job) ? now : (job.finished_at ?? now)) - job.created_at);

/** Where a job stands, in words. @param {Job} job @param {number} now */
export function standing(job, now) {
  const position = job.queue_position === null ? [] : [`position ${job.queue_position} in the queue`];
  return [job.state, ...position, elapsed(job, now)].map(t).join(" · ");
}

/**
 * One job of the list.
 * @param {Job} job
 * @param {number} now
 * @param {Host} host
 * @param {() => void} again
 */
function entry(job, now, host, again) {
  const act = (/** @type {string} */ label, /** @type {() => Promise<void>} */ work) => {
    const button = h("button", { type: "button" }, label);
    button.addEventListener("click", async () => {
      /** @type {HTMLButtonElement} */ (button).disabled = true;
      try {
        await work();
      } catch (error) {
        host.toast("error", `${t(label)}: job ${job.row}`, error instanceof Error ? error.message : String(error));
      }
      again();
    });
    return button;
  };
  const links = h("span", { class: "wan-flf2v-job-video" });
  const buttons = h("div", { class: "wan-flf2v-buttons" });
  if (job.request_id) {
    const id = job.request_id;
    buttons.append(
      act("Fetch", async () => {
        const answer = await host.call("remote/fetch", { row: job.row });
        if (!answer.file) return host.toast("info", "Still running", `Job ${id} is not finished yet.`);
        const path = `${answer.file.subfolder}/${answer.file.filename}`;
        host.toast("success", "Video saved", `output/${path}`);
        window.open(host.address(`/view?${new URLSearchParams(answer.file)}`), "_blank", "noopener");
      }),
    );
    if (isLive(job)) {
      buttons.append(
        act("Cancel", async () => {
          const { answer } = await host.call("remote/cancel", { row: job.row });
          host.toast("info", "Cancel", answer);
        }),
      );
    }
    buttons.append(
      act("Copy id", async () => {
        await host.copy(id);
        host.toast("success", "Copied", id);
      }),
    );
  }
  return h(
    "div",
    { class: `wan-flf2v-job ${job.state}`, "data-row": job.row },
    h("div", {}, h("strong", { class: "state" }, standing(job, now)), ` · ${job.profile}`),
    h("div", { class: "prompt", title: job.prompt }, job.prompt || job.model),
    h("div", { class: "quiet" }, job.request_id ?? "no request id: the submit was never answered", links),
    ...(job.error ? [h("div", { class: "wan-flf2v-warning" }, job.error)] : []),
    ...(job.state === "uncertain"
      ? [h("div", { class: "quiet" }, `Settle it in a terminal: wan-flf2v jobs adopt ${job.row} REQUEST_ID, or jobs forget ${job.row}.`)]
      : []),
    buttons,
  );
}

/**
 * Fills the sidebar tab; returns what stops its refreshing.
 * @param {HTMLElement} element
 * @param {Host} host
 * @returns {() => void}
 */
export function showJobs(element, host) {
  const list = h("div", { class: "wan-flf2v-jobs" });
  /** @type {any} */
  let timer = null;
  let stopped = false;
  const refresh = async () => {
    let live = false;
    try {
      const { jobs, now } = await host.call("remote/jobs");
      live = jobs.some(isLive);
      if (stopped) return;
      list.replaceChildren(
        ...(jobs.length
          ? jobs.map((/** @type {Job} */ job) => entry(job, now, host, refresh))
          : [h("div", { class: "quiet" }, "No remote jobs yet. Jobs of the RunComfy and WaveSpeed nodes appear here.")]),
      );
    } catch (error) {
      list.replaceChildren(h("div", { class: "wan-flf2v-warning" }, error instanceof Error ? error.message : String(error)));
    }
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(refresh, live ? 2000 : 10000);
  };
  const header = h("div", { class: "wan-flf2v-jobs-header" }, h("strong", {}, "Remote video jobs"));
  const button = h("button", { type: "button", onclick: refresh }, "Refresh");
  header.append(button);
  element.replaceChildren(h("div", { class: "wan-flf2v-panel wan-flf2v-sidebar" }, header, list));
  refresh();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
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
  element.replaceChildren(
    ...(state.account?.advice ? [h("div", { class: "wan-flf2v-warning", role: "alert" }, state.account.advice)] : []),
    ...rows.map((job) => {
      const cancel = h("button", { type: "button" }, "Cancel");
      cancel.addEventListener("click", async () => {
        try {
          host.toast("info", "Cancel", (await host.call("remote/cancel", { row: job.row })).answer);
        } catch (error) {
          host.toast("error", "Cancel", error instanceof Error ? error.message : String(error));
        }
        again();
      });
      return h(
        "div",
        { class: "wan-flf2v-live" },
        `${standing(job, state.now)} · ${job.request_id ?? t("no id yet")}`,
        ...(job.request_id ? [cancel] : []),
      );
    }),
    ...(rows.length || state.account?.advice ? [] : [h("div", { class: "quiet" }, "No job of this account runs now.")]),
    h("div", { class: "wan-flf2v-buttons" }, h("button", { type: "button", onclick: openList }, "Job list")),
  );
}
