/**
 * The framework's life at the Mesos master: what a subscription event means, and what is due at a
 * tick. Offers are judged in `offers.ts`, task updates in `tasks.ts`; this file owns the order of things
 * after SUBSCRIBED (reconcile, then revive), inverse offers, and the answers to executors' messages.
 *
 * Nothing here sends: effects leave after the facts of the same step are committed, so a framework id,
 * a claim or a task's death is durable before Mesos hears of it.
 */
import type { SchedulerEvent } from '../../shared/mesos/scheduler-messages.ts';
import type { Effect } from './contract.ts';
import type { Now, State } from './state.ts';

/** Takes one event of the subscription; changes facts and `state.mesos`. */
export function onMesosEvent(state: State, event: SchedulerEvent, now: Now): Effect[] {
  if (event.type === 'SUBSCRIBED') return onSubscribed(state, event, now);
  return [];
}

/** The subscription ended: nothing that Mesos said about offers holds any more. */
export function onMesosDisconnected(state: State, reason: string, _now: Now): Effect[] {
  state.mesos.isSubscribed = false;
  state.mesos.disconnectReason = reason;
  return [];
}

/** What is due at this tick: reconciliation, kills, revive or suppress. */
export function planMesos(state: State, _now: Now): Effect[] {
  if (!state.mesos.isSubscribed) return [];
  return [];
}

function onSubscribed(state: State, event: SchedulerEvent, _now: Now): Effect[] {
  const frameworkId = event.subscribed?.framework_id.value ?? null;
  if (frameworkId === null) return [];
  const known = state.facts.cluster.frameworkId;
  if (known !== null && known !== frameworkId) {
    const reason = `Mesos subscribed us as framework "${frameworkId}", but this cluster is framework "${known}"`;
    return [{ kind: 'abdicate', reason }];
  }
  if (known === null) state.facts.updateCluster({ frameworkId });
  state.mesos.isSubscribed = true;
  state.mesos.disconnectReason = '';
  return [];
}
