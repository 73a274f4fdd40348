// Remote jobs: each remote node's panel and the list in the sidebar, which one poller serves.

import { app } from "../../../scripts/app.js";
import { addStyle } from "./dom.mjs";
import { valueOf } from "./graph.mjs";
import { call, host, words } from "./host.mjs";
import { TAB, follow, tabTexts, watch } from "./panel.mjs";
import { showWords } from "./plot.mjs";
import { Poller } from "./poller.mjs";
import { isLive, showAccount, showJobs } from "./remote.mjs";

const PERIOD_MS = 1500;

/** Whether ComfyUI works on a graph: a job may come into being at any moment. */
let running = false;
export const isRunning = () => running;

/** @param {boolean} now */
export function setRunning(now) {
  running = now;
  jobs.refresh();
}

document.addEventListener("visibilitychange", () => void (document.hidden || jobs.seen()));

/** @type {import("./remote.mjs").Account[] | undefined} */
let accounts;
/** What the job list and every remote node's panel show. @type {Poller<import("./remote.mjs").Answer>} */
export const jobs = new Poller(async () => {
  if (!accounts || accounts.some((each) => each.advice)) accounts = (await call("remote/accounts")).accounts;
  return { accounts, ...(await call("remote/jobs")) };
});

/** @param {any} node @param {HTMLElement} element */
export function addRemote(node, element) {
  addTab();
  /** @type {(() => void) | undefined} */
  let stop;
  const again = () => jobs.refresh();
  const follower = {
    /** @param {import("./remote.mjs").Answer} answer */
    show(answer) {
      if (!node.graph) {
        stop?.(); // it was removed while the answer was on its way
        return null;
      }
      const profile = valueOf(node, "profile");
      const account = answer.accounts.find((each) => each.name === profile);
      const mine = answer.jobs.filter((job) => job.profile === profile);
      showAccount(element, { account, jobs: mine, now: answer.now }, host, openJobs, again);
      return running || mine.some(isLive) ? PERIOD_MS : null;
    },
    /** @param {unknown} error */
    fail(error) {
      showWords(element, words(error), true);
      return null;
    },
  };
  watch(node, element, () => valueOf(node, "profile") ?? "", () => {
    if (stop) again();
    else stop = jobs.follow(follower);
  });
}

let tabbed = false;

/** The job list in the sidebar: there once a remote node is, or its command was called. */
function addTab() {
  if (tabbed) return;
  tabbed = true;
  /** @type {(() => void) | undefined} */
  let stop;
  app.extensionManager.registerSidebarTab({
    id: TAB,
    icon: "pi pi-cloud",
    ...tabTexts(),
    type: "custom",
    render: (element) => {
      addStyle();
      stop?.();
      stop = showJobs(element, host, jobs);
    },
    destroy: () => stop?.(),
  });
}

export async function openJobs() {
  await follow();
  addTab();
  app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${TAB}`);
}
