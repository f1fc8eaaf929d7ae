/**
 * What the manager knows of Mesos right now; nothing here is durable. After a restart tasks are asked
 * about (reconciliation) and everything else is seen in offers.
 */
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import type { SeenAgent } from '../pools/pass-reason.ts';

/**
 * What is known of a disk's task. unknown: launched by an earlier manager, asked about. sent: launched,
 * nothing heard. starting, alive, stopping: as Mesos said. away: Mesos cannot see it (unreachable, lost,
 * unknown): it may run, and nothing is decided from that. dead: it certainly ended.
 */
export type TaskLife = 'unknown' | 'sent' | 'starting' | 'alive' | 'stopping' | 'away' | 'dead';

export interface ObservedTask {
  readonly taskId: string;
  life: TaskLife;
  /** When `life` became what it is. */
  sinceMs: number;
  /** For people: what Mesos said last. */
  reason: string;
  /** Of the newest update, to recognise a repeated one; Mesos repeats until it sees the ack. */
  lastUuid: string | null;
  /** An answer is wanted; null when not. Grows with every question that stays unanswered. */
  askAtMs: number | null;
  askDelayMs: number;
  /** When the next KILL is due, while one is wanted. */
  killAtMs: number;
  killDelayMs: number;
  /** The agent has registered under another id since: what ran there before has ended. */
  isOfOldAgent: boolean;
}

/** One node as Mesos shows it. */
export interface ObservedHost {
  /** Unexpected ends of tasks in a row: relaunches wait longer each time. */
  failures: number;
  /** No launch before this. */
  retryAtMs: number;
  /** The agent said that the executor's container ended; null since the last launch. */
  executorExitedAtMs: number | null;
  lastOfferAtMs: number;
  /** The last offer that showed neither our labels nor our executor; -Infinity before. */
  cleanOfferAtMs: number;
  /** Cpus and memory of our executor are reserved there, as far as known. */
  isExecutorReserved: boolean;
  shutdownAtMs: number;
}

/** What an agent's last offer showed of other clusters. */
export interface Strangers {
  readonly hostname: string;
  /** Volumes and reservations, by cluster. */
  readonly resources: ReadonlyMap<string, number>;
  /** When it was first like this, on the manager's clock. */
  readonly sinceMs: number;
  readonly seenAtMs: number;
}

export interface ObservedRelease {
  readonly sinceMs: number;
  /** DESTROY and UNRESERVE were sent then; without it, nothing of the disk was offered so far. */
  readonly isSent: boolean;
}

export interface MesosState {
  isSubscribed: boolean;
  /** Why not; empty while subscribed. */
  disconnectReason: string;
  /** Since when this manager has been without a subscription. */
  disconnectedAtMs: number;
  subscribedAtMs: number;
  /** Tasks were asked about after SUBSCRIBED, and answered (or time was up): offers may come. */
  isReconciled: boolean;
  isSuppressed: boolean;
  lastReviveMs: number;
  reviveDelayMs: number;
  /** What offers were wanted for at the last REVIVE: something new is a reason for another one. */
  revivedFor: ReadonlySet<string>;
  /** Since when no offer is wanted; null while some are. */
  idleSinceMs: number | null;
  implicitAtMs: number;
  readonly tasks: Map<DiskId, ObservedTask>;
  readonly hosts: Map<NodeId, ObservedHost>;
  /** Disks that are being released. */
  readonly releases: Map<DiskId, ObservedRelease>;
  /** Since when this manager has tried to bring a claim up. */
  readonly claimSinceMs: Map<DiskId, number>;
  /** When a pool first wished for the expansion it still wishes for. */
  readonly wishSinceMs: Map<string, number>;
  /** Agents of inverse offers that were not rescinded. */
  readonly inverseOffers: Map<string, string>;
  /** What the last inverse offer of each node was answered, for which window. */
  readonly inverseVerdicts: Map<
    NodeId,
    { readonly isSafe: boolean; readonly fromMs: number | null }
  >;
  /** When an offer last showed anything with our labels; -Infinity before. */
  oursSeenAtMs: number;
  /** When the framework was last asked to be torn down (uninstall.ts). */
  teardownAtMs: number;
  /** Why free disks of an agent (by host name) were not claimed at its last offer. */
  readonly passedOver: Map<string, string>;
  /** Agents that offered resources of other clusters in our role, by agent id (lost-store.ts). */
  readonly strangers: Map<string, Strangers>;
  /** What each agent last offered, and why it was not taken, by agent id; at most `SEEN_AGENTS_MAX`. */
  readonly seenAgents: Map<string, SeenAgent>;
}

export function createMesosState(startedAtMs: number): MesosState {
  return {
    isSubscribed: false,
    disconnectReason: 'not subscribed yet',
    disconnectedAtMs: startedAtMs,
    subscribedAtMs: Number.NEGATIVE_INFINITY,
    isReconciled: false,
    isSuppressed: true,
    lastReviveMs: Number.NEGATIVE_INFINITY,
    reviveDelayMs: 0,
    revivedFor: new Set(),
    idleSinceMs: null,
    implicitAtMs: Number.POSITIVE_INFINITY,
    tasks: new Map(),
    hosts: new Map(),
    releases: new Map(),
    claimSinceMs: new Map(),
    wishSinceMs: new Map(),
    inverseOffers: new Map(),
    inverseVerdicts: new Map(),
    oursSeenAtMs: Number.NEGATIVE_INFINITY,
    teardownAtMs: Number.NEGATIVE_INFINITY,
    passedOver: new Map(),
    strangers: new Map(),
    seenAgents: new Map(),
  };
}

export function observedHost(state: MesosState, node: NodeId): ObservedHost {
  const known = state.hosts.get(node);
  if (known !== undefined) return known;
  const created: ObservedHost = {
    failures: 0,
    retryAtMs: Number.NEGATIVE_INFINITY,
    executorExitedAtMs: null,
    lastOfferAtMs: Number.NEGATIVE_INFINITY,
    cleanOfferAtMs: Number.NEGATIVE_INFINITY,
    isExecutorReserved: false,
    shutdownAtMs: Number.NEGATIVE_INFINITY,
  };
  state.hosts.set(node, created);
  return created;
}

/** The task of a disk; one that this manager has not heard of is to be asked about at once. */
export function observedTask(
  state: MesosState,
  disk: { readonly id: DiskId; readonly taskId: string | null },
): ObservedTask | null {
  if (disk.taskId === null) return null;
  const known = state.tasks.get(disk.id);
  if (known !== undefined && known.taskId === disk.taskId) return known;
  return trackTask(state, disk.id, disk.taskId, 'unknown', Number.NEGATIVE_INFINITY);
}

/** Questions that stay without an answer are asked again: 8 s, doubling to a minute. */
export const ASK_DELAY_MS_MIN = 8_000;
export const ASK_DELAY_MS_MAX = 60_000;
export const KILL_DELAY_MS_MIN = 5_000;

export function trackTask(
  state: MesosState,
  disk: DiskId,
  taskId: string,
  life: TaskLife,
  nowMs: number,
): ObservedTask {
  const task: ObservedTask = {
    taskId,
    life,
    sinceMs: nowMs,
    reason: '',
    lastUuid: null,
    askAtMs: life === 'unknown' ? nowMs : null,
    askDelayMs: ASK_DELAY_MS_MIN,
    killAtMs: Number.NEGATIVE_INFINITY,
    killDelayMs: KILL_DELAY_MS_MIN,
    isOfOldAgent: false,
  };
  state.tasks.set(disk, task);
  return task;
}
