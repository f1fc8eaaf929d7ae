/**
 * What each disk is good for right now, as planners see it. A change of any disk's use, whatever brought it
 * about, is the reason to plan its pool's placement anew: nobody has to remember to ask for it.
 *
 *   unborn ──▶ serving ◀──▶ away ──rebuildAfterMs──▶ leaving (empty it, or do without it)
 *                 └──────drain, failure, loss─────────▲
 */
import { formatDisk, formatNode, type NodeId } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import { isBraked } from '../brake.ts';
import { memberCount } from '../members/members.ts';
import { isDiskLeaving, isDiskLost, isDiskServing } from '../nodes/node-life.ts';
import type { DiskRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import type { DiskUse } from '../work.ts';

/** The use as of the last `watchDisks`. */
export function diskUse(state: State, disk: DiskRecord): DiskUse {
  return state.work.diskUses.get(disk.id) ?? 'unborn';
}

/** Every tick: looks at all disks and asks for a plan where one has changed its use. */
export function watchDisks(state: State, now: Now): void {
  const { facts, work } = state;
  for (const disk of facts.disks.values()) {
    const use = judge(state, disk, now.ms);
    const before = work.diskUses.get(disk.id) ?? 'unborn';
    if (use === before) continue;
    work.diskUses.set(disk.id, use);
    work.isMovesDirty = true;
    work.isJobsDirty = true;
    // A disk that is away for a moment keeps its place: nothing to plan.
    if (isInPlan(use) === isInPlan(before)) continue;
    work.replan.set(disk.pool, describeChange(state, disk, use, before));
  }
}

function isInPlan(use: DiskUse): boolean {
  return use === 'serving' || use === 'away';
}

function judge(state: State, disk: DiskRecord, nowMs: number): DiskUse {
  const away = state.work.diskAwaySinceMs;
  if (isDiskLost(disk) || isDiskLeaving(state, disk)) {
    away.delete(disk.id);
    return 'leaving';
  }
  // Stopped on purpose for a moment: it takes nothing new, and keeps its place.
  if ((disk.growth ?? null) !== null) {
    away.delete(disk.id);
    return 'away';
  }
  if (isDiskServing(state, disk)) {
    away.delete(disk.id);
    return 'serving';
  }
  const isWanted =
    memberCount(state, disk.id) > 0 || (state.work.targetsOfDisk.get(disk.id) ?? 0) > 0;
  if (!isWanted && state.work.diskUses.get(disk.id) !== 'leaving') return 'unborn';
  const since = away.get(disk.id) ?? nowMs;
  away.set(disk.id, since);
  // After a mass failure everybody is expected back, however long it takes.
  if (isBraked(state)) return state.work.diskUses.get(disk.id) === 'leaving' ? 'leaving' : 'away';
  return nowMs - since >= rebuildWaitMs(state, disk.node) ? 'leaving' : 'away';
}

/** Half an hour: a reboot with a new kernel and a check of its file systems. */
const PLANNED_OUTAGE_MS = 1_800_000;

/** How long a node may be away before its replicas are made anew elsewhere: longer when somebody planned it. */
export function rebuildWaitMs(state: State, id: NodeId): number {
  const { rebuildAfterMs, plannedOutageMs = PLANNED_OUTAGE_MS } = state.options;
  const isPlanned = (state.facts.nodes.find(id)?.outageSinceMs ?? null) !== null;
  return isPlanned ? Math.max(rebuildAfterMs, plannedOutageMs) : rebuildAfterMs;
}

function describeChange(state: State, disk: DiskRecord, use: DiskUse, before: DiskUse): string {
  const name = `${formatDisk(disk.id)} on ${formatNode(disk.node)}`;
  if (use === 'serving') return before === 'unborn' ? `${name} is new` : `${name} is back`;
  if (use === 'away') return `${name} is expected back`;
  if (isDiskLost(disk)) return disk.phase === 'lost' ? `${name} is lost` : `${name} has failed`;
  if (isDiskLeaving(state, disk)) return `${name} is being drained`;
  return `${name} has been out of reach for ${formatDuration(rebuildWaitMs(state, disk.node))}`;
}
