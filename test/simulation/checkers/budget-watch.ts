/**
 * What nodes pull from each other, against their budget for it: invariant I11 of docs/invariants.md. Looks at the
 * replies to `pull` that leave replica servers, and knows the limit that the manager was started with; nothing
 * of buckets and shares. What a disk reads of itself (scrub) and deletes passes no port that can be told apart.
 */
import type { Clock } from '../../../shared/ports.ts';

export interface BudgetOptions {
  /** Of a node, for all that it copies. */
  readonly bytesPerSecond: number;
  /** Scrub may pull differing blocks for each of them, at a quarter of the limit. */
  readonly disksPerNode: number;
}

/** One pull of a joining disk. */
const PULL_BYTES = 256 * 1024;
/**
 * Answers that were held up come together: as many as there may be under way (two joins of two extents each), and
 * as much as a bucket lets go at once after a rest.
 */
const PULLS_HELD_MAX = 4;
const BURST_SECONDS = 0.1;
const SCRUB_SHARE = 0.25;
/** Clocks of machines go up to two percent too fast, and may change their pace. */
const CLOCK_RATIO = 1.05;

interface Level {
  bytes: number;
  atMs: number;
}

export class BudgetWatch {
  readonly #options: BudgetOptions;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #onViolation: (what: string) => void;
  readonly #levels = new Map<string, Level>();

  constructor(
    options: BudgetOptions,
    clock: Pick<Clock, 'now'>,
    onViolation: (what: string) => void,
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#onViolation = onViolation;
  }

  /** A disk gave `bytes` to a process of `host`. */
  onPulled(host: string, bytes: number): void {
    const nowMs = this.#clock.now();
    const { bytesPerSecond, disksPerNode } = this.#options;
    const rate = bytesPerSecond * (1 + SCRUB_SHARE * disksPerNode) * CLOCK_RATIO;
    const level = this.#levels.get(host) ?? { bytes: 0, atMs: nowMs };
    this.#levels.set(host, level);
    const drained = ((nowMs - level.atMs) / 1000) * rate;
    level.bytes = Math.max(0, level.bytes - drained) + bytes;
    level.atMs = nowMs;
    const allowed = PULLS_HELD_MAX * PULL_BYTES + rate * BURST_SECONDS;
    if (level.bytes <= allowed) return;
    const ahead = Math.round(level.bytes - allowed);
    const limit = `${bytesPerSecond} bytes a second`;
    this.#onViolation(`I11: ${host} pulled ${ahead} bytes more than its limit of ${limit} allows`);
    level.bytes = 0;
  }
}
