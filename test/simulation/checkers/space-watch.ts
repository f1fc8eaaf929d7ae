/**
 * Whether a copy that the manager starts fits where it goes: invariant I8 of docs/invariants.md. At the commit
 * that makes a disk a joining member, what the disks really hold, not what they reported, has to leave room
 * below the hard limit, together with the copies that are on their way there already.
 */
import type { PgRecord } from '../../../scheduler/core/records.ts';
import type { DurableFacts } from './durable-facts.ts';

export interface HeldSpace {
  readonly usedBytes: number;
  readonly capacityBytes: number;
  readonly pgBytes: ReadonlyMap<number, number>;
}

export interface SpaceWatchModules {
  readonly facts: DurableFacts;
  /** Null when the disk's store is not open. */
  heldBy(disk: number): HeldSpace | null;
  readonly onViolation: (what: string) => void;
}

/** `fullAtRatio` of pools that say nothing else. */
const FULL_RATIO = 0.95;

export class SpaceWatch {
  readonly #modules: SpaceWatchModules;

  constructor(modules: SpaceWatchModules) {
    this.#modules = modules;
  }

  /** Before and after, of one PG, when the facts hold the newer one already. */
  onPg(before: PgRecord | undefined, pg: PgRecord): void {
    for (const disk of pg.joining) {
      const isNew =
        before?.joining.includes(disk) !== true && before?.inSync.includes(disk) !== true;
      if (isNew) this.#checkRoom(pg.id, disk);
    }
  }

  #checkRoom(pg: number, disk: number): void {
    const { facts, heldBy, onViolation } = this.#modules;
    const held = heldBy(disk);
    if (held === null) return;
    let comingBytes = 0;
    for (const other of facts.pgs.values()) {
      if (!(other.joining as readonly number[]).includes(disk)) continue;
      const wanted = Math.max(
        0,
        ...other.inSync.map((one) => heldBy(one)?.pgBytes.get(other.id) ?? 0),
      );
      comingBytes += Math.max(0, wanted - (held.pgBytes.get(other.id) ?? 0));
    }
    const limitBytes = held.capacityBytes * FULL_RATIO;
    if (comingBytes === 0 || held.usedBytes + comingBytes <= limitBytes) return;
    const text = `d${disk} uses ${held.usedBytes} of ${held.capacityBytes} bytes and was chosen for pg${pg}`;
    onViolation(`I8: ${text}, with which ${comingBytes} bytes come there`);
  }
}
