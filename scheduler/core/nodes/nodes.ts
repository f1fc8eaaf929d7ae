/**
 * What operators do with nodes and disks: drain, activate (forget: node-forget.ts). A drain marks; the planners move the
 * data; this file sees when it is done. A drained disk is given back to Mesos, a drained node keeps its
 * empty disks until it is activated or forgotten.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import { type DiskId, formatDisk, formatNode, type NodeId } from '../../../shared/base/ids.ts';
import type { CommandResult } from '../contract.ts';
import { diskUse } from '../disks/disk-use.ts';
import { describeForeign } from '../disks/foreign-data.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { changeMembers, familyOf, memberCount } from '../members/members.ts';
import { describeNode, disksOf, setDiskPhase } from '../members/sessions.ts';
import type { DiskRecord, NodeRecord, PgRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { isDiskLost, isDiskServing } from './node-life.ts';

export function drainNode(state: State, id: NodeId, now: Now): CommandResult {
  const node = findNode(state, id);
  if (node instanceof StorageError) return { kind: 'failed', error: node };
  const subject = formatNode(id);
  const leaving = findRunningJob(state, 'decommission', subject);
  if (leaving !== null) return { kind: 'done', id: leaving.id };
  if (node.admin === 'drained') return { kind: 'done', id: null };
  const running = findRunningJob(state, 'drain', subject);
  if (node.admin === 'draining' && running !== null) return { kind: 'done', id: running.id };
  state.facts.nodes.update(id, { admin: 'draining' });
  const held = heldBy(state, disksOf(state, id));
  const reason = `an operator drains ${describeNode(node)}`;
  // A maintenance window may be emptying it already: from now on it is the operator's drain.
  const job = running ?? startJob(state, { kind: 'drain', subject, reason, ...held }, now);
  const message = `${describeNode(node)} is being drained: ${held.movesTotal} replicas move away; attached volumes stay until they are detached`;
  recordEvent(state, { severity: 'info', kind: 'node.draining', message, subject }, now);
  return { kind: 'done', id: job.id };
}

export function activateNode(state: State, id: NodeId, now: Now): CommandResult {
  const node = findNode(state, id);
  if (node instanceof StorageError) return { kind: 'failed', error: node };
  // Disks that were given back may be claimed again: that is what the operator asks for, too.
  const isWithheld = (node.withheldPlaces ?? []).length > 0;
  if (node.admin === 'active' && !isWithheld) return { kind: 'done', id: null };
  const subject = formatNode(id);
  const isLeaving = (node.decommission ?? null) !== null;
  if (isLeaving && disksOf(state, id).every((disk) => disk.phase === 'releasing')) {
    const text = `Cannot activate ${describeNode(node)}: its disks are being given back to Mesos`;
    return { kind: 'failed', error: new StorageError('conflict', text, { node: subject }) };
  }
  state.facts.nodes.update(id, {
    admin: 'active',
    withheldPlaces: [],
    ...(isLeaving ? { decommission: null } : {}),
  });
  for (const kind of ['drain', 'decommission'] as const) {
    const job = findRunningJob(state, kind, subject);
    if (job !== null) endJob(state, job, { phase: 'cancelled' }, now);
  }
  const message = `${describeNode(node)} may hold data again: an operator activated it`;
  recordEvent(state, { severity: 'info', kind: 'node.activated', message, subject }, now);
  return { kind: 'done', id: null };
}

export function drainDisk(state: State, id: DiskId, now: Now): CommandResult {
  const disk = findDisk(state, id);
  if (disk instanceof StorageError) return { kind: 'failed', error: disk };
  const subject = formatDisk(id);
  const running = findRunningJob(state, 'drain', subject);
  if (disk.isDraining) return { kind: 'done', id: running?.id ?? null };
  if (disk.phase === 'releasing') return { kind: 'done', id: null };
  if ((disk.foreign ?? null) !== null) {
    const text = `Cannot give ${subject} back, Mesos would delete what is in it: ${describeForeign(state, disk)}`;
    return { kind: 'failed', error: new StorageError('conflict', text, { disk: subject }) };
  }
  state.facts.disks.update(id, { isDraining: true });
  const held = heldBy(state, [disk]);
  const reason = `an operator drains ${subject} on ${formatNode(disk.node)}`;
  const job = startJob(state, { kind: 'drain', subject, reason, ...held }, now);
  const message = `${subject} is being drained: ${held.movesTotal} replicas move away, then it is given back to Mesos`;
  recordEvent(state, { severity: 'info', kind: 'disk.draining', message, subject }, now);
  return { kind: 'done', id: job.id };
}

/** Takes a drain back, or tries a failed disk again. */
export function activateDisk(state: State, id: DiskId, now: Now): CommandResult {
  const disk = findDisk(state, id);
  if (disk instanceof StorageError) return { kind: 'failed', error: disk };
  const subject = formatDisk(id);
  if (disk.phase === 'releasing') {
    const text = `Cannot activate ${subject}: it is being given back to Mesos`;
    return { kind: 'failed', error: new StorageError('conflict', text, { disk: subject }) };
  }
  if (disk.isDraining) {
    state.facts.disks.update(id, { isDraining: false });
    const job = findRunningJob(state, 'drain', subject);
    if (job !== null) endJob(state, job, { phase: 'cancelled' }, now);
  }
  const present = state.facts.disks.get(id);
  if (present.phase === 'failed') {
    setDiskPhase(
      state,
      present,
      { phase: 'down', error: 'an operator asked to try it again' },
      now,
    );
  }
  const message = `${subject} may hold data again: an operator activated it`;
  recordEvent(state, { severity: 'info', kind: 'disk.activated', message, subject }, now);
  return { kind: 'done', id: null };
}

