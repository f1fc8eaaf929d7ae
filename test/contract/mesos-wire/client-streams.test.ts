/**
 * Both clients read every recorded stream, in both encodings, however the network cuts it: the framing at
 * every split, the whole client (sockets, framing, decoding, order) with random cuts.
 */

import { expect } from 'chai';
import { createMesosExecutor } from '../../../executor/mesos.ts';
import { readMesosEnvironment } from '../../../executor/mesos-environment.ts';
import { createMesosScheduler } from '../../../scheduler/mesos/client.ts';
import { Prng } from '../../../shared/base/prng.ts';
import type { ContentType } from '../../../shared/mesos/codec.ts';
import { RecordDecoder } from '../../../shared/mesos/recordio.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { until } from '../../integration/mesos-client/harness.ts';
import { ScriptedServer } from '../../integration/mesos-client/scripted-server.ts';
import {
  type Exchange,
  hasRecordings,
  headerOf,
  recordedExchanges,
  WHY_SKIPPED,
} from './recordings.ts';
import { type Json, pick, plain } from './replayed-exchange.ts';

/** Streams up to this size are cut at every byte, larger ones near record boundaries and at random. */
const EVERY_BYTE_MAX = 8 * 1024;
const RANDOM_CUTS = 300;

type RecordedStream = Exchange & { readonly events: readonly Json[] };

function streamsOf(path: string): RecordedStream[] {
  return recordedExchanges().filter(
    (one): one is RecordedStream =>
      one.path === path && one.status === 200 && one.events !== undefined,
  );
}

function contentTypeOf(exchange: Exchange): ContentType {
  return headerOf(exchange.responseHeaders, 'Content-Type') as ContentType;
}

/** Both sides have rounded the numbers beyond 2^53 that JSON carried. */
function comparable(event: unknown): string {
  const text = JSON.stringify(plain(event));
  return JSON.stringify(
    JSON.parse(text, (_key, value: unknown) =>
      typeof value === 'string' && /^\d{16,}$/.test(value) ? Number(value) : value,
    ),
  );
}

/** Where to cut: everywhere, or where it hurts. */
function cutsOf(bytes: Buffer, random: () => number): number[] {
  if (bytes.length <= EVERY_BYTE_MAX) return Array.from({ length: bytes.length }, (_, at) => at);
  const cuts = Array.from({ length: RANDOM_CUTS }, () => Math.floor(random() * bytes.length));
  let at = 0;
  for (const record of new RecordDecoder().push(bytes)) {
    const head = `${record.length}\n`.length;
    for (let near = -3; near <= head + 3; near++) cuts.push(at + near);
    at += head + record.length;
  }
  return cuts.filter((cut) => cut >= 0 && cut <= bytes.length);
}

/** The stream in pieces of 1 to 40 bytes, and now and then a large one. */
function pieces(bytes: Buffer, random: () => number): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = random() < 0.1 ? 4096 : 1 + Math.floor(random() * 40);
    found.push(bytes.subarray(at, at + size));
    at += size;
  }
  return found;
}

