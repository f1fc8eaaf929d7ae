/**
 * Attachments: which node coordinates a volume's I/O (DESIGN 5). A volume moves on a clean detach, when the
 * old node certainly serves nothing, or on the operator's word; each attachment has a new generation.
 *
 *   detached ──attach──▶ attached ──detach──▶ detaching ──gateway has closed──▶ detached
 *                           └──── node certainly serves nothing, or forced ──────▲
 *
 * A command that has to wait is answered later: at once when its condition holds, with an explanation
 * at its deadline. What it began goes on after that.
 */
import { StorageError } from '../../shared/base/errors.ts';
import { formatNode, formatVolume, type NodeId } from '../../shared/base/ids.ts';
import { formatDuration } from '../../shared/base/units.ts';
import type { AttachmentReport } from '../../shared/model/node-report.ts';
import type { Command, CommandResult, Effect } from './contract.ts';
import { recordEvent } from './events.ts';
import { nextMapVersion } from './members/fencing.ts';
import { describeNode } from './members/sessions.ts';
import { isCertainlyNotServing, isNodeUp } from './nodes/node-life.ts';
import type { NodeRecord, VolumeRecord } from './records.ts';
import type { Now, State } from './state.ts';
import { findVolume } from './volumes.ts';
import type { PendingCommand } from './work.ts';

type Attach = Extract<Command, { kind: 'attach-volume' }>;
type Detach = Extract<Command, { kind: 'detach-volume' }>;

/** Several leases, and longer than a gateway needs to flush and close. */
const WAIT_MS = 30_000;
/** Answers that are waited for at a time. */
const PENDING_MAX = 1000;

/** null: the answer comes later. */
export function attachVolume(
  state: State,
  requestId: string,
  command: Attach,
  now: Now,
): CommandResult | null {
  const volume = findVolume(state, command.volume);
  if (volume instanceof StorageError) return { kind: 'failed', error: volume };
  const isHeld = volume.attachedTo !== null && !mayLeave(state, volume, now.ms);
  if (command.node === null && isHeld && !volume.isDetaching && !command.isForced) {
    return { kind: 'done', id: volume.id };
  }
  const node = chooseNode(state, command);
  if (node instanceof StorageError) return { kind: 'failed', error: node };
  if (volume.attachedTo === node.id && !volume.isDetaching) return { kind: 'done', id: volume.id };
  if (!isHeld || command.isForced) {
    attachNow(state, volume, node, now);
    return { kind: 'done', id: volume.id };
  }
  // Its node may have died a moment ago: the next report refuses this, or silence lets it happen.
  return wait(state, { requestId, kind: 'attach', volume: volume.id, node: node.id }, now);
}

/** null: the answer comes later. */
export function detachVolume(
  state: State,
  requestId: string,
  command: Detach,
  now: Now,
): CommandResult | null {
  const volume = findVolume(state, command.volume);
  if (volume instanceof StorageError) return { kind: 'failed', error: volume };
  if (volume.attachedTo === null) return { kind: 'done', id: volume.id };
  if (command.isForced || mayLeave(state, volume, now.ms)) {
    detachNow(state, volume, command.isForced ? 'by force' : 'its node serves nothing', now);
    return { kind: 'done', id: volume.id };
  }
  if (!volume.isDetaching) {
    state.facts.volumes.update(volume.id, { isDetaching: true });
    state.work.detaching.set(volume.id, nextMapVersion(state));
  }
  return wait(state, { requestId, kind: 'detach', volume: volume.id, node: null }, now);
}

/** After every step that may matter: detaches that are done, and answers that are due. */
export function settleAttachments(state: State, now: Now): Effect[] {
  for (const [id, version] of state.work.detaching) {
    const volume = state.facts.volumes.find(id);
    if (volume === undefined || !volume.isDetaching) {
      state.work.detaching.delete(id);
    } else if (hasClosed(state, volume, version)) {
      detachNow(state, volume, 'its gateway has closed', now);
    } else if (mayLeave(state, volume, now.ms)) {
      detachNow(state, volume, 'its node certainly serves nothing', now);
    }
  }
  return answerPending(state, now);
}

