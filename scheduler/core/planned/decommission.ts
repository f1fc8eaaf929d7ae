/**
 * Taking a node out for good, in an order that costs no redundancy:
 *
 *   drain ──▶ its disks are given back (DESTROY, UNRESERVE) ──▶ its executor is shut down, its share given back ──▶ gone
 *
 * The order is a durable mark at the node; every tick looks where it is, so a new manager goes on where another
 * stopped. What is destroyed carries our labels and belongs to a disk whose record says `releasing`
 * (offer-release.ts); the node counts as gone only when an offer of its agent has shown nothing of ours any more.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import { formatDisk, formatNode, type NodeId } from '../../../shared/base/ids.ts';
import type { CommandResult } from '../contract.ts';
import { whyKept } from '../disks/foreign-data.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { nextMapVersion } from '../members/fencing.ts';
import { memberCount } from '../members/members.ts';
import { describeNode, disksOf, setDiskPhase } from '../members/sessions.ts';
import { observedHost } from '../mesos/mesos-state.ts';
import { findNode, heldBy } from '../nodes/nodes.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

export function isDecommissioned(node: NodeRecord): boolean {
  return (node.decommission ?? null) !== null;
}

export function decommissionNode(state: State, id: NodeId, now: Now): CommandResult {
  const node = findNode(state, id);
  if (node instanceof StorageError) return { kind: 'failed', error: node };
  const subject = formatNode(id);
  const running = findRunningJob(state, 'decommission', subject);
  if (isDecommissioned(node) && running !== null) return { kind: 'done', id: running.id };
  const admin = node.admin === 'drained' ? 'drained' : 'draining';
  state.facts.nodes.update(id, { admin, decommission: { sinceMs: now.wallMs } });
  const drain = findRunningJob(state, 'drain', subject);
  if (drain !== null) endJob(state, drain, { phase: 'cancelled' }, now);
  const disks = disksOf(state, id);
  const held = heldBy(state, disks);
  const reason = `an operator takes ${describeNode(node)} out for good`;
  const movesTotal = held.movesTotal + stepsOf(disks);
  const job = startJob(
    state,
    { kind: 'decommission', subject, reason, movesTotal, totalBytes: held.totalBytes },
    now,
  );
  const message = `${describeNode(node)} is taken out for good: ${held.movesTotal} replicas move away, then ${disks.length} disks are given back to Mesos, then its executor ends`;
  recordEvent(state, { severity: 'warning', kind: 'node.decommissioning', message, subject }, now);
  return { kind: 'done', id: job.id };
}

/** Each disk is one step, and the executor another one. */
function stepsOf(disks: readonly DiskRecord[]): number {
  return disks.length + 1;
}

/** Every tick: the next step of each node that is taken out. */
export function superviseDecommissions(state: State, now: Now): void {
  for (const node of state.facts.nodes.values()) {
    if (isDecommissioned(node)) advance(state, node, now);
  }
}

function advance(state: State, node: NodeRecord, now: Now): void {
  const subject = formatNode(node.id);
  const job = findRunningJob(state, 'decommission', subject);
  if (node.admin === 'gone') {
    // Forgotten meanwhile: its disks count as lost, nothing is given back any more.
    state.facts.nodes.update(node.id, { decommission: null });
    if (job !== null) endJob(state, job, { phase: 'cancelled' }, now);
    return;
  }
  const disks = disksOf(state, node.id);
  const { movesTotal: replicas, totalBytes } = heldBy(state, disks);
  if (job !== null) {
    const left = replicas + stepsOf(disks);
    const total = Math.max(job.movesTotal, left);
    const doneBytes = Math.max(job.doneBytes, job.totalBytes - totalBytes);
    if (total !== job.movesTotal || total - left !== job.movesDone || doneBytes > job.doneBytes) {
      const progress = { movesTotal: total, movesDone: total - left, doneBytes };
      state.facts.jobs.update(job.id, progress);
    }
  }
  if (node.admin !== 'drained' || attachedThere(state, node).length > 0) return;
  for (const disk of disks) {
    if (disk.phase === 'releasing' || disk.phase === 'lost') continue;
    // Data of others, or what nobody has looked at: Mesos would delete it.
    if (whyKept(state, disk) !== null) continue;
    setDiskPhase(state, disk, { phase: 'releasing', error: '' }, now);
  }
  if (disks.length === 0) finish(state, node, now);
}

/** Names of volumes that are attached to the node; nothing is given back before they are gone. */
export function attachedThere(state: State, node: NodeRecord): readonly string[] {
  const names: string[] = [];
  for (const volume of state.facts.volumes.values()) {
    if (volume.attachedTo === node.id) names.push(volume.name);
  }
  return names;
}

function finish(state: State, node: NodeRecord, now: Now): void {
  const { emptySinceMs } = state.work;
  const sinceMs = emptySinceMs.get(node.id) ?? now.ms;
  emptySinceMs.set(node.id, sinceMs);
  // Seen by this manager: an offer that lists nothing of ours, and no executor of ours.
  if (observedHost(state.mesos, node.id).cleanOfferAtMs < sinceMs) return;
  emptySinceMs.delete(node.id);
  state.facts.nodes.update(node.id, {
    admin: 'gone',
    decommission: null,
    removedAtVersion: nextMapVersion(state),
  });
  const subject = formatNode(node.id);
  const job = findRunningJob(state, 'decommission', subject);
  if (job !== null) {
    const { movesTotal, totalBytes } = job;
    const whole = { movesDone: movesTotal, doneBytes: totalBytes };
    endJob(state, state.facts.jobs.update(job.id, whole), { phase: 'done' }, now);
  }
  const message = `${describeNode(node)} is taken out: its volumes are destroyed, and Mesos offers what was reserved there to everybody`;
  recordEvent(state, { severity: 'info', kind: 'node.decommissioned', message, subject }, now);
}

/** What a node that is taken out waits for, as one sentence. */
export function describeDecommission(state: State, node: NodeRecord): string {
  const disks = disksOf(state, node.id);
  const replicas = disks.reduce((sum, disk) => sum + memberCount(state, disk.id), 0);
  if (replicas > 0) return `${replicas} replicas are still to move to other nodes`;
  const [volume] = attachedThere(state, node);
  if (volume !== undefined) return `volume "${volume}" is attached there; detach it first`;
  for (const disk of disks) {
    const kept = disk.phase === 'releasing' ? null : whyKept(state, disk);
    if (kept !== null) return `${formatDisk(disk.id)} is not given back: ${kept}`;
  }
  if (disks.length > 0) return `${disks.length} disks are being given back to Mesos`;
  return 'its executor is being ended; an offer of its agent has to show that nothing is left';
}
