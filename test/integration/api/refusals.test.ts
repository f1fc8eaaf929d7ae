/** Everything that the API refuses, and that it always says why in the same form. */

import { request } from 'node:http';
import { connect } from 'node:net';
import { expect } from 'chai';
import { startApi } from '../../../scheduler/api/server.ts';
import { createMetrics } from '../../../scheduler/metrics.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import type { ErrorView } from '../../../shared/model/api-views.ts';
import type { ApiFixture } from '../../fixture/api-fixture.ts';
import { startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';

interface Refusal {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly field: string;
  readonly given: unknown;
  readonly allowed: RegExp;
}

const volume = { method: 'POST', path: '/v1/volumes' };
const pool = { method: 'PATCH', path: '/v1/pools/default' };

/** One for each rule of each field. */
const REFUSALS: readonly Refusal[] = [
  { ...volume, body: { sizeBytes: 4096 }, field: 'name', given: null, allowed: /^string/ },
  {
    ...volume,
    body: { name: '', sizeBytes: 4096 },
    field: 'name',
    given: '',
    allowed: /not empty/,
  },
  { ...volume, body: { name: 7, sizeBytes: 4096 }, field: 'name', given: 7, allowed: /^string/ },
  { ...volume, body: { name: 'x' }, field: 'sizeBytes', given: null, allowed: /at least 4096/ },
  {
    ...volume,
    body: { name: 'x', sizeBytes: '4096' },
    field: 'sizeBytes',
    given: '4096',
    allowed: /integer/,
  },
  {
    ...volume,
    body: { name: 'x', sizeBytes: 1.5 },
    field: 'sizeBytes',
    given: 1.5,
    allowed: /integer/,
  },
  {
    ...volume,
    body: { name: 'x', sizeBytes: 1 },
    field: 'sizeBytes',
    given: 1,
    allowed: /at least 4096/,
  },
  {
    ...volume,
    body: { name: 'x', sizeBytes: 2 ** 60 },
    field: 'sizeBytes',
    given: 2 ** 60,
    allowed: /at most/,
  },
  {
    ...volume,
    body: { name: 'x', sizeBytes: 4096, replicas: 0 },
    field: 'replicas',
    given: 0,
    allowed: /at least 1, at most 5/,
  },
  {
    ...volume,
    body: { name: 'x', sizeBytes: 4096, replicas: 6 },
    field: 'replicas',
    given: 6,
    allowed: /at most 5/,
  },
  {
    ...volume,
    body: { name: 'x', sizeBytes: 4096, pool: 3 },
    field: 'pool',
    given: 3,
    allowed: /string or null/,
  },
  {
    ...volume,
    body: { name: 'x', sizeBytes: 4096, size: 1 },
    field: 'size',
    given: 1,
    allowed: /"name", "sizeBytes"/,
  },
  { ...volume, body: [], field: 'body', given: [], allowed: /object/ },
  {
    method: 'POST',
    path: '/v1/volumes/db/attach',
    body: { node: 1 },
    field: 'node',
    given: 1,
    allowed: /string/,
  },
  {
    method: 'POST',
    path: '/v1/volumes/db/attach',
    body: { force: 'yes' },
    field: 'force',
    given: 'yes',
    allowed: /boolean/,
  },
  {
    method: 'POST',
    path: '/v1/volumes/db/attach?wait=301',
    field: 'wait',
    given: 301,
    allowed: /at most 300/,
  },
  {
    method: 'POST',
    path: '/v1/volumes/db/attach?wait=soon',
    field: 'wait',
    given: 'soon',
    allowed: /integer/,
  },
  {
    method: 'POST',
    path: '/v1/volumes/db/detach',
    body: { node: 'n1' },
    field: 'node',
    given: 'n1',
    allowed: /"force"/,
  },
  {
    method: 'DELETE',
    path: '/v1/volumes/db?force=maybe',
    field: 'force',
    given: 'maybe',
    allowed: /boolean/,
  },
  {
    method: 'POST',
    path: '/v1/nodes/n1/drain',
    body: { now: true },
    field: 'now',
    given: true,
    allowed: /no fields/,
  },
  { ...pool, body: {}, field: 'body', given: {}, allowed: /at least one of "expandAtRatio"/ },
  { ...pool, body: { expandAtRatio: 0 }, field: 'expandAtRatio', given: 0, allowed: /above 0/ },
  { ...pool, body: { fullAtRatio: 1.1 }, field: 'fullAtRatio', given: 1.1, allowed: /at most 1/ },
  { ...pool, body: { diskCountMax: 0 }, field: 'diskCountMax', given: 0, allowed: /at least 1/ },
  {
    ...pool,
    body: { expandCooldownSeconds: -1 },
    field: 'expandCooldownSeconds',
    given: -1,
    allowed: /at least 0/,
  },
  { ...pool, body: { isAutoExpand: 1 }, field: 'isAutoExpand', given: 1, allowed: /boolean/ },
  {
    ...pool,
    body: { claimPerNode: 'all' },
    field: 'claimPerNode',
    given: 'all',
    allowed: /integer or null/,
  },
  {
    method: 'GET',
    path: '/v1/pgs?state=odd',
    field: 'state',
    given: 'odd',
    allowed: /one of "clean"/,
  },
  {
    method: 'GET',
    path: '/v1/pgs?colour=red',
    field: 'colour',
    given: 'red',
    allowed: /"pool", "state", "disk"/,
  },
  { method: 'GET', path: '/v1/events?limit=0', field: 'limit', given: 0, allowed: /at least 1/ },
  {
    method: 'GET',
    path: '/v1/events?limit=1001',
    field: 'limit',
    given: 1001,
    allowed: /at most 1000/,
  },
  { method: 'GET', path: '/v1/events?since=-1', field: 'since', given: '-1', allowed: /integer/ },
  {
    method: 'GET',
    path: '/v1/events/stream?since=x',
    field: 'since',
    given: 'x',
    allowed: /integer/,
  },
];

describe('api: refusals', () => {
  let api: ApiFixture;

  before(async () => {
    api = await startFixture(SMALL);
  });
  after(() => api.close());

  async function refused(path: string, options: RequestInit = {}) {
    const response = await fetch(`${api.url}${path}`, options);
    expect(response.headers.get('content-type'), path).to.match(/^application\/json/);
    const body = (await response.json()) as ErrorView;
    expect(body, path).to.have.all.keys('code', 'message', 'details');
    expect(JSON.stringify(body), path).not.to.match(/node_modules|\.js:\d|at .*\(/);
    return { status: response.status, body, headers: response.headers };
  }

  for (const { method, path, body, field, given, allowed } of REFUSALS) {
    const shown = body === undefined ? '' : ` ${JSON.stringify(body)}`;
    it(`validation: ${method} ${path}${shown}, 400 about "${field}"`, async () => {
      const answer = await refused(path, {
        method,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      expect(answer.status).to.equal(400);
      expect(answer.body.code).to.equal('invalid-argument');
      expect(answer.body.details).to.deep.include({ field, given });
      expect(answer.body.details['allowed']).to.match(allowed);
      expect(answer.body.message).to.include(`"${field}"`);
      expect(api.manager.commands).to.deep.equal([]);
    });
  }

  for (const [path, what] of [
    ['/v1/nodes/n99', 'node'],
    ['/v1/nodes/agent-99', 'node'],
    ['/v1/disks/d99', 'disk'],
    ['/v1/pools/fast', 'pool'],
    ['/v1/volumes/nothing', 'volume'],
    ['/v1/jobs/j99', 'job'],
    ['/v1/pgs?pool=fast', 'pool'],
    ['/v1/pgs?disk=d99', 'disk'],
  ] as const) {
    it(`not found: ${path}, 404 with what there is`, async () => {
      const { status, body } = await refused(path);
      expect(status).to.equal(404);
      expect(body.code).to.equal('not-found');
      expect(body.details['field']).to.equal(what);
      expect(body.message).to.include('known: ');
    });
  }

  it('routes: unknown ones 404, known ones with the wrong method 405 and what is allowed', async () => {
    expect((await refused('/v1/nope')).status).to.equal(404);
    expect((await refused('/v2/cluster')).status).to.equal(404);
    expect((await refused('/executor/x')).status).to.equal(404);
    const wrong = await refused('/v1/volumes/db', { method: 'PUT' });
    expect(wrong.status).to.equal(405);
    expect(wrong.headers.get('allow')).to.equal('DELETE, GET, HEAD, PATCH');
    expect(wrong.body.message).to.include('does not take PUT');
    expect((await refused('/health', { method: 'POST' })).status).to.equal(405);
  });

  it('bodies: broken JSON, another media type, a poisoned prototype and too much are refused', async () => {
    const json = { 'content-type': 'application/json' };
    const post = (body: string, headers: Record<string, string>) =>
      refused('/v1/volumes', { method: 'POST', body, headers });
    expect((await post('{"name":', json)).status).to.equal(400);
    expect((await post('{"__proto__":{"x":1}}', json)).status).to.equal(400);
    expect((await post('name=x', { 'content-type': 'text/plain' })).status).to.equal(415);
    const large = await post(JSON.stringify({ name: 'x'.repeat(70_000) }), json);
    expect(large.status).to.equal(413);
    expect(large.body.message).to.include('too large');
  });

  it('paths: broken escapes and very long ones are refused in the same form', async () => {
    expect((await refused('/v1/volumes/%zz')).status).to.equal(400);
    const long = await refused(`/v1/volumes/${'x'.repeat(2000)}`);
    expect(long.status).to.be.oneOf([404, 414]);
    expect(long.body.message.length).to.be.lessThan(3000);
  });

  it('garbage: what is no HTTP is told so, and the server lives on', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(api.server.port, '127.0.0.1', () =>
        socket.write('\u0000\u0001garbage\r\n\r\n'),
      );
      socket.on('data', (part) => {
        text += part.toString();
      });
      socket.on('close', () => resolve(text));
      socket.on('error', reject);
    });
    expect(answer).to.match(/^HTTP\/1.1 400 /);
    expect(answer).to.include('"code":"protocol"');
    expect((await fetch(`${api.url}/health`)).status).to.equal(200);
  });

  it('other sites: a page elsewhere cannot change anything through the browser', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const call = request(
        `${api.url}/v1/nodes/n1/drain`,
        {
          method: 'POST',
          headers: { 'sec-fetch-site': 'cross-site', origin: 'http://evil.example' },
        },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
      call.on('error', reject);
      call.end();
    });
    expect(status).to.equal(403);
    expect(api.manager.commands).to.deep.equal([]);
  });

  it('failure of our own: 500 without details, with the id under which the log has them', async () => {
    const { cluster } = api.manager;
    api.manager.cluster = () => {
      throw new TypeError('secret internals');
    };
    const { status, body, headers } = await refused('/v1/cluster');
    api.manager.cluster = cluster;
    expect(status).to.equal(500);
    expect(body.code).to.equal('internal');
    expect(body.message).not.to.include('secret');
    expect(body.details['requestId']).to.equal(headers.get('x-request-id'));
    const logged = api.logged.find((line) => line.level === 'error');
    expect(logged?.fields['stack']).to.include('secret internals');
    expect(logged?.fields['requestId']).to.equal(body.details['requestId']);
  });

  it('not leading: /v1 and /health say 503 and why, /metrics goes on', async () => {
    api.manager.setLeadership({ isLeading: false, reason: 'waiting for its turn' });
    const { status, body } = await refused('/v1/cluster');
    expect(status).to.equal(503);
    expect(body.message).to.include('waiting for its turn');
    const health = await fetch(`${api.url}/health`);
    expect(health.status).to.equal(503);
    expect(await health.json()).to.include({ isLeading: false, reason: 'waiting for its turn' });
    const metrics = await (await fetch(`${api.url}/metrics`)).text();
    expect(metrics).to.include('cistern_scheduler_leading_info 0');
    api.manager.setLeadership({ isLeading: true, reason: '' });
  });
});

describe('api: listening', () => {
  it('port in use: a clear error with the address and what to do', async () => {
    const api = await startFixture(SMALL);
    const { manager, server } = api;
    let error: unknown;
    try {
      await startApi(
        {
          host: '127.0.0.1',
          port: server.port,
          version: '0',
          dashboardDirectory: null,
          artefactDirectory: null,
        },
        { manager, metrics: createMetrics(manager), log: () => undefined },
      );
    } catch (caught) {
      error = caught;
    }
    await api.close();
    expect(error).to.be.instanceOf(StorageError);
    const { message, details } = error as StorageError;
    expect(message).to.include(`127.0.0.1:${server.port}`);
    expect(message).to.include('another process has this port');
    expect(details['code']).to.equal('EADDRINUSE');
  });
});
