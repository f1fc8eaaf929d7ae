/**
 * Whether a node lives, as far as the manager can know: questions that membership, attachments, planners
 * and views ask alike. The answers come from sessions and leases (sessions.ts, fencing.ts) and from
 * Mesos' word on the executor (tasks.ts).
 */
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { ObservedNode, State } from '../state.ts';

/**
 * An earlier manager whose leadership had ended may have answered reports for so long after that: it
 * looks at the store so often (leadership/guard.ts). Leases that it granted count from its successor's start
 * plus this.
 */
export const LEADERSHIP_DOUBT_MS = 2_000;

/** What is observed of a node; a node that was never observed gets the state of a manager's start. */
export function observedNode(state: State, id: NodeId): ObservedNode {
  const known = state.nodes.get(id);
  if (known !== undefined) return known;
  const created: ObservedNode = {
    session: null,
    hello: null,
    report: null,
    lastReportAtMs: Number.NEGATIVE_INFINITY,
    leaseEndsAtMs: Number.POSITIVE_INFINITY,
    fenceVersion: null,
    fencedAtMs: null,
    mapVersion: 0,
    executor: 'unknown',
    leaseGrantedAtMs: state.startedAtMs + LEADERSHIP_DOUBT_MS,
    peerGrantAtMs: Number.POSITIVE_INFINITY,
    requiredVersion: 0,
    awaySinceMs: null,
  };
  state.nodes.set(id, created);
  return created;
}

/** The node has an open session, is not shut out, and has reported in it. */
export function isNodeUp(state: State, node: NodeRecord): boolean {
  if (node.admin === 'gone' || node.isFenced) return false;
  const observed = state.nodes.get(node.id);
  return observed !== undefined && observed.session !== null && observed.report !== null;
}

/**
 * The node certainly serves nothing: every lease it may hold has run out, or Mesos confirmed that its
 * executor is dead, or the operator did. The only ground on which a member is removed without its
 * consent (DESIGN 4, rule 6).
 */
export function isCertainlyNotServing(state: State, node: NodeRecord, nowMs: number): boolean {
  if (node.admin === 'gone') return true;
  const observed = state.nodes.get(node.id);
  if (observed === undefined) return false;
  if (observed.executor === 'dead') return true;
  return node.isFenced && nowMs >= observed.leaseEndsAtMs;
}

/** A node that was heard within this part of `silentMs` follows the map; one report may be late. */
const HEARD_RATIO = 0.6;

/**
 * Whether the disk may be taken out of a PG now. A living node follows the map. One that is silent may serve
 * by the last map it saw, so it stays until that is certainly over.
 */
export function isDiskRemovable(state: State, id: DiskId, nowMs: number): boolean {
  const disk = state.facts.disks.find(id);
  const node = disk === undefined ? undefined : state.facts.nodes.find(disk.node);
  if (node === undefined || isCertainlyNotServing(state, node, nowMs)) return true;
  const heardAtMs = state.nodes.get(node.id)?.lastReportAtMs ?? Number.NEGATIVE_INFINITY;
  return isNodeUp(state, node) && nowMs - heardAtMs <= HEARD_RATIO * state.options.silentMs;
}

/** The disk's store is open on a node that is up: it can take and give data now. */
export function isDiskServing(state: State, disk: DiskRecord): boolean {
  if (disk.phase !== 'serving') return false;
  const node = state.facts.nodes.find(disk.node);
  return node !== undefined && isNodeUp(state, node);
}

export function isDiskServingById(state: State, id: DiskId): boolean {
  const disk = state.facts.disks.find(id);
  return disk !== undefined && isDiskServing(state, disk);
}

/** Operator or plan wants the disk empty. */
export function isDiskLeaving(state: State, disk: DiskRecord): boolean {
  if (disk.isDraining || disk.phase === 'releasing') return true;
  if ((disk.out ?? null) !== null || (disk.unselected ?? null) !== null) return true;
  const node = state.facts.nodes.find(disk.node);
  if ((node?.evacuation ?? null) !== null) return true;
  const admin = node?.admin;
  return admin === 'draining' || admin === 'drained' || admin === 'gone';
}

/** A disk whose data cannot come back: it counts neither for placement nor for waiting. */
export function isDiskLost(disk: DiskRecord): boolean {
  return disk.phase === 'failed' || disk.phase === 'lost';
}
