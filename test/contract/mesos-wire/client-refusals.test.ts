/**
 * What both clients do on every recorded refusal, given as the answer to their own subscription and to
 * their own call. The rule per status stands in two tables; an answer of another status fails the test.
 */

import { expect } from 'chai';
import { createMesosExecutor, type MesosExecutor } from '../../../executor/mesos.ts';
import { readMesosEnvironment } from '../../../executor/mesos-environment.ts';
import { createMesosScheduler, type MesosScheduler } from '../../../scheduler/mesos/client.ts';
import { JSON_TYPE } from '../../../shared/mesos/codec.ts';
import type { SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { until } from '../../integration/mesos-client/harness.ts';
import {
  openStream,
  type Received,
  ScriptedServer,
} from '../../integration/mesos-client/scripted-server.ts';
import { type Exchange, hasRecordings, recordedExchanges, WHY_SKIPPED } from './recordings.ts';
import { pick } from './replayed-exchange.ts';

type Reaction =
  /** Tried again after a while: it passes by itself. */
  | 'retries'
  /** The same request goes to the master that is named. */
  | 'follows'
  /** Told to the core as ERROR (which stops leading), never tried again. */
  | 'surfaces'
  /** Logged; the subscription goes on, and that call is not sent again. */
  | 'goes on'
  /** The subscription is void: offers are dropped, and a new one is made. */
  | 'subscribes anew'
  /** The executor ends. */
  | 'gives up';

const ON_SUBSCRIBE: Readonly<Record<number, Reaction>> = {
  200: 'surfaces', // with ERROR as its first event
  307: 'follows',
  400: 'surfaces',
  401: 'surfaces',
  403: 'surfaces',
  404: 'retries',
  405: 'surfaces',
  406: 'surfaces',
  415: 'surfaces',
  501: 'retries',
  503: 'retries',
};

const ON_CALL: Readonly<Record<number, Reaction>> = {
  307: 'subscribes anew',
  400: 'subscribes anew',
  401: 'subscribes anew',
  403: 'subscribes anew',
  404: 'subscribes anew',
  405: 'subscribes anew',
  406: 'subscribes anew',
  415: 'subscribes anew',
  501: 'subscribes anew',
  503: 'subscribes anew',
};

const EXECUTOR_ON_SUBSCRIBE: Readonly<Record<number, Reaction>> = {
  400: 'gives up',
  404: 'retries',
  503: 'retries',
};

const EXECUTOR_ON_CALL: Readonly<Record<number, Reaction>> = {
  400: 'goes on',
  404: 'subscribes anew',
  503: 'subscribes anew',
};

const SUBSCRIBED = {
  type: 'SUBSCRIBED',
  subscribed: { framework_id: { value: 'fw-1' }, heartbeat_interval_seconds: 15 },
};

const EXECUTOR_SUBSCRIBED = {
  type: 'SUBSCRIBED',
  subscribed: {
    executor_info: { executor_id: { value: 'node-1' } },
    framework_info: { user: 'root', name: 'test' },
    agent_info: { hostname: 'agent1.example' },
  },
};

const TASK = { name: 't', task_id: { value: 'task-1' }, agent_id: { value: 'agent' } };

/** One of each kind: same status, same text, same place to go. */
function refusals(path: string): Exchange[] {
  const kinds = new Map<string, Exchange>();
  for (const one of recordedExchanges()) {
    const isError = one.events?.[0]?.['type'] === 'ERROR';
    const isRefused = one.status !== undefined && (one.status >= 300 || isError);
    const text = one.responseBody.toString('latin1');
    if (one.path === path && isRefused) kinds.set(`${one.status} ${text}`, one);
  }
  return [...kinds.values()];
}

/** The recorded answer; a redirect goes to `elsewhere`, in the recorded form. */
function answerAsRecorded({ response }: Received, exchange: Exchange, elsewhere: string): void {
  const headers = exchange.responseHeaders
    .filter(([name]) => name !== 'Date')
    .map(([name, value]): [string, string] => [
      name,
      name === 'Location' ? value.replace(/^\/\/[^/]+/, `//${elsewhere}`) : value,
    ]);
  response.writeHead(exchange.status ?? 500, Object.fromEntries(headers));
  if (exchange.responseHeaders.some(([name]) => name === 'Transfer-Encoding'))
    response.flushHeaders();
  response.end(exchange.responseBody);
}

describe('mesos clients: the recorded refusals', function () {
  this.timeout(120_000);
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

  type Watched = {
    readonly client: MesosScheduler;
    readonly events: SchedulerEvent[];
    readonly ends: string[];
  };

  function connect(server: ScriptedServer, contentType = JSON_TYPE): Watched {
    const events: SchedulerEvent[] = [];
    const ends: string[] = [];
    const client = createMesosScheduler({
      masters: [server.address],
      contentType: contentType as typeof JSON_TYPE,
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

  function contentTypeOf(exchange: Exchange): string {
    const found = exchange.responseHeaders.find(([name]) => name === 'Content-Type')?.[1];
    return exchange.status === 200 && found !== undefined ? found : JSON_TYPE;
  }

  it('scheduler, as the answer to SUBSCRIBE: retried, followed, or told and never tried again', async () => {
    const stopped: (() => void)[] = [];
    for (const exchange of refusals('/api/v1/scheduler')) {
      const reaction = ON_SUBSCRIBE[exchange.status ?? 0];
      const leader = await serve((request) => openStream(request, [SUBSCRIBED]));
      const server = await serve((request, index) => {
        if (index === 0) answerAsRecorded(request, exchange, leader.address);
        else openStream(request, [SUBSCRIBED]);
      });
      const { client, events } = connect(server, contentTypeOf(exchange));
      const isSubscribed = () => events.some(({ type }) => type === 'SUBSCRIBED');
      if (reaction === 'retries') await until(`${exchange.name}: retried`, isSubscribed);
      else if (reaction === 'follows') {
        await until(`${exchange.name}: followed`, isSubscribed);
        expect(leader.received[0]?.path).to.equal('/master/api/v1/scheduler');
        expect(leader.received[0]?.body).to.deep.equal(server.received[0]?.body);
      } else {
        expect(reaction, `${exchange.name}: ${exchange.status}`).to.equal('surfaces');
        await until(`${exchange.name}: told`, () => events.length > 0);
        expect(events.map(({ type }) => type)).to.deep.equal(['ERROR']);
        const text = exchange.status === 200 ? '' : exchange.responseBody.toString().trim();
        expect(events[0]?.error?.message, exchange.name).to.include(text);
        stopped.push(() => {
          expect(server.received.length, `${exchange.name} tried again`).to.equal(1);
          expect(client.call({ type: 'REVIVE', revive: {} }), exchange.name).to.equal(false);
        });
      }
    }
    // Beyond the longest wait of a retry.
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (const check of stopped) check();
    expect(stopped.length).to.be.greaterThan(15);
  });

  it('scheduler, as the answer to a call: the subscription is dropped and made anew, the call never repeated', async () => {
    for (const exchange of refusals('/api/v1/scheduler')) {
      if (exchange.status === 200) continue;
      expect(ON_CALL[exchange.status ?? 0], exchange.name).to.equal('subscribes anew');
      const server = await serve((request) => {
        if (request.body['type'] === 'SUBSCRIBE') openStream(request, [SUBSCRIBED]);
        else answerAsRecorded(request, exchange, '127.0.0.1:1');
      });
      const { client, events, ends } = connect(server);
      const count = () => events.filter(({ type }) => type === 'SUBSCRIBED').length;
      await until('subscribed', () => count() === 1);
      client.call({ type: 'SUPPRESS', suppress: { roles: ['r'] } });
      await until(`${exchange.name}: subscribed anew`, () => count() === 2);
      expect(ends[0]).to.match(new RegExp(`SUPPRESS was refused with ${exchange.status}`));
      expect(server.types).to.deep.equal(['SUBSCRIBE', 'SUPPRESS', 'SUBSCRIBE']);
    }
  });

  type WatchedExecutor = {
    readonly client: MesosExecutor;
    readonly gaveUp: string[];
    readonly launched: string[];
  };

  function connectExecutor(server: ScriptedServer): WatchedExecutor {
    const gaveUp: string[] = [];
    const launched: string[] = [];
    const client = createMesosExecutor({
      environment: readMesosEnvironment({
        MESOS_FRAMEWORK_ID: 'fw',
        MESOS_EXECUTOR_ID: 'node-1',
        MESOS_SLAVE_ID: 'agent',
        MESOS_AGENT_ENDPOINT: server.address,
        MESOS_CHECKPOINT: '1',
        MESOS_SUBSCRIPTION_BACKOFF_MAX: '20ms',
        MESOS_DIRECTORY: '/tmp',
      }),
      contentType: JSON_TYPE,
      onLaunch: (task) => launched.push(task.task_id.value),
      onKill: () => undefined,
      onMessage: () => undefined,
      onShutdown: () => undefined,
      onGiveUp: (reason) => gaveUp.push(reason),
      log: () => undefined,
      clock: systemClock,
      random: systemRandom,
    });
    closers.push(() => client.close());
    return { client, gaveUp, launched };
  }

  it('executor, as the answer to SUBSCRIBE: knocks again, or gives up', async () => {
    for (const exchange of refusals('/api/v1/executor')) {
      const server = await serve((request, index) => {
        if (index === 0) answerAsRecorded(request, exchange, '');
        else openStream(request, [EXECUTOR_SUBSCRIBED, { type: 'LAUNCH', launch: { task: TASK } }]);
      });
      const { gaveUp, launched } = connectExecutor(server);
      const reaction = EXECUTOR_ON_SUBSCRIBE[exchange.status ?? 0];
      if (reaction === 'retries') await until(exchange.name, () => launched.length === 1);
      else {
        expect(reaction, `${exchange.name}: ${exchange.status}`).to.equal('gives up');
        await until(exchange.name, () => gaveUp.length === 1);
        expect(gaveUp[0]).to.include(exchange.responseBody.toString().trim());
      }
    }
  });

  it('executor, as the answer to an update: not repeated by itself, or sent with a new subscription', async () => {
    for (const exchange of refusals('/api/v1/executor')) {
      const server = await serve((request) => {
        if (request.body['type'] === 'SUBSCRIBE') {
          openStream(request, [EXECUTOR_SUBSCRIBED, { type: 'LAUNCH', launch: { task: TASK } }]);
        } else if (server.types.filter((type) => type === 'UPDATE').length === 1) {
          answerAsRecorded(request, exchange, '');
        } else request.response.writeHead(202).end();
      });
      const { client, gaveUp, launched } = connectExecutor(server);
      await until('launched', () => launched.length === 1);
      client.update('task-1', 'TASK_STARTING', { message: '' });
      await until('first update', () => server.types.includes('UPDATE'));
      const reaction = EXECUTOR_ON_CALL[exchange.status ?? 0];
      if (reaction === 'goes on') {
        client.update('task-1', 'TASK_RUNNING', { message: '' });
        await until(`${exchange.name}: second update`, () => server.types.length === 3);
        expect(server.types).to.deep.equal(['SUBSCRIBE', 'UPDATE', 'UPDATE']);
        const states = server.received.map(({ body }) => pick(body, 'update', 'status', 'state'));
        expect(states.slice(1)).to.deep.equal(['TASK_STARTING', 'TASK_RUNNING']);
      } else {
        expect(reaction, `${exchange.name}: ${exchange.status}`).to.equal('subscribes anew');
        await until(
          `${exchange.name}: anew`,
          () => server.types.at(-1) === 'SUBSCRIBE' && server.types.length === 3,
        );
        const kept = pick(server.received[2]?.body, 'subscribe', 'unacknowledged_updates');
        expect(kept, exchange.name).to.have.lengthOf(1);
      }
      expect(gaveUp, exchange.name).to.deep.equal([]);
    }
  });
});
