/**
 * Which disks are on a node, which are lost for good, and how many each pool has where: derived from the disk records with every change, so
 * that what happens a thousand times a second need not look at all disks. `checkInvariants` compares it
 * with its source.
 */
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import type { DiskRecord } from '../records.ts';

const NONE: ReadonlySet<DiskId> = new Set();
const NOWHERE: ReadonlyMap<NodeId, number> = new Map();

/** Disks that count for a pool's wishes: failed and lost ones are replaced, leaving ones leave. */
export function isCounted(disk: DiskRecord): boolean {
  if ((disk.unselected ?? null) !== null) return false;
  return disk.phase !== 'failed' && disk.phase !== 'lost' && disk.phase !== 'releasing';
}

export class DiskIndex {
  readonly #ofNode = new Map<NodeId, Set<DiskId>>();
  readonly #lost = new Set<DiskId>();
  readonly #counted = new Map<string, Map<NodeId, number>>();

  /** In the order in which they came. */
  ofNode(node: NodeId): ReadonlySet<DiskId> {
    return this.#ofNode.get(node) ?? NONE;
  }

  /** Failed or lost: their data cannot come back. */
  get lost(): ReadonlySet<DiskId> {
    return this.#lost;
  }

  /** Counted disks of the pool on each node that has any. */
  countedIn(pool: string): ReadonlyMap<NodeId, number> {
    return this.#counted.get(pool) ?? NOWHERE;
  }

  /** A record came, changed or went. */
  note(before: DiskRecord | undefined, after: DiskRecord | undefined): void {
    if (before !== undefined && before.node !== after?.node) {
      this.#ofNode.get(before.node)?.delete(before.id);
    }
    if (before !== undefined && after === undefined) this.#lost.delete(before.id);
    if (before !== undefined && isCounted(before)) this.#count(before, -1);
    if (after !== undefined && isCounted(after)) this.#count(after, 1);
    if (after === undefined) return;
    const disks = this.#ofNode.get(after.node);
    if (disks === undefined) this.#ofNode.set(after.node, new Set([after.id]));
    else disks.add(after.id);
    if (after.phase === 'failed' || after.phase === 'lost') this.#lost.add(after.id);
    else this.#lost.delete(after.id);
  }

  #count({ pool, node }: DiskRecord, change: number): void {
    const counts = this.#counted.get(pool) ?? new Map<NodeId, number>();
    this.#counted.set(pool, counts);
    const count = (counts.get(node) ?? 0) + change;
    if (count === 0) counts.delete(node);
    else counts.set(node, count);
  }
}
