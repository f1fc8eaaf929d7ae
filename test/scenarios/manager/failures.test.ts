import { expect } from 'chai';
import { explainAll } from '../../../scheduler/core/explain/explain.ts';
import { observedNode } from '../../../scheduler/core/nodes/node-life.ts';
import { clusterView } from '../../../scheduler/core/views/views.ts';
import type { DiskId, NodeId, VolumeId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { OPTIONS, SimulatedCluster } from './simulated-cluster.ts';

const N1 = 1 as NodeId;
const N2 = 2 as NodeId;
const N3 = 3 as NodeId;

function boot(nodes: number, disks = 1): { cluster: SimulatedCluster; volume: VolumeId } {
  const cluster = new SimulatedCluster();
  for (let index = 0; index < nodes; index += 1) cluster.addNode(disks);
  cluster.run(3000);
  const volume = cluster.createVolume('data');
  cluster.write(volume, 640 * MiB);
  cluster.run(3000);
  return { cluster, volume };
}

function isFenced(cluster: SimulatedCluster, node: NodeId): boolean {
  return cluster.state.facts.nodes.get(node).isFenced;
}

describe('manager: nodes that die', () => {
  it('manager: a node dies, it is fenced, left out after its lease, rebuilt after the delay', () => {
    const { cluster } = boot(4);
    const { leaseUntilMs } = cluster.executor(N3);
    cluster.kill(N3);
    cluster.runUntil('fence', () => isFenced(cluster, N3), 5000);
    expect(cluster.pgCountOf(3 as DiskId), 'members while the lease may run').to.equal(32);
    cluster.runUntil('left out', () => cluster.pgCountOf(3 as DiskId) === 0, 10_000);
    expect(cluster.nowMs).to.be.at.least(leaseUntilMs);
    expect(cluster.isClean()).to.equal(false);
    cluster.run(OPTIONS.rebuildAfterMs - 15_000);
    expect(cluster.isClean(), 'rebuilt before the delay').to.equal(false);
    cluster.runUntil('rebuild', () => cluster.isClean(), 60_000);
    const job = [...cluster.state.facts.jobs.values()].find((each) => each.kind === 'rebuild');
    cluster.run(2000);
    expect(job).to.not.equal(undefined);
    expect(cluster.state.facts.jobs.get(job?.id ?? (0 as never)).phase).to.equal('done');
    expect(cluster.events('node.down')[0]).to.match(
      /^n3 \(host3\) is shut out because its control session ended and it did not come back/,
    );
  });

  it('manager: the node comes back before its lease has run out, nobody leaves', () => {
    const { cluster } = boot(4);
    const epochs = [...cluster.state.facts.pgs.values()].map((pg) => pg.epoch);
    cluster.kill(N3);
    cluster.runUntil('fence', () => isFenced(cluster, N3), 5000);
    cluster.executor(N3).restart();
    cluster.runUntil('readmission', () => !isFenced(cluster, N3), 5000);
    cluster.run(10_000);
    expect([...cluster.state.facts.pgs.values()].map((pg) => pg.epoch)).to.deep.equal(epochs);
    expect(cluster.isClean()).to.equal(true);
  });

  it('manager: the node comes back after it was left out, it joins where it was', () => {
    const { cluster } = boot(4);
    const targets = [...cluster.state.facts.pgs.values()].map((pg) => pg.target);
    cluster.kill(N3);
    cluster.runUntil('left out', () => cluster.pgCountOf(3 as DiskId) === 0, 15_000);
    cluster.executor(N3).restart();
    cluster.runUntil('rejoined', () => cluster.isClean(), 60_000);
    expect([...cluster.state.facts.pgs.values()].map((pg) => pg.target)).to.deep.equal(targets);
    expect(cluster.pgCountOf(3 as DiskId)).to.equal(32);
  });

  it('manager: the node comes back after its replicas moved, disks are even again', () => {
    const { cluster } = boot(4);
    cluster.kill(N3);
    cluster.run(OPTIONS.rebuildAfterMs + 30_000);
    cluster.runUntil('rebuild', () => cluster.isClean(), 60_000);
    cluster.executor(N3).restart();
    cluster.run(2000);
    cluster.runUntil('rebalance', () => cluster.isClean(), 60_000);
    for (const disk of cluster.state.facts.disks.keys()) {
      expect(cluster.pgCountOf(disk), `PGs of d${disk}`).to.be.within(31, 33);
    }
  });

  it('manager: cut off from the manager but not from its peers, it serves until the fence is known', () => {
    const { cluster } = boot(5);
    cluster.executor(N3).isCutOff = true;
    cluster.runUntil('left out', () => cluster.pgCountOf(3 as DiskId) === 0, 30_000);
    expect(cluster.executor(N3).leaseUntilMs).to.be.at.most(cluster.nowMs);
  });

  it('manager: the majority is cut off from the manager, nobody is left out', () => {
    const { cluster } = boot(5);
    for (const node of [1, 2, 3] as NodeId[]) cluster.executor(node).isCutOff = true;
    cluster.run(30_000);
    for (const node of [1, 2, 3] as NodeId[]) {
      expect(cluster.executor(node).leaseUntilMs, `lease of n${node}`).to.be.above(cluster.nowMs);
      expect(cluster.pgCountOf(node as number as DiskId)).to.be.above(0);
    }
    for (const node of [1, 2, 3] as NodeId[]) cluster.executor(node).isCutOff = false;
    cluster.run(3000);
    expect(cluster.isClean()).to.equal(true);
    for (const node of [1, 2, 3] as NodeId[]) expect(isFenced(cluster, node)).to.equal(false);
  });

  it('manager: two nodes, one dies, its lease from the manager alone has to run out', () => {
    const { cluster } = boot(2);
    cluster.kill(N2);
    const tookMs = cluster.runUntil('left out', () => cluster.pgCountOf(2 as DiskId) === 0, 10_000);
    expect(tookMs).to.be.within(
      OPTIONS.leaseMs - 1000,
      OPTIONS.leaseMs + OPTIONS.leaseMarginMs + 500,
    );
  });

  it('manager: cut off from everybody, no peer has granted: left out when its last lease has run out', () => {
    const { cluster } = boot(4);
    cluster.run(OPTIONS.leaseMs);
    cluster.executor(N3).isIsolated = true;
    const tookMs = cluster.runUntil('left out', () => cluster.pgCountOf(3 as DiskId) === 0, 10_000);
    expect(tookMs).to.be.within(
      OPTIONS.leaseMs - 1000,
      OPTIONS.leaseMs + OPTIONS.leaseMarginMs + 500,
    );
    expect(cluster.executor(N3).leaseUntilMs).to.be.at.most(cluster.nowMs);
  });

  it('manager: a peer granted a moment before the fence, that lease runs out first', () => {
    const { cluster } = boot(5);
    cluster.executor(N3).isCutOff = true;
    cluster.runUntil('fence', () => isFenced(cluster, N3), 5000);
    const tookMs = cluster.runUntil('left out', () => cluster.pgCountOf(3 as DiskId) === 0, 10_000);
    expect(tookMs).to.be.at.least(OPTIONS.leaseMs - 1000);
    expect(cluster.executor(N3).leaseUntilMs).to.be.at.most(cluster.nowMs);
  });

  it('manager: Mesos says the executor is dead, its members leave at once', () => {
    const { cluster } = boot(3);
    cluster.kill(N3);
    const observed = cluster.state.nodes.get(N3);
    if (observed === undefined) throw new Error('n3 is observed');
    observed.executor = 'dead';
    cluster.run(250);
    expect(cluster.pgCountOf(3 as DiskId)).to.equal(0);
    cluster.executor(N3).restart();
    cluster.runUntil('rejoined', () => cluster.isClean(), 60_000);
  });

  it('manager: all nodes die and come back, all members are still in sync', () => {
    const { cluster } = boot(3);
    for (const node of [N1, N2, N3]) cluster.kill(node);
    cluster.run(120_000);
    for (const node of [N1, N2, N3]) cluster.executor(node).restart();
    cluster.runUntil('back', () => cluster.isClean(), 60_000);
  });

  it('manager: the last in-sync member dies too, it is kept and waited for', () => {
    const { cluster, volume } = boot(2);
    cluster.kill(N2);
    cluster.runUntil('left out', () => cluster.pgCountOf(2 as DiskId) === 0, 10_000);
    cluster.write(volume, 64 * MiB);
    cluster.kill(N1);
    cluster.run(20_000);
    cluster.executor(N2).restart();
    cluster.run(20_000);
    for (const pg of cluster.state.facts.pgs.values()) expect(pg.inSync).to.deep.equal([1]);
    expect(clusterView(cluster.state, cluster.now()).health).to.equal('critical');
    cluster.executor(N1).restart();
    cluster.runUntil('whole', () => cluster.isClean(), 60_000);
    expect(clusterView(cluster.state, cluster.now()).reasons).to.satisfy(
      (reasons: readonly { subject: string }[]) =>
        reasons.every((each) => each.subject === 'mesos'),
    );
  });

  it('manager: two nodes go down at once, the one not heard since is no reason to leave the other out', () => {
    const { cluster } = boot(3);
    const shared = [...cluster.state.facts.pgs.values()].filter(
      ({ inSync }) => inSync.includes(2 as DiskId) && inSync.includes(3 as DiskId),
    );
    expect(shared.length).to.be.above(0);
    const { session } = cluster.executor(N3);
    cluster.executor(2 as NodeId).die();
    cluster.executor(N3).die();
    // Of the second one nothing is known yet but that it was well a moment ago.
    cluster.step({ kind: 'node-closed', session: session ?? '', reason: 'connection reset' });
    observedNode(cluster.state, N3).executor = 'dead';
    cluster.run(500);
    const others = [...cluster.state.facts.pgs.values()].filter(
      ({ inSync }) => inSync.includes(1 as DiskId) && inSync.includes(3 as DiskId),
    );
    cluster.run(60_000);
    for (const { id } of shared) {
      expect([...cluster.state.facts.pgs.get(id).inSync].sort()).to.deep.equal([2, 3]);
    }
    for (const { id } of others) {
      expect(cluster.state.facts.pgs.get(id).inSync, 'the first node lives').to.deep.equal([1]);
    }
  });

  it('manager: an operator forgets a dead node, its replicas are rebuilt at once', () => {
    const { cluster } = boot(4);
    cluster.kill(N3);
    cluster.runUntil('fence', () => isFenced(cluster, N3), 5000);
    cluster.must({ kind: 'forget-node', node: N3 });
    cluster.runUntil('rebuild', () => cluster.isClean(), 30_000);
    cluster.run(1000);
    expect(cluster.state.facts.disks.has(3 as DiskId)).to.equal(false);
    cluster.executor(N3).restart();
    cluster.run(1000);
    expect(cluster.executor(N3).session, 'a forgotten node is refused').to.equal(null);
  });
});

describe('manager: disks and members that fail', () => {
  it('manager: a disk fails, its replicas move to the other disks', () => {
    const { cluster } = boot(3, 2);
    const disk = cluster.disk(1 as DiskId);
    disk.status = 'failed';
    disk.error = 'EIO while reading slab 3';
    cluster.run(1500);
    expect(cluster.state.facts.disks.get(disk.id).phase).to.equal('failed');
    expect(cluster.pgCountOf(disk.id)).to.equal(0);
    cluster.runUntil('rebuild', () => cluster.isClean(), 60_000);
    expect(cluster.events('disk.failed')).to.deep.equal([
      'd1 on n1 was taken out: EIO while reading slab 3',
    ]);
    expect(clusterView(cluster.state, cluster.now()).health).to.equal('degraded');
  });

  it('manager: the only copy is on a failed disk, it stays a member', () => {
    const cluster = new SimulatedCluster();
    cluster.addNode();
    cluster.run(2000);
    cluster.createVolume('single', 1);
    cluster.disk(1 as DiskId).status = 'failed';
    cluster.run(5000);
    expect(cluster.pgCountOf(1 as DiskId)).to.equal(64);
    expect(clusterView(cluster.state, cluster.now()).health).to.equal('critical');
    // Once no volume needs what was there, the PGs begin anew on what there is.
    cluster.addNode();
    cluster.run(5000);
    expect(cluster.pgCountOf(1 as DiskId)).to.equal(64);
    cluster.must({ kind: 'delete-volume', volume: 1 as VolumeId, isForced: false });
    cluster.runUntil('anew', () => cluster.isClean(), 10_000);
    expect(cluster.pgCountOf(2 as DiskId)).to.equal(64);
  });

  it('manager: a member whose data process does not come back, it is left out in half the time', () => {
    const { cluster } = boot(3);
    const pg = [...cluster.state.facts.pgs.values()].find((each) =>
      each.inSync.includes(3 as DiskId),
    );
    if (pg === undefined) throw new Error('d3 has a PG');
    const failure = { pg: pg.id, epoch: pg.epoch, disk: 3 as DiskId, reason: 'not connected' };
    const sinceMs = OPTIONS.memberFailureMs / 2;
    cluster.executor(N1).failures.push({ ...failure, sinceMs });
    cluster.run(1500);
    expect(cluster.state.facts.pgs.get(pg.id).epoch, 'its store is open').to.equal(pg.epoch);
    cluster.disk(3 as DiskId).status = 'opening';
    cluster.run(2500);
    expect(cluster.state.facts.pgs.get(pg.id).inSync).to.not.include(3 as DiskId);
    cluster.executor(N1).failures.splice(0);
    cluster.disk(3 as DiskId).status = 'serving';
    cluster.runUntil('whole', () => cluster.isClean(), 60_000);
  });

  it('manager: a gateway cannot use a member for long, it is left out and asked back later', () => {
    const { cluster } = boot(3);
    const pg = [...cluster.state.facts.pgs.values()].find((each) =>
      each.inSync.includes(3 as DiskId),
    );
    if (pg === undefined) throw new Error('d3 has a PG');
    const failure = { pg: pg.id, epoch: pg.epoch, disk: 3 as DiskId, reason: 'timeout' };
    cluster.executor(N1).failures.push({ ...failure, sinceMs: OPTIONS.memberFailureMs - 1 });
    cluster.run(1500);
    expect(cluster.state.facts.pgs.get(pg.id).epoch).to.equal(pg.epoch);
    cluster.executor(N1).failures.splice(0, 1, { ...failure, sinceMs: OPTIONS.memberFailureMs });
    cluster.run(1500);
    expect(cluster.state.facts.pgs.get(pg.id).inSync).to.not.include(3);
    cluster.executor(N1).failures.length = 0;
    cluster.runUntil('asked back', () => cluster.isClean(), 30_000);
    expect(cluster.events('disk.unreachable').length).to.equal(1);
  });

  it('manager: a gateway can use no member at all, none is left out', () => {
    const { cluster } = boot(3);
    const pg = [...cluster.state.facts.pgs.values()][0];
    if (pg === undefined) throw new Error('there is a PG');
    for (const disk of pg.inSync) {
      const failure = { pg: pg.id, epoch: pg.epoch, disk, reason: 'timeout', sinceMs: 60_000 };
      cluster.executor(N1).failures.push(failure);
    }
    cluster.run(3000);
    expect(cluster.state.facts.pgs.get(pg.id)).to.deep.equal(pg);
  });
});

describe('manager: attachments of nodes that die', () => {
  it('manager: attach elsewhere after a power-off, it succeeds within lease and five seconds', () => {
    const { cluster, volume } = boot(4);
    cluster.must({ kind: 'attach-volume', volume, node: N3, isForced: false });
    cluster.run(1000);
    cluster.kill(N3);
    cluster.run(500);
    const request = cluster.send({ kind: 'attach-volume', volume, node: N2, isForced: false });
    const tookMs = cluster.runUntil('attach', () => cluster.replies.has(request), 20_000);
    expect(cluster.replies.get(request)).to.deep.equal({ kind: 'done', id: volume });
    expect(tookMs).to.be.at.most(OPTIONS.leaseMs + 5000);
    expect(cluster.state.facts.volumes.get(volume)).to.deep.include({
      attachedTo: N2,
      generation: 2,
    });
  });

  it('manager: attach elsewhere while a cut-off node still seems to be up, it waits and succeeds', () => {
    const { cluster, volume } = boot(4);
    cluster.must({ kind: 'attach-volume', volume, node: N3, isForced: false });
    cluster.run(1000);
    cluster.executor(N3).isIsolated = true;
    const request = cluster.send({ kind: 'attach-volume', volume, node: N2, isForced: false });
    cluster.run(3000);
    const { explanations } = explainAll(cluster.state, cluster.now());
    const [ofVolume] = explanations.filter((one) => one.kind === 'volume');
    expect(ofVolume?.causes[0]?.message).to.match(/^An attach to n2 waits until its old node/);
    const tookMs = 3000 + cluster.runUntil('attach', () => cluster.replies.has(request), 20_000);
    expect(cluster.replies.get(request)).to.deep.equal({ kind: 'done', id: volume });
    expect(tookMs).to.be.at.most(10_000);
  });

  it('manager: attach by force, the next generation begins at once', () => {
    const { cluster, volume } = boot(3);
    cluster.must({ kind: 'attach-volume', volume, node: N3, isForced: false });
    cluster.must({ kind: 'attach-volume', volume, node: N1, isForced: true });
    expect(cluster.state.facts.volumes.get(volume)).to.deep.include({
      attachedTo: N1,
      generation: 2,
    });
  });

  it('manager: a detach that does not end, it is explained at its deadline and goes on', () => {
    const { cluster, volume } = boot(3);
    cluster.must({ kind: 'attach-volume', volume, node: N2, isForced: false });
    cluster.run(1000);
    cluster.executor(N2).isGatewayStuck = true;
    const request = cluster.send({ kind: 'detach-volume', volume, isForced: false });
    cluster.runUntil('deadline', () => cluster.replies.has(request), 40_000);
    const reply = cluster.replies.get(request);
    expect(reply?.kind === 'failed' ? reply.error.message : '').to.match(
      /^Waited 30s to detach volume "data", but its gateway on n2 is serving/,
    );
    cluster.kill(N2);
    cluster.runUntil(
      'free',
      () => cluster.state.facts.volumes.get(volume).attachedTo === null,
      15_000,
    );
  });
});

describe('manager: restarts of the manager', () => {
  it('manager: a new term on the same store, nodes come back and nothing moves', () => {
    const { cluster } = boot(4);
    const pgs = JSON.stringify([...cluster.state.facts.pgs.values()]);
    cluster.restartManager();
    cluster.run(20_000);
    expect(JSON.stringify([...cluster.state.facts.pgs.values()])).to.equal(pgs);
    expect(cluster.isClean()).to.equal(true);
  });

  it('manager: restart in the middle of a rebuild, it goes on', () => {
    const { cluster } = boot(4);
    cluster.kill(N3);
    cluster.run(OPTIONS.rebuildAfterMs);
    cluster.runUntil('joins', () =>
      [...cluster.state.facts.pgs.values()].some((pg) => pg.joining.length > 0),
    );
    cluster.restartManager();
    cluster.runUntil('rebuild', () => cluster.isClean(), 200_000);
  });

  it('manager: a node dies with the manager, it is left out by the next one', () => {
    const { cluster } = boot(4);
    cluster.isManagerUp = false;
    cluster.kill(N3);
    cluster.run(2000);
    cluster.isManagerUp = true;
    cluster.restartManager();
    cluster.runUntil('left out', () => cluster.pgCountOf(3 as DiskId) === 0, 40_000);
  });

  it('manager: away for a minute, leases go on through peers', () => {
    const { cluster } = boot(3);
    cluster.isManagerUp = false;
    cluster.run(60_000);
    for (const executor of cluster.executors.values()) {
      expect(executor.leaseUntilMs, `lease of n${executor.node}`).to.be.above(cluster.nowMs);
    }
    cluster.isManagerUp = true;
    cluster.restartManager();
    cluster.run(5000);
    expect(cluster.isClean()).to.equal(true);
  });

  it('manager: the store of another cluster, it is refused', () => {
    const { cluster } = boot(1 + 1);
    expect(() => new SimulatedCluster({ clusterName: 'other' }, cluster.store)).to.throw(
      'Metadata store holds cluster "test", this scheduler is for cluster "other"',
    );
  });

  it('manager: size of volumes is bounded by what may be promised', () => {
    const { cluster } = boot(3);
    expect(
      cluster.refusal({
        kind: 'create-volume',
        name: 'big',
        sizeBytes: 4096 * GiB,
        replicas: 2,
        pool: null,
      }),
    ).to.match(/^no-space: Volume of 4 TiB with 2 replicas would promise/);
  });
});
