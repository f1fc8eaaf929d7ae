import { expect } from 'chai';
import { jobViews } from '../../../scheduler/core/views/job-views.ts';
import { nodeView } from '../../../scheduler/core/views/node-views.ts';
import { volumeViews } from '../../../scheduler/core/views/volume-views.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const N1 = 1 as NodeId;

function boot(nodes: number, options = {}, disks = 1): SimulatedCluster {
  const cluster = new SimulatedCluster(options);
  for (let index = 0; index < nodes; index += 1) cluster.addNode(disks);
  cluster.run(3000);
  return cluster;
}

describe('manager: capacity that comes and goes', () => {
  it('manager: a fifth node joins four with 256 PGs, its fair share moves and no more', () => {
    const cluster = boot(4, { defaultPgCount: 256 });
    const volume = cluster.createVolume('data', 2, 20 * GiB);
    cluster.write(volume, 2560 * MiB);
    cluster.run(3000);
    cluster.addNode();
    cluster.runUntil('the node is used', () => cluster.pgCountOf(5 as DiskId) > 0, 10_000);
    cluster.runUntil('rebalance', () => cluster.isClean(), 300_000);
    cluster.run(3000);
    for (const disk of cluster.state.facts.disks.keys()) {
      expect(cluster.pgCountOf(disk), `PGs of d${disk}`).to.be.within(102, 103);
    }
    const job = [...cluster.state.facts.jobs.values()].find((each) => each.kind === 'rebalance');
    expect(job?.phase).to.equal('done');
    expect(job?.figures['movedOverFairShareRatio']).to.be.within(0.95, 1.05);
    expect(job?.figures['fillDeviationRatio']).to.be.below(0.05);
    const view = jobViews(cluster.state, cluster.now()).find((each) => each.kind === 'rebalance');
    expect(view?.progressRatio).to.equal(1);
    expect(view?.movesDone).to.be.within(101, 103);
  });

  it('manager: a second disk on each node, PGs spread over both', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data');
    cluster.write(volume, 64 * MiB);
    for (const node of [1, 2, 3] as NodeId[]) cluster.addDisk(node);
    cluster.run(3000);
    cluster.runUntil('rebalance', () => cluster.isClean(), 300_000);
    for (const disk of cluster.state.facts.disks.keys()) {
      expect(cluster.pgCountOf(disk), `PGs of d${disk}`).to.be.within(20, 22);
    }
  });

  it('manager: a node is drained, never with fewer copies, and holds nothing then', () => {
    const cluster = boot(4);
    const volume = cluster.createVolume('data');
    cluster.write(volume, 640 * MiB);
    cluster.run(2000);
    const job = cluster.must({ kind: 'drain-node', node: N1 });
    expect(job).to.not.equal(null);
    cluster.runUntil('drained', () => {
      for (const pg of cluster.state.facts.pgs.values()) {
        expect(pg.inSync.length, `copies of pg${pg.id}`).to.be.at.least(2);
      }
      return cluster.state.facts.nodes.get(N1).admin === 'drained';
    });
    expect(cluster.pgCountOf(1 as DiskId)).to.equal(0);
    expect(cluster.state.facts.jobs.get((job ?? 0) as never)).to.deep.include({
      phase: 'done',
      movesDone: 32,
    });
    cluster.must({ kind: 'activate-node', node: N1 });
    cluster.runUntil('used again', () => cluster.pgCountOf(1 as DiskId) === 32);
  });

  it('manager: a drain without room for all copies, it waits', () => {
    const cluster = boot(2);
    cluster.createVolume('data');
    cluster.must({ kind: 'drain-node', node: N1 });
    cluster.run(60_000);
    expect(cluster.state.facts.nodes.get(N1).admin).to.equal('draining');
    for (const pg of cluster.state.facts.pgs.values()) expect(pg.inSync.length).to.equal(2);
    expect(nodeView(cluster.state, N1, cluster.now())?.stateReason).to.match(
      /^64 replicas are still to move to other nodes; .*not enough nodes may receive them$/,
    );
    const id = cluster.addNode();
    cluster.runUntil('drained', () => cluster.state.facts.nodes.get(N1).admin === 'drained');
    expect(cluster.pgCountOf(id as number as DiskId)).to.equal(64);
  });

  it('manager: a drain onto disks that are too small, it stops before they are full', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 200 * GiB);
    cluster.must({ kind: 'update-pool', pool: 'default', changes: { isAutoExpand: false } });
    cluster.write(volume, 105 * GiB);
    cluster.run(3000);
    cluster.must({ kind: 'drain-node', node: N1 });
    cluster.run(60_000);
    expect(cluster.state.facts.nodes.get(N1).admin).to.equal('draining');
    expect(cluster.pgCountOf(1 as DiskId), 'something moved').to.be.below(40);
    expect(cluster.state.facts.pools.get('default').isFull).to.equal(false);
    for (const disk of cluster.state.facts.disks.keys()) {
      expect(cluster.usedBytes(disk), `d${disk}`).to.be.at.most(90 * GiB);
    }
  });

  it('manager: a disk is drained, it is given back; a cancelled drain is not', () => {
    const cluster = boot(3, {}, 2);
    cluster.createVolume('data');
    const cancelled = cluster.must({ kind: 'drain-disk', disk: 2 as DiskId });
    cluster.must({ kind: 'cancel-job', job: (cancelled ?? 0) as never });
    cluster.must({ kind: 'drain-disk', disk: 1 as DiskId });
    cluster.runUntil(
      'drained',
      () => cluster.state.facts.disks.get(1 as DiskId).phase === 'releasing',
    );
    cluster.run(60_000);
    expect(cluster.state.facts.disks.get(2 as DiskId).phase).to.equal('serving');
    expect(cluster.refusal({ kind: 'activate-disk', disk: 1 as DiskId })).to.match(/^conflict/);
  });

  it('manager: an empty node is forgotten while it is up, its disks are given back', () => {
    const cluster = boot(4);
    cluster.createVolume('data');
    expect(cluster.refusal({ kind: 'forget-node', node: N1 })).to.match(
      /holds 32 replicas; drain it/,
    );
    cluster.must({ kind: 'drain-node', node: N1 });
    cluster.runUntil('drained', () => cluster.state.facts.nodes.get(N1).admin === 'drained');
    cluster.must({ kind: 'forget-node', node: N1 });
    cluster.run(1000);
    expect(cluster.state.facts.disks.get(1 as DiskId).phase).to.equal('releasing');
    expect(cluster.executor(N1).session).to.equal(null);
  });
});