describe('mesos clients: the recorded streams', function () {
  this.timeout(120_000);
  const prng = new Prng(7);
  const random = () => prng.below(1_000_000) / 1_000_000;
  const servers: ScriptedServer[] = [];

  before(function () {
    if (hasRecordings()) return;
    console.warn(`      skipped: ${WHY_SKIPPED}`);
    this.skip();
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.close()));
  });

  /** Answers the first request with the recorded stream, in pieces; further ones are left waiting. */
  async function play(exchange: Exchange): Promise<ScriptedServer> {
    const server = await ScriptedServer.listen(({ response }, index) => {
      if (index > 0) return;
      response.writeHead(200, Object.fromEntries(exchange.responseHeaders));
      response.flushHeaders();
      for (const piece of pieces(exchange.responseBody, random)) response.write(piece);
    });
    servers.push(server);
    return server;
  }

  it('framing: every recorded stream, cut at every byte or near every boundary', () => {
    const streams = [...streamsOf('/api/v1/scheduler'), ...streamsOf('/api/v1/executor')];
    expect(streams.length).to.be.greaterThan(50);
    for (const { name, responseBody, events } of streams) {
      const whole = new RecordDecoder().push(responseBody);
      expect(whole.length, name).to.equal(events.length);
      for (const cut of cutsOf(responseBody, random)) {
        const decoder = new RecordDecoder();
        const records = [
          ...decoder.push(responseBody.subarray(0, cut)),
          ...decoder.push(responseBody.subarray(cut)),
        ];
        const isSame =
          records.length === whole.length &&
          records.every((one, index) => one.equals(whole[index] ?? Buffer.alloc(0)));
        expect(isSame, `${name} cut at ${cut}`).to.equal(true);
      }
    }
  });

  it('scheduler: every recorded stream, in pieces, hands over every event in order', async () => {
    for (const exchange of streamsOf('/api/v1/scheduler')) {
      const contentType = contentTypeOf(exchange);
      const server = await play(exchange);
      const events: string[] = [];
      const ends: string[] = [];
      const client = createMesosScheduler({
        masters: [server.address],
        contentType,
        authorization: { kind: 'none' },
        onEvent: (event) => {
          events.push(comparable(event));
          return undefined;
        },
        onDisconnected: (reason) => ends.push(reason),
        log: () => undefined,
        clock: systemClock,
        random: systemRandom,
      });
      client.subscribe({ user: 'root', name: 'test', roles: ['cistern'] }, null, ['cistern']);
      // After ERROR the client is done with the stream, whatever still comes.
      const error = exchange.events.findIndex((one) => one['type'] === 'ERROR');
      const meant = error < 0 ? exchange.events : exchange.events.slice(0, error + 1);
      const expected = meant.filter((one) => one['type'] !== 'HEARTBEAT').map(comparable);
      await until(`${expected.length} events of ${exchange.name}`, () => {
        return events.length >= expected.length;
      });
      expect(events.map(withoutOrder), exchange.name).to.deep.equal(expected.map(withoutOrder));
      expect(ends.length, `${exchange.name}: ${ends[0] ?? ''}`).to.equal(error < 0 ? 0 : 1);
      client.close();
      await server.close();
      servers.pop();
    }
  });

  it('executor: every recorded stream, in pieces, gives the recorded orders', async () => {
    for (const exchange of streamsOf('/api/v1/executor')) {
      const server = await play(exchange);
      const done: string[] = [];
      const known = new Set<string>();
      const client = createMesosExecutor({
        environment: readMesosEnvironment({
          MESOS_FRAMEWORK_ID: 'fw',
          MESOS_EXECUTOR_ID: 'node-1',
          MESOS_SLAVE_ID: 'agent',
          MESOS_AGENT_ENDPOINT: server.address,
          MESOS_CHECKPOINT: '1',
          MESOS_DIRECTORY: '/tmp',
        }),
        contentType: contentTypeOf(exchange),
        onLaunch: (task) => done.push(`LAUNCH ${task.task_id.value}`),
        onKill: (taskId) => done.push(`KILL ${taskId}`),
        onMessage: (data) => done.push(`MESSAGE ${data.toString('base64')}`),
        onShutdown: () => done.push('SHUTDOWN'),
        onGiveUp: (reason) => done.push(`gave up: ${reason}`),
        onSubscribed: (agent) => done.push(`SUBSCRIBED ${agent.hostname}`),
        log: () => undefined,
        clock: systemClock,
        random: systemRandom,
      });
      const expected = exchange.events.flatMap((event) => orderOf(event, known));
      await until(`${expected.length} orders of ${exchange.name}`, () => {
        return done.length >= expected.length;
      });
      expect(done, exchange.name).to.deep.equal(expected);
      client.close();
      await server.close();
      servers.pop();
    }
  });
});

/** Fields stand in the order of their numbers in protobuf, and as the recorder met them in its file. */
function withoutOrder(text: string): unknown {
  return JSON.parse(text);
}

/** What an executor is told by a recorded event. */
function orderOf(event: Json, known: Set<string>): string[] {
  const taskId = String(pick(event, 'launch', 'task', 'task_id', 'value'));
  switch (event['type']) {
    case 'SUBSCRIBED':
      return [`SUBSCRIBED ${String(pick(event, 'subscribed', 'agent_info', 'hostname'))}`];
    case 'LAUNCH':
      known.add(taskId);
      return [`LAUNCH ${taskId}`];
    case 'KILL': {
      const killed = String(pick(event, 'kill', 'task_id', 'value'));
      return known.has(killed) ? [`KILL ${killed}`] : [];
    }
    case 'MESSAGE':
      return [`MESSAGE ${String(pick(event, 'message', 'data'))}`];
    case 'SHUTDOWN':
      return ['SHUTDOWN'];
    default:
      return [];
  }
}
