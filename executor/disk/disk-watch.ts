/**
 * Notices a device that does not answer any more: now and then one page is written and synced, whatever
 * else goes on, and when that takes too long the disk counts as failed. Errors are not its business:
 * whoever meets one says so. Without it a hung disk would stay a member for ever, in and out of sync by turns.
 */
import { StorageError } from '../../shared/base/errors.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import type { Clock, Disk, DiskFailure, DiskFile, Timer } from '../../shared/ports.ts';
import { DiskError } from '../../shared/ports.ts';

export const PROBE_NAME = 'probe';
/** One page and one sync: of no weight beside anything that a disk does in ten seconds. */
const PROBE_INTERVAL_MS = 10_000;
/**
 * Longer than a device's own error recovery (kernels reset devices after 30 s), shorter than
 * the patience of a cluster that wants its copies back.
 */
const HUNG_MS = 40_000;

export class DiskWatch {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #page = Buffer.alloc(BLOCK_BYTES);
  #file: DiskFile | null = null;
  #timer: Timer | null = null;
  #onHung: (failure: DiskFailure) => void = () => undefined;
  #isStopped = false;

  constructor(disk: Disk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
    this.#probe();
  }

  /** Called once, when the device has not answered for too long; replaces the one before. */
  onHung(listener: (failure: DiskFailure) => void): void {
    this.#onHung = listener;
  }

  /** Settles as `work` does, or rejects with `disk-failed` when the device does not answer meanwhile. */
  guard<T>(work: Promise<T>, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      this.onHung(({ code, message }) => {
        reject(new StorageError('disk-failed', `${what} failed: ${message}`, { code }));
      });
      work.then(resolve, reject);
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#file?.close();
    this.#file = null;
  }

  #probe(): void {
    const startMs = this.#clock.now();
    this.#timer = this.#clock.after(HUNG_MS, () => {
      const code = 'ETIMEDOUT';
      const waitedMs = Math.round(this.#clock.now() - startMs);
      const message = `"${this.#disk.path}" has not answered a write for ${waitedMs} ms`;
      this.stop();
      this.#onHung({ code, message });
    });
    try {
      this.#file ??= this.#disk.open(PROBE_NAME, { create: true });
    } catch (error) {
      // It answered, if not kindly.
      if (!(error instanceof DiskError)) throw error;
      this.#answered();
      return;
    }
    const file = this.#file;
    file.write(this.#page, 0, () => {
      if (this.#isStopped) return;
      file.sync(() => this.#answered());
    });
  }

  #answered(): void {
    if (this.#isStopped) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(PROBE_INTERVAL_MS, () => this.#probe());
  }
}
