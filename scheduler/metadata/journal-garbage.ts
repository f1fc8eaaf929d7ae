/** What the journal's head does not name any more: log below the snapshot, old snapshots, parts of nothing. */
import type { Coordinator, NodeName, Seat } from './coordinator.ts';
import { TRANSACTION_NODES_MAX } from './coordinator.ts';
import { type Head, logRevision } from './journal-head.ts';

/** Everything that the head leads to, besides the log's own nodes. */
export interface References {
  readonly snapshot: NodeName | null;
  readonly snapshotParts: readonly NodeName[];
  readonly logParts: Map<number, readonly NodeName[]>;
}

/** Nothing may be staged while this looks: what is staged is not named yet. */
export async function findGarbage(
  coordinator: Coordinator,
  head: Head,
  references: References,
): Promise<readonly NodeName[]> {
  const named = new Set<NodeName>(references.snapshotParts);
  for (const parts of references.logParts.values()) for (const part of parts) named.add(part);
  const first = (head.snapshot?.revision ?? 0) + 1;
  const [log, snapshots, parts] = await Promise.all([
    coordinator.list('log'),
    coordinator.list('snapshots'),
    coordinator.list('parts'),
  ]);
  return [
    ...log.filter((name) => logRevision(name) < first),
    ...snapshots.filter((name) => name !== references.snapshot),
    ...parts.filter((name) => !named.has(name)),
  ];
}

export async function removeAll(seat: Seat, names: readonly NodeName[]): Promise<void> {
  for (let at = 0; at < names.length; at += TRANSACTION_NODES_MAX) {
    await seat.remove(names.slice(at, at + TRANSACTION_NODES_MAX));
  }
}
