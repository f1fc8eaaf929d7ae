import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import { bytes, contentsOf, type Outcome, submit, TestCluster } from './test-cluster.ts';

const SIZE = 32 * MiB;

async function cluster(seed: string): Promise<TestCluster> {
  const made = new TestCluster(seed);
  await made.start({ nodes: 3, pgs: [[0, 1]], sizeBytes: SIZE, attachedTo: 0 });
  return made;
}

async function expectContents(c: TestCluster, member: number, model: Buffer): Promise<void> {
  for (let extent = 0; extent * 4 * MiB < SIZE; extent += 1) {
    const held = await contentsOf(c, member, extent);
    const isSame = held.equals(model.subarray(extent * 4 * MiB, (extent + 1) * 4 * MiB));
    expect(isSame, `extent ${extent} on node ${member}`).to.equal(true);
  }
}

/** Writes at random places until told to stop; keeps the model. */
class Writer {
  readonly model = Buffer.alloc(SIZE);
  isStopped = false;
  count = 0;
  readonly #cluster: TestCluster;
  readonly #random: Prng;
  #running: Promise<void> | null = null;

  constructor(c: TestCluster, seed: string) {
    this.#cluster = c;
    this.#random = new Prng(seed);
  }

  async fill(count: number): Promise<void> {
    for (let round = 0; round < count; round += 1) {
      await this.#cluster.run('a write', this.#one());
    }
  }

  start(): void {
    this.#running = this.#loop();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    await this.#cluster.run('the writer stops', this.#running ?? Promise.resolve());
  }

  async #loop(): Promise<void> {
    while (!this.isStopped) await this.#one();
  }

  async #one(): Promise<Outcome> {
    const random = this.#random;
    const length = random.chance(0.5) ? 4096 : 1 + random.below(200_000);
    const offset = random.below(SIZE - length);
    this.count += 1;
    const isTrim = random.chance(0.1);
    const data = bytes(length, this.count);
    const device = this.#cluster.device(0);
    const outcome = isTrim
      ? await submit(device, 'zero', offset, length)
      : await submit(device, 'write', offset, length, { data });
    expect(outcome.error).to.equal(null);
    if (isTrim) this.model.fill(0, offset, offset + length);
    else data.copy(this.model, offset);
    return outcome;
  }
}

function isJoined(c: TestCluster, index: number): boolean {
  return c
    .node(index)
    .plane.report()
    .joins.some((join) => join.isComplete);
}

