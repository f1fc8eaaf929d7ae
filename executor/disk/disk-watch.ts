/**
 * Notices a device that does not answer any more, or gives nothing back: now and then one page is written,
 * synced and read again, whatever else goes on. When that takes too long, or the page cannot be read twice in
 * a row, the disk counts as failed. Errors of writes are not its business: whoever meets one says so. A bad
 * sector is not, either: a page that was just written does not lie on one twice. Without this a hung
 * disk would stay a member for ever, in and out of sync by turns, and one that cannot be read would be filled.
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
/** In a row. */
const UNREADABLE_MAX = 2;

export class DiskWatch {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #page = Buffer.alloc(BLOCK_BYTES);
  #file: DiskFile | null = null;
  #timer: Timer | null = null;
  #onUseless: (failure: DiskFailure) => void = () => undefined;
  #unreadable = 0;
  #isStopped = false;

  constructor(disk: Disk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
    this.#probe();
  }

  /** Called once, when the device has not answered for too long or cannot be read; replaces the one before. */
  onUseless(listener: (failure: DiskFailure) => void): void {
    this.#onUseless = listener;
  }

  /** Settles as `work` does, or rejects with `disk-failed` when the device does not answer meanwhile. */
  guard<T>(work: Promise<T>, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      this.onUseless(({ code, message }) => {
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
      this.#giveUp({ code, message });
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
      file.sync((failure) => {
        if (this.#isStopped) return;
        if (failure === null) this.#readBack(file);
        else this.#answered();
      });
    });
  }

  #readBack(file: DiskFile): void {
    file.dropCached?.(0, this.#page.length);
    file.read(this.#page, 0, (failure) => {
      if (this.#isStopped) return;
      this.#unreadable = failure === null ? 0 : this.#unreadable + 1;
      if (failure === null || this.#unreadable < UNREADABLE_MAX) {
        this.#answered();
        return;
      }
      const { code } = failure;
      const message = `"${this.#disk.path}" gives back nothing of what is written to it: ${failure.message}`;
      this.#giveUp({ code, message });
    });
  }

  #giveUp(failure: DiskFailure): void {
    this.stop();
    this.#onUseless(failure);
  }

  #answered(): void {
    if (this.#isStopped) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(PROBE_INTERVAL_MS, () => this.#probe());
  }
}
