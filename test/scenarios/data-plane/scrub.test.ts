import { expect } from 'chai';
import { jobId, pgId } from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, EXTENT_BYTES, MiB } from '../../../shared/base/units.ts';
import type { Notice } from '../../../shared/model/node-report.ts';
import type { ScrubPosition, ScrubReport } from '../../../shared/model/scrub.ts';
import { STATUS } from '../../../shared/wire/data-protocol.ts';
import { checksumsOf } from '../../unit/disk/store-fixture.ts';
import { damage } from './damage.ts';
import { bytes, contentsOf, submit, TestCluster } from './test-cluster.ts';

const EXTENTS = 4;
const FAST = { resyncBytesPerSecond: 1000 * MiB, concurrentJoins: 2 };
let nextJob = 1;

async function cluster(seed: string, members: readonly number[]): Promise<TestCluster> {
  const made = new TestCluster(seed);
  await made.start({ nodes: 3, pgs: [members], sizeBytes: 32 * MiB, attachedTo: 0 });
  for (const node of made.nodes) node.plane.setLimits(FAST);
  return made;
}

/** The first 64 KiB of each extent written, flushed, and clean everywhere. */
async function fill(c: TestCluster): Promise<Buffer> {
  const data = bytes(EXTENTS * 64 * 1024, 1);
  for (let extent = 0; extent < EXTENTS; extent += 1) {
    const part = Buffer.from(data.subarray(extent * 65_536, (extent + 1) * 65_536));
    const at = extent * EXTENT_BYTES;
    await c.run('write', submit(c.device(0), 'write', at, part.length, { data: part }));
  }
  await c.run('flush', submit(c.device(0), 'flush', 0, 0));
  await untilClean(c);
  return data;
}

function untilClean(c: TestCluster): Promise<void> {
  return c.until('all extents are clean', () =>
    c.nodes.every((node) => node.store?.usage().dirtyExtentCount === 0),
  );
}

/** Orders a scrub of PG 1 on these nodes; the job's number. */
function order(
  c: TestCluster,
  nodes: readonly number[],
  after: ScrubPosition | null = null,
): number {
  const job = jobId(nextJob);
  nextJob += 1;
  for (const index of nodes) {
    const { plane, disk } = c.node(index);
    plane.setScrubs([{ job, pg: pgId(1), disk, volume: null, after }]);
  }
  return job;
}

function reportOf(c: TestCluster, index: number): ScrubReport | undefined {
  return c.node(index).plane.report().scrubs[0];
}

async function scrub(c: TestCluster, nodes: readonly number[]): Promise<readonly ScrubReport[]> {
  order(c, nodes);
  await c.until(
    'the scrub is done',
    () => nodes.every((index) => reportOf(c, index)?.isDone),
    120_000,
  );
  return nodes.map((index) => reportOf(c, index) as ScrubReport);
}

function notices(c: TestCluster): Notice[] {
  return c.nodes.flatMap((node) => node.plane.report().notices);
}

async function expectSame(c: TestCluster, nodes: readonly number[], data: Buffer): Promise<void> {
  for (const index of nodes) {
    for (let extent = 0; extent < EXTENTS; extent += 1) {
      const held = await contentsOf(c, index, extent);
      const wanted = data.subarray(extent * 65_536, (extent + 1) * 65_536);
      expect(held.subarray(0, 65_536).equals(wanted), `extent ${extent}, node ${index}`).to.equal(
        true,
      );
    }
  }
}

/** Changes one copy behind everybody's back, so that its checksum fits: as a lost index entry would. */
async function diverge(
  c: TestCluster,
  index: number,
  extent: number,
  block: number,
): Promise<void> {
  const { store } = c.node(index);
  if (store === null) throw new Error('no store');
  const data = Buffer.alloc(BLOCK_BYTES, 0xee);
  const address = { volume: 1, layer: 0, extent };
  const epoch = store.stampOf(address)?.epoch ?? 1;
  const request = { ...address, pg: 1, block, count: 1, epoch, durable: true, incomplete: false };
  const body = { checksums: checksumsOf(data), data };
  const status = await c.run(
    'a change of one copy',
    new Promise<number>((resolve) => store.write({ ...request, ...body }, resolve)),
  );
  expect(status).to.equal(STATUS.ok);
  await c.run('clean', new Promise<void>((resolve) => store.clean([address], resolve)));
}

