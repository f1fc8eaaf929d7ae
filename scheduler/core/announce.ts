/**
 * A new manager tells executors where it is: those that have not said hello to it yet, straight at the
 * address where they answer grants. Mesos carries the same word (mesos/framework.ts); one way is enough, and
 * so a failover needs no Mesos. Repeated with growing waits: who has the word comes by itself.
 */
import type { Effect } from './contract.ts';
import type { Now, State } from './state.ts';

/** Until the first repetition. */
const WAIT_MS_MIN = 1_000;
/** A node that is away for days is asked for no more often than this; it may be back with an old address in mind. */
const WAIT_MS_MAX = 30_000;

export function announceManager(state: State, now: Now): Effect[] {
  const { facts, options, term, work } = state;
  if (now.ms < work.announceAtMs) return [];
  work.announceWaitMs = Math.min(Math.max(2 * work.announceWaitMs, WAIT_MS_MIN), WAIT_MS_MAX);
  work.announceAtMs = now.ms + work.announceWaitMs;
  const { clusterId } = facts.cluster;
  const announcement = { clusterId, address: options.controlAddress, term };
  const effects: Effect[] = [];
  for (const node of facts.nodes.values()) {
    if (node.admin === 'gone' || node.grantAddress === null) continue;
    // Once it was heard it knows the address.
    if ((state.nodes.get(node.id)?.hello ?? null) !== null) continue;
    effects.push({ kind: 'announce', to: node.grantAddress, announcement });
  }
  return effects;
}
