/** Joins from members that have bad blocks: what one of them still has is found, what none has stays lost. */
import { expect } from 'chai';
import { BLOCK_BYTES, MiB } from '../../../shared/base/units.ts';
import type { Notice } from '../../../shared/model/node-report.ts';
import { type DamagePlace, damage } from './damage.ts';
import { bytes, contentsOf, submit, TestCluster } from './test-cluster.ts';

const BLOCKS = 96;
const LOST = 5;

interface Made {
  readonly c: TestCluster;
  readonly data: Buffer;
}

/** Two members in sync, a third node without anything; the gateway is on a fourth. */
async function written(seed: string): Promise<Made> {
  const c = new TestCluster(seed);
  await c.start({ nodes: 4, pgs: [[0, 1]], sizeBytes: 32 * MiB, attachedTo: 3 });
  const data = bytes(BLOCKS * BLOCK_BYTES, 6);
  await c.run('write', submit(c.device(3), 'write', 0, data.length, { data }));
  await c.run('flush', submit(c.device(3), 'flush', 0, 0));
  return { c, data };
}

async function join(c: TestCluster, inSync: readonly number[] = [0, 1]): Promise<void> {
  c.setPg(1, inSync, [2]);
  await c.until('joined', () => isJoined(c));
}

function isJoined(c: TestCluster): boolean {
  return c.node(2).plane.report().joins[0]?.isComplete === true;
}

function damageAll(c: TestCluster, place: DamagePlace): void {
  for (const index of [0, 1]) damage(c, index, place);
}

function lostNotices(c: TestCluster, index: number): Notice[] {
  return c
    .node(index)
    .plane.report()
    .notices.filter((each) => each.kind === 'block.lost');
}

/** Every block alone: the lost one gets an error, the others what was written. */
async function expectOneLost(c: TestCluster, data: Buffer): Promise<void> {
  for (let block = 0; block < BLOCKS; block += 1) {
    const at = block * BLOCK_BYTES;
    const read = await c.run('read', submit(c.device(3), 'read', at, BLOCK_BYTES));
    expect(read.error, `block ${block}`).to.equal(block === LOST ? 'io' : null);
    if (block === LOST) continue;
    const isSame = read.data?.equals(data.subarray(at, at + BLOCK_BYTES));
    expect(isSame, `block ${block}`).to.equal(true);
  }
}

const KINDS = ['rot', 'unreadable'] as const;