describe('data plane: scrub', () => {
  it('nothing is wrong: everything is read, nothing is found or changed', async () => {
    const c = await cluster('healthy', [0, 1, 2]);
    const data = await fill(c);
    const reports = await scrub(c, [0, 1, 2]);
    for (const report of reports) {
      expect(report).to.include({ totalExtents: 4, doneExtents: 4, skippedExtents: 0 });
      expect(report).to.include({ badBlocks: 0, differingBlocks: 0, healedExtents: 0, error: '' });
      expect(report.checkedBytes).to.be.at.least(data.length);
    }
    expect(notices(c)).to.deep.equal([]);
    const usage = c
      .node(0)
      .plane.report()
      .background.find(({ kind }) => kind === 'scrub');
    expect(usage?.bytes).to.be.at.least(data.length);
  });

  it('rot and a sector that cannot be read: found without a reader, healed, named', async () => {
    const c = await cluster('rot', [0, 1]);
    const data = await fill(c);
    damage(c, 0, { extent: 1, block: 3 });
    damage(c, 1, { extent: 2, block: 0, kind: 'unreadable' });
    const reports = await scrub(c, [0, 1]);
    expect(reports.map((report) => report.badBlocks)).to.deep.equal([1, 1]);
    await c.until('both are repaired', () => notices(c).length === 2);
    expect(
      notices(c).map(({ kind, disk, extent, block }) => [kind, disk, extent, block]),
    ).to.deep.equal([
      ['block.repaired', 1, 1, 3],
      ['block.repaired', 2, 2, 0],
    ]);
    await expectSame(c, [0, 1], data);
  });

  it('a lost and a misdirected write: found by their checksums, healed', async () => {
    const c = await cluster('lost write', [0, 1]);
    const data = await fill(c);
    const { simulatedDisk, store } = c.node(1);
    const place = store?.placeOf({ volume: 1, layer: 0, extent: 0 });
    let writes = 0;
    simulatedDisk.defects.judgeWrites((name, offset) => {
      if (name !== place?.name) return { kind: 'stored' };
      writes += 1;
      if (writes === 1) return { kind: 'lost' };
      return { kind: 'misdirected', offset: offset + 2 * BLOCK_BYTES };
    });
    for (const block of [1, 5]) {
      const fresh = bytes(BLOCK_BYTES, 50 + block);
      await c.run('write', submit(c.device(0), 'write', block * 4096, 4096, { data: fresh }));
      fresh.copy(data, block * BLOCK_BYTES);
    }
    simulatedDisk.defects.judgeWrites(null);
    await c.run('flush', submit(c.device(0), 'flush', 0, 0));
    await untilClean(c);
    const [report] = await scrub(c, [1]);
    // The lost one, the misdirected one, and the block that it landed on.
    expect(report?.badBlocks).to.equal(3);
    await c.until('all are repaired', () => notices(c).length === 3);
    await expectSame(c, [0, 1], data);
  });

  it('a copy that differs although its checksum fits: the majority wins, with a record', async () => {
    const c = await cluster('majority', [0, 1, 2]);
    const data = await fill(c);
    // The wrong copy comes first among the members, and still loses.
    await diverge(c, 0, 2, 1);
    const reports = await scrub(c, [0, 1, 2]);
    expect(reports.map((report) => report.healedExtents)).to.deep.equal([1, 0, 0]);
    const [notice, ...others] = notices(c);
    expect(others).to.deep.equal([]);
    expect(notice).to.include({ kind: 'extent.healed', disk: 1, volume: 1, extent: 2, block: 1 });
    expect(notice?.text).to.contain('copied from d2');
    await expectSame(c, [0, 1, 2], data);
    expect(c.node(0).store?.stampOf({ volume: 1, layer: 0, extent: 2 })?.incomplete).to.equal(
      false,
    );
  });

  it('a whole extent is missing on one disk: made again from the others', async () => {
    for (const missing of [0, 1]) {
      const c = await cluster(`missing ${missing}`, [0, 1]);
      const data = await fill(c);
      const { store } = c.node(missing);
      await c.run(
        'a deletion of one copy',
        new Promise<number>((resolve) =>
          store?.deleteExtent({ volume: 1, layer: 0, extent: 3 }, resolve),
        ),
      );
      const reports = await scrub(c, [0, 1]);
      expect(reports.map((report) => report.healedExtents)).to.deep.equal(
        missing === 0 ? [1, 0] : [0, 1],
      );
      expect(notices(c)[0]?.text).to.contain('was missing');
      await expectSame(c, [0, 1], data);
    }
  });

  it('a process dies in the middle: the scrub goes on where the manager knows it to be', async () => {
    const c = await cluster('resume', [0, 1]);
    await fill(c);
    for (const index of [0, 1]) damage(c, index, { extent: index === 0 ? 0 : 3, block: 2 });
    c.node(0).plane.setLimits({ ...FAST, resyncBytesPerSecond: MiB });
    order(c, [0]);
    await c.until('two extents are done', () => (reportOf(c, 0)?.doneExtents ?? 0) >= 2, 300_000);
    const position = reportOf(c, 0)?.position ?? null;
    expect(position?.extent).to.equal(1);
    c.crash(0, 'process');
    await c.clock.runFor(100);
    await c.startProcess(c.node(0));
    c.node(0).plane.setLimits(FAST);
    order(c, [0], position);
    await c.until('the rest is done', () => reportOf(c, 0)?.isDone === true, 120_000);
    const report = reportOf(c, 0);
    expect(report?.checkedBytes).to.be.lessThan(3 * EXTENT_BYTES);
    expect(report?.position?.extent).to.equal(3);
  });

  it('an order taken back: the scrub stops', async () => {
    const c = await cluster('stop', [0, 1]);
    await fill(c);
    c.node(0).plane.setLimits({ ...FAST, resyncBytesPerSecond: MiB });
    order(c, [0]);
    await c.until('it runs', () => (reportOf(c, 0)?.doneExtents ?? 0) >= 1, 300_000);
    c.node(0).plane.setScrubs([]);
    expect(c.node(0).plane.report().scrubs).to.deep.equal([]);
    const read = (): number =>
      c
        .node(0)
        .plane.report()
        .background.find(({ kind }) => kind === 'scrub')?.bytes ?? 0;
    await c.clock.runFor(1_000);
    const before = read();
    await c.clock.runFor(20_000);
    expect(read()).to.equal(before);
  });

  for (const seed of ['a', 'b']) {
    it(`scrub under load, members coming and going: nothing is found that is not there (seed ${seed})`, async () => {
      const c = await cluster(`load ${seed}`, [0, 1, 2]);
      await fill(c);
      const random = new Prng(`scrub load ${seed}`);
      let isOver = false;
      const client = async (): Promise<void> => {
        while (!isOver) {
          const device = c.findDevice(0);
          const offset = random.below(EXTENTS) * EXTENT_BYTES + random.below(14) * 4096;
          const op = random.pick(['write', 'write', 'write', 'trim', 'zero', 'flush'] as const);
          // Few patterns: a block often goes back to what it was.
          const data = Buffer.alloc(8192, random.below(3));
          if (device === null) break;
          if (op === 'flush') await submit(device, 'flush', 0, 0);
          else if (op === 'write') await submit(device, 'write', offset, 8192, { data });
          else await submit(device, op, offset, 8192, { mayUnmap: random.chance(0.5) });
          // Pauses long enough for extents to become clean now and then.
          const pauseMs = random.chance(0.1) ? 7_000 : random.below(30);
          await new Promise<void>((resolve) => c.clock.after(pauseMs, resolve));
        }
      };
      const clients = Promise.all([client(), client()]);
      let scrubbed = 0;
      for (let round = 0; round < 12; round += 1) {
        // Most are called off at once: the comparison meets writes at every point of their way.
        for (let again = 0; again < 40; again += 1) {
          order(c, [0, 1, 2]);
          await c.clock.runFor(random.below(40));
        }
        order(c, [0, 1, 2]);
        await c.clock.runFor(random.below(6_000));
        scrubbed += [0, 1, 2].filter((index) => reportOf(c, index)?.isDone).length;
        if (round % 4 === 1) c.setPg(1, [0, 1]);
        if (round % 4 === 2) c.setPg(1, [0, 1], [2]);
        if (round % 4 === 2) {
          await c.until('the third has everything', () =>
            c
              .node(2)
              .plane.report()
              .joins.some((join) => join.isComplete),
          );
          c.setPg(1, [0, 1, 2]);
        }
      }
      isOver = true;
      await c.run('the clients end', clients);
      expect(scrubbed).to.be.greaterThan(2);
      await c.run('flush', submit(c.device(0), 'flush', 0, 0));
      await untilClean(c);
      const reports = await scrub(c, [0, 1, 2]);
      for (const report of reports) expect(report.skippedExtents).to.equal(0);
      expect(notices(c).map(({ text }) => text)).to.deep.equal([]);
    });
  }
});
