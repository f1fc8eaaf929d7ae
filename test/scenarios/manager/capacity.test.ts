/** The hard limit: acted upon with the report that shows it. */
import { expect } from 'chai';
import type { DiskId, NodeId, VolumeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

describe('manager: the hard limit', () => {
  it('capacity: a report shows a disk at the limit, the very step makes the pool full and tells executors', () => {
    const cluster = new SimulatedCluster();
    for (let index = 0; index < 3; index += 1) cluster.addNode(1, 10 * GiB);
    cluster.run(3000);
    const volume = cluster.createVolume('data', 2, 20 * GiB);
    cluster.run(3000);
    const executor = cluster.executor(1 as NodeId);
    const [stored] = executor.disks[0]?.stored.values() ?? [];
    const volumes = stored ?? new Map<VolumeId, number>();
    const [pg] = cluster.state.work.pgsOfDisk.get(1 as DiskId) ?? [];
    if (pg !== undefined) executor.disks[0]?.stored.set(pg, volumes);
    volumes.set(volume, 9.6 * GiB);
    const { session, sequence } = executor;
    // Between two ticks, as an urgent report comes.
    cluster.step({
      kind: 'node-report',
      session: session ?? '',
      sequence: sequence + 1,
      report: executor.report(),
    });
    expect(cluster.state.facts.pools.get('default').isFull).to.equal(true);
    expect(executor.map?.volumes[0]?.isFull, 'in the map that left with the step').to.equal(true);
  });
});
