/** The state of PGs for people: clean, misplaced, degraded or unavailable, one by one and counted. */
import type { DiskId, PgId } from '../../../shared/base/ids.ts';
import type { PgCounts, PgView } from '../../../shared/model/api-views.ts';
import { isDiskServing } from '../nodes/node-life.ts';
import type { PgFamilyRecord, PgRecord } from '../records.ts';
import type { State } from '../state.ts';
import { isSettled, isTrusted } from './members.ts';

export type PgState = PgView['state'];

/** Disks that take and give data now: made once for many PGs. */
export function servingSet(state: State): ReadonlySet<DiskId> {
  const serving = new Set<DiskId>();
  for (const disk of state.facts.disks.values()) {
    if (isDiskServing(state, disk)) serving.add(disk.id);
  }
  return serving;
}

/** Judged by the in-sync members that serve now: one that is merely on the list helps nobody. */
export function pgState(
  pg: PgRecord,
  family: PgFamilyRecord,
  serving: ReadonlySet<DiskId>,
): PgState {
  let count = 0;
  for (const disk of pg.inSync) if (serving.has(disk) && isTrusted(pg, disk)) count += 1;
  if (count < Math.max(1, family.minInSync)) return 'unavailable';
  if (count < family.replicas) return 'degraded';
  return isSettled(pg) ? 'clean' : 'misplaced';
}

interface MutableCounts {
  total: number;
  clean: number;
  degraded: number;
  misplaced: number;
  unavailable: number;
}

export function countFamily(
  state: State,
  family: PgFamilyRecord,
  serving: ReadonlySet<DiskId>,
): PgCounts {
  const counts: MutableCounts = { total: 0, clean: 0, degraded: 0, misplaced: 0, unavailable: 0 };
  counts.total = family.pgCount;
  counts.clean = family.pgCount;
  for (const id of doubtfulPgs(state, serving)) {
    if (id < family.pgBase || id >= family.pgBase + family.pgCount) continue;
    counts.clean -= 1;
    counts[pgState(state.facts.pgs.get(id), family, serving)] += 1;
  }
  return counts;
}

/** The PGs that may be anything but clean: few in a healthy cluster, however many PGs it has. */
export function doubtfulPgs(state: State, serving: ReadonlySet<DiskId>): ReadonlySet<PgId> {
  const { unsettled, shortTargets, pgsOfDisk } = state.work;
  const found = new Set([...unsettled, ...shortTargets]);
  for (const [disk, pgs] of pgsOfDisk) {
    if (serving.has(disk)) continue;
    for (const pg of pgs) found.add(pg);
  }
  return found;
}

export function addCounts(list: readonly PgCounts[]): PgCounts {
  const sum: MutableCounts = { total: 0, clean: 0, degraded: 0, misplaced: 0, unavailable: 0 };
  for (const counts of list) {
    sum.total += counts.total;
    sum.clean += counts.clean;
    sum.degraded += counts.degraded;
    sum.misplaced += counts.misplaced;
    sum.unavailable += counts.unavailable;
  }
  return sum;
}

/** The PGs of a family in order of number. */
export function* pgsOf(state: State, family: PgFamilyRecord): Generator<PgRecord> {
  const { pgs } = state.facts;
  for (let index = 0; index < family.pgCount; index += 1) {
    // PG numbers of a family are consecutive (records.ts).
    yield pgs.get((family.pgBase + index) as PgRecord['id']);
  }
}
