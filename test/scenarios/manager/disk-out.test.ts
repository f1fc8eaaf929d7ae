/** Disks that make errors: emptied while they can be read, kept visible, brought back by an operator or the policy. */
import { expect } from 'chai';
import type { ManagerOptions } from '../../../scheduler/core/contract.ts';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { diskViews } from '../../../scheduler/core/views/node-views.ts';
import { clusterView } from '../../../scheduler/core/views/views.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { findUnexplained } from './explained.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const D2 = 2 as DiskId;

function boot(nodes: number, options: Partial<ManagerOptions> = {}): SimulatedCluster {
  const cluster = new SimulatedCluster(options);
  for (let index = 0; index < nodes; index += 1) cluster.addNode();
  cluster.run(3000);
  const volume = cluster.createVolume('data', 2, 20 * GiB);
  cluster.write(volume, 640 * MiB);
  cluster.run(3000);
  return cluster;
}

function addErrors(cluster: SimulatedCluster, disk: DiskId, count: number): void {
  const simulated = cluster.disk(disk);
  simulated.checksumErrorCount = (simulated.checksumErrorCount ?? 0) + count;
  cluster.run(2000);
}

function outReason(cluster: SimulatedCluster, disk: DiskId): string {
  return diskViews(cluster.state).find((view) => view.id === `d${disk}`)?.outReason ?? '';
}

describe('manager: disks that make errors', function () {
  // Half an hour of the manager's time is some seconds of a busy machine's.
  this.timeout(60_000);

  it('disk out: a few errors now and then, it stays', () => {
    const cluster = boot(4);
    // 120 in all, but half of the first are forgotten by then.
    addErrors(cluster, D2, 60);
    cluster.run(1_800_000);
    addErrors(cluster, D2, 60);
    expect(outReason(cluster, D2)).to.equal('');
  });

  it('disk out: an error storm, its data moves away without a moment of less redundancy', () => {
    const cluster = boot(4);
    expect(cluster.pgCountOf(D2)).to.be.above(10);
    addErrors(cluster, D2, 70);
    addErrors(cluster, D2, 70);
    expect(outReason(cluster, D2)).to.match(/^140 checksum errors within 1h 0m$/);
    expect(cluster.events('disk.out').length).to.equal(1);
    cluster.runUntil('it is empty', () => {
      for (const pg of cluster.state.facts.pgs.values()) {
        expect(pg.inSync.length, `members of pg${pg.id}`).to.be.at.least(2);
      }
      return cluster.pgCountOf(D2) === 0;
    });
    cluster.run(60_000);
    expect(cluster.state.facts.disks.get(D2).phase, 'kept, not given back').to.equal('serving');
    const { health, reasons } = clusterView(cluster.state, cluster.now());
    expect(health).to.equal('degraded');
    expect(reasons.map((reason) => reason.subject)).to.include('d2');
    const [found] = explainSubject(cluster.state, 'd2', cluster.now())?.explanations ?? [];
    expect(found).to.deep.include({ command: 'cistern disk readmit d2', severity: 'degraded' });
    expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
  });

  it('disk out: an operator readmits it, it holds data again, also the next manager knew', () => {
    const cluster = boot(4);
    addErrors(cluster, D2, 150);
    cluster.runUntil('it is empty', () => cluster.pgCountOf(D2) === 0);
    cluster.restartManager();
    cluster.run(3000);
    expect(outReason(cluster, D2)).to.match(/^150 checksum errors/);
    cluster.must({ kind: 'readmit-disk', disk: D2 });
    expect(outReason(cluster, D2)).to.equal('');
    cluster.runUntil('it holds data', () => cluster.pgCountOf(D2) > 10);
    expect(cluster.events('disk.readmitted').length).to.equal(1);
  });

  it('disk out: the policy has a time, it comes back by itself', () => {
    const cluster = boot(4, { diskReadmitAfterMs: 600_000 });
    addErrors(cluster, D2, 150);
    const [found] = explainSubject(cluster.state, 'd2', cluster.now())?.explanations ?? [];
    expect(Date.parse(found?.by ?? '') - cluster.now().wallMs).to.be.within(590_000, 600_000);
    cluster.runUntil('it is readmitted', () => outReason(cluster, D2) === '', 700_000);
  });

  it('disk out: its data could go nowhere, it stays and that is said', () => {
    const cluster = boot(2);
    addErrors(cluster, D2, 150);
    expect(outReason(cluster, D2)).to.equal('');
    expect(cluster.events('disk.not-out')[0]).to.match(/its data could go nowhere$/);
  });

  it('disk out: a second disk of few makes errors too, it stays and a common cause is suspected', () => {
    const cluster = boot(6);
    addErrors(cluster, D2, 150);
    addErrors(cluster, 3 as DiskId, 150);
    expect(outReason(cluster, D2)).to.not.equal('');
    expect(outReason(cluster, 3 as DiskId)).to.equal('');
    expect(cluster.events('disk.not-out')[0]).to.match(/look for a common cause$/);
  });

  it('disk out: its I/O fails outright, it is failed at once and its data rebuilt from others', () => {
    const cluster = boot(4);
    const disk = cluster.disk(D2);
    disk.status = 'failed';
    disk.error = 'EIO on read';
    cluster.executor(2 as NodeId).isReportDue = true;
    cluster.run(1000);
    expect(cluster.pgCountOf(D2)).to.equal(0);
    cluster.runUntil('all is whole', () => cluster.isClean());
  });
});