describe('data plane: joining', () => {
  it('a new disk joins while writes go on: promoted, byte-identical', async () => {
    const c = await cluster('join');
    const writer = new Writer(c, 'join');
    await writer.fill(60);
    writer.start();
    c.setPg(1, [0, 1], [2]);
    await c.until('joined', () => isJoined(c, 2));
    const report = c.node(2).plane.report().joins[0];
    expect(report?.doneBytes).to.be.greaterThan(0);
    expect(report?.totalBytes).to.equal(report?.doneBytes);
    c.setPg(1, [0, 1, 2]);
    await c.clock.runFor(50);
    await writer.stop();
    for (const member of [0, 1, 2]) await expectContents(c, member, writer.model);
    expect(c.node(2).store?.usage().incompleteExtentCount).to.equal(0);
    expect(c.node(2).plane.report().joins).to.deep.equal([]);
  });

  it('a disk joins that no write has reached: its extents become clean with those of the others', async () => {
    const c = await cluster('quiet join');
    const data = bytes(8192, 1);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    c.setPg(1, [0, 1], [2]);
    await c.until('joined', () => isJoined(c, 2));
    expect(c.node(2).store?.usage().dirtyExtentCount).to.equal(1);
    c.setPg(1, [0, 1, 2]);
    await c.until('clean', () => c.nodes.every((n) => n.store?.usage().dirtyExtentCount === 0));
  });

  it('a returning disk: only what changed meanwhile is copied', async () => {
    const c = await cluster('return');
    const writer = new Writer(c, 'return');
    await writer.fill(80);
    const dirty = (): number =>
      c.nodes.reduce((sum, node) => sum + (node.store?.usage().dirtyExtentCount ?? 0), 0);
    await c.until('clean', () => dirty() === 0);
    c.crash(1);
    c.setPg(1, [0], [], [0, 2]);
    const data = bytes(8192, 99);
    await c.run('write', submit(c.device(0), 'write', 9 * MiB, data.length, { data }));
    data.copy(writer.model, 9 * MiB);
    await c.startProcess(c.node(1));
    c.setPg(1, [0], [1]);
    await c.until('joined', () => isJoined(c, 1));
    const copied = c.node(1).plane.report().joins[0]?.doneBytes;
    expect(copied, 'two or three blocks').to.be.within(8192, 12_288);
    c.setPg(1, [0, 1]);
    await expectContents(c, 1, writer.model);
  });

  it('extents that the source lacks: deleted on the joiner', async () => {
    const c = await cluster('leftover');
    c.setPg(1, [0, 1], [2]);
    await c.until('joined', () => isJoined(c, 2));
    c.setPg(1, [0, 1, 2]);
    const data = bytes(5 * MiB, 1);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    c.setPg(1, [0, 1]);
    const stores = [0, 1].map((index) => c.node(index).store);
    for (const store of stores) {
      await c.run(
        'the extent is deleted',
        new Promise((resolve) => {
          store?.deleteExtent({ volume: 1, layer: 0, extent: 1 }, resolve);
        }),
      );
    }
    c.setPg(1, [0, 1], [2]);
    await c.until('joined', () => isJoined(c, 2));
    expect(c.node(2).store?.stampOf({ volume: 1, layer: 0, extent: 1 })).to.equal(null);
    expect(c.node(2).store?.stampOf({ volume: 1, layer: 0, extent: 0 })).to.not.equal(null);
  });

  it('the source dies half way: another in-sync member goes on', async () => {
    const c = await cluster('source');
    const writer = new Writer(c, 'source');
    await writer.fill(60);
    c.node(2).plane.setLimits({ resyncBytesPerSecond: 2 * MiB, concurrentJoins: 1 });
    c.setPg(1, [0, 1], [2]);
    await c.until('some is copied', () => {
      const join = c.node(2).plane.report().joins[0];
      return join !== undefined && join.doneBytes > 100_000;
    });
    expect(isJoined(c, 2)).to.equal(false);
    // The gateway's own disk is the first source: take it out by taking away the disk.
    c.node(0).plane.removeDisk(c.disk(0));
    c.setPg(1, [1], [2]);
    c.node(2).plane.setLimits({ resyncBytesPerSecond: 1000 * MiB, concurrentJoins: 1 });
    await c.until('joined', () => isJoined(c, 2));
    c.setPg(1, [1, 2]);
    await writer.fill(5);
    await expectContents(c, 1, writer.model);
    await expectContents(c, 2, writer.model);
  });

  it('the joiner crashes half way, with and without power: begins again and is the same in the end', async () => {
    for (const kind of ['process', 'power'] as const) {
      const c = await cluster(`joiner ${kind}`);
      const writer = new Writer(c, kind);
      await writer.fill(50);
      c.node(2).plane.setLimits({ resyncBytesPerSecond: 2 * MiB, concurrentJoins: 1 });
      c.setPg(1, [0, 1], [2]);
      writer.start();
      await c.until('some is copied', () => {
        const join = c.node(2).plane.report().joins[0];
        return join !== undefined && join.doneBytes > 200_000;
      });
      c.crash(2, kind);
      await c.clock.runFor(300);
      await c.startProcess(c.node(2));
      await c.until('joined', () => isJoined(c, 2));
      c.setPg(1, [0, 1, 2]);
      await c.clock.runFor(50);
      await writer.stop();
      for (const member of [0, 1, 2]) await expectContents(c, member, writer.model);
    }
  });

  it('the disk that joins cannot be read: it does not count as a copy, and says why', async () => {
    const c = await cluster('unreadable');
    const writer = new Writer(c, 'unreadable');
    await writer.fill(40);
    c.node(2).simulatedDisk.inject({ op: 'read', code: 'EIO', name: 'slabs/' });
    c.setPg(1, [0, 1], [2]);
    const errorOf = (): string => c.node(2).plane.report().joins[0]?.error ?? '';
    await c.until('said', () => errorOf().includes('cannot be read back'));
    expect(isJoined(c, 2)).to.equal(false);
  });

  it('a disk takes writes and gives nothing back: it fails, and says why', async () => {
    const c = await cluster('write only');
    c.node(2).simulatedDisk.inject({ op: 'read', code: 'EIO' });
    const report = () => c.node(2).plane.report().disks[0];
    await c.until('failed', () => report()?.status === 'failed');
    expect(report()?.error).to.include('gives back nothing');
    expect(c.node(1).plane.report().disks[0]?.status, 'others').to.equal('serving');
  });

  it('a disk cannot be read once: it goes on', async () => {
    const c = await cluster('read error');
    c.node(2).simulatedDisk.inject({ op: 'read', code: 'EIO', name: 'probe', times: 1 });
    await c.clock.runFor(60_000);
    expect(c.node(2).plane.report().disks[0]?.status).to.equal('serving');
  });

  it('one sector of the joining disk is bad: it is written again, and the disk joins', async () => {
    const c = await cluster('sector');
    const data = bytes(64 * 1024, 1);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    c.node(2).simulatedDisk.inject({ op: 'read', code: 'EIO', name: 'slabs/', times: 1 });
    c.setPg(1, [0, 1], [2]);
    await c.until('joined', () => isJoined(c, 2));
  });

  it('limit 0: the join stands still; a limit again: it goes on', async () => {
    const c = await cluster('limit');
    const data = bytes(4 * MiB, 1);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    c.node(2).plane.setLimits({ resyncBytesPerSecond: 0, concurrentJoins: 1 });
    c.setPg(1, [0, 1], [2]);
    await c.clock.runFor(20_000);
    expect(c.node(2).plane.report().joins[0]?.doneBytes).to.equal(0);
    c.node(2).plane.setLimits({ resyncBytesPerSecond: MiB, concurrentJoins: 1 });
    const before = c.clock.now();
    await c.until('joined', () => isJoined(c, 2));
    expect(c.clock.now() - before, 'four MiB at one MiB/s').to.be.within(3000, 8000);
  });

  it('a disk that has left a PG: its extents are freed after the grace period', async () => {
    const c = new TestCluster('left');
    c.forgetAfterMs = 20_000;
    await c.start({ nodes: 3, pgs: [[0, 1]], sizeBytes: SIZE, attachedTo: 0 });
    const data = bytes(5 * MiB, 1);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    c.setPg(1, [0]);
    await c.clock.runFor(60_000);
    expect(c.node(1).store?.usage().extentCount, 'it may be needed again').to.equal(2);
    c.setPg(1, [0], [2]);
    await c.until('joined', () => isJoined(c, 2));
    c.setPg(1, [0, 2]);
    await c.until('freed', () => c.node(1).store?.usage().extentCount === 0);
    expect(c.node(0).store?.usage().extentCount).to.equal(2);
  });

  it('a deleted volume: its extents are dropped everywhere', async () => {
    const c = await cluster('deleted');
    const data = bytes(5 * MiB, 1);
    await c.run('write', submit(c.device(0), 'write', 0, data.length, { data }));
    c.setMap({ volumes: [] });
    await c.until('dropped', () =>
      [0, 1].every((index) => c.node(index).store?.usage().extentCount === 0),
    );
  });

  it('a write overtakes the pull of its block: the older block is not put over it', async () => {
    const c = new TestCluster('fresh');
    await c.start({ nodes: 3, pgs: [[0]], sizeBytes: SIZE, attachedTo: 1 });
    const data = bytes(64 * 1024, 1);
    await c.run('write', submit(c.device(1), 'write', 0, data.length, { data }));
    // The join comes as far as the first pull, whose answer is then held up on its way.
    c.node(2).plane.setLimits({ resyncBytesPerSecond: 0, concurrentJoins: 1 });
    c.setPg(1, [0], [2]);
    await c.clock.runFor(1000);
    c.network.block('host1', 'host3');
    c.node(2).plane.setLimits({ resyncBytesPerSecond: 1000 * MiB, concurrentJoins: 1 });
    await c.clock.runFor(100);
    const newer = bytes(8192, 2);
    await c.run('write', submit(c.device(1), 'write', 4096, newer.length, { data: newer }), 1000);
    await c.run('zero', submit(c.device(1), 'zero', 32_768, 4096), 1000);
    newer.copy(data, 4096);
    data.fill(0, 32_768, 36_864);
    expect(isJoined(c, 2)).to.equal(false);
    c.network.healAll();
    await c.until('joined', () => isJoined(c, 2), 3000);
    const held = await contentsOf(c, 2, 0);
    expect(held.subarray(0, data.length).equals(data)).to.equal(true);
  });
});
