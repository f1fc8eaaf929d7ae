/**
 * Forgetting a node: the operator's word that it never comes back, or that an empty one may go. Its disks count as
 * lost; those whose data was found on another node (adoption.ts) go on there first.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import { formatNode, type NodeId } from '../../../shared/base/ids.ts';
import type { CommandResult } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob } from '../jobs/jobs.ts';
import { isNodeMapped } from '../map.ts';
import { nextMapVersion } from '../members/fencing.ts';
import { describeNode, disksOf, setDiskPhase } from '../members/sessions.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { adoptFoundOf } from './adoption.ts';
import { isNodeUp, observedNode } from './node-life.ts';
import { findNode, heldBy } from './nodes.ts';

/** The operator's word that the node never comes back; or, for an empty one, that it may go. */
export function forgetNode(state: State, id: NodeId, now: Now): CommandResult {
  const node = findNode(state, id);
  if (node instanceof StorageError) return { kind: 'failed', error: node };
  const isUp = isNodeUp(state, node);
  if (isInDoubt(state, node)) {
    const text = `Cannot forget ${describeNode(node)}: this scheduler began to lead a moment ago and has not heard it yet, it may well be up; try again in some seconds`;
    return {
      kind: 'failed',
      error: new StorageError('unavailable', text, { node: formatNode(id) }),
    };
  }
  if (isUp) {
    const refusal = whyNotForget(state, node, disksOf(state, id));
    if (refusal !== null) {
      const text = `Cannot forget ${describeNode(node)}: it is up and ${refusal}`;
      return {
        kind: 'failed',
        error: new StorageError('conflict', text, { node: formatNode(id) }),
      };
    }
  }
  // What was found elsewhere is not lost with the node.
  const obstacle = isUp ? null : adoptFoundOf(state, id, now);
  if (obstacle !== null) {
    const text = `Cannot forget ${describeNode(node)} yet: ${obstacle}`;
    return { kind: 'failed', error: new StorageError('conflict', text, { node: formatNode(id) }) };
  }
  for (const disk of disksOf(state, id)) {
    if (disk.phase === 'releasing') continue;
    const next = isUp
      ? ({ phase: 'releasing', error: '' } as const)
      : ({ phase: 'lost', error: 'its node was forgotten' } as const);
    setDiskPhase(state, disk, next, now);
  }
  state.facts.nodes.update(id, { admin: 'gone', removedAtVersion: nextMapVersion(state) });
  const subject = formatNode(id);
  const job = findRunningJob(state, 'drain', subject);
  if (job !== null) endJob(state, job, { phase: 'cancelled' }, now);
  const what = isUp ? 'its empty disks are given back' : 'its disks count as lost';
  const message = `${describeNode(node)} was forgotten by an operator: ${what}`;
  recordEvent(state, { severity: 'warning', kind: 'node.forgotten', message, subject }, now);
  return { kind: 'done', id: null };
}

/** A new manager knows of no session yet, and soon shuts out whoever stays silent: until then a node is not dead. */
function isInDoubt(state: State, node: NodeRecord): boolean {
  const { executor, lastReportAtMs } = observedNode(state, node.id);
  const isUnheard = lastReportAtMs === Number.NEGATIVE_INFINITY && executor !== 'dead';
  return isUnheard && isNodeMapped(node) && !node.isFenced;
}

function whyNotForget(state: State, node: NodeRecord, disks: readonly DiskRecord[]): string | null {
  const { movesTotal } = heldBy(state, disks);
  if (movesTotal > 0) return `holds ${movesTotal} replicas; drain it first`;
  for (const volume of state.facts.volumes.values()) {
    if (volume.attachedTo !== node.id) continue;
    return `volume "${volume.name}" is attached there; detach it first`;
  }
  return null;
}
