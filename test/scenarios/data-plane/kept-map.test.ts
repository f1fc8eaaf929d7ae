/** The last map on the disks, in a process that starts and is given an older one. */
import { expect } from 'chai';
import { MiB } from '../../../shared/base/units.ts';
import { decodeDurableMap, encodeDurableMap } from '../../../shared/wire/durable-map.ts';
import { TestCluster } from './test-cluster.ts';

function record(version: number): Uint8Array {
  return encodeDurableMap({
    term: 1,
    version,
    writtenAtMs: 0,
    body: Buffer.from(`map ${version}`),
  });
}

/** A node whose disk kept map 50; its process was started again and has the given map. */
async function restarted(version: number): Promise<TestCluster> {
  const cluster = new TestCluster('kept map');
  await cluster.start({ nodes: 1, pgs: [[0]], sizeBytes: MiB, attachedTo: 0 });
  cluster.map = { ...cluster.map, version: 49 };
  cluster.setMap({});
  cluster.node(0).plane.keepMap(record(50));
  await cluster.until('map 50 is kept', () => kept(cluster) === 50);
  cluster.crash(0);
  cluster.map = { ...cluster.map, version };
  await cluster.startProcess(cluster.node(0));
  await cluster.until('the disk is open', () => cluster.node(0).store !== null);
  return cluster;
}

function kept(cluster: TestCluster): number {
  const bytes = cluster.node(0).store?.keptMap() ?? null;
  return bytes === null ? 0 : decodeDurableMap(bytes).version;
}

describe('data plane: the kept map', () => {
  it('kept map: an older store was put back, it is said, and what the disk kept stays', async () => {
    const cluster = await restarted(20);
    const { plane } = cluster.node(0);
    expect(plane.report()).to.include({ mapVersion: 20, keptMapVersion: 50 });
    for (const version of [21, 22, 23]) {
      cluster.setMap({});
      plane.keepMap(record(version));
      await cluster.clock.runWhile(() => true, 1000);
      expect(kept(cluster)).to.equal(50);
    }
  });

  it('kept map: the store went on, the new map takes its place', async () => {
    const cluster = await restarted(60);
    cluster.node(0).plane.keepMap(record(60));
    await cluster.until('map 60 is kept', () => kept(cluster) === 60);
  });
});
