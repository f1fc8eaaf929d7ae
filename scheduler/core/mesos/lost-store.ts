/**
 * A metadata store that is empty, or another cluster's, while Mesos shows disks that a Cistern cluster has
 * reserved in our role: most likely the store was lost or a setting names the wrong one. Then nothing is
 * claimed, launched or given back: every offer is declined until the store knows what Mesos shows, or an
 * operator says that those clusters are none of ours (`CISTERN_IGNORE_CLUSTERS`).
 *
 * What was seen is observed only, agent by agent; an agent's next offer replaces what its last one showed.
 */
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import { recordEvent } from '../events.ts';
import type { Now, State } from '../state.ts';
import type { TaskLife } from './mesos-state.ts';
import { ownerOf } from './offer-resources.ts';

/** Agents that are remembered; more do not change the judgement. */
const AGENTS_MAX = 4096;
/** Declined offers come again within minutes: what was not shown for so long is gone, or in use. */
const FORGET_MS = 1_800_000;
/** Names in one sentence. */
const NAMES_MAX = 5;
/** Tasks that are certainly this cluster's. */
const RUNNING: ReadonlySet<TaskLife> = new Set(['starting', 'alive', 'stopping']);

export interface LostStore {
  /** One sentence without its end: what was found. */
  readonly message: string;
  readonly clusters: readonly string[];
  readonly sinceMs: number;
}

export const ADOPT_COMMAND =
  'cistern recover --from-executors --executor HOST:PORT --from DIR --state-dir NEW-DIR (or --store ADDRESS) --plan';

export const ADOPT_ADVICE =
  'Name the right store (CISTERN_STORE, CISTERN_STATE_DIR) and start again; if it was lost, stop this scheduler and make a new store, at an empty place, from executors and disks. If those clusters are none of yours, list their ids in CISTERN_IGNORE_CLUSTERS';

/** All offers of an event are looked at before the first one is answered: the last may carry the labels. */
export function noteStrangers(state: State, offers: readonly Offer[], now: Now): void {
  const { strangers } = state.mesos;
  const fresh = new Map<string, Map<string, number>>();
  for (const offer of offers) {
    const agent = offer.agent_id.value;
    const found = fresh.get(agent) ?? new Map<string, number>();
    fresh.set(agent, found);
    for (const resource of offer.resources ?? []) {
      const owner = ownerOf(state, resource);
      if (owner.kind === 'ours') state.mesos.oursSeenAtMs = now.ms;
      if (owner.kind !== 'other-cluster' || isIgnored(state, owner.cluster)) continue;
      found.set(owner.cluster, (found.get(owner.cluster) ?? 0) + 1);
    }
    const before = strangers.get(agent);
    strangers.delete(agent);
    if (found.size === 0 || strangers.size >= AGENTS_MAX) continue;
    strangers.set(agent, {
      hostname: offer.hostname,
      resources: found,
      sinceMs: before?.sinceMs ?? now.ms,
      seenAtMs: now.ms,
    });
  }
  for (const [agent, { seenAtMs }] of strangers) {
    if (now.ms - seenAtMs > FORGET_MS) strangers.delete(agent);
  }
  const lost = findLostStore(state);
  if (lost !== null) {
    recordEvent(
      state,
      {
        severity: 'error',
        kind: 'store.lost',
        message: `${lost.message}: nothing is claimed, launched or given back. ${ADOPT_ADVICE}: ${ADOPT_COMMAND}`,
        subject: 'cluster',
      },
      now,
    );
  }
}

function isIgnored(state: State, cluster: string): boolean {
  return state.options.ignoredClusters?.includes(cluster) === true;
}

/** null: the store knows what Mesos shows, as far as that can be told. */
export function findLostStore(state: State): LostStore | null {
  const { strangers } = state.mesos;
  if (strangers.size === 0) return null;
  const { facts } = state;
  const isYoung = facts.disks.size === 0 || (state.isNewCluster && facts.volumes.size === 0);
  if (!isYoung && isAtHome(state)) return null;
  const clusters = new Map<string, number>();
  const hosts = new Set<string>();
  let sinceMs = Number.POSITIVE_INFINITY;
  for (const seen of strangers.values()) {
    hosts.add(seen.hostname);
    sinceMs = Math.min(sinceMs, seen.sinceMs);
    for (const [cluster, count] of seen.resources) {
      clusters.set(cluster, (clusters.get(cluster) ?? 0) + count);
    }
  }
  const whose = [...clusters].map(([id, count]) => `${count} of cluster "${id}"`);
  const { clusterId } = facts.cluster;
  const what =
    facts.disks.size === 0 || state.isNewCluster
      ? `the metadata store was empty, and is now of a new cluster "${clusterId}"`
      : `the metadata store is of cluster "${clusterId}", of which Mesos shows nothing`;
  return {
    message: `Mesos shows reserved resources of other clusters in role "${state.options.role}" (${listed(whose)}, on ${listed([...hosts])}), but ${what}`,
    clusters: [...clusters.keys()],
    sinceMs,
  };
}

/** Whether anything shows that the cluster of the store is this one: an executor, a task, a reservation. */
function isAtHome(state: State): boolean {
  if (state.mesos.oursSeenAtMs > Number.NEGATIVE_INFINITY) return true;
  for (const node of state.nodes.values()) if (node.hello !== null) return true;
  for (const task of state.mesos.tasks.values()) if (RUNNING.has(task.life)) return true;
  return false;
}

function listed(words: readonly string[]): string {
  const more = words.length - NAMES_MAX;
  const shown = words.slice(0, NAMES_MAX).join(', ');
  return more > 0 ? `${shown} and ${more} more` : shown;
}
