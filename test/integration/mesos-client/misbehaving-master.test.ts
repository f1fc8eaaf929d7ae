import { expect } from 'chai';
import {
  createMesosScheduler,
  type MesosScheduler,
  type MesosSchedulerOptions,
} from '../../../scheduler/mesos/client.ts';
import type { SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { until } from './harness.ts';
import { openStream, type Received, record, refuse, ScriptedServer } from './scripted-server.ts';

const SUBSCRIBED = {
  type: 'SUBSCRIBED',
  subscribed: { framework_id: { value: 'fw-1' }, heartbeat_interval_seconds: 15 },
};

describe('mesos client: masters that behave badly', function () {
  this.timeout(60_000);
  const servers: ScriptedServer[] = [];
  let client: MesosScheduler | null = null;
  let events: SchedulerEvent[] = [];
  let ends: string[] = [];

  afterEach(async () => {
    client?.close();
    client = null;
    await Promise.all(servers.splice(0).map((server) => server.close()));
    events = [];
    ends = [];
  });

  async function serve(
    answer: (request: Received, index: number) => void,
  ): Promise<ScriptedServer> {
    const server = await ScriptedServer.listen(answer);
    servers.push(server);
    return server;
  }

  function connect(
    masters: readonly string[],
    more: Partial<MesosSchedulerOptions> = {},
    frameworkId: string | null = null,
  ): MesosScheduler {
    client = createMesosScheduler({
      masters,
      contentType: 'application/json',
      authorization: { kind: 'none' },
      onEvent: (event) => {
        events.push(event);
        return undefined;
      },
      onDisconnected: (reason) => ends.push(reason),
      log: () => undefined,
      clock: systemClock,
      random: systemRandom,
      ...more,
      timing: { backoffMsBase: 10, backoffMsMax: 50, ...more.timing },
    });
    client.subscribe({ user: 'root', name: 'test', roles: ['r'] }, frameworkId, ['r']);
    return client;
  }

  it('404, 503, broken socket while it starts: tried until it is ready', async () => {
    const server = await serve((request, index) => {
      if (index === 0) refuse(request, 404);
      else if (index === 1) refuse(request, 503, 'Master has not finished recovery');
      else if (index === 2) request.response.destroy();
      else openStream(request, [SUBSCRIBED]);
    });
    connect([server.address]);
    await until('subscribed', () => events.length === 1);
    expect(ends).to.have.length(3);
    expect(ends[1]).to.match(/HTTP 503: Master has not finished recovery/);
  });

  it('the framework id stands in both places, and after the first time always', async () => {
    const server = await serve((request, index) => {
      openStream(request, [SUBSCRIBED]);
      if (index === 0) request.response.end();
    });
    connect([server.address]);
    await until('subscribed twice', () => events.length === 2);
    const [first, second] = server.received;
    expect(first?.body).to.not.have.property('framework_id');
    expect(second?.body['framework_id']).to.deep.equal({ value: 'fw-1' });
    expect(second?.body['subscribe']).to.have.nested.property('framework_info.id.value', 'fw-1');
    expect(second?.headers['mesos-stream-id']).to.equal(undefined);
  });

  it('redirects in circles: given up, tried again later', async () => {
    const addresses: string[] = [];
    let isHealed = false;
    const to = (other: number) => (request: Received) => {
      if (isHealed) {
        openStream(request, [SUBSCRIBED]);
        return;
      }
      const location = `//${addresses[other] ?? ''}/master/api/v1/scheduler`;
      request.response.writeHead(307, { Location: location }).end();
    };
    addresses.push((await serve(to(1))).address, (await serve(to(0))).address);
    connect([addresses[0] ?? '']);
    await until('given up', () => ends.length > 0);
    expect(ends[0]).to.match(/redirect in circles/);
    isHealed = true;
    await until('subscribed', () => events.length === 1);
  });

  it('ERROR after 200: told once, never subscribed again', async () => {
    const server = await serve((request) => {
      openStream(request, [{ type: 'ERROR', error: { message: 'Framework has been removed' } }]);
      request.response.end();
    });
    connect([server.address]);
    await until('ended', () => ends.length === 1);
    await until('told', () => events.length === 1);
    // Ten times the longest wait between attempts.
    await new Promise((resolve) => {
      setTimeout(resolve, 500);
    });
    expect(server.received).to.have.length(1);
    expect(events[0]?.error?.message).to.equal('Framework has been removed');
  });

  for (const status of [400, 401, 403, 415]) {
    it(`SUBSCRIBE refused with ${status}: final, with the master's words`, async () => {
      const server = await serve((request) => refuse(request, status, 'because'));
      connect([server.address]);
      await until('told', () => events.length === 1);
      expect(events[0]?.error?.message).to.match(new RegExp(`HTTP ${status}: because`));
    });
  }

  const broken: readonly (readonly [string, string, RegExp])[] = [
    ['a length that is none', 'abc\n{}', /cannot be read/],
    ['a record that is no event', '5\n[1,2]', /cannot be read/],
    ['an endless length', '9'.repeat(30), /cannot be read/],
    ['an end inside a record', `${record(SUBSCRIBED)}100\n{"type"`, /ended inside a record/],
  ];
  for (const [what, bytes, reason] of broken) {
    it(`stream with ${what}: dropped, subscribed anew`, async () => {
      const server = await serve((request, index) => {
        openStream(request, index === 0 ? [] : [SUBSCRIBED, { type: 'HEARTBEAT' }]);
        if (index === 0) request.response.end(bytes);
      });
      connect([server.address]);
      await until('subscribed anew', () => server.received.length === 2);
      await until('told', () => events.some(({ type }) => type === 'SUBSCRIBED'));
      expect(ends[0]).to.match(reason);
    });
  }

  it('an answer of another content type: refused, not decoded', async () => {
    const server = await serve(({ response }) => {
      response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>');
    });
    connect([server.address]);
    await until('told', () => events.length > 0);
    expect(events[0]?.error?.message).to.match(/content type "text\/html"/);
  });

  it('open stream without SUBSCRIBED: given up after the deadline', async () => {
    const server = await serve((request, index) => {
      openStream(request, index === 0 ? [] : [SUBSCRIBED]);
    });
    connect([server.address], { timing: { answerTimeoutMs: 300 } });
    await until('subscribed', () => events.length === 1);
    expect(ends[0]).to.match(/silent for 300 ms|no SUBSCRIBED came within 300 ms/);
  });

  it('no answer at all: given up after the deadline', async () => {
    const server = await serve((request, index) => {
      if (index > 0) openStream(request, [SUBSCRIBED]);
    });
    connect([server.address], { timing: { answerTimeoutMs: 1000 } });
    await until('subscribed', () => events.length === 1);
    expect(ends[0]).to.match(/did not answer: .*[Tt]imeout/);
  });

  it('calls: in order, one at a time, with the stream id; dropped when not subscribed', async () => {
    let inFlight = 0;
    let most = 0;
    const server = await serve((request) => {
      if (request.body['type'] === 'SUBSCRIBE') {
        openStream(request, [SUBSCRIBED], { 'Mesos-Stream-Id': 'stream-7' });
        return;
      }
      inFlight += 1;
      most = Math.max(most, inFlight);
      setTimeout(() => {
        inFlight -= 1;
        refuse(request, 202);
      }, 5);
    });
    const scheduler = connect([server.address]);
    expect(scheduler.call({ type: 'REVIVE', revive: { roles: [] } })).to.equal(false);
    await until('subscribed', () => events.length === 1);
    for (let index = 0; index < 20; index += 1) {
      scheduler.call({ type: 'SUPPRESS', suppress: { roles: [`r${index}`] } });
    }
    await until('all arrived', () => server.received.length === 21 && inFlight === 0);
    expect(most).to.equal(1);
    const calls = server.received.slice(1);
    expect(calls.map(({ body }) => (body['suppress'] as { roles: string[] }).roles[0])).to.eql(
      Array.from({ length: 20 }, (_, index) => `r${index}`),
    );
    expect(new Set(calls.map(({ headers }) => headers['mesos-stream-id']))).to.eql(
      new Set(['stream-7']),
    );
    expect(calls[0]?.body['framework_id']).to.deep.equal({ value: 'fw-1' });
  });

  for (const status of [400, 403]) {
    it(`a call refused with ${status}: the stream is dropped, subscribed anew, not repeated`, async () => {
      const server = await serve((request) => {
        if (request.body['type'] === 'SUBSCRIBE') openStream(request, [SUBSCRIBED]);
        else refuse(request, status, 'not subscribed');
      });
      const scheduler = connect([server.address]);
      await until('subscribed', () => events.length === 1);
      scheduler.call({ type: 'REVIVE', revive: { roles: [] } });
      await until('subscribed anew', () => events.length === 2);
      expect(server.types).to.deep.equal(['SUBSCRIBE', 'REVIVE', 'SUBSCRIBE']);
      expect(ends[0]).to.match(/REVIVE was refused/);
    });
  }

  it('a slow consumer: events in order, one at a time', async () => {
    const roles = Array.from({ length: 200 }, (_, index) => `O${index}`);
    const server = await serve((request) => {
      openStream(request, [
        SUBSCRIBED,
        ...roles.map((value) => ({ type: 'RESCIND', rescind: { offer_id: { value } } })),
      ]);
    });
    let inFlight = 0;
    const seen: string[] = [];
    connect([server.address], {
      onEvent: async (event) => {
        inFlight += 1;
        expect(inFlight).to.equal(1);
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
        if (event.rescind !== undefined) seen.push(event.rescind.offer_id.value);
        inFlight -= 1;
      },
    });
    await until('all seen', () => seen.length === roles.length);
    expect(seen).to.deep.equal(roles);
  });

  it('masters from a detector that hangs, then finds none, then one', async () => {
    const server = await serve((request) => openStream(request, [SUBSCRIBED]));
    const finds = [new Promise<string[]>(() => undefined), Promise.resolve([])];
    connect([], {
      masters: () => finds.shift() ?? Promise.resolve([server.address]),
      timing: { answerTimeoutMs: 200 },
    });
    await until('subscribed', () => events.length === 1);
  });

  it('closed while connecting: nothing happens any more', async () => {
    const server = await serve((request) => openStream(request, [SUBSCRIBED]));
    const scheduler = connect([server.address]);
    scheduler.close();
    await new Promise((resolve) => {
      setTimeout(resolve, 200);
    });
    expect(events).to.deep.equal([]);
    expect(ends).to.deep.equal([]);
  });
});
