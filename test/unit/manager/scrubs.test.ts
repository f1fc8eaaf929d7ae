import { expect } from 'chai';
import { jobViews } from '../../../scheduler/core/views/job-views.ts';
import { pgViews } from '../../../scheduler/core/views/views.ts';
import type { DiskId, NodeId, VolumeId } from '../../../shared/base/ids.ts';
import type { JobView } from '../../../shared/model/api-views.ts';
import type { ScrubScope } from '../../../shared/model/scrub.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

const ALL: ScrubScope = { pool: null, volume: null, disk: null };

function boot(): SimulatedCluster {
  const cluster = new SimulatedCluster({ defaultPgCount: 16 });
  for (let index = 0; index < 3; index += 1) cluster.addNode();
  cluster.run(3000);
  const volume = cluster.createVolume('data', 2);
  cluster.write(volume, 64 * 1024 * 1024);
  cluster.run(3000);
  return cluster;
}

function start(cluster: SimulatedCluster, scope: Partial<ScrubScope> = {}): void {
  cluster.must({ kind: 'start-scrub', scope: { ...ALL, ...scope }, isScheduled: false });
}

function scrubJob(cluster: SimulatedCluster): JobView {
  const jobs = jobViews(cluster.state, cluster.now()).filter((job) => job.kind === 'scrub');
  return jobs.at(-1) as JobView;
}

function untilDone(cluster: SimulatedCluster): void {
  cluster.runUntil('the scrub ends', () => scrubJob(cluster).state !== 'running');
}

describe('scrubs', () => {
  it('scrubs: every replica once, one on each disk at a time, its time is kept', () => {
    const cluster = boot();
    start(cluster);
    expect(scrubJob(cluster)).to.deep.include({
      state: 'running',
      subject: 'cluster',
      movesTotal: 32,
    });
    cluster.run(5_000);
    const { progressRatio, movesDone } = scrubJob(cluster);
    expect(progressRatio).to.be.within(0.01, 0.99);
    expect(movesDone).to.be.lessThan(32);
    untilDone(cluster);
    expect(scrubJob(cluster)).to.deep.include({ state: 'done', movesDone: 32 });
    expect(scrubJob(cluster).figures).to.deep.include({ skippedReplicas: 0, badBlocks: 0 });
    const orders = [...cluster.executors.values()].flatMap((executor) => executor.orders);
    const replicas = new Set(orders.map(({ pg, disk }) => `${pg}/${disk}`));
    expect([orders.length, replicas.size]).to.deep.equal([32, 32]);
    for (const pg of pgViews(cluster.state, {})) expect(pg.lastScrubAt, pg.id).to.not.equal(null);
    expect(cluster.events('scrub.done').at(-1)).to.contain('nothing was wrong');
  });

  it('scrubs: what was found, added up and told', () => {
    const cluster = boot();
    cluster.executor(2 as NodeId).rottenBlocks = 2;
    start(cluster);
    untilDone(cluster);
    const replicas = cluster.pgCountOf(2 as DiskId);
    expect(scrubJob(cluster).figures['badBlocks']).to.equal(2 * replicas);
    expect(cluster.events('scrub.done').at(-1)).to.contain(`${2 * replicas} bad blocks`);
  });

  it('scrubs: a second one while one runs, refused; stopped, nodes stop', () => {
    const cluster = boot();
    start(cluster);
    const again = { kind: 'start-scrub', scope: ALL, isScheduled: true } as const;
    expect(cluster.refusal(again)).to.match(/^conflict/);
    cluster.run(3_000);
    const job = cluster.state.work.scrub?.job;
    if (job === undefined) throw new Error('no scrub');
    cluster.must({ kind: 'cancel-job', job });
    expect(scrubJob(cluster).state).to.equal('cancelled');
    cluster.run(3_000);
    const before = [...cluster.executors.values()].map((executor) => executor.orders.length);
    cluster.run(20_000);
    const after = [...cluster.executors.values()].map((executor) => executor.orders.length);
    expect(after).to.deep.equal(before);
  });

  it('scrubs: another manager takes over, what is done is not done again', () => {
    const cluster = boot();
    start(cluster);
    cluster.runUntil('half is done', () => scrubJob(cluster).movesDone >= 16);
    cluster.restartManager();
    untilDone(cluster);
    expect(scrubJob(cluster)).to.deep.include({ state: 'done', movesDone: 32 });
    const orders = [...cluster.executors.values()].flatMap((executor) => executor.orders);
    // Whoever lives on goes on with what it has.
    expect(orders.length).to.equal(32);
  });

  it('scrubs: an executor starts anew, it goes on from the last position', () => {
    const cluster = boot();
    start(cluster);
    const executor = cluster.executor(1 as NodeId);
    cluster.runUntil(
      'a position is known',
      () => (cluster.state.work.scrub?.positions.size ?? 0) > 2,
    );
    const known = [...(cluster.state.work.scrub?.positions.keys() ?? [])].filter((key) =>
      key.endsWith('/1'),
    );
    expect(known.length).to.equal(1);
    const before = executor.orders.length;
    executor.setScrubs([]);
    executor.orders.length = before;
    cluster.run(3_000);
    const [resumed] = executor.orders.slice(before);
    expect(`${resumed?.pg}/${resumed?.disk}`).to.equal(known[0]);
    expect(resumed?.after?.extent).to.be.at.least(0);
    untilDone(cluster);
  });

  it('scrubs: one disk, one volume, one pool, or none that exists', () => {
    const cluster = boot();
    start(cluster, { disk: 2 as DiskId });
    untilDone(cluster);
    expect(scrubJob(cluster)).to.deep.include({
      subject: 'd2',
      movesDone: cluster.pgCountOf(2 as DiskId),
    });
    for (const pg of pgViews(cluster.state, {})) expect(pg.lastScrubAt, pg.id).to.equal(null);
    const [volume] = cluster.state.facts.volumes.keys();
    start(cluster, { volume: volume ?? null });
    untilDone(cluster);
    expect(scrubJob(cluster)).to.deep.include({ subject: `v${volume}`, movesDone: 32 });
    start(cluster, { pool: 'default' });
    untilDone(cluster);
    for (const scope of [{ pool: 'none' }, { volume: 99 as VolumeId }, { disk: 99 as DiskId }]) {
      const command = {
        kind: 'start-scrub',
        scope: { ...ALL, ...scope },
        isScheduled: false,
      } as const;
      expect(cluster.refusal(command)).to.match(/^not-found/);
    }
  });

  it('scrubs: a node is gone, its replicas are left out and counted', () => {
    const cluster = boot();
    start(cluster);
    cluster.run(2_000);
    cluster.kill(3 as NodeId);
    untilDone(cluster);
    const { figures, movesDone } = scrubJob(cluster);
    expect(figures['skippedReplicas'] ?? 0).to.be.at.least(0);
    expect(movesDone).to.be.within(16, 31);
  });
});
