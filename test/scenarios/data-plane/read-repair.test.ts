import { expect } from 'chai';
import { BLOCK_BYTES, MiB } from '../../../shared/base/units.ts';
import type { Notice } from '../../../shared/model/node-report.ts';
import { damage } from './damage.ts';
import { bytes, contentsOf, submit, TestCluster } from './test-cluster.ts';

const BLOCKS = 32;

async function written(seed: string, members: readonly number[]): Promise<[TestCluster, Buffer]> {
  const made = new TestCluster(seed);
  await made.start({ nodes: 3, pgs: [members], sizeBytes: 32 * MiB, attachedTo: 0 });
  const data = bytes(BLOCKS * BLOCK_BYTES, 6);
  await made.run('write', submit(made.device(0), 'write', 0, data.length, { data }));
  await made.run('flush', submit(made.device(0), 'flush', 0, 0));
  return [made, data];
}

function notices(c: TestCluster, kind: string): Notice[] {
  return c.nodes.flatMap((node) =>
    node.plane.report().notices.filter((each) => each.kind === kind),
  );
}

describe('data plane: bad blocks', () => {
  it('one copy rots: reads are right, the block is repaired, a notice names it', async () => {
    const [c, data] = await written('one copy', [0, 1]);
    damage(c, 0, { extent: 0, block: 3 });
    const read = await c.run('read', submit(c.device(0), 'read', 0, data.length));
    expect(read.error).to.equal(null);
    expect(read.data?.equals(data)).to.equal(true);
    await c.until('a notice', () => notices(c, 'block.repaired').length === 1);
    const [notice] = notices(c, 'block.repaired');
    expect(notice).to.include({ disk: 1, pg: 1, volume: 1, extent: 0, block: 3, blockCount: 1 });
    expect(notice?.text).to.contain('Block 3 of extent 0 of v1 on d1');
    expect(notice?.text).to.contain('from d2');
    const repaired = await contentsOf(c, 0, 0);
    expect(repaired.subarray(0, data.length).equals(data)).to.equal(true);
    const errors = c.device(0).counters.checksumErrors;
    await c.run('read again', submit(c.device(0), 'read', 0, data.length));
    expect(c.device(0).counters.checksumErrors, 'no further error').to.equal(errors);
    // Nothing else has changed: the extent becomes clean and stays so.
    await c.until('clean', () => c.node(0).store?.usage().dirtyExtentCount === 0);
  });

  it('a sector that cannot be read: read elsewhere, rewritten, the disk stays', async () => {
    const [c, data] = await written('latent error', [0, 1]);
    damage(c, 0, { extent: 0, block: 5, kind: 'unreadable' });
    const read = await c.run('read', submit(c.device(0), 'read', 0, data.length));
    expect(read.data?.equals(data)).to.equal(true);
    await c.until('repaired', () => notices(c, 'block.repaired').length === 1);
    expect((await contentsOf(c, 0, 0)).subarray(0, data.length).equals(data)).to.equal(true);
    const [report] = c.node(0).plane.report().disks;
    expect(report?.status).to.equal('serving');
    expect(report?.checksumErrorCount).to.be.greaterThan(0);
    expect(c.node(0).plane.report().failures).to.deep.equal([]);
  });

  it('each replica has another bad block: one read gets all of it right, both are repaired', async () => {
    const [c, data] = await written('crosswise', [0, 1, 2]);
    damage(c, 0, { extent: 0, block: 1 });
    damage(c, 1, { extent: 0, block: 2 });
    damage(c, 2, { extent: 0, block: 7 });
    const read = await c.run('read', submit(c.device(0), 'read', 0, data.length));
    expect(read.error).to.equal(null);
    expect(read.data?.equals(data)).to.equal(true);
    await c.until('repaired', () => notices(c, 'block.repaired').length === 3);
    for (const index of [0, 1, 2]) {
      const held = await contentsOf(c, index, 0);
      expect(held.subarray(0, data.length).equals(data), `node ${index}`).to.equal(true);
    }
  });

  it('all copies rot: EIO for that block and nothing else, reported until it is written', async () => {
    const [c, data] = await written('all copies', [0, 1]);
    for (const index of [0, 1]) damage(c, index, { extent: 0, block: 4 });
    for (let block = 0; block < BLOCKS; block += 1) {
      const at = block * BLOCK_BYTES;
      const read = await c.run('read', submit(c.device(0), 'read', at, BLOCK_BYTES));
      expect(read.error, `block ${block}`).to.equal(block === 4 ? 'io' : null);
      if (block === 4) continue;
      const isSame = read.data?.equals(data.subarray(at, at + BLOCK_BYTES));
      expect(isSame, `block ${block}`).to.equal(true);
    }
    const whole = await c.run('read', submit(c.device(0), 'read', 0, data.length));
    expect(whole.error).to.equal('io');
    await c.until('both say so', () => notices(c, 'block.lost').length === 2);
    expect(notices(c, 'block.lost')[0]).to.include({ volume: 1, extent: 0, block: 4 });
    const place = { pg: 1, volume: 1, extent: 0, block: 4, blockCount: 1, isLost: true };
    expect(c.node(0).plane.report().badBlocks).to.deep.equal([{ disk: 1, ...place }]);
    expect(c.node(1).plane.report().badBlocks).to.deep.equal([{ disk: 2, ...place }]);
    // Part of the block is not enough: what would the rest be?
    const part = await c.run(
      'a write of part of it',
      submit(c.device(0), 'write', 4 * BLOCK_BYTES, 512, { data: bytes(512, 3) }),
    );
    expect(part.error).to.equal('io');
    const fresh = bytes(BLOCK_BYTES, 9);
    await c.run('write', submit(c.device(0), 'write', 4 * BLOCK_BYTES, 4096, { data: fresh }));
    fresh.copy(data, 4 * BLOCK_BYTES);
    const again = await c.run('read', submit(c.device(0), 'read', 0, data.length));
    expect(again.data?.equals(data)).to.equal(true);
    await c.until('nothing is bad', () =>
      c.nodes.every((node) => node.plane.report().badBlocks.length === 0),
    );
    expect(notices(c, 'block.lost').length).to.equal(2);
  });

  it('the only good copy is away: the read waits for it instead of failing', async () => {
    const [c, data] = await written('good copy away', [0, 1]);
    damage(c, 0, { extent: 0, block: 0 });
    c.crash(1, 'process');
    await c.clock.runFor(200);
    let isDone = false;
    const reading = submit(c.device(0), 'read', 0, BLOCK_BYTES).finally(() => {
      isDone = true;
    });
    await c.clock.runFor(5_000);
    expect(isDone).to.equal(false);
    await c.startProcess(c.node(1));
    const read = await c.run('read', reading);
    expect(read.error).to.equal(null);
    expect(read.data?.equals(data.subarray(0, BLOCK_BYTES))).to.equal(true);
    await c.until('repaired', () => notices(c, 'block.repaired').length === 1);
  });

  it('a block that was written while its copy was being healed: the write stays', async () => {
    const [c, data] = await written('race', [0, 1]);
    for (let round = 0; round < 20; round += 1) {
      damage(c, 0, { extent: 0, block: 2 });
      const fresh = bytes(BLOCK_BYTES, 100 + round);
      const reading = submit(c.device(0), 'read', 2 * BLOCK_BYTES, BLOCK_BYTES);
      await c.clock.runFor(round * 0.1);
      const writing = submit(c.device(0), 'write', 2 * BLOCK_BYTES, 4096, { data: fresh });
      await c.run('both', Promise.all([reading, writing]));
      fresh.copy(data, 2 * BLOCK_BYTES);
      await c.clock.runFor(2_000);
      for (const index of [0, 1]) {
        const held = await contentsOf(c, index, 0);
        const isSame = held.subarray(0, data.length).equals(data);
        expect(isSame, `round ${round}, node ${index}`).to.equal(true);
      }
    }
  });
});