describe('manager: room', () => {
  it('manager: a pool near its threshold, it wishes for disks and is satisfied', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 200 * GiB);
    cluster.write(volume, 123 * GiB);
    cluster.run(3000);
    const wish = cluster.state.expansion.get('default');
    expect(wish?.diskCount).to.equal(1);
    expect(wish?.reason).to.match(
      /^pool "default" is 82(\.\d)? % used, the threshold is 80 %: 1 more disk is/,
    );
    expect(cluster.state.facts.pools.get('default').lastExpandAtMs).to.be.above(0);
    cluster.addNode();
    cluster.run(5000);
    expect(cluster.state.expansion.size).to.equal(0);
    expect(cluster.events('pool.expanded').length).to.equal(1);
    cluster.runUntil('rebalance', () => cluster.isClean(), 300_000);
    expect(cluster.state.facts.jobs.size).to.be.at.most(3);
  });

  it('manager: a drain would overfill the last other domain, a disk is wished for', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 200 * GiB);
    // A fifth below the threshold as a whole; but two copies on two nodes would fill both to 90 %.
    cluster.write(volume, 90 * GiB);
    cluster.run(3000);
    expect(cluster.state.expansion.size, 'nothing is wanted yet').to.equal(0);
    cluster.must({ kind: 'drain-node', node: N1 });
    cluster.run(3000);
    const wish = cluster.state.expansion.get('default');
    expect(wish?.diskCount).to.equal(1);
    expect(wish?.reason).to.match(
      /^disk d\d of pool "default" is to hold \d+(\.\d)? % of its size/,
    );
  });

  it('manager: a disk was claimed on a node that died, another one is wished for', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 200 * GiB);
    cluster.write(volume, 123 * GiB);
    cluster.run(3000);
    expect(cluster.state.expansion.get('default')?.diskCount).to.equal(1);
    const dead = cluster.addNode(0);
    cluster.run(2000);
    cluster.kill(dead);
    cluster.run(3000);
    const disk = cluster.addDisk(dead);
    cluster.state.facts.disks.update(disk, { phase: 'claiming' });
    cluster.run(3000);
    expect(cluster.state.expansion.get('default')?.diskCount).to.equal(1);
  });

  it('manager: the wish outlives the manager', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 200 * GiB);
    cluster.write(volume, 123 * GiB);
    cluster.run(3000);
    cluster.restartManager();
    cluster.run(5000);
    expect(cluster.state.expansion.get('default')?.diskCount).to.equal(1);
    expect(cluster.events('pool.expanding').length).to.equal(1);
  });

  it('manager: no disk may be added, it says so once and asks for none', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 200 * GiB);
    cluster.must({ kind: 'update-pool', pool: 'default', changes: { diskCountMax: 3 } });
    cluster.write(volume, 130 * GiB);
    cluster.run(20_000);
    expect(cluster.state.expansion.size).to.equal(0);
    const said = cluster.events('pool.not-expanded');
    expect(said.length).to.equal(1);
    expect(said[0]).to.match(/: it may have at most 3 disks and has 3$/);
  });

  it('manager: one disk at the hard limit, the volumes of its pool are full until there is room', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 200 * GiB);
    cluster.write(volume, 144 * GiB);
    cluster.run(3000);
    expect(cluster.executor(N1).map?.volumes[0]?.isFull).to.equal(true);
    expect(cluster.events('pool.full')[0]).to.match(/writes that need new space get ENOSPC/);
    cluster.write(volume, -60 * GiB);
    cluster.run(3000);
    expect(cluster.executor(N1).map?.volumes[0]?.isFull).to.equal(false);
  });

  it('manager: a deleted volume leaves the map at once, its space comes back, its job ends', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('data', 2, 20 * GiB);
    cluster.write(volume, 10 * GiB);
    cluster.run(2000);
    expect(volumeViews(cluster.state, cluster.now())[0]?.usedBytes).to.equal(10 * GiB);
    const job = cluster.must({ kind: 'delete-volume', volume, isForced: false });
    expect(cluster.executor(N1).map?.volumes.length).to.equal(0);
    expect(cluster.state.facts.jobs.get((job ?? 0) as never).totalBytes).to.equal(20 * GiB);
    cluster.createVolume('data');
    cluster.run(4000);
    expect(cluster.state.facts.jobs.get((job ?? 0) as never).phase).to.equal('done');
    expect(cluster.state.facts.volumes.has(volume)).to.equal(false);
    for (const disk of cluster.state.facts.disks.keys())
      expect(cluster.usedBytes(disk)).to.equal(0);
  });
});
