/**
 * Small disks at full speed: between two reports, a second apart, one can take more than is left above the
 * pool's limit, and the manager would see the limit when the disk is full already. So a disk that took more than
 * a hundredth of its size since the last report makes the next one urgent. Large disks never do, and nothing is
 * asked of the path of a request: it looks a few times a second.
 */
import type { DiskId } from '../../shared/base/ids.ts';
import type { Clock, Timer } from '../../shared/ports.ts';

/** With the manager's answer, some 0.3 s of writing may pass the limit: 5 % of a disk of 4 GiB at 600 MB/s. */
const LOOK_MS = 200;
/** Of a disk's size; five of these lie between the usual limit (95 %) and a full disk. */
const GROWTH_RATIO = 0.01;

/** What is asked of a disk. */
interface Filling {
  readonly id: DiskId;
  readonly store: {
    usage(): { readonly usedBytes: number; readonly capacityBytes: number };
  };
}

export interface FillWatchModules {
  readonly clock: Clock;
  disks(): readonly Filling[];
  onUrgent(): void;
}

export class FillWatch {
  readonly #modules: FillWatchModules;
  readonly #reported = new Map<DiskId, number>();
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(modules: FillWatchModules) {
    this.#modules = modules;
    this.#wait();
  }

  /** A report was made: growth counts from here. */
  noteReported(): void {
    this.#reported.clear();
    for (const disk of this.#modules.disks()) {
      this.#reported.set(disk.id, disk.store.usage().usedBytes);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #wait(): void {
    if (this.#isClosed) return;
    this.#timer = this.#modules.clock.after(LOOK_MS, () => {
      if (this.#modules.disks().some((disk) => this.#hasGrown(disk))) this.#modules.onUrgent();
      this.#wait();
    });
  }

  #hasGrown(disk: Filling): boolean {
    const { usedBytes, capacityBytes } = disk.store.usage();
    const reported = this.#reported.get(disk.id);
    return reported !== undefined && usedBytes - reported > GROWTH_RATIO * capacityBytes;
  }
}
