/**
 * Replacing one disk by another one on the same node. The old disk is drained (or rebuilt from the others, when it is
 * dead); a free disk of its node is claimed for its pool, whatever bounds the pool has; and only when that one serves
 * and the old one is empty, the old one is given back. So nothing is lost when no other disk is offered: it waits.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import { type DiskId, formatDisk, formatNode } from '../../../shared/base/ids.ts';
import type { Command, CommandResult } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { memberCount } from '../members/members.ts';
import { describeNode, disksOf } from '../members/sessions.ts';
import { findDisk, heldBy, isReplaced } from '../nodes/nodes.ts';
import type { DiskKind, DiskRecord, JobRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** Claiming the new one, and giving back the old one. */
const STEPS = 2;

export function replaceDisk(
  state: State,
  command: Extract<Command, { kind: 'replace-disk' }>,
  now: Now,
): CommandResult {
  const disk = findDisk(state, command.disk);
  if (disk instanceof StorageError) return { kind: 'failed', error: disk };
  const subject = formatDisk(disk.id);
  const running = findRunningJob(state, 'replace', subject);
  if (running !== null) return { kind: 'done', id: running.id };
  const refusal = whyNot(state, disk, command.place);
  if (refusal !== null) {
    const text = `Cannot replace ${subject}: ${refusal}`;
    return { kind: 'failed', error: new StorageError('conflict', text, { disk: subject }) };
  }
  const replacement = { sinceMs: now.wallMs, place: command.place, by: null };
  state.facts.disks.update(disk.id, { isDraining: true, replacement });
  const drain = findRunningJob(state, 'drain', subject);
  if (drain !== null) endJob(state, drain, { phase: 'cancelled' }, now);
  const held = heldBy(state, [disk]);
  const where = command.place === null ? 'the next free disk' : `"${command.place}"`;
  const reason = `an operator replaces ${subject} by ${where} on ${formatNode(disk.node)}`;
  const movesTotal = held.movesTotal + STEPS;
  const { totalBytes } = held;
  const job = startJob(state, { kind: 'replace', subject, reason, movesTotal, totalBytes }, now);
  const message = `${subject} is being replaced by ${where} on ${formatNode(disk.node)}: ${held.movesTotal} replicas leave it, then it is given back to Mesos`;
  recordEvent(state, { severity: 'info', kind: 'disk.replacing', message, subject }, now);
  return { kind: 'done', id: job.id };
}

function whyNot(state: State, disk: DiskRecord, place: string | null): string | null {
  if (disk.phase === 'releasing') return 'it is being given back to Mesos already';
  const node = state.facts.nodes.get(disk.node);
  if (node.admin !== 'active') return `${describeNode(node)} is ${node.admin}`;
  if (place === null || !isPlace(place, disk.kind, disk.sourceRoot)) return null;
  return `"${place}" is its own place; drain it, change the device, then: cistern node activate ${formatNode(node.id)}`;
}

/** `/mnt/b`, `mount:/mnt/b`, `root`. */
function isPlace(place: string, kind: DiskKind, root: string | null): boolean {
  return place === (root ?? 'root') || place === `${kind}:${root ?? ''}`;
}

/** The disk on the node for which a free one at this place is wanted; null: none. */
export function findReplaced(
  state: State,
  node: { readonly id: DiskRecord['node'] } | null,
  free: { readonly kind: DiskKind; readonly root: string | null },
): DiskRecord | null {
  if (node === null) return null;
  for (const disk of disksOf(state, node.id)) {
    if (!isUnreplaced(disk)) continue;
    const place = disk.replacement?.place ?? null;
    if (place === null || isPlace(place, free.kind, free.root)) return disk;
  }
  return null;
}

/** Whether a replacement is wanted and none is claimed yet. */
export function isUnreplaced(disk: DiskRecord): boolean {
  return (disk.replacement ?? null) !== null && disk.replacement?.by === null;
}

/** The claim of the new disk is a fact of the same step. */
export function noteReplacement(state: State, old: DiskRecord, by: DiskId): void {
  const { replacement } = state.facts.disks.get(old.id);
  if (replacement === null || replacement === undefined) return;
  state.facts.disks.update(old.id, { replacement: { ...replacement, by } });
}

export function cancelReplacement(state: State, job: JobRecord, now: Now): CommandResult {
  for (const disk of state.facts.disks.values()) {
    if (formatDisk(disk.id) !== job.subject || disk.phase === 'releasing') continue;
    state.facts.disks.update(disk.id, { isDraining: false, replacement: null });
  }
  endJob(state, job, { phase: 'cancelled' }, now);
  return { kind: 'done', id: job.id };
}

/** Every tick: how far replacements are. */
export function superviseReplacements(state: State, now: Now): void {
  for (const job of state.facts.jobs.values()) {
    if (job.kind !== 'replace' || job.phase !== 'running') continue;
    const id = Number(job.subject.slice(1)) as DiskId;
    const disk = state.facts.disks.find(id);
    if (disk === undefined) finish(state, job, now);
    else follow(state, job, disk, now);
  }
}

function finish(state: State, job: JobRecord, now: Now): void {
  const whole = { movesDone: job.movesTotal, doneBytes: job.totalBytes };
  endJob(state, state.facts.jobs.update(job.id, whole), { phase: 'done' }, now);
  const message = `${job.subject} is replaced, and was given back to Mesos`;
  const event = { severity: 'info', kind: 'disk.replaced', message, subject: job.subject } as const;
  recordEvent(state, event, now);
}

function follow(state: State, job: JobRecord, disk: DiskRecord, now: Now): void {
  const replacement = disk.replacement ?? null;
  const isOver = replacement === null || (!disk.isDraining && disk.phase !== 'releasing');
  if (isOver || disk.phase === 'lost') {
    // Activated, or its node is gone: there is nothing to replace any more.
    state.facts.disks.update(disk.id, { replacement: null });
    endJob(state, job, { phase: 'cancelled' }, now);
    return;
  }
  if (replacement.by !== null && !state.facts.disks.has(replacement.by)) {
    // The claim was given up: the next free disk takes its turn.
    state.facts.disks.update(disk.id, { replacement: { ...replacement, by: null } });
  }
  const { movesTotal: held, totalBytes } = heldBy(state, [disk]);
  const left = held + (isReplaced(state, disk) ? 0 : 1) + 1;
  const total = Math.max(job.movesTotal, left);
  const doneBytes = Math.max(job.doneBytes, job.totalBytes - totalBytes);
  if (total === job.movesTotal && total - left === job.movesDone && doneBytes === job.doneBytes) {
    return;
  }
  state.facts.jobs.update(job.id, { movesTotal: total, movesDone: total - left, doneBytes });
}

/** What a disk that is replaced waits for, as one sentence. */
export function describeReplacement(state: State, disk: DiskRecord): string {
  const count = memberCount(state, disk.id);
  if (isUnreplaced(disk)) {
    const place = disk.replacement?.place ?? null;
    const what = place === null ? 'a free disk' : `the disk "${place}"`;
    return `Mesos has not offered ${what} of ${formatNode(disk.node)} that its pool may use; ${count} replicas are still on it`;
  }
  if (count > 0) return `${count} replicas are still on it`;
  return isReplaced(state, disk)
    ? 'it is being given back to Mesos'
    : 'the disk that takes over is being opened';
}