/** Every tick: drains that are done, disks that are empty, PGs that lost everything. */
export function superviseDrains(state: State, now: Now): void {
  for (const node of state.facts.nodes.values()) {
    if (node.admin === 'draining') followNodeDrain(state, node, now);
  }
  for (const disk of state.facts.disks.values()) {
    if (disk.isDraining && disk.phase !== 'releasing') followDiskDrain(state, disk, now);
    if (disk.phase === 'lost' || disk.phase === 'failed') renewPgsOf(state, disk, now);
    if (disk.phase === 'lost') buryLostDisk(state, disk);
  }
}

function followNodeDrain(state: State, node: NodeRecord, now: Now): void {
  const subject = formatNode(node.id);
  const isEmpty = followDrain(state, subject, disksOf(state, node.id), now);
  if (!isEmpty) return;
  state.facts.nodes.update(node.id, { admin: 'drained' });
  const message = `${describeNode(node)} is drained: it holds no replica any more and may be taken out`;
  recordEvent(state, { severity: 'info', kind: 'node.drained', message, subject }, now);
}

function followDiskDrain(state: State, disk: DiskRecord, now: Now): void {
  const subject = formatDisk(disk.id);
  if (!followDrain(state, subject, [disk], now) || !isReplaced(state, disk)) return;
  setDiskPhase(state, disk, { phase: 'releasing', error: '' }, now);
  const message = `${subject} on ${formatNode(disk.node)} is empty and is given back to Mesos`;
  recordEvent(state, { severity: 'info', kind: 'disk.drained', message, subject }, now);
}

/** Whether an empty disk may be given back: not before its replacement serves. */
export function isReplaced(state: State, disk: DiskRecord): boolean {
  const replacement = disk.replacement ?? null;
  if (replacement === null) return true;
  const by = replacement.by === null ? undefined : state.facts.disks.find(replacement.by);
  return by?.phase === 'serving';
}

