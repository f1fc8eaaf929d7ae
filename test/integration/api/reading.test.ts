/** What the API answers to those who only look: every route, and that answers match their schemas. */
import { expect } from 'chai';
import fastify from 'fastify';
import { AGENT_SCHEMAS } from '../../../scheduler/api/agent-routes.ts';
import { VIEW_SCHEMAS } from '../../../scheduler/api/view-schemas.ts';
import type { AgentView } from '../../../shared/model/agent-view.ts';
import type { EventView, PgView } from '../../../shared/model/api-views.ts';
import type { ExplainView } from '../../../shared/model/explanation-view.ts';
import type { ApiFixture } from '../../fixture/api-fixture.ts';
import { startFixture } from '../../fixture/api-fixture.ts';
import { LARGE, SMALL } from '../../fixture/cluster-views.ts';

const SCHEMAS = [...VIEW_SCHEMAS, ...AGENT_SCHEMAS];

describe('api: reading', () => {
  let api: ApiFixture;

  before(async () => {
    api = await startFixture(LARGE);
  });
  after(() => api.close());

  async function get<Body>(path: string): Promise<Body> {
    const response = await fetch(`${api.url}${path}`);
    expect(response.status, path).to.equal(200);
    return (await response.json()) as Body;
  }

  it('lists: every list is what the manager has', async () => {
    const { contents } = api.manager;
    expect(await get('/v1/nodes')).to.deep.equal(contents.nodes);
    expect(await get('/v1/disks')).to.deep.equal(contents.disks);
    expect(await get('/v1/pools')).to.deep.equal(contents.pools);
    expect(await get('/v1/volumes')).to.deep.equal(contents.volumes);
    expect(await get('/v1/attachments')).to.deep.equal(contents.attachments);
    expect(await get('/v1/jobs')).to.deep.equal(contents.jobs);
    expect(await get('/v1/cluster')).to.deep.equal(api.manager.cluster());
  });

  it('one thing: by id, and by the name people know', async () => {
    const { contents } = api.manager;
    expect(await get('/v1/nodes/n7')).to.deep.equal(contents.nodes[6]);
    expect(await get('/v1/nodes/agent-7.example')).to.deep.equal(contents.nodes[6]);
    expect(await get('/v1/disks/d3')).to.deep.equal(contents.disks[2]);
    expect(await get(`/v1/disks/${contents.disks[2]?.uuid}`)).to.deep.equal(contents.disks[2]);
    expect(await get('/v1/volumes/v2')).to.deep.equal(contents.volumes[1]);
    expect(await get('/v1/volumes/logs')).to.deep.equal(contents.volumes[1]);
    expect(await get('/v1/pools/default')).to.deep.equal(contents.pools[0]);
    expect(await get('/v1/jobs/j2')).to.deep.equal(contents.jobs[0]);
    expect(await get('/v1/volumes/v2/')).to.deep.equal(contents.volumes[1]);
  });

  it('placement groups: filtered by pool, state and disk', async () => {
    const degraded = await get<PgView[]>('/v1/pgs?state=degraded');
    expect(degraded).to.have.length(api.manager.cluster().pgs.degraded);
    expect(degraded.length).to.be.greaterThan(0);
    const onDisk = await get<PgView[]>('/v1/pgs?disk=d1&pool=default');
    expect(onDisk.length).to.be.greaterThan(0);
    for (const pg of onDisk) expect([...pg.inSync, ...pg.target], pg.id).to.include('d1');
  });

  it('agents: all of them, and one by Mesos id, hostname and node', async () => {
    const agents = await get<AgentView[]>('/v1/agents');
    const [first] = agents;
    expect(agents.length).to.be.greaterThan(0);
    for (const name of [first?.id, first?.hostname, first?.node]) {
      const one = await get<AgentView>(`/v1/agents/${name}`);
      expect(one.id).to.equal(first?.id);
    }
    const missing = await fetch(`${api.url}/v1/agents/nobody`);
    expect(missing.status).to.equal(404);
  });

  it('explain: everything, one thing that is not green, one that is, and one that is not there', async () => {
    const everything = await get<ExplainView>('/v1/explain');
    expect(everything.explanations.map((one) => one.subject)).to.deep.equal(
      api.manager.cluster().reasons.map((reason) => reason.subject),
    );
    const [first] = everything.explanations;
    const one = await get<ExplainView>(`/v1/explain/${first?.subject}`);
    expect(one.explanations[0]).to.deep.include({ action: 'Nothing, wait', command: null });
    expect((await get<ExplainView>('/v1/explain/default')).explanations).to.deep.equal([]);
    const missing = await fetch(`${api.url}/v1/explain/nothing`);
    expect(missing.status).to.equal(404);
    expect(await missing.text()).to.include('known: default');
  });

  it('events: the newest without `since`, the next ones with it', async () => {
    const ids = (events: readonly EventView[]) => events.map((event) => event.id);
    expect(ids(await get('/v1/events?limit=2'))).to.deep.equal([14, 15]);
    expect(ids(await get('/v1/events?since=3&limit=2'))).to.deep.equal([4, 5]);
    expect(ids(await get('/v1/events?since=15'))).to.deep.equal([]);
  });

  it('health: 200 while it leads, also when the cluster is degraded', async () => {
    const health = await get<{ isLeading: boolean; health: string; reasons: unknown[] }>('/health');
    expect(health).to.include({ isLeading: true, health: 'degraded' });
    expect(health.reasons).to.have.length(2);
  });

  it('documents: OpenAPI names every route and view, and /docs shows them', async () => {
    const document = await get<{
      openapi: string;
      paths: Record<string, Record<string, unknown>>;
      components: { schemas: Record<string, unknown> };
    }>('/docs/json');
    expect(document.openapi).to.match(/^3\./);
    expect(Object.keys(document.paths)).to.include.members([
      '/v1/cluster',
      '/v1/nodes/{node}/drain',
      '/v1/disks/{disk}',
      '/v1/pools/{pool}',
      '/v1/pgs',
      '/v1/volumes/{volume}/attach',
      '/v1/jobs/{job}/cancel',
      '/v1/events/stream',
      '/v1/stream',
      '/health',
    ]);
    expect(Object.keys(document.components.schemas)).to.have.length(SCHEMAS.length);
    const page = await fetch(`${api.url}/docs`);
    expect(page.status).to.equal(200);
    expect(await page.text()).to.match(/swagger/i);
  });

  it('metrics: Prometheus text with our names and bounded labels', async () => {
    await get('/v1/volumes/db');
    const response = await fetch(`${api.url}/metrics`);
    expect(response.headers.get('content-type')).to.match(/^text\/plain/);
    const text = await response.text();
    expect(text).to.include('cistern_cluster_health_info{health="degraded"} 1');
    expect(text).to.include('cistern_disks_count{state="failed"} 1');
    expect(text).to.match(/^cistern_disk_used_bytes\{disk="d1",node="n1"\} \d+$/m);
    expect(text).to.match(
      /cistern_api_requests_total\{method="GET",route="\/v1\/volumes\/:volume",status="2xx"\} \d+/,
    );
    for (const line of text.split('\n')) {
      if (line !== '' && !line.startsWith('#')) expect(line).to.match(/^cistern_[a-z_0-9]+/);
    }
  });

  it('head and request ids: every answer has one, HEAD has no body', async () => {
    const response = await fetch(`${api.url}/v1/cluster`, { method: 'HEAD' });
    expect(response.status).to.equal(200);
    expect(await response.text()).to.equal('');
    expect(response.headers.get('x-request-id')).to.match(/^[0-9a-f-]{36}$/);
  });
});

