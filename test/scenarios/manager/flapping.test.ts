/** Nodes and links that come and go: a growing pause before they take new replicas, forgotten after quiet time. */
import { expect } from 'chai';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { addFailure } from '../../../scheduler/core/members/trust.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { findUnexplained } from './explained.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const N3 = 3 as NodeId;
const D3 = 3 as DiskId;

function boot(nodes: number): SimulatedCluster {
  const cluster = new SimulatedCluster({ rebuildAfterMs: 3_600_000 });
  for (let index = 0; index < nodes; index += 1) cluster.addNode();
  cluster.run(3000);
  const volume = cluster.createVolume('data', 2, 20 * GiB);
  cluster.write(volume, 640 * MiB);
  cluster.run(3000);
  return cluster;
}

/** Dies, is shut out, is left out, comes back; how long until it is asked to join again. */
function flap(cluster: SimulatedCluster, node = N3, disk = D3): number {
  cluster.kill(node);
  cluster.runUntil('its disk has left', () => cluster.pgCountOf(disk) === 0, 30_000);
  cluster.executor(node).restart();
  cluster.runUntil('it is back', () => !cluster.state.facts.nodes.get(node).isFenced, 30_000);
  const pauseMs = cluster.runUntil('it joins', () => cluster.pgCountOf(disk) > 0, 400_000);
  cluster.runUntil('whole', () => cluster.isClean(), 60_000);
  return pauseMs;
}

describe('manager: flapping', function () {
  // Half an hour of the manager's time is some seconds of a busy machine's.
  this.timeout(60_000);

  it('flapping: a node that restarts once, no pause', () => {
    expect(flap(boot(4))).to.be.at.most(2000);
  });

  it('flapping: a node that comes and goes, a pause that doubles, said why and by when', () => {
    const cluster = boot(4);
    const pauses = [1, 2, 3, 4].map(() => flap(cluster));
    expect(pauses[0]).to.be.at.most(2000);
    expect(pauses[1]).to.be.within(5_000, 7_000);
    expect(pauses[2]).to.be.within(10_000, 12_000);
    expect(pauses[3]).to.be.within(20_000, 22_000);
    expect(cluster.events('node.flapping').length).to.equal(3);
    cluster.kill(N3);
    cluster.run(8000);
    cluster.executor(N3).restart();
    cluster.run(3000);
    const [found] = explainSubject(cluster.state, 'n3', cluster.now())?.explanations ?? [];
    expect(found).to.deep.include({ state: 'up', severity: 'notice' });
    expect(Date.parse(found?.by ?? '') - cluster.now().wallMs).to.be.within(30_000, 40_000);
    expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
  });

  it('flapping: quiet for long, the pause is forgotten step by step', () => {
    const cluster = boot(4);
    flap(cluster);
    flap(cluster);
    expect(flap(cluster)).to.be.within(10_000, 12_000);
    cluster.run(30 * 60_000);
    expect(flap(cluster)).to.be.at.most(2000);
  });

  it('flapping: it has the only copy, which serves at once', () => {
    const cluster = boot(2);
    flap(cluster, 2 as NodeId, 2 as DiskId);
    flap(cluster, 2 as NodeId, 2 as DiskId);
    // Both go, so neither is left out; the one that flapped comes back first and alone.
    cluster.kill(1 as NodeId);
    cluster.kill(2 as NodeId);
    cluster.run(10_000);
    cluster.executor(2 as NodeId).restart();
    const serving = (): boolean => {
      const { facts } = cluster.state;
      return facts.disks.get(2 as DiskId).phase === 'serving';
    };
    expect(cluster.runUntil('d2 serves', serving, 30_000)).to.be.at.most(3000);
  });

  it('flapping: failures without end, the pause has a bound', () => {
    let distrust = addFailure(undefined, 1, 0);
    expect(distrust.pauseMs).to.equal(0);
    for (let at = 1; at <= 100; at += 1) distrust = addFailure(distrust, 1, at);
    expect(distrust.pauseMs).to.equal(180_000);
    // Eleven quiet spans later nothing is left of ten failures.
    const later = addFailure(distrust, 1, distrust.untilMs + 11 * 600_000);
    expect(later).to.deep.include({ failures: 1, pauseMs: 0 });
  });
});
