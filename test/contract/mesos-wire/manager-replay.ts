/** The manager's Mesos half before a recorded stream: takes every event, under the rules, and calls nobody. */

import { createState } from '../../../scheduler/core/bootstrap.ts';
import {
  mesosSubscription,
  onMesosDisconnected,
  onMesosEvent,
  planMesos,
} from '../../../scheduler/core/mesos/framework.ts';
import { type ContentType, decode } from '../../../shared/mesos/codec.ts';
import { RecordDecoder } from '../../../shared/mesos/recordio.ts';
import type { SchedulerCall, SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import { MesosRules } from '../../unit/offers/mesos-rules.ts';
import { CLUSTER_ID, OPTIONS } from '../../unit/offers/scenario.ts';
import { type Exchange, headerOf, recordedExchanges } from './recordings.ts';

export function typeOf(exchange: Exchange): ContentType {
  return headerOf(exchange.responseHeaders, 'Content-Type') as ContentType;
}

export function schedulerStreams(): Exchange[] {
  return recordedExchanges().filter(
    ({ path, status, events }) =>
      path === '/api/v1/scheduler' && status === 200 && events !== undefined,
  );
}

export function eventsOf(exchange: Exchange): SchedulerEvent[] {
  return new RecordDecoder()
    .push(exchange.responseBody)
    .map((record) => decode('scheduler.Event', record, typeOf(exchange)));
}

/** All calls that the stream makes the manager send, in order, with the subscription first. Throws when a rule is broken. */
export function takeStream(exchange: Exchange): SchedulerCall[] {
  let nowMs = 1_000_000;
  const now = () => ({ ms: nowMs, wallMs: 1_800_000_000_000 + nowMs });
  const state = createState(
    { options: OPTIONS, entries: [], term: 1, newClusterId: CLUSTER_ID },
    now(),
  );
  const rules = new MesosRules();
  const facts = {
    releasing: new Set<string>(),
    role: OPTIONS.role,
    principal: OPTIONS.principal,
    clusterId: CLUSTER_ID,
    passing: [OPTIONS.controlAddress],
  };
  const { frameworkInfo, suppressedRoles } = mesosSubscription(state);
  const all: SchedulerCall[] = [
    {
      type: 'SUBSCRIBE',
      subscribe: { framework_info: frameworkInfo, suppressed_roles: suppressedRoles },
    },
  ];
  const perform = (effects: ReturnType<typeof planMesos>): void => {
    const calls = effects.flatMap((effect): SchedulerCall[] =>
      effect.kind === 'mesos-call' ? [effect.call] : [],
    );
    all.push(...calls);
    rules.onCalls(calls, facts, nowMs);
    state.facts.takeChanges();
  };
  for (const event of eventsOf(exchange)) {
    nowMs += 100;
    rules.onEvent(event);
    perform(onMesosEvent(state, event, now()));
    nowMs += 1_000;
    perform(planMesos(state, now()));
  }
  rules.onDisconnected();
  perform(onMesosDisconnected(state, 'the recording is over', now()));
  return all;
}

export function countOf(calls: readonly SchedulerCall[], type: SchedulerCall['type']): number {
  return calls.filter((call) => call.type === type).length;
}