describe('api: schemas', () => {
  it('views: generated ones of a small and a large cluster satisfy them to the letter', async () => {
    const app = fastify({
      ajv: {
        customOptions: { coerceTypes: false, removeAdditional: false, allowUnionTypes: true },
      },
      bodyLimit: 50_000_000,
    });
    for (const schema of SCHEMAS) app.addSchema(schema);
    app.post('/check', { schema: { body: { $ref: 'Snapshot#' } } }, async () => 'good');
    for (const shape of [SMALL, LARGE]) {
      const api = await startFixture(shape);
      const stream = await fetch(`${api.url}/v1/stream`);
      const payload = await readFirstData(stream);
      await api.close();
      const checked = await app.inject({
        method: 'POST',
        url: '/check',
        headers: { 'content-type': 'application/json' },
        payload,
      });
      expect(checked.statusCode, checked.body).to.equal(200);
      const broken = payload.replace('"term":3', '"term":"3"');
      const refused = await app.inject({
        method: 'POST',
        url: '/check',
        headers: { 'content-type': 'application/json' },
        payload: broken,
      });
      expect(refused.statusCode).to.equal(400);
    }
  });
});

async function readFirstData(response: Response): Promise<string> {
  if (response.body === null) throw new Error('The stream has no body');
  let text = '';
  const decoder = new TextDecoder();
  for await (const bytes of response.body) {
    text += decoder.decode(bytes as Uint8Array, { stream: true });
    const match = /^data: (.*)$/m.exec(text);
    if (match?.[1] !== undefined && text.endsWith('\n\n')) return match[1];
  }
  throw new Error('The stream ended without data');
}
