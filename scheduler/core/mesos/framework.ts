/**
 * The framework's life at the Mesos master: what a subscription event means, and what is due at a
 * tick. Offers are judged in `offers.ts`, task updates in `tasks.ts`; this file owns the order of things
 * after SUBSCRIBED (reconcile, then revive), the end of a subscription, and the messages of executors.
 *
 * Nothing here sends: effects leave after the facts of the same step are committed, so a framework id,
 * a claim or a task's death is durable before Mesos hears of it.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import type { FrameworkInfo } from '../../../shared/mesos/messages.ts';
import type { SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import { decodeHint, encodeHint } from '../../../shared/model/task-data.ts';
import type { Effect } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { onFrameworkRemoved } from '../planned/uninstall.ts';
import type { Now, State } from '../state.ts';
import { onInverseOfferRescinded, onInverseOffers } from './offer-inverse.ts';
import { confirmReleases } from './offer-release.ts';
import { onOffers, steerOffers } from './offers.ts';
import { askAboutAll, tendTasks } from './task-upkeep.ts';
import { callMesos, onFailure, onTaskUpdate } from './tasks.ts';

/** What the adapter subscribes with; constant for a term, so that every attempt says the same. */
export interface Subscription {
  readonly frameworkInfo: FrameworkInfo;
  readonly frameworkId: string | null;
  /** All: offers come after reconciliation, when they can be judged. */
  readonly suppressedRoles: readonly string[];
}

export function mesosSubscription(state: State): Subscription {
  const { options, facts } = state;
  const { role, webuiUrl } = options;
  const frameworkInfo: FrameworkInfo = {
    user: options.user,
    name: options.clusterName,
    roles: [role],
    principal: options.principal,
    checkpoint: true,
    failover_timeout: options.failoverTimeoutSeconds,
    capabilities: [
      // Without it an unreachable agent would look like a dead one.
      { type: 'PARTITION_AWARE' },
      { type: 'MULTI_ROLE' },
      { type: 'RESERVATION_REFINEMENT' },
      { type: 'REGION_AWARE' },
      { type: 'TASK_KILLING_STATE' },
      // Agents with GPUs are not offered at all otherwise; their GPUs are never taken.
      { type: 'GPU_RESOURCES' },
    ],
    // An agent whose cpus and memory are used up must still offer its disks and our volumes.
    offer_filters: { [role]: { min_allocatable_resources: { quantities: [] } } },
    ...(webuiUrl === null ? {} : { webui_url: webuiUrl }),
  };
  return { frameworkInfo, frameworkId: facts.cluster.frameworkId, suppressedRoles: [role] };
}

/**
 * An operator's wish for a new framework id. It is granted only once Mesos has said that the present one is
 * removed: the wish stays in the command line, so every scheduler that takes over has it again, and would leave the
 * executors behind that run under the new id. Returns whether it was.
 */
export function renewFramework(state: State): boolean {
  const { frameworkId, removedFrameworkId = null } = state.facts.cluster;
  if (frameworkId === null || frameworkId !== removedFrameworkId) return false;
  state.facts.updateCluster({ frameworkId: null });
  return true;
}

/** Takes one event of the subscription; changes facts and `state.mesos`. */
export function onMesosEvent(state: State, event: SchedulerEvent, now: Now): Effect[] {
  switch (event.type) {
    case 'SUBSCRIBED':
      return onSubscribed(state, event.subscribed?.framework_id.value ?? null, now);
    case 'OFFERS':
      return onOffers(state, event.offers?.offers ?? [], now);
    case 'INVERSE_OFFERS':
      return onInverseOffers(state, event.inverse_offers?.inverse_offers ?? [], now);
    case 'RESCIND_INVERSE_OFFER': {
      const offerId = event.rescind_inverse_offer?.inverse_offer_id.value;
      if (offerId !== undefined) onInverseOfferRescinded(state, offerId);
      return [];
    }
    case 'UPDATE':
      return event.update === undefined ? [] : onTaskUpdate(state, event.update.status, now);
    case 'FAILURE':
      onFailure(
        state,
        event.failure?.agent_id?.value ?? null,
        event.failure?.executor_id?.value ?? null,
        now,
      );
      return [];
    case 'MESSAGE':
      return onMessage(state, event);
    case 'ERROR':
      return onError(state, event.error?.message ?? '', now);
    default:
      // RESCIND: offers are answered as they come, none is held. The rest asks for nothing.
      return [];
  }
}

