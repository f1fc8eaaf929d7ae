/** Disks that forgot what they had acked: what replicas refuse, and what gateways do that live through it. */
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { MapPg } from '../../../shared/model/cluster-map.ts';
import { bytes, contentsOf, submit, TestCluster } from './test-cluster.ts';

const SIZE = 16 * MiB;
const EXTENTS = SIZE / (4 * MiB);

/** Replicas on nodes 0 and 1, the gateway on node 2; flushed once, so that writes are not durable by themselves. */
async function cluster(seed: string): Promise<TestCluster> {
  const made = new TestCluster(seed);
  await made.start({ nodes: 3, pgs: [[0, 1]], sizeBytes: SIZE, attachedTo: 2 });
  know(made);
  const base = bytes(SIZE, 1);
  await made.run('write', submit(made.device(2), 'write', 0, SIZE, { data: base }));
  await made.run('flush', submit(made.device(2), 'flush', 0, 0));
  return made;
}

/** The map says what every store reports: what the manager does first. */
function know(c: TestCluster, to: readonly number[] | null = null): void {
  const reports = c.nodes.flatMap((node) => node.plane.report().disks);
  const disks = c.map.disks.map((disk) => {
    const known = reports.find((report) => report.id === disk.id)?.incarnation ?? 0;
    return known === 0 ? disk : { ...disk, incarnation: known };
  });
  c.setMap({ disks }, to);
}

function change(c: TestCluster, fields: (pg: MapPg) => Partial<MapPg>): void {
  const pgs = c.map.pgs.map((pg) => ({ ...pg, epoch: pg.epoch + 1, ...fields(pg) }));
  c.setMap({ pgs });
}

async function reboot(c: TestCluster, ...indexes: readonly number[]): Promise<void> {
  for (const index of indexes) c.crash(index, 'power');
  await c.clock.runFor(50);
  for (const index of indexes) {
    c.network.host(`host${index + 1}`).isUp = true;
    await c.startProcess(c.node(index));
  }
  await c.until('stores are open', () =>
    indexes.every((index) => c.node(index).plane.report().disks[0]?.status === 'serving'),
  );
}

/** Both forgot, nobody else is left: suspects first, then trusted. */
async function forgetAndTrust(c: TestCluster): Promise<void> {
  await reboot(c, 0, 1);
  know(c);
  change(c, () => ({ suspects: [c.disk(0), c.disk(1)] }));
  await c.clock.runFor(100);
  change(c, (pg) => ({ suspects: [], compareEpoch: pg.epoch + 1 }));
}

async function scatter(c: TestCluster, count: number): Promise<void> {
  const random = new Prng('scatter');
  for (let round = 0; round < count; round += 1) {
    const offset = 4096 * random.below(SIZE / 4096 - 8);
    const data = bytes(4096 * (1 + random.below(4)), 100 + round);
    await c.run('write', submit(c.device(2), 'write', offset, data.length, { data }));
  }
}

async function differingExtents(c: TestCluster): Promise<number> {
  let count = 0;
  for (let extent = 0; extent < EXTENTS; extent += 1) {
    const first = await contentsOf(c, 0, extent);
    if (!first.equals(await contentsOf(c, 1, extent))) count += 1;
  }
  return count;
}

async function readAll(c: TestCluster): Promise<Buffer> {
  const { data, error } = await c.run('read', submit(c.device(2), 'read', 0, SIZE));
  expect(error).to.equal(null);
  return Buffer.from(data as Buffer);
}

