/**
 * The scrubs that the manager asks of this node: a list of PGs on disks, said again with every change. What
 * is no longer on it is called off, what is new begins, at most one on each disk at a time.
 */
import type { DiskId } from '../../shared/base/ids.ts';
import type { ScrubOrder, ScrubReport } from '../../shared/model/scrub.ts';
import type { Clock } from '../../shared/ports.ts';
import type { MapIndex } from '../map-index.ts';
import type { RaiseNotice } from '../notice-board.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import type { Background } from './background.ts';
import type { BlockHealer } from './block-healer.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import { ScrubTask } from './scrub-task.ts';

export interface ScrubberModules {
  readonly clock: Clock;
  readonly map: MapIndex;
  readonly peers: PeerSet;
  readonly notify: RaiseNotice;
  readonly healer: BlockHealer;
  readonly background: Background;
  readonly findDisk: (id: DiskId) => ReplicaDisk | null;
  readonly onUrgent: () => void;
}

export class Scrubber {
  readonly #modules: ScrubberModules;
  #orders: readonly ScrubOrder[] = [];
  readonly #tasks = new Map<string, { readonly task: ScrubTask; readonly disk: ReplicaDisk }>();

  constructor(modules: ScrubberModules) {
    this.#modules = modules;
  }

  setOrders(orders: readonly ScrubOrder[]): void {
    this.#orders = orders;
    this.refresh();
  }

  /** After new orders, a new map, or a disk that came or went. */
  refresh(): void {
    const wanted = new Map(this.#orders.map((order) => [keyOf(order), order]));
    for (const [key, { task, disk }] of [...this.#tasks]) {
      if (wanted.has(key) && this.#modules.findDisk(disk.id) === disk) continue;
      task.cancel();
      this.#tasks.delete(key);
    }
    for (const [key, order] of wanted) {
      const disk = this.#modules.findDisk(order.disk);
      if (disk === null || this.#tasks.has(key) || this.#isBusy(disk)) continue;
      this.#begin(key, order, disk);
    }
  }

  reports(): readonly ScrubReport[] {
    return [...this.#tasks.values()].map(({ task }) => task.report());
  }

  close(): void {
    for (const { task } of this.#tasks.values()) task.cancel();
    this.#tasks.clear();
  }

  #isBusy(disk: ReplicaDisk): boolean {
    for (const running of this.#tasks.values()) {
      if (running.disk === disk && !running.task.isDone) return true;
    }
    return false;
  }

  #begin(key: string, order: ScrubOrder, disk: ReplicaDisk): void {
    const { background, clock, healer, map, notify, peers } = this.#modules;
    const { pg } = order;
    const onBad = (place: Parameters<BlockHealer['suspect']>[2]): void =>
      healer.suspect(disk.id, pg, place);
    const allow = (bytes: number): Promise<void> => background.allow(disk.id, 'scrub', bytes);
    const task = new ScrubTask(order, { disk, pg, clock, map, peers, notify, onBad }, allow);
    this.#tasks.set(key, { task, disk });
    void task.run().then(() => {
      if (!task.isDone) return;
      this.#modules.onUrgent();
      this.refresh();
    });
  }
}

function keyOf({ job, pg, disk }: ScrubOrder): string {
  return `${job}/${pg}/${disk}`;
}
