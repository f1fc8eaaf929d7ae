import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import { bytes, contentsOf, submit, TestCluster } from './test-cluster.ts';

async function cluster(seed: string): Promise<TestCluster> {
  const made = new TestCluster(seed);
  await made.start({
    nodes: 3,
    pgs: [
      [0, 1],
      [1, 2],
    ],
    sizeBytes: 32 * MiB,
    attachedTo: 0,
  });
  return made;
}

describe('data plane: block I/O', () => {
  it('reads see writes: any alignment, across blocks, pieces and extents', async () => {
    const c = await cluster('alignment');
    const device = c.device(0);
    const model = Buffer.alloc(32 * MiB);
    const random = new Prng('alignment');
    const lengths = [1, 512, 4095, 4096, 4097, 65_536, 70_000, 300_000, 5 * MiB];
    for (let round = 0; round < 60; round += 1) {
      const length = random.pick(lengths);
      const offset = random.below(model.length - length);
      const data = bytes(length, round);
      const written = await c.run('a write', submit(device, 'write', offset, length, { data }));
      expect(written.error, `write ${round}`).to.equal(null);
      data.copy(model, offset);
      const at = Math.max(0, offset - random.below(9000));
      const count = Math.min(model.length - at, length + random.below(20_000));
      const read = await c.run('a read', submit(device, 'read', at, count));
      expect(read.error, `read ${round}`).to.equal(null);
      const isSame = read.data?.equals(model.subarray(at, at + count));
      expect(isSame, `read ${round} of ${count} at ${at}`).to.equal(true);
    }
    const whole = await c.run('the whole', submit(device, 'read', 0, model.length));
    expect(whole.data?.equals(model)).to.equal(true);
    for (let extent = 0; extent < 8; extent += 1) {
      const members = extent % 2 === 0 ? [0, 1] : [1, 2];
      for (const member of members) {
        const held = await contentsOf(c, member, extent);
        const isSame = held.equals(model.subarray(extent * 4 * MiB, (extent + 1) * 4 * MiB));
        expect(isSame, `extent ${extent} on node ${member}`).to.equal(true);
      }
    }
  });

  it('overlapping writes at once: both replicas end with the same, reads never go back', async () => {
    const c = await cluster('overlap');
    const device = c.device(0);
    const random = new Prng('overlap');
    const pending: Promise<unknown>[] = [];
    const seen: number[][] = [];
    for (let round = 1; round <= 120; round += 1) {
      const data = Buffer.alloc(8192 + 4096 * random.below(4), round);
      const offset = 4096 * random.below(3);
      pending.push(submit(device, 'write', offset, data.length, { data }));
      if (round % 3 === 0) {
        pending.push(
          submit(device, 'read', 8192, 4096).then((result) => {
            const block = result.data as Buffer;
            expect(new Set(block).size, 'a block is never torn').to.equal(1);
            seen.push([round, block[0] as number]);
          }),
        );
      }
      if (random.chance(0.3)) await c.clock.runFor(random.fraction());
    }
    await c.run('all of them', Promise.all(pending));
    // A read that was submitted later never sees an older write.
    const values = seen.sort((left, right) => (left[0] as number) - (right[0] as number));
    values.forEach(([round, value], index) => {
      const before = values[index - 1]?.[1] ?? 0;
      expect(value, `read at ${round}`).to.be.at.least(before);
    });
    const first = await contentsOf(c, 0, 0);
    expect(first.equals(await contentsOf(c, 1, 0))).to.equal(true);
  });

  it('trim and zero: holes and zeros in status and in reads, partial blocks kept', async () => {
    const c = await cluster('trim');
    const device = c.device(0);
    const data = bytes(64 * 1024, 7);
    await c.run('write', submit(device, 'write', 0, data.length, { data }));
    await c.run('trim', submit(device, 'trim', 5000, 10_000));
    await c.run('zero', submit(device, 'zero', 20_000, 1000));
    await c.run('zero', submit(device, 'zero', 32_768, 8192));
    data.fill(0, 8192, 12_288);
    data.fill(0, 20_000, 21_000);
    data.fill(0, 32_768, 40_960);
    const read = await c.run('read', submit(device, 'read', 0, data.length));
    expect(read.data?.equals(data)).to.equal(true);
    const status = await c.run('status', submit(device, 'status', 0, 128 * 1024));
    expect(
      status.request.statuses?.map(({ length, isHole, isZero }) => [length, isHole, isZero]),
    ).to.deep.equal([
      [8192, false, false],
      [4096, true, true],
      [20_480, false, false],
      [8192, false, true],
      [24_576, false, false],
      [65_536, true, true],
    ]);
    expect((await contentsOf(c, 0, 0)).equals(await contentsOf(c, 1, 0))).to.equal(true);
  });

  it('flush, then power loss of all nodes: everything is there', async () => {
    const c = await cluster('power');
    const data = bytes(6 * MiB, 3);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    const flush = await c.run('flush', submit(c.device(0), 'flush', 0, 0));
    expect(flush.error).to.equal(null);
    const durable = bytes(10_000, 4);
    await c.run(
      'a durable write',
      submit(c.device(0), 'write', 100, durable.length, { data: durable, isDurable: true }),
    );
    durable.copy(data, 100);
    for (const index of [0, 1, 2]) c.crash(index, 'power');
    await c.clock.runFor(1000);
    for (const node of c.nodes) await c.startProcess(node);
    c.attach(0);
    await c.until('serving again', () => c.findDevice(0)?.status === 'serving');
    const read = await c.run('read', submit(c.device(0), 'read', 0, data.length));
    expect(read.data?.equals(data)).to.equal(true);
  });

  it('quiet extents: clean everywhere after some seconds', async () => {
    const c = await cluster('clean');
    const data = bytes(8 * MiB, 5);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    const dirty = (): number =>
      c.nodes.reduce((sum, node) => sum + (node.store?.usage().dirtyExtentCount ?? 0), 0);
    expect(dirty()).to.equal(4);
    await c.until('all extents are clean', () => dirty() === 0);
  });

  it('a block rots on every replica: io error, never wrong data', async () => {
    const c = await cluster('rot all');
    const data = bytes(4096, 8);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    for (const index of [0, 1]) {
      const { simulatedDisk } = c.node(index);
      const slab = simulatedDisk.list().find((name) => name.endsWith('.slab')) as string;
      const at = Buffer.from(simulatedDisk.bytesOf(slab)).indexOf(data);
      simulatedDisk.flipBit(slab, at + 9, 1);
    }
    const read = await c.run('read', submit(c.device(0), 'read', 0, 4096));
    expect(read.error).to.equal('io');
  });

  it('the pool is full: only allocating writes get no-space', async () => {
    const c = await cluster('full');
    const data = bytes(8192, 1);
    await c.run('write', submit(c.device(0), 'write', 4096, data.length, { data }));
    c.setMap({ volumes: c.map.volumes.map((volume) => ({ ...volume, isFull: true })) });
    const into = submit(c.device(0), 'write', 100_000, data.length, { data });
    expect((await c.run('a write into an extent that exists', into)).error).to.equal(null);
    const beyond = submit(c.device(0), 'write', 9 * MiB, data.length, { data });
    expect((await c.run('a write that allocates', beyond)).error).to.equal('no-space');
    const across = submit(c.device(0), 'write', 4 * MiB - 4096, data.length, { data });
    expect((await c.run('a write that does both', across)).error).to.equal('no-space');
    const trim = submit(c.device(0), 'trim', 9 * MiB, MiB);
    expect((await c.run('a trim', trim)).error).to.equal(null);
    c.setMap({ volumes: c.map.volumes.map((volume) => ({ ...volume, isFull: false })) });
    const again = submit(c.device(0), 'write', 9 * MiB, data.length, { data });
    expect((await c.run('room again', again)).error).to.equal(null);
  });

  it('a volume grows while it is attached: its new end can be written', async () => {
    const c = await cluster('grow');
    c.setMap({
      volumes: c.map.volumes.map((volume) => ({ ...volume, sizeBytes: 64 * MiB })),
    });
    expect(c.device(0).sizeBytes).to.equal(64 * MiB);
    const data = bytes(4096, 1);
    const offset = 64 * MiB - 4096;
    await c.run('write', submit(c.device(0), 'write', offset, data.length, { data }));
    const read = await c.run('read', submit(c.device(0), 'read', offset, 4096));
    expect(read.data?.equals(data)).to.equal(true);
  });
});
