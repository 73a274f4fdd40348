// Sends the newest question only: one request in flight, one waiting, all between them dropped.

/**
 * @template Q, A
 */
export class Latest {
  /**
   * @param {(question: Q) => Promise<A>} ask
   * @param {(answer: A, question: Q) => void} show
   * @param {(error: unknown, question: Q) => void} fail
   */
  constructor(ask, show, fail) {
    this.ask = ask;
    this.show = show;
    this.fail = fail;
    this.busy = false;
    /** @type {{question: Q} | null} */
    this.waiting = null;
  }

  /** @param {Q} question */
  async put(question) {
    this.waiting = { question };
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.waiting) {
        const { question: now } = this.waiting;
        this.waiting = null;
        try {
          const answer = await this.ask(now);
          if (!this.waiting) this.show(answer, now);
        } catch (error) {
          if (!this.waiting) this.fail(error, now);
        }
      }
    } finally {
      this.busy = false;
    }
  }
}
