/** What the API does on command, and how it waits for what takes time. */
import { expect } from 'chai';
import { GiB } from '../../../shared/base/units.ts';
import type {
  AttachmentView,
  DiskView,
  ErrorView,
  JobView,
  NodeView,
  PoolView,
  VolumeView,
} from '../../../shared/model/api-views.ts';
import type { ApiFixture } from '../../fixture/api-fixture.ts';
import { startFixture } from '../../fixture/api-fixture.ts';
import { SMALL } from '../../fixture/cluster-views.ts';

describe('api: commands', () => {
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
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: (text === '' ? null : JSON.parse(text)) as Body,
    };
  }

  it('create: 201 with the volume and where it is', async () => {
    const { status, body, headers } = await send<VolumeView>('POST', '/volumes', {
      name: 'fresh',
      sizeBytes: 10 * GiB,
      replicas: 2,
    });
    expect(status).to.equal(201);
    expect(body).to.include({ name: 'fresh', sizeBytes: 10 * GiB, replicas: 2, state: 'ready' });
    expect(headers.get('location')).to.equal(`/v1/volumes/${body.id}`);
    expect(api.manager.commands).to.deep.equal([
      {
        kind: 'create-volume',
        name: 'fresh',
        sizeBytes: 10 * GiB,
        replicas: 2,
        pool: null,
        durability: null,
      },
    ]);
  });

  it('create: a taken name, the manager says no with 409', async () => {
    const { status, body } = await send<ErrorView>('POST', '/volumes', {
      name: 'db',
      sizeBytes: GiB,
    });
    expect(status).to.equal(409);
    expect(body.code).to.equal('already-exists');
    expect(body.message).to.include('"db"');
  });

  it('attach: serving at once, 200 with both addresses', async () => {
    await send('POST', '/volumes', { name: 'fresh', sizeBytes: GiB });
    const { status, body } = await send<AttachmentView>('POST', '/volumes/fresh/attach', {
      node: 'n2',
    });
    expect(status).to.equal(200);
    expect(body).to.include({ volumeName: 'fresh', node: 'n2', state: 'serving' });
    expect(body.unixUri).to.match(/^nbd\+unix:/);
    expect(body.tcpUri).to.match(/^nbd:/);
  });

  it('attach: without a body, with an empty one and by hostname', async () => {
    for (const name of ['a', 'b', 'c']) await send('POST', '/volumes', { name, sizeBytes: GiB });
    expect((await send('POST', '/volumes/a/attach')).status).to.equal(200);
    const empty = await fetch(`${api.url}/v1/volumes/b/attach`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '',
    });
    expect(empty.status).to.equal(200);
    const { body } = await send<AttachmentView>('POST', '/volumes/c/attach', {
      node: 'agent-3.example',
    });
    expect(body.node).to.equal('n3');
  });

  it('attach: it takes a while, the answer waits for it', async () => {
    await send('POST', '/volumes', { name: 'fresh', sizeBytes: GiB });
    api.manager.isAttachSlow = true;
    const pending = send<AttachmentView>('POST', '/volumes/fresh/attach');
    await until(() => api.manager.attachments().some((one) => one.state === 'waiting'));
    api.manager.serveAttachments();
    const { status, body } = await pending;
    expect(status).to.equal(200);
    expect(body.state).to.equal('serving');
    expect(api.manager.listenerCount).to.equal(0);
  });

  it('attach: not there in time, 202 with the reason', async () => {
    await send('POST', '/volumes', { name: 'fresh', sizeBytes: GiB });
    api.manager.isAttachSlow = true;
    const { status, body } = await send<AttachmentView>('POST', '/volumes/fresh/attach?wait=0');
    expect(status).to.equal(202);
    expect(body.state).to.equal('waiting');
    expect(body.reason).to.include('lease');
  });

  it('attach: somebody else detached it meanwhile, 409', async () => {
    await send('POST', '/volumes', { name: 'fresh', sizeBytes: GiB });
    api.manager.isAttachSlow = true;
    const pending = send<ErrorView>('POST', '/volumes/fresh/attach');
    await until(() => api.manager.attachments().some((one) => one.volumeName === 'fresh'));
    await send('POST', '/volumes/fresh/detach');
    const { status, body } = await pending;
    expect(status).to.equal(409);
    expect(body.message).to.include('somebody else detached it');
  });

  it('attach: leadership is lost meanwhile, 503 with the reason', async () => {
    await send('POST', '/volumes', { name: 'fresh', sizeBytes: GiB });
    api.manager.isAttachSlow = true;
    const pending = send<ErrorView>('POST', '/volumes/fresh/attach');
    await until(() => api.manager.attachments().some((one) => one.volumeName === 'fresh'));
    api.manager.setLeadership({ isLeading: false, reason: 'another scheduler took over' });
    const { status, body } = await pending;
    expect(status).to.equal(503);
    expect(body.message).to.include('another scheduler took over');
  });

  it('attach: the caller goes away, nobody waits on', async () => {
    await send('POST', '/volumes', { name: 'fresh', sizeBytes: GiB });
    api.manager.isAttachSlow = true;
    const controller = new AbortController();
    const pending = fetch(`${api.url}/v1/volumes/fresh/attach?wait=300`, {
      method: 'POST',
      signal: controller.signal,
    }).catch(() => null);
    await until(() => api.manager.listenerCount === 1);
    controller.abort();
    await pending;
    await until(() => api.manager.listenerCount === 0);
  });

  it('detach and delete: the volume is free, then gone', async () => {
    const detached = await send<VolumeView>('POST', '/volumes/db/detach');
    expect(detached.status).to.equal(200);
    expect(detached.body.attachment).to.equal(null);
    const deleted = await send('DELETE', '/volumes/db');
    expect(deleted.status).to.equal(204);
    expect((await send('GET', '/volumes/db')).status).to.equal(404);
  });

  it('delete: an attached volume only by force', async () => {
    const refused = await send<ErrorView>('DELETE', '/volumes/db');
    expect(refused.status).to.equal(409);
    expect((await send('DELETE', '/volumes/db?force=true')).status).to.equal(204);
    expect(api.manager.commands.at(-1)).to.include({ kind: 'delete-volume', isForced: true });
  });

  it('drain: answers with the node and the job to watch; activate ends it', async () => {
    const drained = await send<{ node: NodeView; job: JobView }>('POST', '/nodes/n3/drain');
    expect(drained.status).to.equal(200);
    expect(drained.body.node).to.include({ id: 'n3', state: 'draining' });
    expect(drained.body.job).to.include({ kind: 'drain', subject: 'n3', state: 'running' });
    const active = await send<{ node: NodeView }>('POST', '/nodes/n3/activate');
    expect(active.body.node.state).to.equal('up');
    const gone = await send<{ node: NodeView }>('POST', '/nodes/n3/forget');
    expect(gone.body.node.state).to.equal('gone');
  });

  it('disk: drain and activate', async () => {
    const drained = await send<{ disk: DiskView; job: JobView }>('POST', '/disks/d2/drain');
    expect(drained.body.disk.isDraining).to.equal(true);
    expect(drained.body.job.subject).to.equal('d2');
    const active = await send<{ disk: DiskView }>('POST', '/disks/d2/activate', {});
    expect(active.body.disk.isDraining).to.equal(false);
  });

  it('volume: its durability is changed, an unknown word is refused', async () => {
    const changed = await send<VolumeView>('PATCH', '/volumes/v1', { durability: 'writethrough' });
    expect(changed.status).to.equal(200);
    expect(changed.body.durability).to.equal('writethrough');
    const refused = await send<ErrorView>('PATCH', '/volumes/v1', { durability: 'maybe' });
    expect(refused.status).to.equal(400);
    expect(refused.body.message).to.contain('durability');
  });

  it('pool: changes reach the manager in its units', async () => {
    const { status, body } = await send<PoolView>('PATCH', '/pools/default', {
      expandAtRatio: 0.7,
      expandCooldownSeconds: 1.5,
      diskCountMax: null,
    });
    expect(status).to.equal(200);
    expect(body.expandAtRatio).to.equal(0.7);
    expect(api.manager.commands.at(-1)).to.deep.equal({
      kind: 'update-pool',
      pool: 'default',
      changes: { expandAtRatio: 0.7, expandCooldownMs: 1500, diskCountMax: null },
    });
  });

  it('job: cancelled once, refused the second time', async () => {
    const { body } = await send<{ job: JobView }>('POST', '/nodes/n1/drain');
    const cancelled = await send<JobView>('POST', `/jobs/${body.job.id}/cancel`);
    expect(cancelled.body.state).to.equal('cancelled');
    const again = await send<ErrorView>('POST', `/jobs/${body.job.id}/cancel`);
    expect(again.status).to.equal(409);
  });
});

/** Polls with a generous deadline. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
