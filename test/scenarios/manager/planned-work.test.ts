import { expect } from 'chai';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { observedHost } from '../../../scheduler/core/mesos/mesos-state.ts';
import type { JobRecord } from '../../../scheduler/core/records.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const MINUTE = 60_000;

function cleanCluster(nodes = 4, disks = 1): SimulatedCluster {
  const cluster = new SimulatedCluster({ resyncBytesPerSecond: 1e9 });
  for (let count = 0; count < nodes; count += 1) cluster.addNode(disks);
  cluster.run(3_000);
  cluster.write(cluster.createVolume('v'), GiB);
  cluster.run(2_000);
  cluster.runUntil('everything to be clean', () => cluster.isClean());
  return cluster;
}

function job(cluster: SimulatedCluster, kind: JobRecord['kind']): JobRecord {
  const found = [...cluster.state.facts.jobs.values()].findLast((each) => each.kind === kind);
  if (found === undefined) throw new Error(`no job of kind ${kind}`);
  return found;
}

function explain(cluster: SimulatedCluster, subject: string): string {
  return JSON.stringify(explainSubject(cluster.state, subject, cluster.now()));
}

/** What Mesos' half does once an offer has shown that nothing of the disk is left. */
function giveBack(cluster: SimulatedCluster, node: NodeId): void {
  const { facts, work } = cluster.state;
  for (const disk of [...facts.disks.values()]) {
    if (disk.node !== node || disk.phase !== 'releasing') continue;
    facts.disks.delete(disk.id);
    work.pgsOfDisk.delete(disk.id);
    work.targetsOfDisk.delete(disk.id);
    cluster.state.disks.delete(disk.id);
    cluster.executor(node).disks.splice(
      cluster.executor(node).disks.findIndex(({ id }) => id === disk.id),
      1,
    );
  }
}

describe('decommission: a node is taken out for good', () => {
  const node = 1 as NodeId;

  it('emptied, given back, gone: only when an offer has shown that nothing is left; a job with progress', () => {
    const cluster = cleanCluster();
    cluster.must({ kind: 'decommission-node', node });
    const began = job(cluster, 'decommission');
    expect(began.movesTotal).to.be.above(2);
    expect(began.totalBytes).to.be.above(0);
    const disk = (): string | undefined => cluster.state.facts.disks.find(1 as DiskId)?.phase;
    expect(disk(), 'its data has not left').to.equal('serving');
    cluster.runUntil('the disk to be released', () => disk() === 'releasing');
    expect(cluster.pgCountOf(1 as DiskId)).to.equal(0);
    expect(explain(cluster, `j${began.id}`)).to.match(/1 disks are being given back/);
    cluster.restartManager();
    cluster.run(3_000);
    giveBack(cluster, node);
    cluster.run(3_000);
    expect(cluster.state.facts.nodes.get(node).admin, 'nobody has seen it yet').to.equal('drained');
    expect(explain(cluster, `j${began.id}`)).to.match(/an offer of its agent has to show/);
    observedHost(cluster.state.mesos, node).cleanOfferAtMs = cluster.nowMs;
    cluster.run(1_000);
    expect(cluster.state.facts.nodes.get(node).admin).to.equal('gone');
    const ended = job(cluster, 'decommission');
    expect([ended.phase, ended.movesDone]).to.eql(['done', ended.movesTotal]);
    expect(cluster.events('node.decommissioned')).to.have.length(1);
  });

  it('a volume is attached there: its disks are kept until it is detached', () => {
    const cluster = cleanCluster();
    const volume = [...cluster.state.facts.volumes.keys()][0];
    if (volume === undefined) throw new Error('no volume');
    cluster.send({ kind: 'attach-volume', volume, node, isForced: false });
    cluster.run(2_000);
    cluster.must({ kind: 'decommission-node', node });
    cluster.run(3 * MINUTE);
    expect(cluster.state.facts.disks.get(1 as DiskId).phase).to.equal('serving');
    expect(explain(cluster, `j${job(cluster, 'decommission').id}`)).to.match(/\\"v\\" is attached/);
    cluster.send({ kind: 'detach-volume', volume, isForced: false });
    cluster.run(5_000);
    expect(cluster.state.facts.disks.get(1 as DiskId).phase).to.equal('releasing');
  });

  it('called off while data moves: it holds data again; too late: refused', () => {
    const cluster = cleanCluster();
    cluster.must({ kind: 'decommission-node', node });
    cluster.run(500);
    cluster.must({ kind: 'cancel-job', job: job(cluster, 'decommission').id });
    expect(cluster.state.facts.nodes.get(node)).to.include({ admin: 'active', decommission: null });
    expect(job(cluster, 'decommission').phase).to.equal('cancelled');
    cluster.must({ kind: 'decommission-node', node });
    cluster.runUntil(
      'release',
      () => cluster.state.facts.disks.get(1 as DiskId).phase === 'releasing',
    );
    expect(cluster.refusal({ kind: 'activate-node', node })).to.match(/are being given back/);
  });
});

