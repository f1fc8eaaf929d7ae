/**
 * Shutting out a node that went silent, until it is certain that it serves nothing (DESIGN 5).
 *
 *   up ──silent──▶ fenced, lease may run ──enough peers know, one lease + margin──▶ certainly not serving
 *    ▲                      │                                                             │
 *    └──────────────────────┴── says hello, applied the map, memberships are settled ◀────┘
 *
 * Without the manager a node's lease is extended by grants of a majority of the registered nodes. So a
 * fence is effective once so many executors have applied it that the others, the fenced node included,
 * are no majority: from then on the last grant runs out within one lease. Any such grant was given by one
 * of those who know the fence now, and each of them says when it last granted anything: while the
 * manager led without interruption nobody did, and then only the manager's own last lease counts.
 *
 * "A majority" means: of the set of nodes in whatever map the fenced node has. The manager does not know
 * which map that is, only a lower bound of its version: so the others must be no majority of *any* set
 * since then. Sets change with `registeredAtVersion` and `removedAtVersion` of the node records.
 */
import type { NodeId } from '../../../shared/base/ids.ts';
import { formatNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import { recordEvent } from '../events.ts';
import { isNodeMapped } from '../map.ts';
import { observedNode } from '../nodes/node-life.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, ObservedNode, State } from '../state.ts';
import { noteNodeLoss } from './trust.ts';

/** Peers extend leases in clusters of at least this many nodes. */
const PEER_GRANTS_FROM = 3;
/**
 * After its start a manager gives executors this many leases of time to find it through Mesos before it
 * fences those that it has not heard: peers keep them serving meanwhile.
 */
const START_GRACE_LEASES = 3;

/**
 * Leases are looked at about four times a second. After a longer pause (a stalled store, a starved
 * process) reports are still in the inbox: the silence was our own.
 */
const STALL_MS = 1000;

/** Every tick: fences the silent and the dead, and sees which fences have become effective. */
export function superviseLeases(state: State, now: Now): void {
  settleVoters(state);
  noteStall(state, now.ms);
  for (const node of state.facts.nodes.values()) {
    if (!isNodeMapped(node)) continue;
    const observed = observedNode(state, node.id);
    if (!node.isFenced) {
      const reason = whyFence(state, observed, now.ms);
      if (reason !== null) fence(state, node, reason, now);
    }
    updateLeaseEnd(state, node.id, now.ms);
  }
}

/** The version that this step's changes will have. */
export function nextMapVersion(state: State): number {
  return state.facts.cluster.mapVersion + 1;
}

/** Lifts the fence: the node has applied every change that concerned it while it was shut out. */
export function unfence(state: State, node: NodeRecord): void {
  state.facts.nodes.update(node.id, { isFenced: false });
  const observed = observedNode(state, node.id);
  observed.fenceVersion = null;
  observed.fencedAtMs = null;
}

/**
 * An executor whose session broke dials again within 0.1 s: one that did not within this is taken for
 * gone earlier than one whose link is merely silent. A writer waits that much less.
 */
const SESSION_LOST_MS = 1_200;

/** Fencing later than possible is always safe. */
function noteStall(state: State, nowMs: number): void {
  const { work } = state;
  const pauseMs = nowMs - work.leasesSeenAtMs;
  if (Number.isFinite(pauseMs) && pauseMs > STALL_MS) {
    work.patienceUntilMs = nowMs + state.options.silentMs;
  }
  work.leasesSeenAtMs = nowMs;
}

function whyFence(state: State, observed: ObservedNode, nowMs: number): string | null {
  const { silentMs, leaseMs } = state.options;
  if (observed.executor === 'dead') return 'Mesos says that its executor is dead';
  if (nowMs < state.work.patienceUntilMs) return null;
  if (observed.lastReportAtMs === Number.NEGATIVE_INFINITY) {
    const graceMs = START_GRACE_LEASES * leaseMs;
    if (nowMs - state.startedAtMs < graceMs) return null;
    return `it was not heard within ${formatDuration(graceMs)} of the manager's start`;
  }
  const silenceMs = nowMs - observed.lastReportAtMs;
  if (observed.session === null && silenceMs >= Math.min(silentMs, SESSION_LOST_MS)) {
    return 'its control session ended and it did not come back at once';
  }
  if (silenceMs < silentMs) return null;
  return `it was silent for ${formatDuration(silentMs)}`;
}

function fence(state: State, node: NodeRecord, reason: string, now: Now): void {
  state.facts.nodes.update(node.id, { isFenced: true });
  const observed = observedNode(state, node.id);
  observed.fenceVersion = nextMapVersion(state);
  observed.fencedAtMs = null;
  observed.requiredVersion = Math.max(observed.requiredVersion, observed.fenceVersion);
  observed.leaseEndsAtMs = Number.POSITIVE_INFINITY;
  observed.awaySinceMs ??= now.ms;
  // One that this manager never heard may have been away for long.
  if (observed.report !== null) noteNodeLoss(state, node, now);
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'node.down',
      message: `${formatNode(node.id)} (${node.hostname}) is shut out because ${reason}; its replicas are left out once its lease has certainly run out`,
      subject: formatNode(node.id),
    },
    now,
  );
}

