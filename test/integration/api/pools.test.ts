/** Pools through the API: created, changed, planned, applied; what a body may hold. */
import { expect } from 'chai';
import type { ErrorView, JobView, PoolView } from '../../../shared/model/api-views.ts';
import type { PlanView } from '../../../shared/model/pool-settings.ts';
import { type ApiFixture, startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';

describe('api: pools', () => {
  let api: ApiFixture;

  beforeEach(async () => {
    api = await startFixture(SMALL);
  });
  afterEach(() => api.close());

  async function send<Body>(method: string, path: string, body?: object) {
    const response = await fetch(`${api.url}/v1${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    return { status: response.status, body: (await response.json()) as Body };
  }

  it('create, change: seconds become milliseconds, a selector is passed on as it is', async () => {
    const selector = { tiers: ['nvme'], paths: ['/mnt/*'], sizeMinBytes: 1024, nodesMax: 0 };
    const created = await send<PoolView>('POST', '/pools', {
      name: 'fast',
      selector,
      expandCooldownSeconds: 5,
    });
    expect([created.status, created.body.name]).to.deep.equal([200, 'fast']);
    const changed = await send<PoolView>('PATCH', '/pools/fast', { selector: { kinds: null } });
    expect(changed.status).to.equal(200);
    expect(api.manager.commands).to.deep.equal([
      { kind: 'create-pool', pool: { name: 'fast', selector, expandCooldownMs: 5000 } },
      { kind: 'update-pool', pool: 'fast', changes: { selector: { kinds: null } } },
    ]);
  });

  it('plan and apply: a document, or what is pending', async () => {
    const document = { pools: [{ name: 'fast', selector: { tiers: ['ssd'] } }], isWhole: true };
    expect((await send<PlanView>('POST', '/plan', document)).body.steps).to.deep.equal([]);
    expect((await send<PlanView>('GET', '/plan')).status).to.equal(200);
    const { body } = await send<{ job: JobView }>('POST', '/apply', document);
    expect(body.job).to.include({ kind: 'apply', state: 'running' });
    await send('POST', '/apply', {});
    expect(api.manager.commands).to.deep.equal([
      { kind: 'apply-pools', document },
      { kind: 'apply-pools', document: null },
    ]);
  });

  it('pause, resume: the job as it is then', async () => {
    const { job } = (await send<{ job: JobView }>('POST', '/apply', {})).body;
    const paused = await send<JobView>('POST', `/jobs/${job.id}/pause`, {});
    expect(paused.body.state).to.equal('paused');
    const resumed = await send<JobView>('POST', `/jobs/${job.id}/resume`, {});
    expect(resumed.body.state).to.equal('running');
  });

  it('delete: the job that empties its disks; an unknown pool is not found', async () => {
    await send('POST', '/pools', { name: 'fast' });
    const { body } = await send<{ job: JobView | null }>('DELETE', '/pools/fast');
    expect(body.job?.kind).to.equal('apply');
    expect((await send<ErrorView>('DELETE', '/pools/none')).status).to.equal(404);
  });

  for (const [body, field] of [
    [{ name: 'p', selector: { tiers: ['quick'] } }, 'tiers'],
    [{ name: 'p', selector: { kinds: [] } }, 'kinds'],
    [{ name: 'p', selector: { tires: ['ssd'] } }, 'tires'],
    [{ name: 'p', selector: { shareRatioMax: 1.5 } }, 'shareRatioMax'],
    [{ name: 'p', selector: { isRootAllowed: 'yes' } }, 'isRootAllowed'],
    [{ name: 'p', claimPerNode: 0 }, 'claimPerNode'],
    [{ selector: {} }, 'name'],
  ] as const) {
    it(`validation: ${JSON.stringify(body)}, 400 about "${field}"`, async () => {
      const answer = await send<ErrorView>('POST', '/pools', body);
      expect(answer.status).to.equal(400);
      expect(JSON.stringify(answer.body)).to.include(field);
      expect(api.manager.commands).to.deep.equal([]);
    });
  }
});