/** What the node says of the volume's present attachment; null when it does not mention it. */
export function findAttachmentReport(state: State, volume: VolumeRecord): AttachmentReport | null {
  if (volume.attachedTo === null) return null;
  const reports = state.nodes.get(volume.attachedTo)?.report?.attachments ?? [];
  return (
    reports.find(
      (report) => report.volume === volume.id && report.generation === volume.generation,
    ) ?? null
  );
}

/** The node is up, and has reported since then. */
function isHeardSince(state: State, node: NodeRecord, sinceMs: number): boolean {
  return isNodeUp(state, node) && (state.nodes.get(node.id)?.lastReportAtMs ?? sinceMs) > sinceMs;
}

/** Nobody can serve the present generation any more. */
function mayLeave(state: State, volume: VolumeRecord, nowMs: number): boolean {
  if (volume.attachedTo === null) return true;
  const node = state.facts.nodes.find(volume.attachedTo);
  return node === undefined || isCertainlyNotServing(state, node, nowMs);
}

function refuseHeld(volume: VolumeRecord, node: NodeRecord, holder: NodeRecord): CommandResult {
  const error = new StorageError(
    'conflict',
    `Cannot attach volume "${volume.name}" to ${describeNode(node)}: it is attached to ${describeNode(holder)}; detach it first, or use force if that node is dead`,
    { volume: formatVolume(volume.id), attachedTo: formatNode(holder.id) },
  );
  return { kind: 'failed', error };
}

function chooseNode(state: State, command: Attach): NodeRecord | StorageError {
  if (command.node === null) {
    const chosen = leastBusyNode(state);
    if (chosen !== null) return chosen;
    return new StorageError('unavailable', 'Cannot attach the volume: no active node is up', {});
  }
  const node = state.facts.nodes.find(command.node);
  const name = formatNode(command.node);
  if (node === undefined || node.admin === 'gone') {
    return new StorageError('not-found', `There is no node ${name}`, { node: name });
  }
  if (isNodeUp(state, node)) return node;
  return new StorageError(
    'unavailable',
    `Cannot attach the volume to ${describeNode(node)}: the node is not up`,
    { node: name },
  );
}

/** Fewest attachments, then the lowest number; one whose maintenance is near only when there is no other. */
function leastBusyNode(state: State): NodeRecord | null {
  return findLeastBusy(state, false) ?? findLeastBusy(state, true);
}

function findLeastBusy(state: State, isAnyTaken: boolean): NodeRecord | null {
  const counts = new Map<NodeId, number>();
  for (const volume of state.facts.volumes.values()) {
    if (volume.attachedTo === null) continue;
    counts.set(volume.attachedTo, (counts.get(volume.attachedTo) ?? 0) + 1);
  }
  let best: NodeRecord | null = null;
  for (const node of state.facts.nodes.values()) {
    if (node.admin !== 'active' || !isNodeUp(state, node)) continue;
    if (!isAnyTaken && state.work.avoidedNodes.has(node.id)) continue;
    if (best !== null && (counts.get(node.id) ?? 0) >= (counts.get(best.id) ?? 0)) continue;
    best = node;
  }
  return best;
}

function attachNow(state: State, volume: VolumeRecord, node: NodeRecord, now: Now): void {
  const before = volume.attachedTo;
  const generation = volume.generation + 1;
  state.facts.volumes.update(volume.id, { attachedTo: node.id, generation, isDetaching: false });
  state.work.detaching.delete(volume.id);
  state.work.ioSamples.delete(volume.id);
  const from = before === null ? '' : `, taken from ${formatNode(before)}`;
  const message = `Volume "${volume.name}" is attached to ${describeNode(node)}${from} (generation ${generation})`;
  const subject = formatVolume(volume.id);
  recordEvent(state, { severity: 'info', kind: 'volume.attached', message, subject }, now);
}