/** The subscription ended: nothing that Mesos said about offers holds any more. */
export function onMesosDisconnected(state: State, reason: string, now: Now): Effect[] {
  const { mesos } = state;
  if (mesos.isSubscribed) mesos.disconnectedAtMs = now.ms;
  mesos.isSubscribed = false;
  mesos.disconnectReason = reason;
  mesos.isReconciled = false;
  mesos.inverseOffers.clear();
  return [];
}

/** What is due at this tick: reconciliation, kills, releases, revive or suppress. */
export function planMesos(state: State, now: Now): Effect[] {
  if (!state.mesos.isSubscribed) return [];
  const effects = tendTasks(state, now);
  if (!state.mesos.isReconciled) return effects;
  confirmReleases(state, now);
  return [...effects, ...steerOffers(state, now)];
}

function onSubscribed(state: State, frameworkId: string | null, now: Now): Effect[] {
  if (frameworkId === null) return [];
  const { facts, mesos } = state;
  const known = facts.cluster.frameworkId;
  if (known !== null && known !== frameworkId) {
    const reason = `Mesos subscribed us as framework "${frameworkId}", but this cluster is framework "${known}"`;
    return [{ kind: 'abdicate', reason, isPermanent: true }];
  }
  if (known === null) facts.updateCluster({ frameworkId });
  mesos.isSubscribed = true;
  mesos.disconnectReason = '';
  mesos.subscribedAtMs = now.ms;
  // The adapter subscribes suppressed, every time.
  mesos.isSuppressed = true;
  mesos.revivedFor = new Set();
  mesos.idleSinceMs = null;
  mesos.inverseOffers.clear();
  askAboutAll(state, now);
  return [...tendTasks(state, now), ...hintExecutors(state)];
}

/** Tells every executor where the manager is: after a failover its address is another. */
function hintExecutors(state: State): Effect[] {
  const effects: Effect[] = [];
  for (const node of state.facts.nodes.values()) {
    if (node.admin !== 'gone') effects.push(sendHint(state, node.agentId, node.executorId));
  }
  return effects;
}

function sendHint(state: State, agentId: string, executorId: string): Effect {
  const data = Buffer.from(
    encodeHint({ kind: 'control', address: state.options.controlAddress, term: state.term }),
  );
  return callMesos({
    type: 'MESSAGE',
    message: { agent_id: { value: agentId }, executor_id: { value: executorId }, data },
  });
}

function onMessage(state: State, event: SchedulerEvent): Effect[] {
  const { message } = event;
  if (message === undefined) return [];
  try {
    const hint = decodeHint(message.data);
    if (hint?.kind !== 'where') return [];
  } catch (error) {
    // Anybody's executor of this framework may send anything; what is no question gets no answer.
    if (error instanceof StorageError) return [];
    throw error;
  }
  return [sendHint(state, message.agent_id.value, message.executor_id.value)];
}

/**
 * Mesos ended the subscription for good. It gives only a text, so text decides how to word the advice; that
 * we stop does not depend on it.
 */
function onError(state: State, message: string, now: Now): Effect[] {
  const { mesos, facts } = state;
  mesos.isSubscribed = false;
  mesos.disconnectReason = message;
  if (/failed over/i.test(message)) {
    const reason = `Another scheduler subscribed as this framework, so this one stops leading: ${message}`;
    return [{ kind: 'abdicate', reason }];
  }
  const isRemoved = /has been removed|completed/i.test(message);
  const uninstalled = isRemoved ? onFrameworkRemoved(state, now) : null;
  if (uninstalled !== null) return uninstalled;
  if (isRemoved) facts.updateCluster({ removedFrameworkId: facts.cluster.frameworkId });
  const reason = isRemoved
    ? `Mesos has removed framework "${facts.cluster.frameworkId ?? ''}" (${message}). Its executors were ended; its reservations, volumes and data are still there. Start the scheduler once with --new-framework-id to take them over under a new id`
    : `Mesos refused this framework: ${message}. Check role "${state.options.role}", principal "${state.options.principal}" and user "${state.options.user}" against the master's permissions`;
  recordEvent(
    state,
    { severity: 'error', kind: 'mesos.refused', message: reason, subject: 'cluster' },
    now,
  );
  return [{ kind: 'abdicate', reason, isPermanent: true }];
}