function updateLeaseEnd(state: State, id: NodeId, nowMs: number): void {
  const observed = observedNode(state, id);
  const runsMs = state.options.leaseMs + state.options.leaseMarginMs;
  if (observed.fenceVersion === null) {
    observed.leaseEndsAtMs = Number.POSITIVE_INFINITY;
    return;
  }
  if (observed.fencedAtMs === null && isFenceEffective(state, id, observed)) {
    observed.fencedAtMs = nowMs;
  }
  if (observed.fencedAtMs === null || observed.leaseEndsAtMs !== Number.POSITIVE_INFINITY) return;
  const grantedAtMs = lastPeerGrantMs(state, id, observed);
  observed.leaseEndsAtMs = Math.max(observed.leaseGrantedAtMs, grantedAtMs) + runsMs;
}

/** No later than this, peers may have granted a lease to a node whose fence is effective. */
function lastPeerGrantMs(state: State, id: NodeId, observed: ObservedNode): number {
  const { fenceVersion, fencedAtMs } = observed;
  let latestMs = Number.NEGATIVE_INFINITY;
  if (fenceVersion === null || fencedAtMs === null) return latestMs;
  for (const set of votersSince(state, observed)) {
    if (set.length < PEER_GRANTS_FROM) continue;
    for (const voter of set) {
      if (voter === id || !knowsFence(state, voter, fenceVersion)) continue;
      const isGone = state.facts.nodes.get(voter).admin === 'gone';
      // Nobody asks one that is gone any more; until the fence was effective it may have granted.
      latestMs = Math.max(latestMs, isGone ? fencedAtMs : observedNode(state, voter).peerGrantAtMs);
    }
  }
  return Math.min(latestMs, fencedAtMs);
}

/** Whether no set of peers that the node may know can still grant it a lease. */
function isFenceEffective(state: State, id: NodeId, observed: ObservedNode): boolean {
  const fenceVersion = observed.fenceVersion;
  if (fenceVersion === null) return false;
  return votersSince(state, observed).every((set) => {
    if (set.length < PEER_GRANTS_FROM) return true;
    const others = set.filter((voter) => voter === id || !knowsFence(state, voter, fenceVersion));
    return others.length < Math.floor(set.length / 2) + 1;
  });
}

/** It has applied the fence, or the operator vouched that it is dead for good. */
function knowsFence(state: State, voter: NodeId, fenceVersion: number): boolean {
  if (state.facts.nodes.get(voter).admin === 'gone') return true;
  return observedNode(state, voter).mapVersion >= fenceVersion;
}

/** Every set of registered nodes since the oldest map that the node may still use. */
function votersSince(state: State, observed: ObservedNode): readonly (readonly NodeId[])[] {
  const since = Math.max(state.facts.cluster.votersSettledVersion, observed.mapVersion);
  const nodes = [...state.facts.nodes.values()];
  const versions = new Set([since]);
  for (const node of nodes) {
    for (const version of [node.registeredAtVersion, node.removedAtVersion]) {
      if (version !== null && version > since) versions.add(version);
    }
  }
  return [...versions].map((version) =>
    nodes.filter((node) => isVoterAt(node, version)).map((node) => node.id),
  );
}

function isVoterAt(node: NodeRecord, version: number): boolean {
  if (node.registeredAtVersion === null || node.registeredAtVersion > version) return false;
  return node.removedAtVersion === null || node.removedAtVersion > version;
}

/** Once all registered nodes know the newest set, older sets need not be considered any more. */
function settleVoters(state: State): void {
  const { facts } = state;
  let newest = 0;
  for (const node of facts.nodes.values()) {
    newest = Math.max(newest, node.registeredAtVersion ?? 0, node.removedAtVersion ?? 0);
  }
  if (newest <= facts.cluster.votersSettledVersion) return;
  for (const node of facts.nodes.values()) {
    if (isNodeMapped(node) && observedNode(state, node.id).mapVersion < newest) return;
  }
  facts.updateCluster({ votersSettledVersion: newest });
}
