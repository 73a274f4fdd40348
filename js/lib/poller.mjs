// Asks one question for everyone who wants its answer: again only while somebody waits for news, never in a hidden page.

import { Latest } from "./latest.mjs";

/**
 * @template A
 * @typedef {{show: (answer: A) => number | null, fail: (error: unknown) => number | null}} Follower both say in how many
 * milliseconds the next answer is wanted; null: not before something happens
 */

/** @template A */
export class Poller {
  /**
   * @param {() => Promise<A>} ask
   * @param {() => boolean} [hidden]
   */
  constructor(ask, hidden = () => document.hidden) {
    this.hidden = hidden;
    /** @type {Set<Follower<A>>} */
    this.followers = new Set();
    /** @type {any} */
    this.timer = null;
    this.missed = false;
    this.latest = new Latest(
      ask,
      (answer) => this.tell((each) => each.show(answer)),
      (error) => this.tell((each) => each.fail(error)),
    );
  }

  /**
   * Get the answer now and whenever it is asked for; returns what ends that.
   * @param {Follower<A>} follower
   */
  follow(follower) {
    this.followers.add(follower);
    this.refresh();
    return () => void this.followers.delete(follower);
  }

  /** Ask now, for everyone; once the page is seen again where it is hidden. */
  refresh() {
    clearTimeout(this.timer);
    this.missed = this.hidden();
    if (this.followers.size && !this.missed) void this.latest.put(null);
  }

  /** The page is seen again. */
  seen() {
    if (this.missed) this.refresh();
  }

  /**
   * Tell every follower; one that can't show the answer says so itself and keeps it from nobody else.
   * @param {(follower: Follower<A>) => number | null} say
   */
  tell(say) {
    const waits = [...this.followers].map((each) => {
      try {
        return say(each);
      } catch (error) {
        return each.fail(error);
      }
    });
    const wanted = waits.filter((each) => each !== null);
    clearTimeout(this.timer);
    if (wanted.length) this.timer = setTimeout(() => this.refresh(), Math.min(...wanted));
  }
}
