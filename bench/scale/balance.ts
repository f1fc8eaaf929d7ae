/** Judges a placement by the facts: how even it is, and how much of it moved. */

import { diskUse } from '../../scheduler/core/disks/disk-use.ts';
import type { State } from '../../scheduler/core/state.ts';
import type { DiskId, PgId } from '../../shared/base/ids.ts';

/** How far the fullest disk is above its share by size, in PGs. All disks here can be filled by size. */
export function worstDeviation(state: State): number {
  const counts = countTargets(state);
  let weight = 0;
  let replicas = 0;
  for (const disk of state.facts.disks.values()) {
    if (diskUse(state, disk) === 'serving') weight += disk.sizeBytes;
  }
  for (const count of counts.values()) replicas += count;
  let worst = Number.NEGATIVE_INFINITY;
  for (const [id, count] of counts) {
    const share = (replicas * state.facts.disks.get(id).sizeBytes) / weight;
    worst = Math.max(worst, count - share);
  }
  return worst;
}

/** Replicas that changed their disk, and how many had to: what disks lost or gained. */
export function movement(
  state: State,
  before: ReadonlyMap<PgId, readonly DiskId[]>,
): { readonly moved: number; readonly least: number } {
  let moved = 0;
  const gains = new Map<DiskId, number>();
  for (const pg of state.facts.pgs.values()) {
    const old = before.get(pg.id) ?? [];
    for (const disk of pg.target) {
      gains.set(disk, (gains.get(disk) ?? 0) + 1);
      if (!old.includes(disk)) moved += 1;
    }
    for (const disk of old) gains.set(disk, (gains.get(disk) ?? 0) - 1);
  }
  let least = 0;
  for (const gain of gains.values()) least += Math.max(0, gain);
  return { moved, least };
}

function countTargets(state: State): ReadonlyMap<DiskId, number> {
  const counts = new Map<DiskId, number>();
  for (const pg of state.facts.pgs.values()) {
    for (const disk of pg.target) counts.set(disk, (counts.get(disk) ?? 0) + 1);
  }
  return counts;
}