/** Counts a drain's progress; whether it is complete. */
export function followDrain(
  state: State,
  subject: string,
  disks: readonly DiskRecord[],
  now: Now,
): boolean {
  const left = disks.reduce((sum, disk) => sum + memberCount(state, disk.id), 0);
  const job = findRunningJob(state, 'drain', subject);
  if (job !== null) {
    const movesTotal = Math.max(job.movesTotal, left);
    const movesDone = movesTotal - left;
    if (movesDone !== job.movesDone || movesTotal !== job.movesTotal) {
      const { totalBytes } = heldBy(state, disks);
      const doneBytes = Math.max(job.doneBytes, job.totalBytes - totalBytes);
      state.facts.jobs.update(job.id, { movesTotal, movesDone, doneBytes });
    }
    if (left === 0) {
      const done = state.facts.jobs.update(job.id, { doneBytes: job.totalBytes });
      endJob(state, done, { phase: 'done' }, now);
    }
  }
  return left === 0 && disks.every((disk) => (state.work.targetsOfDisk.get(disk.id) ?? 0) === 0);
}

/** A PG that has nothing left may begin anew. */
function renewPgsOf(state: State, disk: DiskRecord, now: Now): void {
  for (const id of [...(state.work.pgsOfDisk.get(disk.id) ?? [])]) {
    renewPg(state, state.facts.pgs.get(id), now);
  }
}

/** A lost disk is forgotten once no PG names it. */
export function buryLostDisk(state: State, disk: DiskRecord): void {
  const isNamed =
    memberCount(state, disk.id) > 0 || (state.work.targetsOfDisk.get(disk.id) ?? 0) > 0;
  if (isNamed) return;
  state.facts.disks.delete(disk.id);
  state.disks.delete(disk.id);
  state.work.diskUses.delete(disk.id);
  state.work.diskAwaySinceMs.delete(disk.id);
  state.work.pgsOfDisk.delete(disk.id);
  state.work.targetsOfDisk.delete(disk.id);
}

/**
 * All in-sync members of the PG are lost or failed, and with them its data. As long as a volume has extents there
 * nobody may pretend otherwise; without volumes the PG starts empty on disks that serve.
 */
function renewPg(state: State, pg: PgRecord, now: Now): void {
  const { facts } = state;
  const isHopeless = pg.inSync.every((id) => {
    const disk = facts.disks.find(id);
    return disk === undefined || isDiskLost(disk);
  });
  if (!isHopeless) return;
  const family = familyOf(state, pg.id);
  for (const volume of facts.volumes.values()) {
    if (volume.phase === 'ready' && volume.pgBase === family.pgBase) return;
  }
  const fresh = pg.target.filter((id) => {
    const disk = facts.disks.find(id);
    return disk !== undefined && diskUse(state, disk) === 'serving' && isDiskServing(state, disk);
  });
  if (fresh.length === 0) return;
  changeMembers(state, pg.id, { inSync: fresh, joining: [] });
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'pg.renewed',
      message: `PGs with ${family.replicas} replicas of pool "${family.pool}" whose data was lost begin anew, empty: no volume uses them`,
      subject: family.pool,
    },
    now,
  );
}

export function heldBy(
  state: State,
  disks: readonly DiskRecord[],
): { readonly movesTotal: number; readonly totalBytes: number } {
  let movesTotal = 0;
  let totalBytes = 0;
  for (const disk of disks) {
    for (const pg of state.work.pgsOfDisk.get(disk.id) ?? []) {
      movesTotal += 1;
      totalBytes += state.pgBytes.get(pg) ?? 0;
    }
  }
  return { movesTotal, totalBytes };
}

/** Or why nothing can be done with it. */
export function findNode(state: State, id: NodeId): NodeRecord | StorageError {
  const node = state.facts.nodes.find(id);
  const name = formatNode(id);
  if (node === undefined) {
    return new StorageError('not-found', `There is no node ${name}`, { node: name });
  }
  if (node.admin !== 'gone') return node;
  return new StorageError('conflict', `${name} (${node.hostname}) was forgotten already`, {
    node: name,
  });
}

export function findDisk(state: State, id: DiskId): DiskRecord | StorageError {
  const disk = state.facts.disks.find(id);
  if (disk !== undefined && disk.phase !== 'lost') return disk;
  const name = formatDisk(id);
  return new StorageError('not-found', `There is no disk ${name}`, { disk: name });
}
