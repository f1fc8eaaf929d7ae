/**
 * Which moves to start now, so that membership comes to be what the targets say (DESIGN 3 and 4).
 * Pure and deterministic; called again whenever something has changed. It starts and cancels joins
 * and names members that may go; it does not choose targets (placement.ts) and moves no bytes.
 *
 *   target d1 d5   in sync d1 d2                 join d5, replaces d2     drain or balance
 *   target d1 d5   in sync d1                    join d5, replaces null   rebuild
 *   target d1 d5   in sync d1   joining d7       cancel d7, if it has hardly begun
 *   target d1 d5   in sync d1 d2 d5              drop d2
 *
 * Order: lost redundancy (fewest copies first), then drain, then balance. A disk takes part in a few
 * joins at a time, as a receiver and as a source; within one urgency, disks that do little come first,
 * so that many disks copy to many.
 */
import { assert } from '../../../shared/base/assert.ts';
import type { DiskId, NodeId, PgId } from '../../../shared/base/ids.ts';
import { DiskLoads, type MoveLimits, type MoveReason } from './move-loads.ts';
import { JOIN_WORTH_FINISHING_RATIO } from './placement-current.ts';

export type { MoveLimits, MoveReason };

export interface MovePg {
  readonly id: PgId;
  readonly replicas: number;
  readonly inSync: readonly DiskId[];
  readonly joining: readonly DiskId[];
  readonly target: readonly DiskId[];
  /** What one replica holds. */
  readonly bytes: number;
  /** How much each joining disk has, 0 to 1; not named is 0. */
  readonly joinRatios?: ReadonlyMap<DiskId, number>;
  /** When given, only these disks may join for a rebuild: they had the data (brake.ts). */
  readonly mayRebuildOn?: readonly DiskId[];
}

export interface MoveDisk {
  readonly id: DiskId;
  readonly node: NodeId;
  /** May receive and serve now. */
  readonly isUsable: boolean;
  readonly isLeaving: boolean;
  /** Answers now, so its copies count; when not given: usable and leaving disks do. */
  readonly isServing?: boolean;
  readonly usedBytes: number;
  /** Joins never fill the disk above this. */
  readonly limitBytes: number;
}

export interface MoveInput {
  readonly pgs: readonly MovePg[];
  readonly disks: readonly MoveDisk[];
  readonly limits: MoveLimits;
}

export interface MoveStep {
  readonly pg: PgId;
  readonly join: DiskId;
  /** The member that leaves when `join` is in sync; null when a replica was missing. */
  readonly replaces: DiskId | null;
  readonly reason: MoveReason;
  /** The in-sync member with the least to do: a proposal whom to copy from. */
  readonly source: DiskId;
}

export interface CancelStep {
  readonly pg: PgId;
  readonly joining: DiskId;
  readonly reason: 'disk-gone' | 'not-in-target';
}

/** An in-sync member that is not in the target and whose copy is one too many. */
export interface DropStep {
  readonly pg: PgId;
  readonly drop: DiskId;
}

export type WaitReason =
  | 'paused'
  | 'braked'
  | 'join-running'
  | 'no-source'
  | 'receiver-unusable'
  | 'receiver-full'
  | 'disk-busy'
  | 'total-limit';

export interface MovePlan {
  readonly cancels: readonly CancelStep[];
  readonly drops: readonly DropStep[];
  /** Most urgent first. */
  readonly steps: readonly MoveStep[];
  /** PGs that are not where they should be and get no step now, by what they wait for. */
  readonly waiting: Readonly<Record<WaitReason, number>>;
  /** The same, PG by PG. */
  readonly waits: ReadonlyMap<PgId, WaitReason>;
}

