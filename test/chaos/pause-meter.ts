/** How long a client stood still: time with something asked and nothing answered, and the slowest request. */
export class PauseMeter {
  #pending = 0;
  #lastAnswerMs = 0;
  #pauseMsMax = 0;
  #latencyMsMax = 0;

  /** A request begins; call the returned function when it is answered. */
  begin(): () => void {
    const startMs = performance.now();
    // Nothing was asked before: silence counts from now.
    if (this.#pending === 0) this.#lastAnswerMs = startMs;
    this.#pending += 1;
    return () => {
      const nowMs = performance.now();
      this.#pending -= 1;
      this.#pauseMsMax = Math.max(this.#pauseMsMax, nowMs - this.#lastAnswerMs);
      this.#latencyMsMax = Math.max(this.#latencyMsMax, nowMs - startMs);
      this.#lastAnswerMs = nowMs;
    };
  }

  get pauseMsMax(): number {
    return Math.max(
      this.#pauseMsMax,
      this.#pending > 0 ? performance.now() - this.#lastAnswerMs : 0,
    );
  }

  get latencyMsMax(): number {
    return this.#latencyMsMax;
  }

  /** Begins a new measurement: what is pending counts from now. */
  reset(): void {
    this.#pauseMsMax = 0;
    this.#latencyMsMax = 0;
    this.#lastAnswerMs = performance.now();
  }
}
