import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import { damage } from './damage.ts';
import { bytes, contentsOf, submit, TestCluster } from './test-cluster.ts';

/** Replicas on nodes 0 and 1, the gateway on node 2. */
async function cluster(seed: string): Promise<TestCluster> {
  const made = new TestCluster(seed);
  await made.start({ nodes: 3, pgs: [[0, 1]], sizeBytes: 32 * MiB, attachedTo: 2 });
  return made;
}

/** As it lies on the disk. */
async function blockOf(c: TestCluster, index: number, block: number): Promise<Buffer> {
  const bytesRead = Buffer.alloc(4096);
  const address = { volume: 1, layer: 0, extent: 0 };
  await c.run(
    'a raw read',
    new Promise((resolve) => {
      c.node(index).store?.readRaw(address, block, 1, bytesRead, resolve);
    }),
  );
  return bytesRead;
}

async function differingExtents(c: TestCluster): Promise<number> {
  let count = 0;
  for (let extent = 0; extent < 8; extent += 1) {
    const first = await contentsOf(c, 0, extent);
    if (!first.equals(await contentsOf(c, 1, extent))) count += 1;
  }
  return count;
}

describe('data plane: after an unclean detach', () => {
  it('writes that reached one replica only: the next gateway makes both the same', async () => {
    const c = await cluster('one sided');
    const acked = bytes(12 * MiB, 1);
    await c.run('write', submit(c.device(2), 'write', 0, acked.length, { data: acked }));
    c.network.block('host3', 'host2');
    const random = new Prng('one sided');
    for (let round = 0; round < 30; round += 1) {
      const offset = 4096 * random.below((12 * MiB) / 4096 - 8);
      const data = bytes(4096 * (1 + random.below(4)), round);
      void submit(c.device(2), 'write', offset, data.length, { data });
    }
    void submit(c.device(2), 'zero', 20 * MiB, 8192);
    void submit(c.device(2), 'trim', 0, 8192);
    await c.clock.runFor(20);
    c.crash(2, 'power');
    c.network.healAll();
    expect(await differingExtents(c), 'the crash left differences').to.be.greaterThan(1);
    c.attach(0);
    await c.until('serving', () => c.findDevice(0)?.status === 'serving');
    // At once, and again later: the same answer, whichever replica gives it.
    const first = await c.run('read', submit(c.device(0), 'read', 0, acked.length));
    await c.clock.runFor(2000);
    expect(await differingExtents(c)).to.equal(0);
    const second = await c.run('read', submit(c.device(0), 'read', 0, acked.length));
    expect(second.data?.equals(first.data as Buffer)).to.equal(true);
    expect(
      (await contentsOf(c, 1, 0)).equals((first.data as Buffer).subarray(0, 4 * MiB)),
    ).to.equal(true);
  });

  it('a data process restarts under its old generation: compared as well', async () => {
    const c = await cluster('restart');
    const acked = bytes(4 * MiB, 1);
    await c.run('write', submit(c.device(2), 'write', 0, acked.length, { data: acked }));
    c.network.block('host3', 'host1');
    void submit(c.device(2), 'write', 8192, 4096, { data: bytes(4096, 2) });
    await c.clock.runFor(20);
    c.crash(2);
    c.network.healAll();
    expect(await differingExtents(c)).to.equal(1);
    await c.startProcess(c.node(2));
    await c.until('serving', () => c.findDevice(2)?.status === 'serving');
    await c.run('read', submit(c.device(2), 'read', 0, 4096));
    expect(await differingExtents(c)).to.equal(0);
  });

  it('a block that is bad on both replicas among those that differ: the others are made the same', async () => {
    const c = await cluster('bad among differing');
    const acked = bytes(64 * 1024, 1);
    await c.run('write', submit(c.device(2), 'write', 0, acked.length, { data: acked }));
    c.network.block('host3', 'host2');
    const rest = { data: bytes(8 * 4096, 2) };
    void submit(c.device(2), 'write', 0, rest.data.length, rest);
    await c.clock.runFor(20);
    c.crash(2, 'power');
    c.network.healAll();
    expect(await differingExtents(c)).to.equal(1);
    for (const index of [0, 1]) damage(c, index, { extent: 0, block: 3 });
    c.attach(0);
    await c.until('serving', () => c.findDevice(0)?.status === 'serving');
    for (let block = 0; block < 16; block += 1) {
      const read = await c.run('read', submit(c.device(0), 'read', block * 4096, 4096));
      expect(read.error, `block ${block}`).to.equal(block === 3 ? 'io' : null);
      if (block === 3) continue;
      for (const index of [0, 1]) {
        const held = await blockOf(c, index, block);
        expect(held.equals(read.data as Buffer), `block ${block} on node ${index}`).to.equal(true);
      }
    }
  });

  it('after a clean detach: nothing to compare', async () => {
    const c = await cluster('clean');
    const data = bytes(8 * MiB, 1);
    await c.run('write', submit(c.device(2), 'write', 0, data.length, { data }));
    c.attach(null);
    await c.until('closed', () => c.findDevice(2) === null);
    await c.until('clean', () =>
      [0, 1].every((index) => c.node(index).store?.usage().dirtyExtentCount === 0),
    );
    c.attach(0);
    await c.until('serving', () => c.findDevice(0)?.status === 'serving');
    expect(c.logged.some((line) => line.message.includes('compared'))).to.equal(false);
  });

  it('a write that reached the joining replica alone: gone after the volume was taken over', async () => {
    const c = await cluster('joiner alone');
    const acked = bytes(8 * MiB, 1);
    await c.run('write', submit(c.device(2), 'write', 0, acked.length, { data: acked }));
    c.setPg(1, [0], [1]);
    await c.until('joined', () => c.node(1).plane.report().joins[0]?.isComplete === true);
    c.network.block('host3', 'host1');
    void submit(c.device(2), 'write', 4096, 4096, { data: bytes(4096, 2) });
    await c.clock.runFor(20);
    c.crash(2, 'power');
    c.network.healAll();
    expect(await differingExtents(c)).to.equal(1);
    c.attach(0);
    await c.until('serving', () => c.findDevice(0)?.status === 'serving');
    await c.until('the joiner knows', () => c.node(1).store?.generationOf(1) === 2);
    await c.until('joined', () => c.node(1).plane.report().joins[0]?.isComplete === true);
    expect(await differingExtents(c)).to.equal(0);
    const read = await c.run('read', submit(c.device(0), 'read', 0, acked.length));
    expect(read.data?.equals(acked)).to.equal(true);
  });
});
