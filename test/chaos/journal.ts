/** What a run did and saw, line by line with the time, on stdout and in a file. */
import { appendFileSync } from 'node:fs';

export class ChaosJournal {
  readonly #path: string;
  readonly #startMs = Date.now();

  constructor(path: string) {
    this.#path = path;
  }

  readonly say = (text: string): void => {
    const now = new Date();
    const seconds = ((now.getTime() - this.#startMs) / 1000).toFixed(1).padStart(7);
    const line = `${now.toISOString().slice(11, 23)} ${seconds} ${text}\n`;
    process.stdout.write(line);
    appendFileSync(this.#path, line);
  };
}
