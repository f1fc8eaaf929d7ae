/**
 * From facts to targets and from targets to joins: feeds the two pure planners (placement.ts says where
 * PGs should live, move-plan.ts what to start now) and applies what they say. Plans are not
 * persisted; a target is, so that a new manager does not plan everything anew.
 */
import type { DiskId, PgId } from '../../../shared/base/ids.ts';
import { isBraked } from '../brake.ts';
import { isGrowing } from '../capacity/growth.ts';
import { diskUse } from '../disks/disk-use.ts';
import { noteReplan } from '../jobs/jobs.ts';
import { changeMembers, familyOf, setTarget } from '../members/members.ts';
import { isTrusted } from '../members/trust.ts';
import { isDiskLost, isDiskRemovable, isDiskServing } from '../nodes/node-life.ts';
import { isPgHeldBack } from '../pools/apply-state.ts';
import type { PgFamilyRecord, PgRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import {
  type MoveDisk,
  type MoveLimits,
  type MovePg,
  type MoveReason,
  planMoves,
} from './move-plan.ts';
import {
  type PlacementDisk,
  type PlacementFamily,
  type PlacementPg,
  planPlacement,
} from './placement.ts';
import { currentHolders } from './placement-current.ts';

/** Moves are looked at again at least this often while some are due: disks fill, joins get on. */
const MOVES_INTERVAL_MS = 1000;
/**
 * A plan takes about 10 µs per PG. Disks that appear one after another must not keep the manager from
 * its leases, so the next plan of the pool waits for four times as long.
 */
const PLAN_PAUSE_MS_PER_PG = 0.04;
/** Copies stop this far below the hard limit: a drain must not be what gives clients ENOSPC. */
const JOIN_MARGIN_RATIO = 0.05;
/** What nobody misses while the brake holds (brake.ts). */
const BALANCE: readonly MoveReason[] = ['balance'];
const ALL_MOVES: readonly MoveReason[] = ['rebuild', 'drain', 'balance'];

/** Every tick: plans pools whose inputs changed, then starts what may start. */
export function plan(state: State, now: Now): void {
  for (const [name, cause] of state.work.replan) {
    if (now.ms < (state.work.replanAfterMs.get(name) ?? now.ms)) continue;
    state.work.replan.delete(name);
    const pool = state.facts.pools.find(name);
    if (pool !== undefined) planTargets(state, pool, cause, now);
  }
  startMoves(state, now);
}

/** Disks of the pool as the placement sees them: those that hold or may hold PGs. */
export function placementDisks(state: State, pool: string): readonly PlacementDisk[] {
  const disks: PlacementDisk[] = [];
  for (const disk of state.facts.disks.values()) {
    if (disk.pool !== pool) continue;
    const use = diskUse(state, disk);
    if (use === 'unborn') continue;
    disks.push({
      id: disk.id,
      node: disk.node,
      zone: state.facts.nodes.find(disk.node)?.zone ?? null,
      weight: disk.sizeBytes,
      isUsable: use === 'serving' || use === 'away',
      isLeaving: use === 'leaving',
    });
  }
  return avoidNodes(state, pool, disks);
}

/** Nodes whose maintenance is near get nothing new, unless only they are left: redundancy comes first. */
function avoidNodes(
  state: State,
  pool: string,
  disks: readonly PlacementDisk[],
): readonly PlacementDisk[] {
  const { avoidedNodes } = state.work;
  if (avoidedNodes.size === 0) return disks;
  let replicas = 0;
  for (const family of state.facts.families.values()) {
    if (family.pool === pool) replicas = Math.max(replicas, family.replicas);
  }
  const others = disks.filter(({ isUsable, node }) => isUsable && !avoidedNodes.has(node));
  if (new Set(others.map(({ node }) => node)).size < replicas) return disks;
  return disks.map((disk) => (avoidedNodes.has(disk.node) ? { ...disk, isUsable: false } : disk));
}

/** The pool's families as the placement sees them. */
export function placementFamilies(
  state: State,
  pool: PoolRecord,
): ReadonlyMap<PgFamilyRecord, PlacementFamily> {
  const joinRatios = readJoinRatios(state);
  const returning = readReturning(state);
  const families = new Map<PgFamilyRecord, PlacementFamily>();
  for (const family of state.facts.families.values()) {
    if (family.pool !== pool.name) continue;
    const pgs: PlacementPg[] = [];
    for (let id = family.pgBase; id < family.pgBase + family.pgCount; id += 1) {
      const pg = state.facts.pgs.get(id as PgId);
      // Nearly all are where the last plan wants them: that is where they are.
      const current = state.work.unsettled.has(pg.id)
        ? currentHolders({
            replicas: family.replicas,
            inSync: pg.inSync,
            target: pg.target,
            joinRatios: joinRatios.get(pg.id) ?? new Map(),
            returning: returning.get(pg.id) ?? [],
          })
        : pg.target;
      pgs.push({ id: pg.id, current, bytes: state.pgBytes.get(pg.id) ?? 0 });
    }
    families.set(family, {
      pgs,
      replicas: family.replicas,
      failureDomain: pool.failureDomain,
    });
  }
  return families;
}

function planTargets(state: State, pool: PoolRecord, cause: string, now: Now): void {
  const families = placementFamilies(state, pool);
  if (families.size === 0) return;
  const disks = placementDisks(state, pool.name);
  const result = planPlacement({ disks, families: [...families.values()] });
  state.work.explanations.set(pool.name, result.explanations);
  let changed = 0;
  for (const [id, planned] of result.targets) {
    const pg = state.facts.pgs.get(id);
    const target = keepRedundancy(state, pg, planned);
    if (target.length === 0 || isSameSet(target, pg.target)) continue;
    setTarget(state, id, target);
    changed += 1;
  }
  const pauseMs = result.targets.size * PLAN_PAUSE_MS_PER_PG;
  state.work.replanAfterMs.set(pool.name, now.ms + pauseMs);
  if (changed > 0) noteReplan(state, pool, cause, now);
}

/**
 * Where there are too few disks for all replicas, members that should leave but still serve stay: a
 * drain waits rather than costs redundancy.
 */
function keepRedundancy(state: State, pg: PgRecord, planned: readonly DiskId[]): readonly DiskId[] {
  const { replicas } = familyOf(state, pg.id);
  if (planned.length >= replicas) return planned;
  const kept = pg.inSync.filter((id) => {
    const disk = state.facts.disks.find(id);
    return disk !== undefined && !planned.includes(id) && !isDiskLost(disk);
  });
  return [...planned, ...kept.slice(0, replicas - planned.length)];
}

function startMoves(state: State, now: Now): void {
  const { work } = state;
  if (work.unsettled.size === 0) return;
  if (!work.isMovesDirty && now.ms < work.nextMovesAtMs) return;
  work.isMovesDirty = false;
  work.nextMovesAtMs = now.ms + MOVES_INTERVAL_MS;
  const joinRatios = readJoinRatios(state);
  const returning = isBraked(state) ? readReturning(state) : null;
  const pgs: MovePg[] = [];
  for (const id of work.unsettled) {
    const { inSync, joining, target, suspects } = state.facts.pgs.get(id);
    // Who may be a source, and who leaves, is decided first (suspects.ts).
    if (suspects !== undefined) continue;
    const { replicas } = familyOf(state, id);
    if (isPgHeldBack(state, state.facts.pgs.get(id), replicas)) continue;
    const bytes = state.pgBytes.get(id) ?? 0;
    const ratios = joinRatios.get(id);
    pgs.push({
      id,
      replicas,
      inSync,
      joining,
      target,
      bytes,
      ...(ratios === undefined ? {} : { joinRatios: ratios }),
      // A group without data costs nothing to copy.
      ...(returning === null || bytes === 0 ? {} : { mayRebuildOn: returning.get(id) ?? [] }),
    });
  }
  const moves = planMoves({ pgs, disks: moveDisks(state, now), limits: moveLimits(state) });
  work.moveWaits = moves.waits;
  for (const { pg, joining } of moves.cancels) {
    const { inSync, joining: all } = state.facts.pgs.get(pg);
    changeMembers(state, pg, { inSync, joining: all.filter((disk) => disk !== joining) });
  }
  for (const { pg, drop } of moves.drops) {
    if (!isDiskRemovable(state, drop, now.ms)) continue;
    const { inSync, joining } = state.facts.pgs.get(pg);
    changeMembers(state, pg, { inSync: inSync.filter((disk) => disk !== drop), joining });
  }
  for (const { pg, join } of moves.steps) {
    const { inSync, joining } = state.facts.pgs.get(pg);
    changeMembers(state, pg, { inSync, joining: [...joining, join] });
  }
  // Our own changes are no news: the next look is due after the interval.
  work.isMovesDirty = false;
}

function moveDisks(state: State, now: Now): MoveDisk[] {
  const disks: MoveDisk[] = [];
  for (const disk of state.facts.disks.values()) {
    const use = diskUse(state, disk);
    if (use === 'unborn') continue;
    const observed = state.disks.get(disk.id);
    const fullAtRatio = state.facts.pools.find(disk.pool)?.fullAtRatio ?? state.options.fullAtRatio;
    disks.push({
      id: disk.id,
      node: disk.node,
      // One that grows is about to be stopped: it joins again when it has.
      isUsable: use === 'serving' && isTrusted(state, disk, now.ms) && !isGrowing(disk),
      isLeaving: use === 'leaving',
      isServing: isDiskServing(state, disk),
      usedBytes: observed?.usedBytes ?? 0,
      limitBytes: (observed?.capacityBytes ?? disk.sizeBytes) * (fullAtRatio - JOIN_MARGIN_RATIO),
    });
  }
  return disks;
}

function moveLimits(state: State): MoveLimits {
  const { concurrentJoinsPerDisk, resyncBytesPerSecond } = state.options;
  return {
    joinsInMax: concurrentJoinsPerDisk,
    joinsOutMax: concurrentJoinsPerDisk,
    // The limits per disk bound the whole; one more bound would slow big clusters down.
    joinsTotalMax: concurrentJoinsPerDisk * Math.max(1, state.facts.disks.size),
    paused: resyncBytesPerSecond === 0 ? ALL_MOVES : isBraked(state) ? BALANCE : [],
  };
}

/** How far running joins are, from the nodes' last reports. */
function readJoinRatios(state: State): ReadonlyMap<PgId, ReadonlyMap<DiskId, number>> {
  const ratios = new Map<PgId, Map<DiskId, number>>();
  for (const observed of state.nodes.values()) {
    for (const join of observed.report?.joins ?? []) {
      const ofPg = ratios.get(join.pg) ?? new Map<DiskId, number>();
      // What is not counted yet has not begun.
      const ratio = join.totalBytes === 0 ? 0 : join.doneBytes / join.totalBytes;
      ofPg.set(join.disk, join.isComplete ? 1 : Math.min(1, ratio));
      ratios.set(join.pg, ofPg);
    }
  }
  return ratios;
}

/** Serving disks that still have data of a PG that lacks redundancy, without being members. */
function readReturning(state: State): ReadonlyMap<PgId, readonly DiskId[]> {
  const returning = new Map<PgId, DiskId[]>();
  for (const observed of state.nodes.values()) {
    if (observed.session === null) continue;
    for (const usage of observed.report?.pgUsage ?? []) {
      if (!state.work.unsettled.has(usage.pg) || usage.bytes === 0) continue;
      const pg = state.facts.pgs.get(usage.pg);
      if (pg.inSync.includes(usage.disk) || pg.joining.includes(usage.disk)) continue;
      const disk = state.facts.disks.find(usage.disk);
      if (disk === undefined || diskUse(state, disk) !== 'serving') continue;
      returning.set(usage.pg, [...(returning.get(usage.pg) ?? []), usage.disk]);
    }
  }
  return returning;
}

function isSameSet(a: readonly DiskId[], b: readonly DiskId[]): boolean {
  return a.length === b.length && a.every((disk) => b.includes(disk));
}