describe('data plane: lost memory', () => {
  it('one replica forgot: nothing is acked with it, reads go on, acked writes are there', async () => {
    const c = await cluster('one');
    await scatter(c, 40);
    const before = await readAll(c);
    await reboot(c, 1);
    const data = bytes(4096, 7);
    let isAcked = false;
    const writing = submit(c.device(2), 'write', 0, 4096, { data }).finally(() => {
      isAcked = true;
    });
    await c.clock.runFor(500);
    expect(isAcked, 'acked by a disk that forgot').to.equal(false);
    know(c);
    change(c, () => ({ suspects: [c.disk(1)] }));
    const read = await c.run('read', submit(c.device(2), 'read', 4 * MiB, 65_536));
    expect(read.data?.equals(before.subarray(4 * MiB, 4 * MiB + 65_536))).to.equal(true);
    await c.clock.runFor(500);
    expect(isAcked, 'acked while one is suspect').to.equal(false);
    change(c, () => ({ inSync: [c.disk(0)], suspects: [] }));
    await c.run('the write', writing);
    c.setPg(1, [0], [1]);
    await c.until('joined', () => c.node(1).plane.report().joins[0]?.isComplete === true);
    c.setPg(1, [0, 1]);
    expect(await differingExtents(c)).to.equal(0);
    data.copy(before, 0);
    expect((await readAll(c)).equals(before)).to.equal(true);
  });

  it('all replicas forgot: compared before they are served, and what was read stays', async () => {
    const c = await cluster('all');
    await scatter(c, 60);
    await forgetAndTrust(c);
    const first = await readAll(c);
    expect(await differingExtents(c)).to.equal(0);
    await reboot(c, 0, 1);
    know(c);
    change(c, (pg) => ({ suspects: [], compareEpoch: pg.epoch + 1 }));
    expect((await readAll(c)).equals(first), 'after another power loss').to.equal(true);
  });

  it('all replicas forgot: what was flushed is there, the next flush fails, the one after does not', async () => {
    const c = await cluster('flushed');
    await scatter(c, 30);
    await c.run('flush', submit(c.device(2), 'flush', 0, 0));
    const flushed = await readAll(c);
    const lost = bytes(4096, 9);
    await c.run('write', submit(c.device(2), 'write', 8192, 4096, { data: lost }));
    await forgetAndTrust(c);
    const outcome = await c.run('flush', submit(c.device(2), 'flush', 0, 0));
    expect(outcome.error).to.equal('io');
    expect((await c.run('flush', submit(c.device(2), 'flush', 0, 0))).error).to.equal(null);
    const after = await readAll(c);
    flushed.copy(after, 8192, 8192, 12_288);
    expect(after.equals(flushed)).to.equal(true);
    expect(
      c
        .node(2)
        .plane.report()
        .notices.map((notice) => notice.kind),
    ).to.include('write.lost');
  });

  it('nothing un-flushed was lost: no flush fails', async () => {
    const c = await cluster('nothing lost');
    await forgetAndTrust(c);
    expect((await c.run('flush', submit(c.device(2), 'flush', 0, 0))).error).to.equal(null);
  });

  it('a gateway with an old map: its flush is not acked by disks that forgot', async () => {
    const c = await cluster('old map');
    await c.run('write', submit(c.device(2), 'write', 0, 4096, { data: bytes(4096, 3) }));
    await reboot(c, 0, 1);
    know(c, [0, 1]);
    let outcome = 'none';
    const flushing = submit(c.device(2), 'flush', 0, 0).then(({ error }) => {
      outcome = error ?? 'ok';
    });
    await c.clock.runFor(2000);
    expect(outcome).to.equal('none');
    change(c, (pg) => ({ compareEpoch: pg.epoch + 1 }));
    await c.run('the flush', flushing);
    expect(outcome).to.equal('io');
  });

  it('a flush under way when they forgot: not acked as if they had not', async () => {
    const c = await cluster('in flight');
    await c.run('write', submit(c.device(2), 'write', 0, 4096, { data: bytes(4096, 3) }));
    c.node(0).simulatedDisk.stall();
    const flushing = submit(c.device(2), 'flush', 0, 0);
    await c.clock.runFor(100);
    await forgetAndTrust(c);
    expect((await c.run('the flush', flushing)).error).to.equal('io');
  });

  it('a suspect: neither a source for others nor read by gateways', async () => {
    const c = await cluster('suspect');
    await scatter(c, 20);
    change(c, () => ({ suspects: [c.disk(1)] }));
    const before = c.node(1).simulatedDisk.counts.read;
    await readAll(c);
    expect(c.node(1).simulatedDisk.counts.read).to.equal(before);
  });

  it('promoted on a report from before a takeover: compared again, reads do not flip', async () => {
    const c = await cluster('takeover');
    c.setPg(1, [0], [1]);
    await c.until('joined', () => c.node(1).plane.report().joins[0]?.isComplete === true);
    // A last write of the old gateway reaches the joiner alone.
    c.network.block('host3', 'host1');
    void submit(c.device(2), 'write', 4096, 4096, { data: bytes(4096, 2) });
    await c.clock.runFor(20);
    c.crash(2, 'power');
    c.network.healAll();
    expect(await differingExtents(c)).to.equal(1);
    // The next one takes over and lists; then the manager promotes on the report it had. The joiner cannot
    // reach its source meanwhile.
    c.network.partition('host1', 'host2');
    c.attach(2);
    c.network.host('host3').isUp = true;
    await c.startProcess(c.node(2));
    await c.until('serving', () => c.findDevice(2)?.status === 'serving');
    await c.clock.runFor(500);
    c.setPg(1, [0, 1]);
    await c.clock.runFor(1000);
    expect(await differingExtents(c)).to.equal(0);
  });
});
