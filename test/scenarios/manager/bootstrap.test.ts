import { expect } from 'chai';
import type { NodeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

describe('manager: a new cluster', () => {
  function boot(nodes: number): SimulatedCluster {
    const cluster = new SimulatedCluster();
    for (let index = 0; index < nodes; index += 1) cluster.addNode();
    cluster.run(3000);
    return cluster;
  }

  it('manager: three nodes say hello, they are up and hold leases', () => {
    const cluster = boot(3);
    for (const executor of cluster.executors.values()) {
      expect(executor.leaseUntilMs, `lease of n${executor.node}`).to.be.above(cluster.nowMs);
      expect(executor.map?.nodes.length).to.equal(3);
    }
    for (const disk of cluster.state.facts.disks.values()) expect(disk.phase).to.equal('serving');
  });

  it('manager: first volume, its family is created and even', () => {
    const cluster = boot(3);
    cluster.createVolume('one');
    cluster.run(3000);
    expect(cluster.state.facts.pgs.size).to.equal(64);
    for (const disk of cluster.state.facts.disks.values()) {
      expect(cluster.pgCountOf(disk.id), `PGs of d${disk.id}`).to.be.within(42, 43);
    }
    expect(cluster.executor(1 as NodeId).map?.volumes[0]?.name).to.equal('one');
  });

  it('manager: attach and detach, the gateway closes before the volume is free', () => {
    const cluster = boot(3);
    const volume = cluster.createVolume('one');
    const node = 2 as NodeId;
    cluster.must({ kind: 'attach-volume', volume, node, isForced: false });
    expect(cluster.state.facts.volumes.get(volume).generation).to.equal(1);
    const other = { kind: 'attach-volume', volume, node: 1 as NodeId, isForced: false } as const;
    const refused = cluster.send(other);
    // The next report of its node says that it lives.
    cluster.run(1500);
    const answer = cluster.replies.get(refused);
    expect(answer?.kind === 'failed' ? answer.error.message : 'not refused').to.match(
      /attached to n2 \(host2\); detach it first/,
    );
    expect(cluster.refusal({ kind: 'delete-volume', volume, isForced: false })).to.match(
      /^conflict/,
    );
    cluster.executor(node).isGatewayStuck = true;
    cluster.run(2000);
    const request = cluster.send({ kind: 'detach-volume', volume, isForced: false });
    cluster.run(5000);
    expect(cluster.replies.has(request), 'answered while the gateway is open').to.equal(false);
    cluster.executor(node).isGatewayStuck = false;
    cluster.write(volume, GiB);
    cluster.createVolume('two');
    cluster.runUntil('detach', () => cluster.replies.has(request), 5000);
    expect(cluster.replies.get(request)).to.deep.equal({ kind: 'done', id: volume });
    expect(cluster.state.facts.volumes.get(volume).attachedTo).to.equal(null);
  });
});