/** See the head of the file. Every PG gets at most one step, and no step while it has a join. */
export function planMoves(input: MoveInput): MovePlan {
  const disks = new Map(input.disks.map((disk) => [disk.id, disk]));
  const loads = new DiskLoads(input.limits);
  const waits = new Map<PgId, WaitReason>();
  const cancels: CancelStep[] = [];
  const drops: DropStep[] = [];
  const wishes: Wish[] = [];

  for (const pg of input.pgs) {
    const cancelled = pg.joining.flatMap((disk) => findCancel(pg, disk, disks));
    cancels.push(...cancelled);
    for (const disk of pg.joining) {
      if (cancelled.some((cancel) => cancel.joining === disk)) continue;
      const rest = pg.bytes * (1 - (pg.joinRatios?.get(disk) ?? 0));
      loads.start(disk, loads.leastLoadedSource(usableSources(pg, disks)), rest);
    }
    const dropped = findDrops(pg, disks);
    drops.push(...dropped.map((drop) => ({ pg: pg.id, drop })));
    const inSync = pg.inSync.filter((disk) => !dropped.includes(disk));
    const missing = pg.target.filter((disk) => !inSync.includes(disk));
    if (missing.every((disk) => pg.joining.includes(disk))) continue;
    // One join at a time: the next plan sees what came of this one.
    if (pg.joining.length > 0) waits.set(pg.id, 'join-running');
    else wishes.push(makeWish({ ...pg, inSync }, missing, disks));
  }
  const steps = chooseSteps(wishes, { disks, loads, waits });
  const waiting: Record<WaitReason, number> = { ...NOBODY_WAITS };
  for (const reason of waits.values()) waiting[reason] += 1;
  return { cancels, drops, steps, waiting, waits };
}

const NOBODY_WAITS: Readonly<Record<WaitReason, number>> = {
  paused: 0,
  braked: 0,
  'join-running': 0,
  'no-source': 0,
  'receiver-unusable': 0,
  'receiver-full': 0,
  'disk-busy': 0,
  'total-limit': 0,
};

type Disks = ReadonlyMap<DiskId, MoveDisk>;

/** A leaving disk receives nothing, but is a good source as long as it is a member. */
function usableSources(pg: MovePg, disks: Disks): DiskId[] {
  return pg.inSync.filter((id) => {
    const disk = disks.get(id);
    return disk !== undefined && (disk.isServing ?? (disk.isUsable || disk.isLeaving));
  });
}

function findCancel(pg: MovePg, joining: DiskId, disks: Disks): CancelStep[] {
  const disk = disks.get(joining);
  if (disk === undefined || !disk.isUsable) return [{ pg: pg.id, joining, reason: 'disk-gone' }];
  if (pg.target.includes(joining)) return [];
  // Redundancy sooner is worth a copy too many: a join that is nearly there may finish.
  const isNeeded = pg.inSync.length < pg.replicas && !disk.isLeaving;
  const ratio = pg.joinRatios?.get(joining) ?? 0;
  if (isNeeded && ratio >= JOIN_WORTH_FINISHING_RATIO) return [];
  return [{ pg: pg.id, joining, reason: 'not-in-target' }];
}

/**
 * Members that are neither in the target nor needed: beyond `replicas`, or when the target is complete.
 * Members that do not serve now count for nothing: they may be dead.
 */
function findDrops(pg: MovePg, disks: Disks): DiskId[] {
  const serving = usableSources(pg, disks);
  const extras = pg.inSync.filter((disk) => !pg.target.includes(disk));
  const isComplete = pg.target.length > 0 && pg.target.every((disk) => serving.includes(disk));
  if (isComplete) return extras;
  const surplus = Math.max(0, serving.length - pg.replicas);
  const nodeOf = (disk: DiskId): NodeId | undefined => disks.get(disk)?.node;
  // Two members on one node are worth one; a leaving disk is wanted empty; others may wait.
  const rank = (disk: DiskId): number => {
    const isTwice = pg.inSync.some((other) => other !== disk && nodeOf(other) === nodeOf(disk));
    if (isTwice) return 0;
    return disks.get(disk)?.isLeaving === false ? 2 : 1;
  };
  const droppable = extras.filter((disk) => serving.includes(disk));
  return droppable.sort((a, b) => rank(a) - rank(b)).slice(0, surplus);
}

/** What a PG needs next. */
interface Wish {
  readonly pg: MovePg;
  readonly reason: MoveReason;
  /** Target disks that are not members; one of them will join. */
  readonly missing: readonly DiskId[];
  /** Members that are not in the target; empty for a rebuild. */
  readonly extras: readonly DiskId[];
  /** Wishes with a smaller urgency number are served before all others. */
  readonly urgency: number;
}

