/** A disk that grows leaves its groups first, and only when all of them can do without it. */
import { expect } from 'chai';
import {
  GROW_AFTER_MS,
  isGrowing,
  isReadyToGrow,
} from '../../../scheduler/core/capacity/growth.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

/** Three nodes with one PATH disk each; offers have shown space beside the first disk. */
function clusterWithSpace(replicas: number): {
  readonly cluster: SimulatedCluster;
  readonly disk: DiskId;
  readonly node: NodeId;
} {
  const cluster = new SimulatedCluster({ rebuildAfterMs: 5_000 });
  const nodes = [cluster.addNode(), cluster.addNode(), cluster.addNode()];
  const [node] = nodes;
  if (node === undefined) throw new Error('There is a node');
  const { facts } = cluster.state;
  for (const record of facts.disks.values()) {
    facts.disks.update(record.id, { kind: 'path', sourceRoot: '/mnt/p' });
  }
  cluster.runUntil('all disks to serve', () =>
    [...cluster.state.facts.disks.values()].every((disk) => disk.phase === 'serving'),
  );
  const [disk] = facts.diskIndex.ofNode(node);
  if (disk === undefined) throw new Error('There is a disk');
  cluster.write(cluster.createVolume('v', replicas), 10 * GiB);
  cluster.runUntil('all to be clean', () => cluster.isClean());
  return { cluster, disk, node };
}

/** The pool has wished for a disk for long enough. */
function wish(cluster: SimulatedCluster, node: NodeId): void {
  const { state } = cluster;
  state.mesos.seenAgents.set('agent', {
    agentId: 'agent',
    hostname: 'host',
    node,
    attributes: {},
    zone: null,
    region: null,
    atMs: cluster.nowMs,
    answer: 'declined',
    reason: null,
    disks: [
      { kind: 'path', root: '/mnt/p', sizeBytes: 50 * GiB, owner: 'free', disk: null, reasons: [] },
    ],
    earlier: [],
  });
  state.expansion.set('default', { diskCount: 1, reason: 'pool "default" is 81 % used' });
  state.mesos.wishSinceMs.set('default', cluster.nowMs - GROW_AFTER_MS);
}

describe('growth: a disk with replicas', () => {
  it('growth: redundancy is whole, the disk leaves its groups and nothing is rebuilt elsewhere', () => {
    const { cluster, disk, node } = clusterWithSpace(2);
    const held = cluster.pgCountOf(disk);
    expect(held).to.be.above(0);
    const targets = new Map([...cluster.state.facts.pgs.values()].map((pg) => [pg.id, pg.target]));
    wish(cluster, node);
    cluster.run(1_500);
    expect(isReadyToGrow(cluster.state, cluster.state.facts.disks.get(disk))).to.equal(true);
    expect([...cluster.state.facts.pgs.values()].every((pg) => pg.inSync.length >= 1)).to.equal(
      true,
    );
    cluster.run(20_000);
    for (const pg of cluster.state.facts.pgs.values()) {
      expect(pg.target, `pg${pg.id} keeps its place`).to.deep.equal(targets.get(pg.id));
    }
    expect(cluster.pgCountOf(disk), 'it does not join before it has grown').to.equal(0);
    // What an offer does when it shows the larger volume, or the deadline when none does.
    cluster.runUntil('it to be given up', () => {
      const record = cluster.state.facts.disks.get(disk);
      return !isGrowing(record) && cluster.isClean();
    });
    expect(cluster.pgCountOf(disk)).to.equal(held);
  });

  it('growth: a group has no other replica, its disk is left alone', () => {
    const { cluster, disk, node } = clusterWithSpace(1);
    wish(cluster, node);
    cluster.run(30_000);
    expect(isGrowing(cluster.state.facts.disks.get(disk))).to.equal(false);
    expect(cluster.events('disk.growing')).to.deep.equal([]);
  });

  it('growth: another node is away, nothing begins before it is back', () => {
    const { cluster, disk, node } = clusterWithSpace(2);
    const other = [...cluster.executors.keys()].at(-1);
    if (other === undefined) throw new Error('There is another node');
    cluster.kill(other);
    cluster.run(8_000);
    wish(cluster, node);
    cluster.run(2_000);
    expect(isGrowing(cluster.state.facts.disks.get(disk))).to.equal(false);
    cluster.executor(other).restart();
    cluster.runUntil('it to grow', () => {
      wish(cluster, node);
      return isGrowing(cluster.state.facts.disks.get(disk));
    });
    expect(cluster.events('disk.growing')).to.have.length(1);
  });
});
