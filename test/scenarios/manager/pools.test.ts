import { expect } from 'chai';
import { wantedPools } from '../../../scheduler/core/pools/pool-apply.ts';
import { planPools } from '../../../scheduler/core/pools/pool-plan.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import type { DiskId, JobId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import type { PoolDocument } from '../../../shared/model/pool-settings.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const FAST: PoolDocument = {
  isWhole: false,
  pools: [
    { name: 'fast', selector: { tiers: ['nvme'] } },
    { name: 'default', selector: { tiers: ['ssd', 'hdd'] } },
  ],
};

/** Three nodes, two disks each, of which the second are said to be NVMe; a volume with data. */
function mixed(): SimulatedCluster {
  const cluster = new SimulatedCluster({ defaultPgCount: 16 });
  for (let node = 0; node < 3; node += 1) cluster.addNode(2);
  for (const disk of [...cluster.state.facts.disks.values()]) {
    if (disk.id % 2 === 0) cluster.state.facts.disks.update(disk.id, { tier: 'nvme' });
  }
  cluster.run(3000);
  cluster.write(cluster.createVolume('v'), GiB);
  cluster.run(2000);
  return cluster;
}

function plan(cluster: SimulatedCluster, document: PoolDocument | null): string[] {
  const { state } = cluster;
  const after = wantedPools(state, document);
  if (after instanceof StorageError) throw after;
  const before = new Map([...state.facts.pools.values()].map((pool) => [pool.name, pool]));
  return planPools(state, before, after, cluster.now()).steps.map(({ kind, pool, toPool, disk }) =>
    `${kind} ${disk ?? ''} ${pool} ${toPool ?? ''}`.trimEnd(),
  );
}

const poolsOf = (cluster: SimulatedCluster): string[] =>
  [...cluster.state.facts.disks.values()].map(({ pool }) => pool);

const apply = (cluster: SimulatedCluster, document: PoolDocument | null): JobId =>
  cluster.must({ kind: 'apply-pools', document }) as JobId;

const phaseOf = (cluster: SimulatedCluster, job: JobId): string =>
  cluster.state.facts.jobs.get(job).phase;

