/**
 * Where a real Mesos surprised whoever recorded it, and what we make of it. Each test uses the recorded bytes
 * where it can. The table in test/tidy/mesos-tables.ts says which test belongs to which surprise.
 */

import { expect } from 'chai';
import { ExecutorSession } from '../../../executor/mesos-session.ts';
import { readConfig } from '../../../scheduler/config.ts';
import { createMesosScheduler, type MesosScheduler } from '../../../scheduler/mesos/client.ts';
import { decode, JSON_TYPE, PROTOBUF_TYPE } from '../../../shared/mesos/codec.ts';
import { RecordDecoder } from '../../../shared/mesos/recordio.ts';
import type { SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { until } from '../../integration/mesos-client/harness.ts';
import {
  openStream,
  type Received,
  ScriptedServer,
} from '../../integration/mesos-client/scripted-server.ts';
import { countOf, eventsOf, schedulerStreams, takeStream, typeOf } from './manager-replay.ts';
import { hasRecordings, recordedExchanges, WHY_SKIPPED } from './recordings.ts';

const SUBSCRIBED = {
  type: 'SUBSCRIBED',
  subscribed: { framework_id: { value: 'fw-1' }, heartbeat_interval_seconds: 15 },
};

describe('surprises of a real Mesos', function () {
  this.timeout(60_000);
  const closers: (() => unknown)[] = [];

  before(function () {
    if (hasRecordings()) return;
    console.warn(`      skipped: ${WHY_SKIPPED}`);
    this.skip();
  });
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  async function serve(
    answer: (request: Received, index: number) => void,
  ): Promise<ScriptedServer> {
    const server = await ScriptedServer.listen(answer);
    closers.push(() => server.close());
    return server;
  }

  function connect(masters: readonly string[]): {
    readonly client: MesosScheduler;
    readonly events: SchedulerEvent[];
    readonly ends: string[];
  } {
    const events: SchedulerEvent[] = [];
    const ends: string[] = [];
    const client = createMesosScheduler({
      masters,
      contentType: JSON_TYPE,
      authorization: { kind: 'none' },
      onEvent: (event) => {
        events.push(event);
        return undefined;
      },
      onDisconnected: (reason) => ends.push(reason),
      log: () => undefined,
      clock: systemClock,
      random: systemRandom,
      timing: { backoffMsBase: 5, backoffMsMax: 20 },
    });
    closers.push(() => client.close());
    client.subscribe({ user: 'root', name: 'test', roles: ['r'] }, null, ['r']);
    return { client, events, ends };
  }

  it('1: a call without a type, or of type UNKNOWN: never sent', async () => {
    const server = await serve((request) => openStream(request, [SUBSCRIBED]));
    const { client, events } = connect([server.address]);
    await until('subscribed', () => events.length === 1);
    expect(() => client.call({})).to.throw(/type/);
    expect(() => client.call({ type: 'UNKNOWN' })).to.throw(/type/);
    expect(server.types).to.deep.equal(['SUBSCRIBE']);
  });

  it('7: the stream of the operator API, got by a wrong path: no subscription, tried again', async () => {
    const found = recordedExchanges('s3-refusals-json').find(({ path }) =>
      path.endsWith('schedulerx'),
    );
    expect(found?.status).to.equal(200);
    const server = await serve((request, index) => {
      if (index > 0) {
        openStream(request, [SUBSCRIBED]);
        return;
      }
      request.response.writeHead(200, { 'Content-Type': JSON_TYPE });
      request.response.write(found?.responseBody);
    });
    const { events, ends } = connect([server.address]);
    await until('subscribed at last', () => events.length === 1);
    expect(events[0]?.subscribed?.framework_id.value).to.equal('fw-1');
    expect(ends[0]).to.match(/cannot be read/);
    expect(server.received.map(({ path }) => path)).to.deep.equal([
      '/api/v1/scheduler',
      '/api/v1/scheduler',
    ]);
  });

  it('9: redirected to a leader that is dead, again and again, until another one leads', async () => {
    let asked = 0;
    const other = await serve((request) => {
      asked += 1;
      if (asked > 12) {
        openStream(request, [SUBSCRIBED]);
        return;
      }
      const headers = { Location: '//127.0.0.1:1/master/api/v1/scheduler' };
      request.response.writeHead(307, headers).end();
    });
    const { events, ends } = connect(['127.0.0.1:1', other.address]);
    await until('subscribed', () => events.some(({ type }) => type === 'SUBSCRIBED'));
    expect(ends.length).to.be.greaterThan(12);
    expect(events.map(({ type }) => type)).to.deep.equal(['SUBSCRIBED']);
  });

  it('23: a negative failover timeout, which Mesos would take: refused by the settings', () => {
    for (const given of ['-5', '0', '1e20']) {
      expect(() => readConfig([], { CISTERN_FAILOVER_TIMEOUT_SECONDS: given })).to.throw(given);
    }
  });

  it('24: the empty offer filter, echoed without its list: read in both encodings', () => {
    const echoed = recordedExchanges()
      .filter(({ path, events }) => path === '/api/v1/executor' && events !== undefined)
      .flatMap((exchange) =>
        new RecordDecoder()
          .push(exchange.responseBody)
          .slice(0, 1)
          .map((record) => decode('executor.Event', record, typeOf(exchange))),
      );
    expect(echoed.length).to.be.greaterThan(20);
    for (const { subscribed } of echoed) {
      const filters = subscribed?.framework_info.offer_filters?.['cistern'];
      expect(filters?.min_allocatable_resources).to.deep.equal({});
    }
  });

  it('26: content type and accept are spelled exactly, and the path is the scheduler API', async () => {
    const server = await serve((request) => openStream(request, [SUBSCRIBED]));
    const { events } = connect([server.address]);
    await until('subscribed', () => events.length === 1);
    const [first] = server.received;
    expect(first?.headers['content-type']).to.equal(JSON_TYPE);
    expect(first?.headers.accept).to.equal(JSON_TYPE);
    expect(PROTOBUF_TYPE).to.equal('application/x-protobuf');
    expect(first?.headers['mesos-stream-id']).to.equal(undefined);
  });

  for (const [how, isProper] of [
    ['with its last chunk', true],
    ['without', false],
  ] as const) {
    it(`34: a stream that ends ${how}: the subscription is over, the next one is made`, async () => {
      const server = await serve((request, index) => {
        openStream(request, [SUBSCRIBED]);
        if (index > 0) return;
        if (isProper) request.response.end();
        else setTimeout(() => request.response.destroy(), 20);
      });
      const { events, ends } = connect([server.address]);
      await until('subscribed again', () => events.length === 2);
      expect(ends).to.have.length(1);
      expect(ends[0]).to.match(isProper ? /stream ended/ : /stream (broke|closed)/);
    });
  }

  it('18: an executor never says TASK_KILLING, which a drain would take for the end', () => {
    const session = new ExecutorSession({ frameworkId: 'f', executorId: 'e' });
    const update = {
      taskId: 't',
      state: 'TASK_KILLING' as const,
      message: '',
      uuid: Buffer.alloc(16),
      wallMs: 0,
    };
    expect(() => session.update(update)).to.throw(/TASK_KILLING/);
  });

  it('3, 11 to 17, 28: every recorded stream is taken by the manager without breaking a rule', () => {
    let acknowledged = 0;
    for (const exchange of schedulerStreams()) {
      acknowledged += countOf(takeStream(exchange), 'ACKNOWLEDGE');
    }
    expect(acknowledged).to.be.greaterThan(80);
  });

  it('14: an update right after the resubscription, before anything is reconciled: acknowledged', () => {
    const found = schedulerStreams().find(
      ({ name }) => name === 's5-failover-json/12-third-subscribe',
    );
    const events = eventsOf(found ?? fail('the recording'));
    const place = events.findIndex(({ update }) => update?.status.uuid !== undefined);
    expect(place, 'an update stands behind SUBSCRIBED').to.be.within(1, 3);
    const calls = takeStream(found ?? fail('the recording'));
    expect(countOf(calls, 'ACKNOWLEDGE')).to.be.greaterThan(0);
  });
});

function fail(what: string): never {
  throw new Error(`${what} is missing`);
}
