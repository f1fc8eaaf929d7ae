/**
 * Ids, paths and addresses of a recording, and what they are in a replay of it. Pairs are learnt while
 * the replay goes on; text is translated whole, since ids occur inside paths and messages.
 */

export class Translation {
  readonly #pairs: [string, string][];

  constructor(pairs: readonly (readonly [string, string])[]) {
    this.#pairs = pairs.map(([a, b]): [string, string] => [a, b]);
  }

  get pairs(): readonly (readonly [string, string])[] {
    return this.#pairs;
  }

  /** Newer pairs are tried first; the first pair of a recorded text stays. */
  pair(recorded: string, given: string): void {
    if (this.#pairs.some(([a]) => a === recorded)) return;
    this.#pairs.unshift([recorded, given]);
  }

  toGiven(text: string): string {
    return this.#pairs.reduce((all, [recorded, given]) => all.replaceAll(recorded, given), text);
  }

  toRecorded(text: string): string {
    return this.#pairs.reduce((all, [recorded, given]) => all.replaceAll(given, recorded), text);
  }
}
