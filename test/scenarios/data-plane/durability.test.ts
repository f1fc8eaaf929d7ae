// When an acked write survives power loss of all nodes: by the client's habit and the volume's setting.
import { expect } from 'chai';
import { MiB } from '../../../shared/base/units.ts';
import type { Durability } from '../../../shared/model/cluster-map.ts';
import { bytes, submit, TestCluster } from './test-cluster.ts';

const BLOCK = 4096;
const WRITES = 24;

async function cluster(seed: string, durability: Durability): Promise<TestCluster> {
  const made = new TestCluster(seed);
  await made.start({ nodes: 2, pgs: [[0, 1]], sizeBytes: 8 * MiB, attachedTo: 0 });
  setDurability(made, durability);
  return made;
}

function setDurability(c: TestCluster, durability: Durability): void {
  c.setMap({ volumes: c.map.volumes.map((volume) => ({ ...volume, durability })) });
}

async function write(c: TestCluster, from: number, seed: number): Promise<void> {
  const writes = Array.from({ length: WRITES }, async (_, index) => {
    const data = bytes(BLOCK, seed + index);
    const { error } = await submit(c.device(0), 'write', (from + index) * BLOCK, BLOCK, { data });
    expect(error, `write ${index}`).to.equal(null);
  });
  await c.run('the writes', Promise.all(writes));
}

async function flush(c: TestCluster): Promise<void> {
  const { error } = await c.run('a flush', submit(c.device(0), 'flush', 0, 0));
  expect(error).to.equal(null);
}

/** All nodes at once; they come back without a scheduler's help, as nobody was taken out. */
async function losePower(c: TestCluster): Promise<void> {
  for (const index of [0, 1]) c.crash(index, 'power');
  for (const index of [0, 1]) await c.startProcess(c.node(index));
  c.sendMap();
  await c.until('the volume is being served', () => c.findDevice(0)?.status === 'serving');
}

/** How many of the written blocks are there. */
async function countKept(c: TestCluster, from: number, seed: number): Promise<number> {
  let kept = 0;
  for (let index = 0; index < WRITES; index += 1) {
    const read = submit(c.device(0), 'read', (from + index) * BLOCK, BLOCK);
    const { data } = await c.run('a read', read);
    if (data?.equals(bytes(BLOCK, seed + index)) === true) kept += 1;
  }
  return kept;
}

function syncCount(c: TestCluster): number {
  return c.nodes.reduce((sum, node) => sum + node.simulatedDisk.counts.sync, 0);
}

describe('data plane: durability', () => {
  it('a flush that waits for a hung disk: goes on when the disk is no member any more', async () => {
    const c = await cluster('hung-flush', 'flush');
    await flush(c);
    await write(c, 0, 1);
    c.node(1).simulatedDisk.hang();
    const flushing = submit(c.device(0), 'flush', 0, 0);
    await c.clock.runFor(1_000);
    c.setPg(1, [0]);
    const { error } = await c.run('the flush', flushing);
    expect(error).to.equal(null);
  });

  it('a flush and a hung disk that leaves PGs and joins them again: goes on without it', async () => {
    const c = new TestCluster('flapping-flush');
    const pgs = [
      [0, 1],
      [0, 1],
    ];
    await c.start({ nodes: 2, pgs, sizeBytes: 8 * MiB, attachedTo: 0 });
    await flush(c);
    for (const extent of [0, 1]) await write(c, extent * 1024, 100 * extent);
    c.node(1).simulatedDisk.stall();
    const flushing = submit(c.device(0), 'flush', 0, 0);
    // At no moment is the disk a member of neither PG.
    c.setPg(1, [0]);
    c.setPg(1, [0], [1]);
    c.setPg(2, [0]);
    c.setPg(2, [0], [1]);
    const { error } = await c.run('the flush', flushing, 5_000);
    expect(error).to.equal(null);
  });

  it('a client that never flushes: every acked write survives power loss of all nodes', async () => {
    const c = await cluster('never-flushed', 'flush');
    await write(c, 0, 100);
    await losePower(c);
    expect(await countKept(c, 0, 100)).to.equal(WRITES);
  });

  it('a client that has flushed: its writes cost no syncs until it flushes again', async () => {
    const c = await cluster('flushed', 'flush');
    await write(c, 0, 100);
    await flush(c);
    await write(c, 0, 200);
    const before = syncCount(c);
    await write(c, 0, 300);
    expect(syncCount(c)).to.equal(before);
    await flush(c);
    expect(syncCount(c)).to.be.above(before);
    await losePower(c);
    expect(await countKept(c, 0, 300)).to.equal(WRITES);
  });

  it('writethrough: a flush changes nothing, every acked write survives', async () => {
    const c = await cluster('writethrough', 'writethrough');
    await flush(c);
    await write(c, 0, 100);
    await losePower(c);
    expect(await countKept(c, 0, 100)).to.equal(WRITES);
  });

  it('a setting changed while attached: the gateway follows with the next map', async () => {
    const c = await cluster('changed', 'flush');
    await write(c, 0, 100);
    await flush(c);
    setDurability(c, 'writethrough');
    await write(c, 64, 500);
    await losePower(c);
    expect(await countKept(c, 64, 500)).to.equal(WRITES);
  });
});
