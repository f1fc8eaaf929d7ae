/**
 * Who has to leave a PG, and who has become a full member (DESIGN 4).
 *
 * A member leaves without its consent only when its disk certainly serves nothing: the node's lease has
 * run out, its executor is dead, or the node itself reported the disk as failed; or when a gateway could not
 * reach it for long while its node lives. In each case another in-sync member must be serving: while
 * all of them are away nothing can be acked, so none has missed anything, and whoever comes back first
 * goes on.
 */
import type { DiskId, PgId } from '../../../shared/base/ids.ts';
import { formatDisk, formatNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { JoinReport, MemberFailure, NodeReport } from '../../../shared/model/node-report.ts';
import { takeFailures } from '../disks/disk-out.ts';
import { recordEvent } from '../events.ts';
import { creditMove } from '../jobs/jobs.ts';
import {
  isCertainlyNotServing,
  isDiskLost,
  isDiskRemovable,
  isDiskServingById,
  observedNode,
} from '../nodes/node-life.ts';
import type { DiskRecord, NodeRecord, PgRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { nextMapVersion } from './fencing.ts';
import { changeMembers, familyOf, isMember, isTrusted } from './members.ts';
import { addFailure } from './trust.ts';

/** Every tick and after whatever may end a node's or disk's service. */
export function removeLostMembers(state: State, now: Now): void {
  for (const id of suspectDisks(state, now)) {
    const pgs = state.work.pgsOfDisk.get(id);
    if (pgs === undefined || pgs.size === 0) continue;
    const disk = state.facts.disks.get(id);
    const node = state.facts.nodes.get(disk.node);
    const isLost = isDiskLost(disk) || isCertainlyNotServing(state, node, now.ms);
    // A joining copy is nobody's source and may go as soon as its node is being shut out.
    if (!isLost && !node.isFenced) continue;
    removeDisk(state, { disk, node, pgs: [...pgs], isLost }, now);
  }
}

/** Disks that are lost, or on nodes that are (or may be) gone, in order of number: few, but for a storm. */
function suspectDisks(state: State, now: Now): readonly DiskId[] {
  const { nodes, diskIndex } = state.facts;
  const found = new Set(diskIndex.lost);
  for (const node of nodes.values()) {
    if (!node.isFenced && !isCertainlyNotServing(state, node, now.ms)) continue;
    for (const id of diskIndex.ofNode(node.id)) found.add(id);
  }
  return [...found].sort((a, b) => a - b);
}

/** What a node's joins and its gateways' complaints mean. */
export function onMemberReports(
  state: State,
  node: NodeRecord,
  report: NodeReport,
  now: Now,
): void {
  if (node.isFenced) return;
  for (const join of report.joins) if (join.isComplete) promote(state, node, join, now);
  for (const failure of report.failures) removeFailed(state, failure, report.failures, now);
}

interface Leaving {
  readonly disk: DiskRecord;
  readonly node: NodeRecord;
  readonly pgs: readonly PgId[];
  readonly isLost: boolean;
}

function removeDisk(state: State, leaving: Leaving, now: Now): void {
  const { disk, node } = leaving;
  // A disk that failed, or was given up, is no use to anybody; a node that is away may be one of several
  // that went together. One whose loss is news of this very step has gone now.
  const isGivenUp = isDiskLost(disk) || node.admin === 'gone';
  const sinceMs = isGivenUp
    ? Number.NEGATIVE_INFINITY
    : (observedNode(state, node.id).awaySinceMs ?? now.ms);
  let isChanged = false;
  let count = 0;
  for (const id of leaving.pgs) {
    const pg = state.facts.pgs.get(id);
    if (pg.joining.includes(disk.id)) {
      const joining = pg.joining.filter((other) => other !== disk.id);
      changeMembers(state, id, { inSync: pg.inSync, joining });
      isChanged = true;
    } else if (leaving.isLost && hasOtherServing(state, pg, [disk.id], sinceMs)) {
      const inSync = pg.inSync.filter((other) => other !== disk.id);
      changeMembers(state, id, { inSync, joining: pg.joining });
      isChanged = true;
      count += 1;
    }
  }
  // Only then: who holds the last copy stays a member, and has to find its way back.
  if (isChanged && node.isFenced)
    observedNode(state, node.id).requiredVersion = nextMapVersion(state);
  if (count === 0) return;
  const why = isDiskLost(disk) ? disk.error || disk.phase : 'its node certainly serves nothing';
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'disk.left',
      message: `${formatDisk(disk.id)} on ${formatNode(node.id)} left ${count} PGs (${why}); the others go on without it`,
      subject: formatDisk(disk.id),
    },
    now,
  );
}

/**
 * Another in-sync member, one with its memory, takes and gives data now, and has been heard after `sinceMs`:
 * of nodes that go down together some look alive for a while. `without` do not count.
 */
