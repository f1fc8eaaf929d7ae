/**
 * What happened in a run, line by line: the last lines for people, and a digest over all of them, so
 * that one seed run twice can be compared. The legend of the lines is in docs/debugging.md.
 */
import { createHash } from 'node:crypto';
import type { Clock, Log, LogFields } from '../../shared/ports.ts';

/** Lines kept for the report of a failure. */
const LINES_MAX = 4_000;

export class Trace {
  readonly #clock: Clock;
  readonly #hash = createHash('sha256');
  readonly #lines: string[] = [];
  #oldest = 0;
  #count = 0;
  /** Set to see every line at once. */
  onLine: ((line: string) => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  add(who: string, what: string): void {
    const line = `${this.#clock.now().toFixed(3).padStart(12)} ${who.padEnd(11)} ${what}`;
    this.#hash.update(line);
    this.#count += 1;
    this.onLine?.(line);
    if (this.#lines.length < LINES_MAX) this.#lines.push(line);
    else {
      this.#lines[this.#oldest] = line;
      this.#oldest = (this.#oldest + 1) % LINES_MAX;
    }
  }

  /** The log of the processes on `who`, as trace lines. */
  log(who: string): Log {
    return (level, message, fields) =>
      this.add(who, `${LEVELS[level]} ${message}${textOf(fields ?? {})}`);
  }

  last(count: number): string[] {
    const ordered = [...this.#lines.slice(this.#oldest), ...this.#lines.slice(0, this.#oldest)];
    return ordered.slice(-count);
  }

  digest(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }
}

const LEVELS = { error: 'E', warn: 'W', info: 'I', debug: 'D' } as const;

function textOf(fields: LogFields): string {
  let text = '';
  for (const [name, value] of Object.entries(fields)) text += ` ${name}=${String(value)}`;
  return text;
}