describe('replace: one disk by another one of its node', () => {
  const old = 1 as DiskId;
  const node = 1 as NodeId;

  /** What claims.test.ts shows of an offer: the free disk is claimed for the old one's pool. */
  function claim(cluster: SimulatedCluster): DiskId {
    const by = cluster.addDisk(node);
    const { replacement } = cluster.state.facts.disks.get(old);
    if (replacement === null || replacement === undefined) throw new Error('nothing is replaced');
    cluster.state.facts.disks.update(old, { replacement: { ...replacement, by } });
    return by;
  }

  it('no other disk is offered: the old one is emptied, and kept', () => {
    const cluster = cleanCluster();
    cluster.must({ kind: 'replace-disk', disk: old, place: null });
    cluster.runUntil('the old disk to be empty', () => cluster.pgCountOf(old) === 0);
    cluster.run(5 * MINUTE);
    expect(cluster.state.facts.disks.get(old).phase).to.equal('serving');
    expect(explain(cluster, `j${job(cluster, 'replace').id}`)).to.match(
      /has not offered a free disk of n1/,
    );
  });

  it('another disk serves: data goes there, then the old one is given back, and the job is done', () => {
    const cluster = cleanCluster();
    cluster.must({ kind: 'replace-disk', disk: old, place: '/mnt/new' });
    const by = claim(cluster);
    cluster.runUntil('the old one to be released', () => {
      return cluster.state.facts.disks.get(old).phase === 'releasing';
    });
    expect(cluster.pgCountOf(old)).to.equal(0);
    expect(cluster.pgCountOf(by)).to.be.above(0);
    giveBack(cluster, node);
    cluster.run(1_000);
    expect(job(cluster, 'replace').phase).to.equal('done');
    cluster.runUntil('everything to be clean', () => cluster.isClean());
  });

  it('a dead disk: rebuilt from the others, and replaced all the same', () => {
    const cluster = cleanCluster();
    cluster.disk(old).status = 'failed';
    cluster.disk(old).error = 'EIO';
    cluster.run(2_000);
    cluster.must({ kind: 'replace-disk', disk: old, place: null });
    claim(cluster);
    cluster.runUntil('the old one to be released', () => {
      return cluster.state.facts.disks.get(old).phase === 'releasing';
    });
    cluster.runUntil('everything to be clean', () => cluster.isClean());
  });

  it('called off, or the claim given up: the old one holds data again, or waits for the next one', () => {
    const cluster = cleanCluster();
    cluster.must({ kind: 'replace-disk', disk: old, place: null });
    const { replacement } = cluster.state.facts.disks.get(old);
    if (replacement === null || replacement === undefined) throw new Error('nothing is replaced');
    cluster.state.facts.disks.update(old, { replacement: { ...replacement, by: 99 as DiskId } });
    cluster.run(1_000);
    expect(cluster.state.facts.disks.get(old).replacement?.by).to.equal(null);
    cluster.must({ kind: 'cancel-job', job: job(cluster, 'replace').id });
    expect(cluster.state.facts.disks.get(old)).to.include({ isDraining: false, replacement: null });
  });

  it('its own place, or a node that leaves: refused', () => {
    const cluster = cleanCluster();
    const own = cluster.state.facts.disks.get(old).sourceRoot ?? '';
    const refusal = (place: string | null): string =>
      cluster.refusal({ kind: 'replace-disk', disk: old, place });
    expect(refusal(own)).to.match(/is its own place/);
    expect(refusal(`mount:${own}`)).to.match(/is its own place/);
    cluster.must({ kind: 'drain-node', node });
    expect(refusal(null)).to.match(/is draining/);
  });
});