/** Above any number of in-sync replicas: rebuilds come before drains, and drains before balance. */
const URGENCY_DRAIN = 100;
const URGENCY_BALANCE = 200;

function makeWish(pg: MovePg, missing: readonly DiskId[], disks: Disks): Wish {
  if (pg.inSync.length < pg.replicas) {
    // Fewest copies first; among these, those that lack most.
    const lacking = pg.replicas - pg.inSync.length;
    const urgency = pg.inSync.length * 10 - lacking;
    return { pg, reason: 'rebuild', missing, extras: [], urgency };
  }
  const extras = pg.inSync.filter((disk) => !pg.target.includes(disk));
  assert(extras.length > 0, 'a full PG with a missing target has a member too many', { pg: pg.id });
  const leaving = extras.filter((disk) => disks.get(disk)?.isLeaving !== false);
  return leaving.length > 0
    ? { pg, reason: 'drain', missing, extras: leaving, urgency: URGENCY_DRAIN }
    : { pg, reason: 'balance', missing, extras, urgency: URGENCY_BALANCE };
}

interface Resources {
  readonly disks: Disks;
  readonly loads: DiskLoads;
  /** Takes each wish that is not served. */
  readonly waits: Map<PgId, WaitReason>;
}

function chooseSteps(wishes: readonly Wish[], resources: Resources): MoveStep[] {
  const byUrgency = [...wishes].sort((a, b) => a.urgency - b.urgency || a.pg.id - b.pg.id);
  const steps: MoveStep[] = [];
  for (let start = 0; start < byUrgency.length; ) {
    let end = start + 1;
    while (byUrgency[end]?.urgency === byUrgency[start]?.urgency) end += 1;
    steps.push(...serveEqually(byUrgency.slice(start, end), resources));
    start = end;
  }
  return steps;
}

/** Serves wishes of one urgency: first only disks with nothing to do, then those with one join, … */
function serveEqually(wishes: readonly Wish[], resources: Resources): MoveStep[] {
  const { loads, waits } = resources;
  const steps: MoveStep[] = [];
  let open = wishes;
  for (let level = 1; level <= loads.levelMax && open.length > 0; level += 1) {
    const stillOpen: Wish[] = [];
    for (const wish of open) {
      const result = serve(wish, level, resources);
      if (typeof result !== 'string') steps.push(result);
      // Only a busy disk may have a place on the next level.
      else if (result === 'disk-busy' && level < loads.levelMax) stillOpen.push(wish);
      else waits.set(wish.pg.id, result);
    }
    open = stillOpen;
  }
  return steps;
}

function serve(wish: Wish, level: number, resources: Resources): MoveStep | WaitReason {
  const { disks, loads } = resources;
  const { pg, reason } = wish;
  if (loads.isPaused(reason)) return 'paused';
  const allowed = reason === 'rebuild' ? pg.mayRebuildOn : undefined;
  const missing = wish.missing.filter((disk) => allowed === undefined || allowed.includes(disk));
  if (missing.length === 0) return 'braked';
  const sources = usableSources(pg, disks);
  if (sources.length === 0) return 'no-source';
  if (loads.isTotalReached()) return 'total-limit';
  const source = loads.leastLoadedSource(sources);
  let refusal: WaitReason = 'receiver-unusable';
  for (const join of missing) {
    const disk = disks.get(join);
    if (disk === undefined || !disk.isUsable || disk.isLeaving) continue;
    if (!loads.hasSpace(disk, pg.bytes)) {
      refusal = refusal === 'disk-busy' ? refusal : 'receiver-full';
      continue;
    }
    if (source === null || !loads.isBelow(level, join, source)) {
      refusal = 'disk-busy';
      continue;
    }
    loads.start(join, source, pg.bytes);
    return { pg: pg.id, join, replaces: chooseReplaced(wish, join, disks), reason, source };
  }
  return refusal;
}

/** The member on the joining disk's own node, if one leaves there: two on one node help nobody. */
function chooseReplaced(wish: Wish, join: DiskId, disks: Disks): DiskId | null {
  const node = disks.get(join)?.node;
  const neighbour = wish.extras.find((disk) => disks.get(disk)?.node === node);
  return neighbour ?? wish.extras[0] ?? null;
}
