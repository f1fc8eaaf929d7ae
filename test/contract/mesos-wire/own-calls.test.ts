/**
 * What our own programs send, beside what a real Mesos took: no call has a field, or an operation, that no
 * accepted recorded call of its type has. (What the calls mean is judged elsewhere.)
 */

import { expect } from 'chai';
import { ExecutorSession } from '../../../executor/mesos-session.ts';
import { decode, encode, JSON_TYPE, PROTOBUF_TYPE } from '../../../shared/mesos/codec.ts';
import type { ExecutorCall, ExecutorEvent } from '../../../shared/mesos/executor-messages.ts';
import { shapeOf } from './comparison.ts';
import { countOf, schedulerStreams, takeStream } from './manager-replay.ts';
import {
  type Exchange,
  hasRecordings,
  headerOf,
  recordedExchanges,
  WHY_SKIPPED,
} from './recordings.ts';
import { plain } from './replayed-exchange.ts';

type AnyCall = { readonly type?: string | undefined };

/** Fields of all accepted recorded calls on a path, by type; an operation's type stands in its path. */
function acceptedFields(path: string): Map<string, Set<string>> {
  const kind = path.endsWith('executor') ? 'executor.Call' : 'scheduler.Call';
  const fields = new Map<string, Set<string>>();
  for (const exchange of recordedExchanges()) {
    const isTaken = exchange.status === 200 || exchange.status === 202;
    const isError = exchange.events?.[0]?.['type'] === 'ERROR';
    if (exchange.path !== path || !isTaken || isError) continue;
    const call = callOf(exchange, kind);
    const known = fields.get(call.type ?? '') ?? new Set();
    fields.set(call.type ?? '', shapeOf(call, '', known));
  }
  return fields;
}

/** Read with our schema: what Mesos itself passes over (misspelled fields) is not there. */
function callOf(exchange: Exchange, kind: 'executor.Call' | 'scheduler.Call'): AnyCall {
  const type =
    headerOf(exchange.headers, 'Content-Type') === PROTOBUF_TYPE ? PROTOBUF_TYPE : JSON_TYPE;
  return plain(decode(kind, exchange.requestBody, type)) as AnyCall;
}

function strangeFields(calls: readonly AnyCall[], accepted: Map<string, Set<string>>): string[] {
  const strange = new Set<string>();
  for (const call of calls) {
    const known = accepted.get(call.type ?? '');
    for (const field of shapeOf(plain(call))) {
      if (known?.has(field) !== true) strange.add(`${call.type}: ${field}`);
    }
  }
  return [...strange].sort();
}

describe('own calls beside recorded ones', () => {
  before(function () {
    if (hasRecordings()) return;
    console.warn(`      skipped: ${WHY_SKIPPED}`);
    this.skip();
  });

  it('scheduler: every field that we send, a real master has taken', () => {
    const calls = schedulerStreams().flatMap((exchange) => takeStream(exchange));
    for (const type of ['SUBSCRIBE', 'ACCEPT', 'DECLINE', 'REVIVE', 'ACKNOWLEDGE'] as const) {
      expect(countOf(calls, type), type).to.be.greaterThan(3);
    }
    for (const type of ['RECONCILE', 'ACCEPT_INVERSE_OFFERS'] as const) {
      expect(countOf(calls, type), type).to.be.greaterThan(0);
    }
    const read = calls.map((call) =>
      decode('scheduler.Call', encode('scheduler.Call', call, PROTOBUF_TYPE), PROTOBUF_TYPE),
    );
    const accepted = acceptedFields('/api/v1/scheduler');
    expect(strangeFields(read, accepted)).to.deep.equal([]);
  });

  it('executor: every field that we send, a real agent has taken', () => {
    const session = new ExecutorSession({ frameworkId: 'f', executorId: 'e' });
    const launched = recordedExchanges('s8-tasks-protobuf')
      .flatMap(({ path, events }) => (path === '/api/v1/executor' ? (events ?? []) : []))
      .find((event) => event['type'] === 'LAUNCH') as ExecutorEvent | undefined;
    const [order] = session.onEvent(JSON.parse(JSON.stringify(launched)) as ExecutorEvent);
    expect(order?.kind).to.equal('launch');
    session.onEvent({ type: 'SUBSCRIBED' } as ExecutorEvent);
    const taskId = launched?.launch?.task.task_id.value ?? '';
    const calls: ExecutorCall[] = [session.subscribeCall()];
    for (const state of ['TASK_STARTING', 'TASK_RUNNING', 'TASK_KILLED'] as const) {
      const update = { taskId, state, message: 'm', uuid: Buffer.alloc(16, 1), wallMs: 1 };
      for (const output of session.update(update)) {
        if (output.kind === 'call') calls.push(output.call);
      }
    }
    calls.push(
      session.heartbeatCall(),
      session.messageCall(Buffer.from('x')),
      session.subscribeCall(),
    );
    expect(calls).to.have.length(7);
    const accepted = acceptedFields('/api/v1/executor');
    // Unacknowledged tasks are what the agent itself has sent, whole.
    const strange = strangeFields(calls, accepted).filter(
      (field) => !field.startsWith('SUBSCRIBE: subscribe.unacknowledged_tasks[]'),
    );
    expect(strange).to.deep.equal([]);
  });
});
