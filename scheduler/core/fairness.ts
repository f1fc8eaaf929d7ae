/** How even a pool is filled, and how little would have to move to make it even: figures, no decisions. */
import type { DiskId } from '../../shared/base/ids.ts';
import { diskUse } from './disks/disk-use.ts';
import type { DiskRecord } from './records.ts';
import type { State } from './state.ts';

/**
 * Bytes that at least have to be copied until every disk holds its share by capacity: what the disks
 * below their share lack. 0 when nothing is stored.
 */
export function fairShareBytes(state: State, pool: string): number {
  const disks = poolDisks(state, pool).filter((disk) => diskUse(state, disk) !== 'leaving');
  const held = heldBytes(state, pool);
  let totalBytes = 0;
  for (const bytes of held.values()) totalBytes += bytes;
  const capacity = disks.reduce((sum, disk) => sum + disk.sizeBytes, 0);
  if (capacity === 0) return 0;
  let lacking = 0;
  for (const disk of disks) {
    const share = (totalBytes * disk.sizeBytes) / capacity;
    lacking += Math.max(0, share - (held.get(disk.id) ?? 0));
  }
  return lacking;
}

/** Largest distance of a serving disk's fill from the pool's fill, as a ratio of the latter; 0 when empty. */
export function fillDeviationRatio(state: State, pool: string): number {
  let used = 0;
  let capacity = 0;
  const fills: number[] = [];
  for (const disk of poolDisks(state, pool)) {
    const observed = state.disks.get(disk.id);
    if (observed === undefined || observed.capacityBytes === 0) continue;
    if (diskUse(state, disk) !== 'serving') continue;
    used += observed.usedBytes;
    capacity += observed.capacityBytes;
    fills.push(observed.usedBytes / observed.capacityBytes);
  }
  if (used === 0) return 0;
  const mean = used / capacity;
  return fills.reduce((most, fill) => Math.max(most, Math.abs(fill - mean) / mean), 0);
}

/**
 * The same by where PGs are placed instead of what disks report: true at the moment when the last move is
 * done, while disks still free what has left them.
 */
export function placedDeviationRatio(state: State, pool: string): number {
  const held = heldBytes(state, pool);
  const disks = poolDisks(state, pool).filter((disk) => diskUse(state, disk) === 'serving');
  let used = 0;
  let capacity = 0;
  for (const disk of disks) {
    used += held.get(disk.id) ?? 0;
    capacity += disk.sizeBytes;
  }
  if (used === 0) return 0;
  const mean = used / capacity;
  return disks.reduce((most, disk) => {
    const fill = (held.get(disk.id) ?? 0) / disk.sizeBytes;
    return Math.max(most, Math.abs(fill - mean) / mean);
  }, 0);
}

/** Bytes of the PGs that each disk of the pool has in sync. */
function heldBytes(state: State, pool: string): ReadonlyMap<DiskId, number> {
  const held = new Map<DiskId, number>();
  for (const [disk, pgs] of state.work.pgsOfDisk) {
    if (state.facts.disks.find(disk)?.pool !== pool) continue;
    let bytes = 0;
    for (const id of pgs) {
      if (state.facts.pgs.get(id).inSync.includes(disk)) bytes += state.pgBytes.get(id) ?? 0;
    }
    held.set(disk, bytes);
  }
  return held;
}

function poolDisks(state: State, pool: string): DiskRecord[] {
  return [...state.facts.disks.values()].filter((disk) => disk.pool === pool);
}