describe('pools: plan and apply', () => {
  it('a document with a second pool: the plan names each disk, the job moves them, node by node', () => {
    const cluster = mixed();
    expect(plan(cluster, FAST)).to.deep.equal([
      'change-pool  default',
      'create-pool  fast',
      'move-disk d2 default fast',
      'move-disk d4 default fast',
      'move-disk d6 default fast',
    ]);
    const job = apply(cluster, FAST);
    expect(apply(cluster, FAST), 'asked for again').to.equal(job);
    const other = { isWhole: false, pools: [{ name: 'slow' }] };
    expect(cluster.refusal({ kind: 'apply-pools', document: other })).to.match(/^conflict/);
    const turns: (number | null)[] = [];
    cluster.runUntil('the pools are applied', () => {
      const { applyTurn } = cluster.state.work;
      if (turns.at(-1) !== applyTurn) turns.push(applyTurn);
      return phaseOf(cluster, job) === 'done';
    });
    expect(turns.filter((turn) => turn !== null)).to.deep.equal([1, 2, 3]);
    expect(poolsOf(cluster)).to.deep.equal([
      'default',
      'fast',
      'default',
      'fast',
      'default',
      'fast',
    ]);
    expect(cluster.isClean()).to.equal(true);
    expect(plan(cluster, FAST)).to.deep.equal([]);
    const volume = cluster.must({
      kind: 'create-volume',
      name: 'quick',
      sizeBytes: GiB,
      replicas: 2,
      pool: 'fast',
    });
    expect(cluster.state.facts.volumes.get(volume as never).pool).to.equal('fast');
    const family = [...cluster.state.facts.families.values()].find(({ pool }) => pool === 'fast');
    const members = [...cluster.state.facts.pgs.values()]
      .filter(({ id }) => family !== undefined && id >= family.pgBase)
      .flatMap(({ inSync }) => inSync);
    expect([...new Set(members)].toSorted()).to.deep.equal([2, 4, 6]);
  });

  it('paused: copies that run end, nobody leaves; resumed: it goes on; redundancy is whole all along', () => {
    const cluster = mixed();
    const job = apply(cluster, FAST);
    cluster.run(250);
    cluster.must({ kind: 'pause-job', job });
    cluster.run(10_000);
    const counts = [2, 4, 6].map((disk) => cluster.pgCountOf(disk as DiskId));
    expect(Math.max(...counts)).to.be.above(0);
    cluster.run(20_000);
    expect([2, 4, 6].map((disk) => cluster.pgCountOf(disk as DiskId))).to.deep.equal(counts);
    expect(phaseOf(cluster, job)).to.equal('paused');
    cluster.restartManager();
    cluster.run(10_000);
    expect(phaseOf(cluster, job), 'after a failover').to.equal('paused');
    cluster.must({ kind: 'resume-job', job });
    cluster.runUntil('the pools are applied', () => {
      for (const pg of cluster.state.facts.pgs.values()) expect(pg.inSync.length).to.be.at.least(2);
      return phaseOf(cluster, job) === 'done';
    });
  });

  it('cancelled: what has not left stays, and is what a plan without a document shows', () => {
    const cluster = mixed();
    const job = apply(cluster, FAST);
    cluster.run(250);
    cluster.must({ kind: 'cancel-job', job });
    cluster.run(1000);
    expect(phaseOf(cluster, job)).to.equal('cancelled');
    expect(plan(cluster, null)).to.deep.equal([
      'move-disk d2 default fast',
      'move-disk d4 default fast',
      'move-disk d6 default fast',
    ]);
    const again = apply(cluster, null);
    cluster.runUntil('the pools are applied', () => phaseOf(cluster, again) === 'done');
    expect(poolsOf(cluster).filter((pool) => pool === 'fast')).to.have.length(3);
  });

  it('fewer disks per node: those that came last are emptied first, then given back', () => {
    const cluster = mixed();
    const document = {
      isWhole: false,
      pools: [{ name: 'default', selector: { disksPerNodeMax: 1 } }],
    };
    expect(plan(cluster, document)).to.deep.equal([
      'change-pool  default',
      'release-disk d2 default',
      'release-disk d4 default',
      'release-disk d6 default',
    ]);
    const job = apply(cluster, document);
    cluster.runUntil('the pools are applied', () => {
      for (const disk of cluster.state.facts.disks.values()) {
        if (disk.phase === 'releasing') expect(cluster.pgCountOf(disk.id)).to.equal(0);
      }
      return phaseOf(cluster, job) === 'done';
    });
    const leaving = [...cluster.state.facts.disks.values()].filter(
      ({ phase }) => phase === 'releasing',
    );
    expect(leaving.map(({ id }) => id)).to.deep.equal([2, 4, 6]);
    expect(cluster.isClean()).to.equal(true);
  });

  it('too few nodes would be left: redundancy is kept, the job waits and says why', () => {
    const cluster = new SimulatedCluster({ defaultPgCount: 16 });
    cluster.addNode();
    cluster.addNode();
    cluster.run(3000);
    cluster.createVolume('v');
    const job = apply(cluster, {
      isWhole: false,
      pools: [{ name: 'default', selector: { nodesMax: 1 } }],
    });
    cluster.run(60_000);
    expect(phaseOf(cluster, job)).to.equal('running');
    for (const pg of cluster.state.facts.pgs.values()) expect(pg.inSync).to.have.length(2);
  });

  it('a pool is deleted: only without volumes; its disks go to a pool that selects them', () => {
    const cluster = mixed();
    const job = apply(cluster, FAST);
    cluster.runUntil('the pools are applied', () => phaseOf(cluster, job) === 'done');
    const volume = cluster.must({
      kind: 'create-volume',
      name: 'quick',
      sizeBytes: GiB,
      replicas: 2,
      pool: 'fast',
    });
    const refusal = cluster.refusal({ kind: 'delete-pool', pool: 'fast' });
    expect(refusal).to.match(/^conflict: .*volume "quick" is in it/);
    expect(cluster.refusal({ kind: 'delete-pool', pool: 'default' })).to.match(/^conflict/);
    cluster.must({ kind: 'delete-volume', volume: volume as never, isForced: false });
    cluster.runUntil('the space is free', () => cluster.state.facts.volumes.size === 1);
    cluster.must({ kind: 'update-pool', pool: 'default', changes: { selector: { tiers: null } } });
    cluster.must({ kind: 'delete-pool', pool: 'fast' });
    cluster.runUntil('the pool is gone', () => !cluster.state.facts.pools.has('fast'));
    cluster.runUntil('all is in place', () => cluster.isClean());
    expect(new Set(poolsOf(cluster))).to.deep.equal(new Set(['default']));
    cluster.restartManager();
    cluster.runUntil('a new manager finds all in place', () => cluster.isClean());
  });

  it('what makes no sense is refused by the name of its field', () => {
    const cluster = new SimulatedCluster();
    const refusal = (pool: object): string =>
      cluster.refusal({ kind: 'create-pool', pool: { name: 'p', ...pool } });
    expect(refusal({ name: 'Upper' })).to.match(/invalid-argument: .*name/);
    expect(refusal({ name: 'default' })).to.match(/^already-exists/);
    expect(refusal({ pgCount: 24 })).to.match(/pgCount/);
    expect(refusal({ selector: { kinds: ['raw'] } })).to.match(/selector.kinds/);
    expect(refusal({ selector: { tiers: [] } })).to.match(/selector.tiers/);
    expect(refusal({ selector: { shareRatioMax: 0 } })).to.match(/selector.shareRatioMax/);
    expect(refusal({ selector: { sizeMinBytes: 2, sizeMaxBytes: 1 } })).to.match(/sizeMinBytes/);
    expect(refusal({ selector: { tires: ['ssd'] } })).to.match(/selector.tires/);
    expect(refusal({ selector: { attributes: { rack: 1 } } })).to.match(/selector.attributes/);
    expect(refusal({ priority: -1 })).to.match(/priority/);
    const twice = { isWhole: false, pools: [{ name: 'p' }, { name: 'p' }] };
    expect(cluster.refusal({ kind: 'apply-pools', document: twice })).to.match(/a pool once/);
    expect(cluster.state.facts.pools.size).to.equal(1);
  });
});
