/** Mass failures: re-replication waits, visibly, and goes on by itself or on an operator's word. */
import { expect } from 'chai';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { clusterView } from '../../../scheduler/core/views/views.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { findUnexplained } from './explained.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const REBUILD_MS = 20_000;

function boot(nodes: number): SimulatedCluster {
  const cluster = new SimulatedCluster({ rebuildAfterMs: REBUILD_MS, brakeWindowMs: 60_000 });
  for (let index = 0; index < nodes; index += 1) cluster.addNode();
  cluster.run(3000);
  const volume = cluster.createVolume('data', 3, 20 * GiB);
  cluster.write(volume, 640 * MiB);
  cluster.run(3000);
  return cluster;
}

function kill(cluster: SimulatedCluster, ...nodes: number[]): void {
  for (const node of nodes) cluster.kill(node as NodeId);
}

function brakeOf(cluster: SimulatedCluster) {
  return clusterView(cluster.state, cluster.now()).brake;
}

function hasRebuilt(cluster: SimulatedCluster): boolean {
  return cluster.events('rebuild.started').length > 0;
}

describe('manager: the brake on mass failure', () => {
  it('brake: a single node of three is lost, no brake although it is a third of the capacity', () => {
    const cluster = boot(3);
    kill(cluster, 3);
    cluster.run(15_000);
    expect(brakeOf(cluster)).to.equal(null);
  });

  it('brake: two of seven nodes go together with a quarter of the capacity, re-replication waits, I/O does not', () => {
    const cluster = boot(7);
    kill(cluster, 6, 7);
    cluster.run(120_000);
    expect(brakeOf(cluster)).to.deep.include({ state: 'engaged' });
    expect(brakeOf(cluster)?.reason).to.equal(
      '2 of 7 nodes lack disks, with 29 % of the capacity, within 1m 0s',
    );
    expect(hasRebuilt(cluster), 'nothing is copied').to.equal(false);
    for (const disk of [6, 7] as DiskId[]) {
      expect(cluster.pgCountOf(disk), 'lost members are left out').to.equal(0);
    }
    const { health, reasons } = clusterView(cluster.state, cluster.now());
    expect(health).to.not.equal('ok');
    expect(reasons.map((reason) => reason.subject)).to.include('brake');
    const [found] = explainSubject(cluster.state, 'brake', cluster.now())?.explanations ?? [];
    expect(found?.command).to.equal('cistern brake release');
    expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
  });

  it('brake: enough came back, it ends by itself and what is still missing is rebuilt', () => {
    const cluster = boot(7);
    kill(cluster, 6, 7);
    cluster.run(60_000);
    expect(brakeOf(cluster)).to.not.equal(null);
    cluster.executor(6 as NodeId).restart();
    cluster.runUntil('the brake ends', () => brakeOf(cluster) === null, 30_000);
    cluster.runUntil('all is whole', () => cluster.isClean(), 120_000);
    expect(cluster.events('brake.ended').length).to.equal(1);
    expect(cluster.pgCountOf(7 as DiskId)).to.equal(0);
  });

  it('brake: half of a rack comes back while it holds, its disks join again at once', () => {
    const cluster = boot(8);
    kill(cluster, 5, 6, 7, 8);
    cluster.run(60_000);
    cluster.executor(8 as NodeId).restart();
    cluster.run(30_000);
    expect(brakeOf(cluster)?.state, 'three of eight are away').to.equal('engaged');
    expect(cluster.pgCountOf(8 as DiskId)).to.be.above(10);
    expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
  });

  it('brake: released by an operator, data is rebuilt, also under the next manager', () => {
    const cluster = boot(7);
    kill(cluster, 6, 7);
    cluster.run(60_000);
    cluster.must({ kind: 'release-brake' });
    expect(brakeOf(cluster)?.state).to.equal('released');
    cluster.restartManager();
    cluster.run(1000);
    expect(brakeOf(cluster)?.state, 'durable').to.equal('released');
    cluster.runUntil('all is whole', () => cluster.isClean(), 180_000);
    expect(cluster.events('brake.engaged').length).to.equal(1);
  });

  it('brake: nodes that went are forgotten, it ends and their data is rebuilt', () => {
    const cluster = boot(7);
    kill(cluster, 6, 7);
    cluster.run(60_000);
    cluster.must({ kind: 'forget-node', node: 6 as NodeId });
    cluster.must({ kind: 'forget-node', node: 7 as NodeId });
    cluster.runUntil('all is whole', () => cluster.isClean(), 120_000);
    expect(brakeOf(cluster)).to.equal(null);
  });

  it('brake: nodes go one after another beyond the window, no brake', () => {
    const cluster = boot(8);
    kill(cluster, 7);
    cluster.run(90_000);
    kill(cluster, 8);
    cluster.run(15_000);
    expect(brakeOf(cluster)).to.equal(null);
  });

  it('brake: single disks of many nodes fail and their nodes live, no brake below a quarter', () => {
    const cluster = new SimulatedCluster({ rebuildAfterMs: REBUILD_MS, brakeWindowMs: 60_000 });
    for (let index = 0; index < 5; index += 1) cluster.addNode(3);
    cluster.run(3000);
    for (const disk of [1, 4, 7] as DiskId[]) cluster.disk(disk).status = 'failed';
    cluster.run(15_000);
    expect(brakeOf(cluster), 'three of five nodes lack a disk, a fifth of the capacity').to.equal(
      null,
    );
    cluster.disk(10 as DiskId).status = 'failed';
    cluster.run(15_000);
    expect(brakeOf(cluster)?.state, 'four of fifteen').to.equal('engaged');
  });

  it('brake: an operator drains a node while it holds, the drain goes on', () => {
    const cluster = boot(8);
    kill(cluster, 6, 7, 8);
    cluster.run(60_000);
    expect(brakeOf(cluster)?.state).to.equal('engaged');
    const before = cluster.pgCountOf(1 as DiskId);
    cluster.must({ kind: 'drain-node', node: 1 as NodeId });
    cluster.run(60_000);
    expect(cluster.pgCountOf(1 as DiskId)).to.be.below(before);
  });
});