describe('data plane: joins with lost blocks', () => {
  for (const kind of KINDS) {
    it(`a block is bad on all members (${kind}): the join ends, the block alone stays lost, a write makes it good`, async () => {
      const { c, data } = await written(`lost ${kind}`);
      damageAll(c, { extent: 0, block: LOST, kind });
      await join(c);
      expect(lostNotices(c, 2)).to.have.length(1);
      expect(lostNotices(c, 2)[0]).to.include({ disk: 3, volume: 1, extent: 0, block: LOST });
      // Nobody but the new copy is left.
      c.setPg(1, [2]);
      await expectOneLost(c, data);
      const place = { disk: 3, pg: 1, volume: 1, extent: 0, block: LOST, blockCount: 1 };
      expect(c.node(2).plane.report().badBlocks).to.deep.equal([{ ...place, isLost: true }]);
      const at = LOST * BLOCK_BYTES;
      const fresh = bytes(BLOCK_BYTES, 9);
      await c.run('write', submit(c.device(3), 'write', at, BLOCK_BYTES, { data: fresh }));
      fresh.copy(data, at);
      const held = await contentsOf(c, 2, 0);
      expect(held.subarray(0, data.length).equals(data)).to.equal(true);
      await c.until('nothing bad', () => c.node(2).plane.report().badBlocks.length === 0);
      expect(c.node(2).store?.usage().checksumErrorCount, 'no fault of this disk').to.equal(0);
    });

    it(`each member has another bad block (${kind}): the joining one gets both`, async () => {
      const { c, data } = await written(`crosswise ${kind}`);
      damage(c, 0, { extent: 0, block: 1, kind });
      damage(c, 1, { extent: 0, block: 2, kind });
      await join(c);
      const held = await contentsOf(c, 2, 0);
      expect(held.subarray(0, data.length).equals(data)).to.equal(true);
      expect(lostNotices(c, 2)).to.deep.equal([]);
    });
  }

  it('the member with the good copy is away: the join waits for it and gets the block', async () => {
    const { c, data } = await written('away');
    damage(c, 0, { extent: 0, block: LOST });
    c.crash(1, 'process');
    c.setPg(1, [0, 1], [2]);
    await c.clock.runFor(20_000);
    expect(isJoined(c)).to.equal(false);
    expect(lostNotices(c, 2)).to.deep.equal([]);
    await c.startProcess(c.node(1));
    await c.until('joined', () => isJoined(c));
    const held = await contentsOf(c, 2, 0);
    expect(held.subarray(0, data.length).equals(data)).to.equal(true);
  });

  for (const kind of ['process', 'power'] as const) {
    it(`the new copy is dirty when it crashes (${kind}): checksums made anew do not turn the lost block into data`, async () => {
      const { c, data } = await written(`crash ${kind}`);
      damageAll(c, { extent: 0, block: LOST });
      await join(c);
      c.setPg(1, [2]);
      const more = bytes(BLOCK_BYTES, 20);
      await c.run('write', submit(c.device(3), 'write', 0, BLOCK_BYTES, { data: more }));
      await c.run('flush', submit(c.device(3), 'flush', 0, 0));
      more.copy(data, 0);
      expect(c.node(2).store?.usage().dirtyExtentCount, 'it is dirty').to.equal(1);
      c.crash(2, kind);
      await c.startProcess(c.node(2));
      await expectOneLost(c, data);
    });
  }

  it('the joining disk has an older version of the lost block: that one never comes back', async () => {
    const { c, data } = await written('older');
    await join(c);
    c.setPg(1, [0, 1, 2]);
    await c.until('clean', () => c.nodes.every((n) => n.store?.usage().dirtyExtentCount === 0));
    c.setPg(1, [0, 1]);
    const newer = bytes(BLOCK_BYTES, 30);
    const at = LOST * BLOCK_BYTES;
    await c.run('write', submit(c.device(3), 'write', at, BLOCK_BYTES, { data: newer }));
    damageAll(c, { extent: 0, block: LOST });
    await join(c);
    c.setPg(1, [2]);
    await expectOneLost(c, data);
  });

  it('the joining disk still has the lost block itself: the others are healed from it', async () => {
    const { c, data } = await written('saved');
    await join(c);
    c.setPg(1, [0, 1, 2]);
    await c.until('clean', () => c.nodes.every((n) => n.store?.usage().dirtyExtentCount === 0));
    c.setPg(1, [0, 1]);
    const other = bytes(BLOCK_BYTES, 31);
    await c.run('write', submit(c.device(3), 'write', 0, BLOCK_BYTES, { data: other }));
    other.copy(data, 0);
    damageAll(c, { extent: 0, block: LOST });
    const lost = await c.run('read', submit(c.device(3), 'read', LOST * BLOCK_BYTES, BLOCK_BYTES));
    expect(lost.error).to.equal('io');
    await c.until('both know', () => [0, 1].every((index) => lostNotices(c, index).length === 1));
    await join(c);
    c.setPg(1, [0, 1, 2]);
    const read = await c.run('read', submit(c.device(3), 'read', 0, data.length));
    expect(read.data?.equals(data)).to.equal(true);
    const isHealed = (): boolean => c.nodes.every((n) => n.plane.report().badBlocks.length === 0);
    await c.until('healed', isHealed);
    for (const index of [0, 1, 2]) {
      const held = await contentsOf(c, index, 0);
      expect(held.subarray(0, data.length).equals(data), `node ${index}`).to.equal(true);
    }
  });

  it('lost for hours: the same block is counted once, so that its disks are not taken out for it', async () => {
    const { c } = await written('hours');
    damageAll(c, { extent: 0, block: LOST });
    await c.run('read', submit(c.device(3), 'read', LOST * BLOCK_BYTES, BLOCK_BYTES));
    await c.clock.runFor(600_000);
    for (const index of [0, 1]) {
      expect(c.node(index).store?.usage().checksumErrorCount).to.be.within(1, 3);
    }
  });
});