function hasOtherServing(
  state: State,
  pg: PgRecord,
  without: readonly DiskId[],
  sinceMs = Number.NEGATIVE_INFINITY,
): boolean {
  return pg.inSync.some(
    (disk) =>
      !without.includes(disk) &&
      isTrusted(pg, disk) &&
      isDiskServingById(state, disk) &&
      observedNode(state, state.facts.disks.get(disk).node).lastReportAtMs > sinceMs,
  );
}

/** A join that is complete under the current epoch becomes a full member; who leaves goes with it. */
function promote(state: State, node: NodeRecord, join: JoinReport, now: Now): void {
  const pg = state.facts.pgs.find(join.pg);
  if (pg === undefined || pg.epoch !== join.epoch || !pg.joining.includes(join.disk)) return;
  const disk = state.facts.disks.find(join.disk);
  if (disk === undefined || disk.node !== node.id || !isDiskServingById(state, disk.id)) return;
  creditMove(state, pg, join.doneBytes);
  const joining = pg.joining.filter((other) => other !== join.disk);
  const inSync = leaveOut(state, pg, [...pg.inSync, join.disk], now);
  changeMembers(state, pg.id, { inSync, joining });
}

/** The in-sync members after a promotion: those on their way out go as far as redundancy allows. */
function leaveOut(
  state: State,
  pg: PgRecord,
  inSync: readonly DiskId[],
  now: Now,
): readonly DiskId[] {
  const extras = inSync.filter(
    (disk) => !pg.target.includes(disk) && isDiskRemovable(state, disk, now.ms),
  );
  // Members that do not serve now count for nothing: they may never come back.
  const isServing = (disk: DiskId): boolean => isDiskServingById(state, disk);
  if (pg.target.every((disk) => inSync.includes(disk) && isServing(disk))) {
    return inSync.filter((disk) => !extras.includes(disk));
  }
  const { replicas } = familyOf(state, pg.id);
  const surplus = Math.max(0, inSync.length - replicas);
  const servingSurplus = Math.max(0, inSync.filter(isServing).length - replicas);
  const leaving = [
    ...extras.filter((disk) => !isServing(disk)),
    ...extras.filter(isServing).slice(0, servingSurplus),
  ].slice(0, surplus);
  return inSync.filter((disk) => !leaving.includes(disk));
}

/** A living node's disk that a gateway could not reach for long. */
function removeFailed(
  state: State,
  failure: MemberFailure,
  all: readonly MemberFailure[],
  now: Now,
): void {
  if (failure.sinceMs < patienceMs(state, failure.disk)) return;
  const pg = state.facts.pgs.find(failure.pg);
  if (pg === undefined || pg.epoch !== failure.epoch || !isMember(pg, failure.disk)) return;
  // Nothing is sent there before suspects.ts has decided: a complaint says nothing new.
  if (pg.suspects !== undefined) return;
  // In whichever PG: what does not answer there is no reason to do without somebody here.
  const alsoFailing = all.map((other) => other.disk);
  // A node that fell silent when the failure began is a matter of its lease, not of one disk.
  const node = state.facts.disks.get(failure.disk).node;
  const heardAtMs = observedNode(state, node).lastReportAtMs;
  if (heardAtMs <= now.ms - failure.sinceMs || !isDiskRemovable(state, failure.disk, now.ms))
    return;
  // The gateway must be able to go on with somebody.
  if (pg.inSync.includes(failure.disk) && !hasOtherServing(state, pg, alsoFailing)) return;
  const without = (disks: readonly DiskId[]): DiskId[] => disks.filter((d) => d !== failure.disk);
  changeMembers(state, pg.id, { inSync: without(pg.inSync), joining: without(pg.joining) });
  distrust(state, failure, now);
}

/** A disk whose own node says that its store is not open cannot answer: half the patience is enough. */
function patienceMs(state: State, disk: DiskId): number {
  const { memberFailureMs } = state.options;
  return isDiskServingById(state, disk) ? memberFailureMs : memberFailureMs / 2;
}

function distrust(state: State, failure: MemberFailure, now: Now): void {
  const { disk } = failure;
  const known = state.work.distrust.get(disk);
  // Failures of one moment, in many PGs, are one reason.
  if (known !== undefined && now.ms < known.untilMs) return;
  const next = addFailure(known, 0, now.ms);
  state.work.distrust.set(disk, next);
  takeFailures(state, disk, next.failures, now);
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'disk.unreachable',
      message: `${formatDisk(disk)} was left out of PGs because a gateway could not use it (${failure.reason}); it is asked back after ${formatDuration(next.pauseMs)}`,
      subject: formatDisk(disk),
    },
    now,
  );
}
