/**
 * Which disks are on a node, and which are lost for good: derived from the disk records with every change, so
 * that what happens a thousand times a second need not look at all disks. `checkInvariants` compares it
 * with its source.
 */
import type { DiskId, NodeId } from '../../shared/base/ids.ts';
import type { DiskRecord } from './records.ts';

const NONE: ReadonlySet<DiskId> = new Set();

export class DiskIndex {
  readonly #ofNode = new Map<NodeId, Set<DiskId>>();
  readonly #lost = new Set<DiskId>();

  /** In the order in which they came. */
  ofNode(node: NodeId): ReadonlySet<DiskId> {
    return this.#ofNode.get(node) ?? NONE;
  }

  /** Failed or lost: their data cannot come back. */
  get lost(): ReadonlySet<DiskId> {
    return this.#lost;
  }

  /** A record came, changed or went. */
  note(before: DiskRecord | undefined, after: DiskRecord | undefined): void {
    if (before !== undefined && before.node !== after?.node) {
      this.#ofNode.get(before.node)?.delete(before.id);
    }
    if (before !== undefined && after === undefined) this.#lost.delete(before.id);
    if (after === undefined) return;
    const disks = this.#ofNode.get(after.node);
    if (disks === undefined) this.#ofNode.set(after.node, new Set([after.id]));
    else disks.add(after.id);
    if (after.phase === 'failed' || after.phase === 'lost') this.#lost.add(after.id);
    else this.#lost.delete(after.id);
  }
}
