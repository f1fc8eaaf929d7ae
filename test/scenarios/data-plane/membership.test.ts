import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import type { MapPg } from '../../../shared/model/cluster-map.ts';
import { bytes, contentsOf, type Outcome, submit, TestCluster } from './test-cluster.ts';

async function cluster(seed: string, nodes = 3): Promise<TestCluster> {
  const made = new TestCluster(seed);
  await made.start({ nodes, pgs: [[0, 1]], sizeBytes: 32 * MiB, attachedTo: 0 });
  return made;
}

async function expectSame(c: TestCluster, members: readonly number[]): Promise<void> {
  for (let extent = 0; extent < 8; extent += 1) {
    const first = await contentsOf(c, members[0] as number, extent);
    for (const member of members.slice(1)) {
      const isSame = first.equals(await contentsOf(c, member, extent));
      expect(isSame, `extent ${extent} on node ${member}`).to.equal(true);
    }
  }
}

function minInSync(c: TestCluster, count: number): void {
  c.setMap({ pgs: c.map.pgs.map((pg): MapPg => ({ ...pg, minInSync: count })) });
}

describe('data plane: membership', () => {
  it('a member dies: reported, writes wait, a new map lets them go on without it', async () => {
    const c = await cluster('loss');
    c.crash(1);
    let outcome: Outcome | null = null;
    const data = bytes(100_000, 1);
    void submit(c.device(0), 'write', 5000, data.length, { data }).then((result) => {
      outcome = result;
    });
    const urgentBefore = c.node(0).urgentCount;
    await c.until('it is urgent', () => c.node(0).urgentCount > urgentBefore);
    const failure = c.node(0).plane.report().failures[0];
    expect(failure?.disk).to.equal(c.disk(1));
    expect(failure?.epoch).to.equal(1);
    expect(failure?.reason).to.not.equal('');
    await c.clock.runFor(3000);
    expect(outcome, 'not acked by fewer than the map names').to.equal(null);
    c.setPg(1, [0]);
    await c.until('the write is done', () => outcome !== null, 1000);
    expect((outcome as unknown as Outcome).error).to.equal(null);
    expect(c.node(0).plane.report().failures).to.deep.equal([]);
    const read = await c.run('read', submit(c.device(0), 'read', 5000, data.length));
    expect(read.data?.equals(data)).to.equal(true);
  });

  it('a member restarts: un-acked writes are sent again, without a new map', async () => {
    const c = await cluster('restart');
    const writes: Promise<Outcome>[] = [];
    const model = Buffer.alloc(MiB);
    const random = new Prng('restart');
    for (let round = 0; round < 40; round += 1) {
      const data = bytes(4096, round);
      const offset = 4096 * random.below(256);
      data.copy(model, offset);
      writes.push(submit(c.device(0), 'write', offset, 4096, { data }));
      if (round === 20) {
        await c.clock.runFor(0.3);
        c.crash(1);
      }
    }
    await c.clock.runFor(500);
    await c.startProcess(c.node(1));
    const outcomes = await c.run('all writes', Promise.all(writes), 5000);
    expect(outcomes.every((outcome) => outcome.error === null)).to.equal(true);
    const read = await c.run('read', submit(c.device(0), 'read', 0, MiB));
    expect(read.data?.equals(model)).to.equal(true);
    await expectSame(c, [0, 1]);
  });

  it('a silent partition: noticed by pings, gone after it heals', async () => {
    const c = await cluster('partition');
    c.network.partition('host1', 'host2');
    let isDone = false;
    const data = bytes(4096, 1);
    void submit(c.device(0), 'write', 0, 4096, { data }).then(() => {
      isDone = true;
    });
    await c.until('reported', () => c.node(0).plane.report().failures.length > 0, 8000);
    expect(isDone).to.equal(false);
    c.network.healAll();
    await c.until('the write is done', () => isDone, 5000);
    await expectSame(c, [0, 1]);
  });

  it('a disk fails: reported at once, the other serves on', async () => {
    const c = await cluster('disk failure');
    c.node(1).simulatedDisk.inject({ op: 'write', code: 'EIO' });
    c.node(1).simulatedDisk.inject({ op: 'sync', code: 'EIO' });
    let isDone = false;
    const data = bytes(4096, 1);
    void submit(c.device(0), 'write', 0, 4096, { data, isDurable: true }).then(() => {
      isDone = true;
    });
    await c.until('reported', () => c.node(0).plane.report().failures.length > 0, 1000);
    await c.until('the disk says so', () => c.node(1).plane.report().disks[0]?.status === 'failed');
    c.setPg(1, [0]);
    await c.until('the write is done', () => isDone, 1000);
  });

  it('below minInSync: writes wait and do not fail, reads go on', async () => {
    const c = await cluster('minimum');
    const before = bytes(4096, 1);
    await c.run('write', submit(c.device(0), 'write', 0, 4096, { data: before }));
    minInSync(c, 2);
    c.setPg(1, [0]);
    let isDone = false;
    const data = bytes(4096, 2);
    void submit(c.device(0), 'write', 8192, 4096, { data }).then(() => {
      isDone = true;
    });
    const read = await c.run('read', submit(c.device(0), 'read', 0, 4096));
    expect(read.data?.equals(before)).to.equal(true);
    await c.clock.runFor(10_000);
    expect(isDone).to.equal(false);
    c.setPg(1, [0], [2]);
    await c.until('joined', () => c.node(2).plane.report().joins[0]?.isComplete === true);
    c.setPg(1, [0, 2]);
    await c.until('done', () => isDone, 1000);
  });

  it('the deadline: a write that nobody can take fails with io, and is logged', async () => {
    const c = new TestCluster('deadline');
    c.requestDeadlineMs = 3000;
    await c.start({ nodes: 2, pgs: [[0, 1]], sizeBytes: 32 * MiB, attachedTo: 0 });
    c.crash(1);
    const data = bytes(4096, 1);
    const outcome = await c.run('write', submit(c.device(0), 'write', 0, 4096, { data }));
    expect(outcome.error).to.equal('io');
    expect(c.logged.some((line) => line.message.includes('waited too long'))).to.equal(true);
    // The blocks stay held: a read must not see what may still change.
    const read = await c.run('read', submit(c.device(0), 'read', 0, 4096));
    expect(read.error).to.equal('io');
    c.setPg(1, [0]);
    const after = await c.run('read', submit(c.device(0), 'read', 0, 4096));
    expect(after.error).to.equal(null);
    expect(after.data?.equals(data)).to.equal(true);
  });

  it('no lease: requests wait, and go on with the next one', async () => {
    const c = new TestCluster('lease');
    c.leaseUntilMs = 5000;
    await c.start({ nodes: 2, pgs: [[0, 1]], sizeBytes: 32 * MiB, attachedTo: 0 });
    await c.clock.runUntil(5001);
    expect(c.node(0).plane.report().attachments[0]?.status).to.equal('paused');
    let isDone = false;
    const data = bytes(4096, 1);
    void submit(c.device(0), 'write', 0, 4096, { data }).then(() => {
      isDone = true;
    });
    await c.clock.runFor(3000);
    expect(isDone).to.equal(false);
    expect(c.node(0).plane.report().failures, 'nobody is to blame').to.deep.equal([]);
    c.node(0).plane.extendLease(c.clock.now() + 4000);
    await c.clock.runFor(1000);
    expect(isDone, 'the other replica serves nobody without its lease').to.equal(false);
    c.node(1).plane.extendLease(c.clock.now() + 4000);
    await c.until('the write is done', () => isDone, 1000);
  });

  it('an older epoch: refused by a replica that knows better, written under the new one', async () => {
    const c = await cluster('stale');
    // The replicas hear of epoch 2 first; the gateway's node does not.
    c.setPg(1, [1], [], [1, 2]);
    let isDone = false;
    const data = bytes(4096, 1);
    void submit(c.device(0), 'write', 0, 4096, { data }).then(() => {
      isDone = true;
    });
    await c.clock.runFor(2000);
    expect(isDone, 'no ack under the old epoch').to.equal(false);
    c.sendMap([0]);
    await c.until('the write is done', () => isDone, 1000);
    expect((await contentsOf(c, 1, 0)).subarray(0, 4096).equals(data)).to.equal(true);
  });

  it('a newer epoch than the replica knows: adopted durably, served when its map has come', async () => {
    const c = await cluster('ahead');
    c.setPg(1, [0, 1], [], [0]);
    let isDone = false;
    const data = bytes(4096, 1);
    void submit(c.device(0), 'write', 0, 4096, { data }).then(() => {
      isDone = true;
    });
    await c.clock.runFor(1000);
    expect(isDone).to.equal(false);
    expect(c.node(1).store?.epochOf(1)).to.equal(2);
    c.crash(1, 'power');
    const pgs = c.map.pgs.map((pg) => ({ ...pg, epoch: 1 }));
    c.map = { ...c.map, pgs, version: c.map.version - 1 };
    await c.startProcess(c.node(1));
    await c.until('open again', () => c.node(1).store !== null);
    expect(c.node(1).store?.epochOf(1), 'survived power loss').to.equal(2);
    expect(isDone).to.equal(false);
    c.setPg(1, [0, 1]);
    await c.until('the write is done', () => isDone, 3000);
    await expectSame(c, [0, 1]);
  });

  it('a second gateway: the older generation is fenced, its late write refused', async () => {
    const c = await cluster('fence');
    const first = bytes(4096, 1);
    await c.run('write', submit(c.device(0), 'write', 0, 4096, { data: first }));
    const old = c.device(0);
    // Node 0 hears nothing of it.
    const volumes = c.map.volumes.map((volume) => ({
      ...volume,
      generation: 2,
      attachedTo: c.node(2).id,
    }));
    c.setMap({ volumes }, [1, 2]);
    // Its disk is in sync, so it must accept the generation too; it does so without the new map.
    await c.until('the new one serves', () => c.findDevice(2)?.status === 'serving');
    const second = bytes(4096, 2);
    await c.run('write', submit(c.device(2), 'write', 0, 4096, { data: second }));
    const late = await c.run('late write', submit(old, 'write', 0, 4096, { data: bytes(4096, 3) }));
    expect(late.error).to.equal('shutdown');
    expect(c.node(0).plane.report().attachments[0]?.reason).to.contain('Fenced');
    const read = await c.run('read', submit(c.device(2), 'read', 0, 4096));
    expect(read.data?.equals(second)).to.equal(true);
    await expectSame(c, [0, 1]);
  });

  it('detach: drains, flushes, and the next node finds everything', async () => {
    const c = await cluster('detach');
    const data = bytes(3 * MiB, 1);
    const write = submit(c.device(0), 'write', 1000, data.length, { data });
    await c.clock.runFor(0.1);
    c.attach(null);
    const outcome = await c.run('the write under way', write);
    expect(outcome.error).to.equal(null);
    await c.until('closed', () => c.findDevice(0) === null);
    c.attach(2);
    await c.until('moved', () => c.findDevice(2)?.status === 'serving');
    expect(c.node(0).devices.size).to.equal(0);
    const read = await c.run('read', submit(c.device(2), 'read', 1000, data.length));
    expect(read.data?.equals(data)).to.equal(true);
  });

  it('close: requests under way end, stores are clean, and everything is there afterwards', async () => {
    const c = await cluster('close');
    const data = bytes(2 * MiB, 1);
    const write = submit(c.device(0), 'write', 0, data.length, { data });
    await c.clock.runFor(0.1);
    await c.run('closing', c.node(0).plane.close());
    expect((await c.run('the write', write)).error).to.equal(null);
    expect(c.node(0).devices.size).to.equal(0);
    await c.run('closing twice', c.node(0).plane.close());
    c.node(0).clock.isDead = true;
    await c.startProcess(c.node(0));
    await c.until('serving', () => c.findDevice(0)?.status === 'serving');
    const read = await c.run('read', submit(c.device(0), 'read', 0, data.length));
    expect(read.data?.equals(data)).to.equal(true);
    await expectSame(c, [0, 1]);
  });

  it('requests before the volume is served: they wait and are served', async () => {
    const c = await cluster('early');
    c.crash(1);
    c.attach(2);
    await c.until('the new gateway exists', () => c.findDevice(2) !== null);
    let isDone = false;
    const data = bytes(4096, 1);
    void submit(c.device(2), 'write', 0, 4096, { data }).then(() => {
      isDone = true;
    });
    await c.clock.runFor(1000);
    expect(c.device(2).status, 'one in-sync replica has not accepted it').to.equal('opening');
    expect(isDone).to.equal(false);
    await c.startProcess(c.node(1));
    await c.until('done', () => isDone, 3000);
  });

  it('a full disk on one member: reported, not the client’s trouble', async () => {
    const c = await cluster('full disk');
    c.node(1).simulatedDisk.inject({ op: 'write', code: 'ENOSPC' });
    let outcome: Outcome | null = null;
    const data = bytes(4096, 1);
    void submit(c.device(0), 'write', 0, 4096, { data }).then((result) => {
      outcome = result;
    });
    await c.until('reported', () => c.node(0).plane.report().failures.length > 0, 2000);
    expect(outcome).to.equal(null);
    c.setPg(1, [0]);
    await c.until('done', () => outcome !== null, 1000);
    expect((outcome as unknown as Outcome).error).to.equal(null);
  });
});
