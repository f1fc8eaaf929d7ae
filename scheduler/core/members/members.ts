/**
 * The one place where PG records change, so that the epoch rule (every change of members is epoch + 1,
 * DESIGN 4) and the indexes over PGs hold by construction. Who has to come and go is decided in
 * membership.ts, where to in planner.ts.
 */
import { assert, present } from '../../../shared/base/assert.ts';
import type { DiskId, PgId } from '../../../shared/base/ids.ts';
import { familyKey } from '../facts.ts';
import type { PgFamilyRecord, PgRecord } from '../records.ts';
import type { State } from '../state.ts';

export interface Members {
  readonly inSync: readonly DiskId[];
  readonly joining: readonly DiskId[];
  /** Those of now, as far as they stay in sync, when absent. */
  readonly suspects?: readonly DiskId[];
  /** That of now when absent. */
  readonly compareEpoch?: number;
}

/** A new PG: its members hold nothing yet, so all of them are in sync. */
export function createPg(state: State, id: PgId, target: readonly DiskId[]): void {
  assert(!state.facts.pgs.has(id), 'a PG is created once', { pg: id });
  assert(target.length > 0, 'a PG has a first member', { pg: id });
  const record: PgRecord = { id, epoch: 1, inSync: target, joining: [], target };
  state.facts.pgs.put(record);
  indexPg(state, record);
}

/** New members under the next epoch. */
export function changeMembers(state: State, id: PgId, members: Members): void {
  const pg = state.facts.pgs.get(id);
  assert(members.inSync.length > 0, 'a PG keeps its last in-sync member', { pg: id });
  const all = [...members.inSync, ...members.joining];
  assert(new Set(all).size === all.length, 'a disk is a member of a PG once', {
    pg: id,
    ...members,
  });
  forgetPg(state, pg);
  const { suspects: before = [], compareEpoch: comparedBefore = 0, ...rest } = pg;
  const wanted = members.suspects ?? before;
  const suspects = wanted.filter((disk) => members.inSync.includes(disk));
  const compareEpoch = members.compareEpoch ?? comparedBefore;
  const next: PgRecord = {
    ...rest,
    inSync: members.inSync,
    joining: members.joining,
    epoch: pg.epoch + 1,
    ...(suspects.length === 0 ? {} : { suspects }),
    ...(compareEpoch === 0 ? {} : { compareEpoch }),
  };
  state.facts.pgs.put(next);
  indexPg(state, next);
}

/** Where the PG should live; its members follow step by step. */
export function setTarget(state: State, id: PgId, target: readonly DiskId[]): void {
  assert(target.length > 0, 'a target names a disk', { pg: id });
  forgetPg(state, state.facts.pgs.get(id));
  indexPg(state, state.facts.pgs.update(id, { target }));
}

/** A PG of a family that is no more: nothing has or wants a replica of it. */
export function deletePg(state: State, id: PgId): void {
  forgetPg(state, state.facts.pgs.get(id));
  const { work } = state;
  for (const index of [work.shortTargets, work.unsettled, work.suspectPgs]) index.delete(id);
  state.pgBytes.delete(id);
  state.facts.scrubs.delete(id);
  state.facts.pgs.delete(id);
}

function forgetPg(state: State, pg: PgRecord): void {
  const { pgsOfDisk, targetsOfDisk } = state.work;
  for (const disk of [...pg.inSync, ...pg.joining]) pgsOfDisk.get(disk)?.delete(pg.id);
  for (const disk of pg.target) targetsOfDisk.set(disk, (targetsOfDisk.get(disk) ?? 0) - 1);
}

/** All of them go, with their families: nothing is stored any more (uninstall.ts). */
export function dropAllPgs(state: State): void {
  const { facts, work } = state;
  for (const pg of [...facts.pgs.values()]) {
    forgetPg(state, pg);
    facts.pgs.delete(pg.id);
  }
  for (const family of [...facts.families.values()]) {
    facts.families.delete(familyKey(family.pool, family.replicas));
  }
  for (const id of [...facts.scrubs.keys()]) facts.scrubs.delete(id);
  for (const index of [work.unsettled, work.shortTargets, work.suspectPgs, state.pgBytes]) {
    index.clear();
  }
  work.moveWaits = new Map();
  work.scrub = null;
}

/** Enters a PG into the indexes; also used when the facts are loaded. */
export function indexPg(state: Pick<State, 'work' | 'facts' | 'startedAtMs'>, pg: PgRecord): void {
  const { work } = state;
  for (const disk of pg.inSync) addMember(work.pgsOfDisk, disk, pg.id);
  for (const disk of pg.joining) addMember(work.pgsOfDisk, disk, pg.id);
  for (const disk of pg.target) {
    work.targetsOfDisk.set(disk, (work.targetsOfDisk.get(disk) ?? 0) + 1);
  }
  if (pg.target.length < familyOf(state, pg.id).replicas) work.shortTargets.add(pg.id);
  else work.shortTargets.delete(pg.id);
  indexSuspects(work, pg, state.startedAtMs);
  if (isSettled(pg)) work.unsettled.delete(pg.id);
  else work.unsettled.add(pg.id);
  work.isMovesDirty = true;
  work.isJobsDirty = true;
}

/** The members are those that the plan wants, and all in sync. */
export function isSettled(pg: PgRecord): boolean {
  return (
    pg.joining.length === 0 &&
    pg.suspects === undefined &&
    pg.inSync.length === pg.target.length &&
    pg.inSync.every((disk) => pg.target.includes(disk))
  );
}

/** Whether the disk is in sync in the PG and has its memory. */
export function isTrusted(pg: PgRecord, disk: DiskId): boolean {
  return pg.inSync.includes(disk) && pg.suspects?.includes(disk) !== true;
}

export function isMember(pg: PgRecord, disk: DiskId): boolean {
  return pg.inSync.includes(disk) || pg.joining.includes(disk);
}

/** How many PGs have the disk as a member. */
export function memberCount(state: State, disk: DiskId): number {
  return state.work.pgsOfDisk.get(disk)?.size ?? 0;
}

/** A few families at most: one per pool and replica count in use. */
export function familyOf(state: Pick<State, 'facts'>, pg: PgId): PgFamilyRecord {
  for (const family of state.facts.families.values()) {
    if (pg >= family.pgBase && pg < family.pgBase + family.pgCount) return family;
  }
  return present<PgFamilyRecord>(undefined, `family of pg${pg}`);
}

/** A manager that starts counts waits from then: nobody has spoken to it yet. */
function indexSuspects(work: State['work'], pg: PgRecord, startedAtMs: number): void {
  if (pg.suspects === undefined) work.suspectPgs.delete(pg.id);
  else if (!work.suspectPgs.has(pg.id)) {
    work.suspectPgs.set(pg.id, { sinceMs: startedAtMs, latestMs: startedAtMs });
  }
}

function addMember(index: Map<DiskId, Set<PgId>>, disk: DiskId, pg: PgId): void {
  const pgs = index.get(disk);
  if (pgs === undefined) index.set(disk, new Set([pg]));
  else pgs.add(pg);
}
