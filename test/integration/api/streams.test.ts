/** The streams: whole snapshots at most once a second, every event once, and the end of slow clients. */

import { connect } from 'node:net';
import { expect } from 'chai';
import type { ServerEvent } from '../../../cli/server-events.ts';
import { readServerEvents } from '../../../cli/server-events.ts';
import type { EventView } from '../../../shared/model/api-views.ts';
import type { SnapshotView } from '../../../shared/model/stream-view.ts';
import type { ApiFixture } from '../../fixture/api-fixture.ts';
import { startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';

describe('api: streams', () => {
  let api: ApiFixture;
  let controller: AbortController;

  beforeEach(async () => {
    api = await startFixture(SMALL);
    controller = new AbortController();
  });
  afterEach(async () => {
    controller.abort();
    await api.close();
  });

  async function open(path: string, headers: Record<string, string> = {}) {
    const response = await fetch(`${api.url}${path}`, { headers, signal: controller.signal });
    expect(response.status).to.equal(200);
    expect(response.headers.get('content-type')).to.match(/^text\/event-stream/);
    if (response.body === null) throw new Error('The stream has no body');
    return readServerEvents(response.body, controller.signal);
  }

  async function take(events: AsyncGenerator<ServerEvent>, count: number): Promise<ServerEvent[]> {
    const taken: ServerEvent[] = [];
    while (taken.length < count) {
      const { value, done } = await events.next();
      if (done) throw new Error(`The stream ended after ${taken.length} of ${count}`);
      taken.push(value);
    }
    return taken;
  }

  const ids = (events: readonly ServerEvent[]) => events.map((event) => event.id);

  it('snapshots: the first at once, with everything', async () => {
    const [first] = await take(await open('/v1/stream'), 1);
    expect(first?.name).to.equal('snapshot');
    const snapshot = JSON.parse(first?.data ?? '') as SnapshotView;
    expect(snapshot.cluster).to.deep.equal(api.manager.cluster());
    expect(snapshot.nodes).to.deep.equal(api.manager.nodes());
    expect(snapshot.disks).to.deep.equal(api.manager.disks());
    expect(snapshot.pgSummary.counts.total).to.equal(SMALL.pgs);
    expect(snapshot.events.map((event) => event.id)).to.deep.equal([1, 2, 3]);
  });

  it('snapshots: a thousand changes become one message, and the newest state', async () => {
    const stream = await open('/v1/stream');
    await take(stream, 1);
    const startedAt = performance.now();
    for (let index = 0; index < 1000; index += 1) api.manager.touch();
    api.manager.addEvent({ severity: 'info', kind: 'test', message: 'last', subject: 'x' });
    const [next] = await take(stream, 1);
    const snapshot = JSON.parse(next?.data ?? '') as SnapshotView;
    expect(snapshot.events.at(-1)?.message).to.equal('last');
    await take(stream, 1);
    // Two periods of a second lie between three messages; the first may have been cut short.
    expect(performance.now() - startedAt).to.be.greaterThan(1000);
  });

  it('snapshots: without a change they go on, so that silence means trouble', async () => {
    const stream = await open('/v1/stream');
    expect(await take(stream, 3)).to.have.length(3);
  });

  it('events: only new ones without an id, the missed ones with it', async () => {
    const fresh = await open('/v1/events/stream');
    const resumed = await open('/v1/events/stream', { 'last-event-id': '1' });
    const since = await open('/v1/events/stream?since=2');
    api.manager.addEvent({ severity: 'warning', kind: 'test', message: 'new', subject: 'x' });
    expect(ids(await take(fresh, 1))).to.deep.equal([4]);
    expect(ids(await take(since, 2))).to.deep.equal([3, 4]);
    const all = await take(resumed, 3);
    expect(ids(all)).to.deep.equal([2, 3, 4]);
    expect((JSON.parse(all[2]?.data ?? '') as EventView).message).to.equal('new');
  });

  it('events: many at once, each exactly once and in order', async () => {
    const stream = await open('/v1/events/stream');
    for (let index = 0; index < 500; index += 1) {
      api.manager.addEvent({ severity: 'info', kind: 'test', message: `${index}`, subject: 'x' });
    }
    const taken = ids(await take(stream, 500));
    expect(taken).to.deep.equal(Array.from({ length: 500 }, (_, index) => index + 4));
  });

  it('events: a bad Last-Event-ID is refused', async () => {
    const response = await fetch(`${api.url}/v1/events/stream`, {
      headers: { 'last-event-id': 'yesterday' },
    });
    expect(response.status).to.equal(400);
    expect(await response.json()).to.deep.include({ code: 'invalid-argument' });
  });

  it('leaving: nobody watches, nothing is subscribed', async () => {
    const stream = await open('/v1/stream');
    await take(stream, 1);
    expect(api.manager.listenerCount).to.equal(1);
    controller.abort();
    await until(() => api.manager.listenerCount === 0);
  });

  it('leadership lost: streams end, and new ones are told why', async () => {
    const stream = await open('/v1/stream');
    await take(stream, 1);
    api.manager.setLeadership({ isLeading: false, reason: 'resigned' });
    expect((await stream.next()).done).to.equal(true);
    const response = await fetch(`${api.url}/v1/stream`);
    expect(response.status).to.equal(503);
  });

  it('too many: the limit is refused with a reason, and room comes back', async function () {
    this.timeout(60_000);
    const controllers = Array.from({ length: 100 }, () => new AbortController());
    await Promise.all(
      controllers.map(({ signal }) => fetch(`${api.url}/v1/events/stream`, { signal })),
    );
    const refused = await fetch(`${api.url}/v1/stream`);
    expect(refused.status).to.equal(503);
    expect(await refused.json()).to.deep.include({ code: 'unavailable' });
    for (const one of controllers) one.abort();
    await until(() => api.manager.listenerCount === 0);
    const [first] = await take(await open('/v1/stream'), 1);
    expect(first?.name).to.equal('snapshot');
  });
});

describe('api: slow clients', () => {
  it('a client that reads nothing is dropped when too much waits for it, others go on', async () => {
    const api = await startFixture(SMALL);
    const controller = new AbortController();
    const reader = await fetch(`${api.url}/v1/events/stream`, { signal: controller.signal });
    let readBytes = 0;
    void (async () => {
      for await (const bytes of reader.body ?? []) readBytes += (bytes as Uint8Array).length;
    })().catch(() => undefined);
    const socket = connect(api.server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write('GET /v1/events/stream HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(async () => (await countStreams(api)) === 2);
    // More than the server keeps for a client and the system's buffers take together.
    const message = 'x'.repeat(100_000);
    const total = 400;
    for (let sent = 0; sent < total; sent += 1) {
      api.manager.addEvent({ severity: 'info', kind: 'test', message, subject: 'x' });
      if (sent % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 120));
    }
    await until(async () => (await countStreams(api)) === 1);
    await until(() => readBytes > total * message.length);
    controller.abort();
    socket.destroy();
    await api.close();
  });
});

async function countStreams(api: ApiFixture): Promise<number> {
  const text = await (await fetch(`${api.url}/metrics`)).text();
  return Number(/^cistern_api_streams_count (\d+)$/m.exec(text)?.[1]);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