function detachNow(state: State, volume: VolumeRecord, why: string, now: Now): void {
  const from = volume.attachedTo === null ? 'its node' : formatNode(volume.attachedTo);
  state.facts.volumes.update(volume.id, { attachedTo: null, isDetaching: false });
  state.work.detaching.delete(volume.id);
  state.work.ioSamples.delete(volume.id);
  const message = `Volume "${volume.name}" was detached from ${from}: ${why}`;
  const subject = formatVolume(volume.id);
  recordEvent(state, { severity: 'info', kind: 'volume.detached', message, subject }, now);
}

/** The gateway knows that it is to close, and no longer mentions the generation. */
function hasClosed(state: State, volume: VolumeRecord, version: number): boolean {
  if (volume.attachedTo === null) return true;
  const node = state.facts.nodes.find(volume.attachedTo);
  if (node === undefined || !isNodeUp(state, node)) return false;
  const report = state.nodes.get(node.id)?.report;
  if (report === null || report === undefined || report.mapVersion < version) return false;
  return findAttachmentReport(state, volume) === null;
}

function wait(
  state: State,
  pending: Omit<PendingCommand, 'sinceMs' | 'deadlineMs'>,
  now: Now,
): CommandResult | null {
  if (state.work.pending.length >= PENDING_MAX) {
    const text = `Cannot wait for another ${pending.kind}: ${PENDING_MAX} are waiting already`;
    return { kind: 'failed', error: new StorageError('unavailable', text) };
  }
  state.work.pending.push({ ...pending, sinceMs: now.ms, deadlineMs: now.ms + WAIT_MS });
  return null;
}

function answerPending(state: State, now: Now): Effect[] {
  const { pending } = state.work;
  if (pending.length === 0) return [];
  const effects: Effect[] = [];
  const still: PendingCommand[] = [];
  for (const command of pending) {
    const result = resolve(state, command, now);
    if (result === null) still.push(command);
    else effects.push({ kind: 'reply', requestId: command.requestId, result });
  }
  pending.splice(0, pending.length, ...still);
  return effects;
}

function resolve(state: State, command: PendingCommand, now: Now): CommandResult | null {
  const volume = findVolume(state, command.volume);
  if (volume instanceof StorageError) return { kind: 'failed', error: volume };
  if (command.kind === 'detach') {
    // Detached, or attached anew by somebody else: the attachment that this was about is over.
    if (!volume.isDetaching) return { kind: 'done', id: volume.id };
  } else {
    const node = command.node === null ? undefined : state.facts.nodes.find(command.node);
    if (node !== undefined && mayLeave(state, volume, now.ms) && isNodeUp(state, node)) {
      attachNow(state, volume, node, now);
      return { kind: 'done', id: volume.id };
    }
    if (node !== undefined && volume.attachedTo !== null && !volume.isDetaching) {
      if (volume.attachedTo === node.id) return { kind: 'done', id: volume.id };
      // The old node lives after all, or somebody else got the volume.
      const holder = state.facts.nodes.get(volume.attachedTo);
      if (isHeardSince(state, holder, command.sinceMs)) return refuseHeld(volume, node, holder);
    }
  }
  if (now.ms < command.deadlineMs) return null;
  return { kind: 'failed', error: explainTimeout(state, command, volume) };
}

function explainTimeout(state: State, command: PendingCommand, volume: VolumeRecord): StorageError {
  const holder = volume.attachedTo === null ? '' : formatNode(volume.attachedTo);
  const report = findAttachmentReport(state, volume);
  const why =
    report !== null
      ? `its gateway on ${holder} is ${report.status}${report.reason === '' ? '' : ` (${report.reason})`}`
      : holder === ''
        ? 'the node it should go to is not up'
        : `${holder} is out of reach and may still hold a lease`;
  return new StorageError(
    'timeout',
    `Waited ${formatDuration(WAIT_MS)} to ${command.kind} volume "${volume.name}", but ${why}; a detach that has begun goes on`,
    { volume: formatVolume(volume.id), attachedTo: holder === '' ? null : holder },
  );
}
